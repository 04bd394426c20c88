"""An installation with real processes: what goes wrong, what its faces and its doctor say, and that it mends itself."""

import json
import os
import signal
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.faces import moved_away
from tests.harness import Platform, make_platform
from tsp.core.errors import TspError, Unavailable
from tsp.core.outbound import Outbound
from tsp.engine.protocol import EngineClient

pytestmark = pytest.mark.requirement("OPS-1")

SUPERVISE = """
import sys
from tsp.core.clock import SystemClock
from tsp.supervisor import Supervisor, role_command
supervisor = Supervisor(SystemClock(), lambda line: print(line, file=sys.stderr, flush=True))
for role in sys.argv[1:]:
    supervisor.add(role, role_command(role))
supervisor.run()
"""


class House:
    """An installation in which the status responder and the signing engine run under a supervisor."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.outbound = Outbound(internal=frozenset({platform.urls["ocsp"].removeprefix("http://")}))

    def health(self) -> dict[str, Any]:
        """What the responder says of itself; `{}` while it does not run."""
        try:
            answer = self.outbound.request("GET", f"{self.platform.urls['ocsp']}/health", timeout=5)
        except Unavailable:
            return {}
        told: dict[str, Any] = json.loads(answer.body)
        return {**told, "http": answer.status}

    def engine(self) -> str:
        """What the engine says of itself, in one word."""
        try:
            status = EngineClient(self.platform.var / "run" / "engine.sock", timeout=10).status()
        except TspError as error:
            return error.code
        return "ready" if status.token_present and status.clock_sound and not status.suspended else "troubled"

    def well(self) -> bool:
        return self.health().get("http") == 200 and self.engine() == "ready"

    def doctor(self) -> dict[str, dict[str, Any]]:
        done = self.platform.tsp("doctor", "--json", check=False)
        return {d["subject"]: d for d in json.loads(done.stdout)}

    def token(self, name: str) -> Path:
        """Where SoftHSM keeps a token."""
        label = f"enkrat-{name}".encode()
        (found,) = [p.parent for p in (self.platform.var / "tokens").rglob("token.object") if label in p.read_bytes()]
        return found


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """A bounded wait."""
    pause = threading.Event()
    for _ in range(int(seconds / 0.1)):
        if condition():
            return
        pause.wait(0.1)
    pytest.fail("it did not come to that in time")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    platform = make_platform(tmp_path_factory.mktemp("storm"))
    platform.initialise()
    made = House(platform)
    platform.start_process("supervisor", "-c", SUPERVISE, "ocsp", "engine")
    until(made.well)
    yield made
    platform.stop()


@pytest.mark.requirement("SEC-1")
def test_a_wrong_pin_after_a_restart_is_tried_once_and_its_correction_is_enough(house: House) -> None:
    pin = house.platform.var / "pins" / "ocsp.pin"
    mark = house.platform.var / "run" / "ocsp.pin-refused"
    right = pin.read_bytes()
    pin.write_bytes(b"000000-wrong")
    [child] = _children(house.platform.processes["supervisor"].pid, "role ocsp")
    os.kill(child, signal.SIGKILL)
    until(mark.exists)
    assert house.engine() == "ready"
    pin.write_bytes(right)
    until(house.well)
    assert not mark.exists()
    assert "Traceback" not in house.platform.log("supervisor")


@pytest.mark.requirement("SIG-1")
def test_tokens_lost_and_back_without_anybodys_hand(house: House) -> None:
    var = house.platform.var
    with moved_away(house.token("ocsp")), moved_away(house.token("ca")):
        until(lambda: house.health().get("troubles") == ["token-gone"])
        assert house.health()["http"] == 503
        assert house.engine() == "hsm-unavailable"
        found = house.doctor()
        assert found["token ocsp"]["seen"] == found["token ca"]["seen"] == "token-missing"
        assert found["face ocsp"]["seen"].endswith("answers 503 token-gone")
        assert "Bring the token back" in found["face ocsp"]["advice"]
        assert found["engine"]["seen"] == "hsm-unavailable"
        assert "Bring the token back" in found["engine"]["advice"]
        assert found["database"]["well"] and found["token tsu"]["well"]
    until(house.well)
    assert (var / "run" / "engine.sock").exists()
    told = house.platform.log("supervisor")
    assert "engine ended with code 0" in told
    assert "ocsp ended with code 0" in told
    assert "Traceback" not in told


@pytest.mark.requirement("SEC-1")
def test_the_doctor_tries_no_pin_where_that_could_lock_a_token(house: House) -> None:
    """The flags of PKCS#11 (USER_PIN_FINAL_TRY, USER_PIN_LOCKED) are set in what SoftHSM keeps of two tokens.

    A third one has another PIN than its file says.
    """
    pin = house.platform.var / "pins" / "site.pin"
    right = pin.read_bytes()
    pin.write_bytes(b"000000-wrong")
    kept = {name: house.token(name) / "token.object" for name in ("tsu", "log")}
    before = {name: path.read_bytes() for name, path in kept.items()}
    for name, flag in (("tsu", 0x20000), ("log", 0x40000)):
        kept[name].write_bytes(_with_flag(before[name], flag))
    try:
        found = house.doctor()
        assert found["token tsu"]["seen"] == "pin-at-last-try"
        assert "vendor's tool" in found["token tsu"]["advice"]
        assert found["token log"]["seen"] == "pin-locked"
        assert "security officer" in found["token log"]["advice"]
        flags = {name: _flags(path.read_bytes()) for name, path in kept.items()}
        assert all(flags[name] == _flags(before[name]) | flag for name, flag in (("tsu", 0x20000), ("log", 0x40000)))
        assert found["token site"]["seen"] == "pin-wrong"
        assert found["token ca"]["well"]
    finally:
        pin.write_bytes(right)
        for name, content in before.items():
            kept[name].write_bytes(content)


def test_a_database_lost_and_back_under_running_roles(house: House) -> None:
    pids = _children(house.platform.processes["supervisor"].pid, "role")
    with moved_away(house.platform.var / "enkrat.db"):
        found = house.doctor()
        assert found["database"]["seen"].endswith("database-unavailable")
        assert "put the file back" in found["database"]["advice"]
        assert "outbox" not in found  # what cannot be asked is not told as wrong, too
        assert found["token ca"]["well"]
    found = house.doctor()
    assert all(found[name]["well"] for name in ("database", "token tsu", "token log", "token site", "engine"))
    assert _children(house.platform.processes["supervisor"].pid, "role") == pids
    assert house.well()


def _children(parent: int, words: str) -> list[int]:
    """The processes that a process started, by their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue  # it ended while we looked
        if int(fields[1]) == parent and words in command:
            found.append(int(path.name))
    return sorted(found)


#: SoftHSM's own attribute for the flags of a token: type, kind (2 is a number), value, each of eight octets.
_FLAGS = struct.pack(">QQ", 0x8000534B, 2)


def _flags(stored: bytes) -> int:
    place = stored.index(_FLAGS) + len(_FLAGS)
    return int.from_bytes(stored[place : place + 8], "big")


def _with_flag(stored: bytes, flag: int) -> bytes:
    place = stored.index(_FLAGS) + len(_FLAGS)
    return stored[:place] + (_flags(stored) | flag).to_bytes(8, "big") + stored[place + 8 :]
