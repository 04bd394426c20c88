"""An operator's day: making, examining and running an installation, and what each mistake is answered with."""

import json
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from tests.e2e.conftest import Story
from tests.harness import Platform, listening, make_platform


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """An installation that is made but not running."""
    made = make_platform(tmp_path_factory.mktemp("idle"))
    made.initialise()
    return made


def diagnoses(platform: Platform) -> dict[str, dict[str, object]]:
    done = platform.tsp("doctor", "--json", check=False)
    return {d["subject"]: d for d in json.loads(done.stdout)}


@pytest.mark.requirement("OPS-1")
def test_an_installation_is_made_once(idle: Platform) -> None:
    before = sorted(p.name for p in idle.var.rglob("*"))
    done = idle.tsp("init", check=False)
    assert done.returncode == 2
    assert "already-initialised" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(p.name for p in idle.var.rglob("*")) == before


@pytest.mark.requirement("OPS-1", "SEC-1")
def test_secrets_are_for_their_owner_alone(idle: Platform) -> None:
    secrets = [*(idle.var / "pins").iterdir(), *(idle.var / "sandbox").glob("*.token")]
    assert len(secrets) >= 14
    assert all(path.stat().st_mode & 0o077 == 0 for path in secrets)
    assert idle.var.stat().st_mode & 0o077 == 0


@pytest.mark.requirement("OPS-1")
def test_two_installations_share_no_pin(idle: Platform, platform: Platform) -> None:
    pins = [p.read_text() for made in (idle, platform) for p in (made.var / "pins").iterdir()]
    assert len(set(pins)) == len(pins)


@pytest.mark.requirement("OPS-1")
def test_doctor_says_what_to_do_before_anything_exists(tmp_path: Path) -> None:
    done = make_platform(tmp_path).tsp("doctor", check=False)
    assert done.returncode == 1
    assert "tsp init" in done.stdout


@pytest.mark.requirement("OPS-1")
def test_doctor_finds_an_open_pin_file_and_a_wrong_pin(idle: Platform) -> None:
    pin = idle.var / "pins" / "ocsp.pin"
    right = pin.read_bytes()
    try:
        pin.chmod(0o644)
        found = diagnoses(idle)
        assert not found["PIN files"]["well"]
        assert not found["token ocsp"]["well"]
        pin.chmod(0o600)
        pin.write_bytes(b"000000-wrong")
        found = diagnoses(idle)
        assert found["token ocsp"]["seen"] == "pin-wrong"
        assert found["token ocsp"]["advice"]
    finally:
        pin.write_bytes(right)
        pin.chmod(0o600)
    assert diagnoses(idle)["token ocsp"]["well"]


@pytest.mark.requirement("OPS-1")
def test_doctor_finds_roles_that_do_not_run(idle: Platform) -> None:
    found = diagnoses(idle)
    assert not found["face sign"]["well"]
    assert "tsp serve" in str(found["face sign"]["advice"])


def test_a_mistake_in_the_configuration_is_one_line(idle: Platform, tmp_path: Path) -> None:
    conf = idle.directory / "conf" / "tsp.toml"
    broken = idle.directory / "conf" / "broken.toml"
    broken.write_text(conf.read_text().replace('mode = "demo"', 'mode = "demo"\nmod = 1', 1))
    done = idle.tsp("--config", str(broken), "doctor", check=False)
    assert done.returncode == 2
    assert "mod: unknown key, did you mean mode?" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.requirement("OPS-1")
def test_production_takes_neither_software_tokens_nor_a_demos_authorities(idle: Platform) -> None:
    conf = idle.directory / "conf" / "tsp.toml"
    text = conf.read_text().replace('mode = "demo"', 'mode = "production"').replace("http://", "https://")
    strict = idle.directory / "conf" / "production.toml"
    strict.write_text(text.replace('security = "plain"', 'security = "tls"'))
    done = idle.tsp("--config", str(strict), "serve", "--role", "tsa", check=False)
    assert done.returncode == 2
    assert "mode-mismatch" in done.stderr
    done = idle.tsp("--config", str(strict), "doctor", check=False)
    assert done.returncode == 1
    assert "hsm-not-configured" in done.stdout


@pytest.mark.requirement("OPS-1")
def test_serve_keeps_every_role_running_and_ends_all_of_them(idle: Platform) -> None:
    idle.start_sandbox()
    idle.start_process("platform", "-m", "tsp", "serve")
    try:
        idle.wait_until_up()
        supervisor = idle.processes["platform"].pid
        asked = subprocess.run(["pgrep", "-P", str(supervisor), "-f", "role tsa"], capture_output=True, check=True)
        killed = int(asked.stdout.split()[0])
        os.kill(killed, signal.SIGKILL)
        port = int(idle.urls["tsa"].rsplit(":", 1)[1])
        pause = threading.Event()
        for _ in range(300):
            again = subprocess.run(["pgrep", "-P", str(supervisor), "-f", "role tsa"], capture_output=True, check=False)
            if again.stdout.split() and int(again.stdout.split()[0]) != killed and listening(port):
                break
            pause.wait(0.1)
        else:
            pytest.fail("the time-stamping role was not started again")
    finally:
        idle.stop()
    assert not any(listening(int(url.rsplit(":", 1)[1])) for name, url in idle.urls.items() if name in ("sign", "tsa"))


@pytest.mark.requirement("OPS-1", "SIG-6")
def test_logs_tell_nothing_of_the_person(platform: Platform, story: Story) -> None:
    person = story.summary["person"]
    private = [str(value) for value in person.values() if isinstance(value, str) and len(value) >= 6]
    assert len(private) >= 4
    told = "".join(path.read_text() for path in platform.directory.glob("*.log") if path.stem != "sandbox")
    assert told
    for value in private:
        assert value not in told


def test_the_person_maker_prints_credentials(platform: Platform) -> None:
    done = platform.sandbox_command(
        "sandbox.person", "new", "--level", "substantial", "--json", "--config", str(platform.sandbox_config)
    )
    told = json.loads(done.stdout)
    assert told["password"]
    assert told["puk"]
