"""What a restore takes, what it refuses, and that nothing is half done then."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.backup.conftest import Kept
from tests.backup.furnish import DOCUMENT
from tests.e2e.backup_walk import PASSPHRASE
from tests.harness import ROOT
from tsp.backup import manifest
from tsp.backup.making import make_backup
from tsp.backup.restoring import Wishes, restore
from tsp.core.errors import TspError
from tsp.core.settings import load_settings
from tsp.runtime import Runtime

FILE = f"documents/{DOCUMENT[:2]}/{DOCUMENT}.final"


def refused(kept: Kept, source: Path, directory: Path, wishes: Wishes | None = None) -> str:
    """The code with which a restore is refused before anything is built; nothing is there afterwards."""
    target = kept.elsewhere(directory)
    settings = load_settings(target.directory / "conf" / "tsp.toml")
    with pytest.raises(TspError) as caught:
        restore(source, settings, wishes or Wishes(PASSPHRASE), make_runtime=Runtime, say=lambda _line: None)
    assert not list(target.directory.glob("var/*"))
    return caught.value.code


def sign_anew(backup: Path) -> None:
    """Makes the manifest fit what was changed, as somebody would who wants the change to be believed."""
    made = manifest.parse((backup / manifest.FILE).read_bytes())
    parts = {path: manifest.describe(backup / path) for path in made.parts}
    (backup / manifest.FILE).write_bytes(replace(made, parts=parts).encode())


@pytest.mark.requirement("OPS-1", "SEC-1")
def test_nothing_secret_lies_open_in_a_backup(kept: Kept) -> None:
    secrets = [path.read_bytes().strip() for path in (kept.platform.var / "pins").iterdir()]
    secrets += [path.read_bytes().strip() for path in (kept.platform.var / "sandbox").glob("*.token")]
    assert len(secrets) >= 16
    for path in kept.backup.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0
        if path.is_file():
            content = path.read_bytes()
            assert not any(secret in content for secret in secrets), path


@pytest.mark.requirement("OPS-1", "SIG-1")
def test_a_restored_installation_is_proven_and_no_one_time_key_comes_with_it(kept: Kept, tmp_path: Path) -> None:
    """A one-time key is alive in the token while the backup is taken."""
    holder = subprocess.Popen(
        [sys.executable, "-m", "tests.backup.furnish", "hold"],
        cwd=ROOT,
        env=kept.platform.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None and holder.stdin is not None
    try:
        assert holder.stdout.readline().split() == [b"alive", b"4"]
        make_backup(
            kept.runtime,
            tmp_path / "backup",
            kept.platform.directory / "conf" / "tsp.toml",
            passphrase=None,
            say=lambda _line: None,
        )
    finally:
        holder.communicate(timeout=20)
    target = kept.elsewhere(tmp_path)
    pins = str(kept.platform.var / "pins")
    done = target.tsp("restore", "--from", str(tmp_path / "backup"), "--pins", pins, "--json")
    told = json.loads(done.stdout)
    seen = {p["subject"]: p["seen"] for p in told["proven"]}
    assert seen["one-time keys"] == "0 in the token"
    assert seen["documents"] == "1 of 1 there and decrypted"
    assert seen["log"].startswith("size 14, 14 entries")
    assert (told["closed"], told["behind"]) == (1, 0)
    with closing(sqlite3.connect(target.var / "enkrat.db")) as connection:
        leases = connection.execute("SELECT count(*) FROM audit_sequencer").fetchone()
    assert leases == (0,), "nobody waits for a sequencer that works on another database"
    assert all(path.stat().st_mode & 0o077 == 0 for path in (target.var / "pins").iterdir())
    again = target.tsp("restore", "--from", str(tmp_path / "backup"), "--pins", pins, check=False)
    assert again.returncode == 2
    assert "target-not-empty" in again.stderr


def flip(path: str) -> Callable[[Path], None]:
    def change(backup: Path) -> None:
        content = bytearray((backup / path).read_bytes())
        content[len(content) // 2] ^= 1
        (backup / path).write_bytes(content)

    return change


@pytest.mark.requirement("OPS-1")
@pytest.mark.parametrize(
    ("change", "code"),
    [
        (flip("database.sqlite"), "backup-damaged"),
        (flip(FILE), "backup-damaged"),
        (flip("secrets.sealed"), "backup-damaged"),
        (lambda backup: (backup / FILE).unlink(), "backup-damaged"),
        (lambda backup: (backup / "more").write_text("x"), "backup-damaged"),
        (lambda backup: (backup / manifest.FILE).unlink(), "backup-incomplete"),
        (lambda backup: (backup / manifest.FILE).write_text("{}"), "backup-damaged"),
        (lambda backup: (flip("secrets.sealed")(backup), sign_anew(backup)), "passphrase-wrong"),
    ],
    ids=["database", "document", "secrets", "missing", "surplus", "unfinished", "manifest", "secrets-signed-anew"],
)
def test_a_damaged_backup_is_refused(kept: Kept, tmp_path: Path, change: Callable[[Path], None], code: str) -> None:
    copy = kept.copy(tmp_path)
    change(copy)
    assert refused(kept, copy, tmp_path) == code


@pytest.mark.requirement("OPS-1", "SEC-1")
@pytest.mark.parametrize(
    ("wishes", "code"),
    [(Wishes(), "secrets-missing"), (Wishes("another passphrase"), "passphrase-wrong")],
    ids=["no-passphrase", "wrong-passphrase"],
)
def test_without_the_pins_nothing_is_restored(kept: Kept, tmp_path: Path, wishes: Wishes, code: str) -> None:
    assert refused(kept, kept.backup, tmp_path, wishes) == code


def forge_document(backup: Path) -> None:
    flip(FILE)(backup)


def forge_entry(backup: Path) -> None:
    with sqlite3.connect(backup / "database.sqlite") as database:
        database.execute("UPDATE audit_entry SET content = replace(content, '\"number\":2', '\"number\":7')")
    database.close()


@pytest.mark.requirement("OPS-1", "SIG-6")
@pytest.mark.parametrize(
    ("forge", "told"), [(forge_document, "sealed-damaged"), (forge_entry, "entry-rewritten")], ids=["document", "log"]
)
def test_what_was_changed_with_its_manifest_is_found_by_the_proof(
    kept: Kept, tmp_path: Path, forge: Callable[[Path], None], told: str
) -> None:
    copy = kept.copy(tmp_path)
    forge(copy)
    sign_anew(copy)
    target = kept.elsewhere(tmp_path)
    done = target.tsp("restore", "--from", str(copy), "--passphrase-file", str(kept.passphrase), check=False)
    assert done.returncode == 2
    assert "restore-not-proven" in done.stderr
    assert told in done.stderr
    assert not list(target.directory.glob("var/*"))


@pytest.mark.requirement("OPS-1")
def test_a_document_that_is_lost_is_told_and_does_not_stop_the_backup(kept: Kept, tmp_path: Path) -> None:
    document = kept.platform.var / FILE
    hidden = document.rename(tmp_path / "hidden")
    try:
        done = kept.platform.tsp("backup", "--to", str(tmp_path / "backup"), "--json", check=False)
    finally:
        hidden.rename(document)
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["missing"] == [FILE.removeprefix("documents/")]
    assert "PINs and other secrets are NOT in this backup" in told["notes"][0]


@pytest.mark.requirement("OPS-1")
@pytest.mark.parametrize(
    ("target", "passphrase", "code"), [(".", None, "target-not-empty"), ("new", "short", "passphrase-short")]
)
def test_a_backup_that_cannot_be_made_leaves_nothing(
    kept: Kept, tmp_path: Path, target: str, passphrase: str | None, code: str
) -> None:
    config = kept.platform.directory / "conf" / "tsp.toml"
    with pytest.raises(TspError, match=code):
        make_backup(kept.runtime, tmp_path / target, config, passphrase=passphrase, say=lambda _line: None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.requirement("OPS-1")
def test_with_a_real_hsm_the_backup_says_what_it_lacks(kept: Kept, tmp_path: Path) -> None:
    config = kept.platform.directory / "conf" / "tsp.toml"
    with_hsm = config.with_name("hsm.toml")
    with_hsm.write_text(config.read_text() + '\n[hsm]\nmodule = "/opt/vendor/pkcs11.so"\n')
    done = kept.platform.tsp("--config", str(with_hsm), "backup", "--to", str(tmp_path / "backup"))
    assert "NOTE: The tokens are in an HSM and NOT in this backup" in done.stdout
    assert "vendor's tools" in done.stdout
    assert not (tmp_path / "backup" / "tokens").exists()
    assert refused(kept, tmp_path / "backup", tmp_path) == "backup-other"
