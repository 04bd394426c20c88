"""Backup and restore from outside: signed, copied while it runs, signed more, made again elsewhere, signed again."""

import json
import shutil
import signal
import threading
from pathlib import Path

import httpx2

from tests.e2e.conftest import tell_story
from tests.harness import Platform

PASSPHRASE = "a passphrase for tests only"


def write_passphrase(directory: Path) -> Path:
    path = directory / "passphrase"
    path.touch(mode=0o600)
    path.write_text(PASSPHRASE)
    return path


def elsewhere(platform: Platform, directory: Path, database_url: str = "") -> Platform:
    """The same platform's configuration in another directory (and database): its certificates name its ports."""
    made = Platform(directory, platform.hundred)
    shutil.copytree(platform.directory / "conf", directory / "conf")
    if database_url:
        file = directory / "conf" / "tsp.toml"
        text = file.read_text()
        before, _, after = text.partition("[database]\nurl = ")
        file.write_text(f"{before}[database]\nurl = {json.dumps(database_url)}\n{after.partition(chr(10))[2]}")
    text = platform.sandbox_config.read_text()
    made.sandbox_config.write_text(text.replace(str(platform.directory), str(directory)))
    return made


def let_the_witness_begin_anew(restored: Platform) -> None:
    """The witness has seen the longer log, and speaks against the older one until it is told to forget it."""
    pause = threading.Event()
    for _ in range(600):
        if httpx2.get(f"{restored.urls['log']}/status", trust_env=False).json()["alarm"]:
            break
        pause.wait(0.1)
    else:
        raise AssertionError("the witness says nothing against a log that lost entries")
    restored.kill("witness")
    shutil.rmtree(restored.var / "sandbox" / "witness")
    restored.start_witness()
    restored.kill("log", signal.SIGTERM)  # in order: else its lease would stand for its full time
    restored.start_role("log")
    restored.wait_until_up()
    assert "lease not given up" not in (restored.directory / "log.log").read_text()


def walk_backup_and_restore(platform: Platform, directory: Path, database_url: str = "") -> bool:
    """The whole walk; `platform` runs at the beginning and is stopped on the way. Whether the last story passed."""
    passphrase = str(write_passphrase(directory))
    backup = directory / "backup"
    first = tell_story(platform, directory)
    (directory / "meanwhile").mkdir()
    meanwhile = threading.Thread(target=tell_story, args=(platform, directory / "meanwhile"))
    meanwhile.start()
    told = json.loads(platform.tsp("backup", "--to", str(backup), "--passphrase-file", passphrase, "--json").stdout)
    meanwhile.join(120)
    assert (directory / "meanwhile" / "signed.pdf").exists()
    assert told["log"]["size"] > 0
    assert told["missing"] == told["notes"] == []

    published = directory / "published.checkpoint"
    with httpx2.Client() as client:
        published.write_text(client.get(f"{platform.urls['log']}/checkpoint").text)
    platform.stop()

    restored = elsewhere(platform, directory / "elsewhere", database_url)
    arguments = ("restore", "--from", str(backup), "--passphrase-file", passphrase, "--checkpoint", str(published))
    refused = restored.tsp(*arguments, check=False)
    assert refused.returncode == 2
    assert "log-behind" in refused.stderr
    assert "fork" in refused.stderr
    assert not restored.var.exists()

    done = restored.tsp(*arguments, "--older-log", "--json")
    assert "WARNING: the log lacks" in done.stderr
    report = json.loads(done.stdout)
    assert report["behind"] == int(published.read_text().split("\n")[1]) - told["log"]["size"]
    proven = {p["subject"]: p for p in report["proven"]}
    assert all(p["holds"] for p in proven.values())
    assert set(proven) == {"log", "evidence", "documents", "authorities", "keys", "one-time keys"}
    assert int(proven["evidence"]["seen"].split()[0]) >= 1
    assert proven["one-time keys"]["seen"] == "0 in the token"
    assert int(proven["documents"]["seen"].split()[0]) >= 1

    # The world outside goes on as it was.
    shutil.copytree(platform.var / "sandbox", restored.var / "sandbox", dirs_exist_ok=True)
    try:
        restored.start()
        let_the_witness_begin_anew(restored)
        again = tell_story(restored, directory / "elsewhere")
        assert again.summary["passed"]
        assert again.evidence["certificate"]["serial"] != first.evidence["certificate"]["serial"]
        assert "the log is sound" in restored.tsp("audit", "verify").stdout
        verified = restored.tsp("verify", str(first.signed), "--trust", str(again.root), "--json")
        assert json.loads(verified.stdout)["signatures"][0]["indication"] == "TOTAL-PASSED"
    finally:
        restored.stop()
    return bool(again.summary["passed"])
