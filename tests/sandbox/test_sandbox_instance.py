"""Configuration with unknown keys refused; keys and tokens made once; all servers in one process."""

import json
import re
import smtplib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from joserfc.jwk import ECKey

from sandbox.instance import initialise, load
from sandbox.randomness import SystemRandomness
from sandbox.settings import ConfigurationError, load_settings
from tests.sandbox.running import FREE_PORTS, ROOT, Running


def test_defaults_are_those_of_the_demo(tmp_path: Path) -> None:
    settings = load_settings(directory=tmp_path)
    assert settings.ports.model_dump(by_alias=True) == {
        "smtp": 8410,
        "mailbox": 8411,
        "phone": 8412,
        "register": 8413,
        "branch": 8414,
        "witness": 8415,
    }
    assert settings.urls.by_service()["idp"] == "http://localhost:8401"
    assert settings.path(settings.files.public) == tmp_path.parent / "public"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[ports]\nmailboks = 1", "ports.mailboks: unknown key, did you mean mailbox?"),
        ("zzzzzz = 1", "zzzzzz: unknown key, known are branch, directory"),
        ("[ports]\nsmtp = 70000", "ports.smtp: Input should be less than or equal to 65535"),
        ("[ports]\nsmtp = '25'", "ports.smtp: Input should be a valid integer"),
        ("[ports", "not TOML"),
    ],
)
def test_a_wrong_file_is_named_with_its_key(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "sandbox.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=re.escape(sentence)):
        load_settings(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.toml: the file does not exist"):
        load_settings(tmp_path / "none.toml")


def test_secrets_are_private_and_made_once(tmp_path: Path) -> None:
    settings = load_settings(directory=tmp_path / "instance" / "sandbox")
    made = initialise(settings, SystemRandomness())
    assert {path.name for path in made} == {
        "gateway.token",
        "register.token",
        "branch.key.json",
        "sandbox-branch.jwk.json",
    }
    before = {path: path.read_bytes() for path in made}
    assert initialise(settings, SystemRandomness()) == []
    assert {path: path.read_bytes() for path in made} == before
    for path in made:
        assert (path.stat().st_mode & 0o077 == 0) is (path.parent.name == "sandbox")


def test_the_published_key_is_public_and_belongs_to_the_private_one(tmp_path: Path) -> None:
    settings = load_settings(directory=tmp_path / "instance" / "sandbox")
    initialise(settings, SystemRandomness())
    instance = load(settings)
    published = json.loads((tmp_path / "instance" / "public" / "sandbox-branch.jwk.json").read_text())
    assert "d" not in published
    assert ECKey.import_key(published).thumbprint() == instance.branch_key.thumbprint() == published["kid"]
    assert instance.gateway_token not in repr(instance)
    assert len(instance.gateway_token) == len(instance.register_token) == 43
    (tmp_path / "instance" / "public" / "sandbox-branch.jwk.json").unlink()
    assert [path.name for path in initialise(settings, SystemRandomness())] == ["sandbox-branch.jwk.json"]


def test_what_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    settings = load_settings(directory=tmp_path)
    with pytest.raises(ConfigurationError, match=r"gateway\.token is missing: run"):
        load(settings)
    initialise(settings, SystemRandomness())
    settings.path(settings.files.branch_key).write_text("{}")
    with pytest.raises(ConfigurationError, match="holds no private JWK"):
        load(settings)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    started = Running(tmp_path)
    yield started
    started.process.kill()
    started.process.communicate()


def test_everything_runs_in_one_process_and_ends_cleanly(running: Running) -> None:
    with httpx2.Client(trust_env=False) as client:
        for service in ("mailbox", "phone", "register", "branch"):
            assert client.get(f"{running.urls[service]}/health").text == "ok\n"
            assert f'data-page="sandbox.{service}"' in client.get(running.urls[service]).text
        host, _, port = running.urls["smtp"].partition(":")
        with smtplib.SMTP(host, int(port), local_hostname="localhost", timeout=10) as smtp:
            smtp.sendmail("a@x.test", ["b@x.test"], b"Subject: Koda\r\n\r\n123456")
        [mail] = client.get(f"{running.urls['mailbox']}/api/messages?to=b@x.test&wait=10").json()
        assert mail["text"] == "123456"
        message = {"id": "1", "to": "+38641123456", "text": "Koda"}
        headers = {"Authorization": f"Bearer {running.token}"}
        assert client.post(f"{running.urls['phone']}/messages", json=message, headers=headers).status_code == 202
    assert running.end() == (0, "")


def test_who_waits_for_a_message_does_not_hold_up_the_end(running: Running) -> None:
    phone = urlsplit(running.urls["phone"])
    with socket.create_connection((phone.hostname, phone.port), timeout=10) as waiting:
        waiting.sendall(b"GET /api/messages?to=1&wait=30 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for _ in range(3):  # one loop serves all: whoever is answered now came after the wait began
            assert httpx2.get(f"{running.urls['phone']}/health", trust_env=False).status_code == 200
        assert running.end() == (0, "")


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    initialise(load_settings(directory=tmp_path / "sandbox"), SystemRandomness())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = tmp_path / "sandbox.toml"
        config.write_text(f'directory = "sandbox"\n{FREE_PORTS}'.replace("phone = 0", f"phone = {port}"))
        command = [sys.executable, "-m", "sandbox", "serve", "--config", str(config)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode != 0
    assert ended.stderr == f"sandbox: port {port} (phone) cannot be used: Address already in use\n"
