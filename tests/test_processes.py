"""Processes of a role: the supervisor's rolling restart, handed sockets, and the list of what may happen once."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tsp import supervisor
from tsp.core.clock import SystemClock
from tsp.core.errors import Invalid, Unavailable
from tsp.core.settings import ROLES, load_settings, process_name
from tsp.serving import inherited_socket, listening_socket
from tsp.supervisor import Supervisor, role_command

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def handlers() -> Iterator[None]:
    """The supervisor takes the process's signals; afterwards they are as before."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def until(seen: Callable[[], bool]) -> None:
    """A bounded wait."""
    pause = threading.Event()
    for _ in range(600):
        if seen():
            return
        pause.wait(0.05)
    raise AssertionError("it did not happen")


@pytest.mark.requirement("OPS-2")
def test_a_hangup_restarts_one_child_after_the_other(handlers: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "SETTLE_SECONDS", 0.1)
    said: list[str] = []
    house = Supervisor(SystemClock(), said.append)
    for name in ("idp", "idp.2", "engine"):
        house.add(name, ["sleep", "60"])
    fewest = [3]

    def pids() -> list[int]:
        found = [c.process.pid for c in house.children if c.process is not None and c.process.poll() is None]
        fewest[0] = min(fewest[0], len(found))
        return found

    failed: list[BaseException] = []

    def watch() -> None:
        try:
            until(lambda: len(pids()) == 3)
            before, fewest[0] = set(pids()), 3
            os.kill(os.getpid(), signal.SIGHUP)
            until(lambda: len(pids()) == 3 and not before & set(pids()))
        except AssertionError as error:
            failed.append(error)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    watching = threading.Thread(target=watch)
    watching.start()
    house.run()
    watching.join()
    assert not failed
    assert fewest[0] == 2, "never more than one was away"
    assert said == [], "what was asked for is no failure"


def test_a_child_is_handed_its_socket_and_its_number() -> None:
    with socket.socket() as one:
        command = role_command("idp", 2, one)
        assert command[-6:] == ["--role", "idp", "--number", "2", "--fd", str(one.fileno())]
    assert role_command("engine")[-4:] == ["--role", "engine", "--number", "1"]


_SERVER = """
import sys
from tsp.serving import inherited_socket, serve

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})

serve(app, "idp", inherited_socket(int(sys.argv[1])))
"""
_REQUEST = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"


def start_server(listener: socket.socket) -> subprocess.Popen[bytes]:
    """A process that serves from a socket that this one keeps."""
    command = [sys.executable, "-c", _SERVER, str(listener.fileno())]
    return subprocess.Popen(command, cwd=ROOT, pass_fds=[listener.fileno()])


def ask(stream: socket.socket) -> bytes:
    """One more request on a connection; its whole answer, empty where the connection was closed without one."""
    stream.sendall(_REQUEST)
    answer = b""
    while not answer.endswith(b"0\r\n\r\n") and (piece := stream.recv(4096)):
        answer += piece
    return answer


@pytest.mark.requirement("OPS-2")
def test_a_process_that_ends_answers_once_more_and_its_successor_takes_who_waits() -> None:
    with socket.socket() as listener, socket.socket() as kept, socket.socket() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        for stream in (kept, waiting):
            stream.settimeout(60)
        first = start_server(listener)
        kept.connect(listener.getsockname())
        assert b"connection: close" not in ask(kept)
        first.terminate()
        last = ask(kept)
        while last and b"connection: close" not in last:
            last = ask(kept)
        assert last.startswith(b"HTTP/1.1 200"), "the connection was closed without a farewell"
        assert first.wait(30) in (0, -signal.SIGTERM)
        waiting.connect(listener.getsockname())
        second = start_server(listener)
        try:
            assert ask(waiting).startswith(b"HTTP/1.1 200")
        finally:
            second.terminate()
            waiting.close()
            second.wait(30)


def test_only_a_listening_socket_is_taken(tmp_path: Path) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        with pytest.raises(Invalid, match="socket-not-listening"):
            inherited_socket(os.dup(one.fileno()))
        one.listen()
        with inherited_socket(os.dup(one.fileno())) as taken:
            assert taken.getsockname() == one.getsockname()
    with (tmp_path / "file").open("w") as file, pytest.raises(Invalid, match="socket-not-listening"):
        inherited_socket(file.fileno())


@pytest.mark.requirement("OPS-1")
def test_a_port_that_somebody_has_is_one_clear_sentence() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        other.listen()
        with pytest.raises(Unavailable, match=f"127.0.0.1:{port} cannot be listened on"):
            listening_socket("127.0.0.1", f"http://localhost:{port}")


@pytest.mark.requirement("OPS-2")
def test_every_role_can_have_several_processes() -> None:
    settings = load_settings(ROOT / "conf" / "tsp.toml")
    assert [settings.count(role) for role in ROLES] == [1] * len(ROLES)
    assert [process_name("idp", number) for number in (1, 2, 3)] == ["idp", "idp.2", "idp.3"]


@pytest.mark.requirement("OPS-2", "CSC-2")
def test_what_may_happen_once_is_tried_by_five() -> None:
    """Every line of the list names tests that are there."""
    text = (ROOT / "docs" / "once.md").read_text()
    named = re.findall(r"`(tests/[\w/.]+)::(\w+)`", text)
    assert len(named) >= 15
    for file, test in named:
        assert f"def {test}(" in (ROOT / file).read_text(), f"{file}::{test}"
