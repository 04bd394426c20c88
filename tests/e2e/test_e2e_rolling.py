"""A rolling restart from outside: requests that come all the time, and none that fails (OPS-2)."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.harness import Platform, make_platform
from tsp.core.settings import ROLES

pytestmark = pytest.mark.xdist_group("rolling")

#: What is asked of each face; only the log and the identity provider need the database for it.
PATHS = {
    "sign": "/",
    "idp": "/.well-known/openid-configuration",
    "validate": "/",
    "tsa": "/health",
    "qtsa": "/health",
    "ocsp": "/health",
    "repository": "/root.crl",
    "log": "/checkpoint",
}


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Platform]:
    """A platform under `tsp serve`, two processes of each role."""
    made = make_platform(tmp_path, count=2)
    made.initialise()
    try:
        made.start_witness()
        made.start_process("platform", "-m", "tsp", "serve")
        made.wait_for_faces(PATHS)
        made.wait_for_checkpoint()
        yield made
    finally:
        made.stop()


def children(platform: Platform) -> dict[str, int]:
    """The supervisor's processes: role and number, and process id."""
    parent = str(platform.processes["platform"].pid)
    told = subprocess.run(
        ["pgrep", "-a", "-P", parent, "-f", "--", "--role"], capture_output=True, text=True, check=False
    )
    found = {}
    for line in told.stdout.splitlines():
        words = line.split()
        found[f"{words[words.index('--role') + 1]}.{words[words.index('--number') + 1]}"] = int(words[0])
    return found


class Traffic:
    """Asks one face again and again, on a connection that is kept and on new ones; counts what fails."""

    def __init__(self, url: str) -> None:
        self.url, self.answered, self.failed = url, 0, list[str]()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(keep,)) for keep in (True, False)]
        for thread in self._threads:
            thread.start()

    def _run(self, keep: bool) -> None:
        with httpx2.Client(timeout=60) as client:
            while not self._stop.wait(0.02):
                try:
                    answer = client.get(self.url, headers={} if keep else {"connection": "close"})
                except httpx2.HTTPError as error:
                    self.failed.append(repr(error))
                    continue
                self.answered += 1
                if answer.status_code >= 500:
                    self.failed.append(str(answer.status_code))

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(90)


@pytest.mark.requirement("OPS-2")
def test_no_request_fails_while_one_process_after_the_other_restarts(supervised: Platform) -> None:
    before = children(supervised)
    assert len(before) == 2 * len(ROLES)
    traffic = {face: Traffic(supervised.urls[face] + path) for face, path in PATHS.items()}
    pause = threading.Event()
    try:
        for number in ("1", "2"):
            ended = {name: pid for name, pid in before.items() if name.endswith(f".{number}")}
            answered = {face: one.answered for face, one in traffic.items()}
            for pid in ended.values():
                os.kill(pid, signal.SIGTERM)
            for _ in range(900):
                now = children(supervised)
                fresh = all(now.get(name, pid) != pid for name, pid in ended.items())
                if fresh and all(one.answered > answered[face] + 5 for face, one in traffic.items()):
                    break
                pause.wait(0.1)
            else:
                pytest.fail(f"not all processes came back: {children(supervised)} after {ended}")
    finally:
        for one in traffic.values():
            one.end()
    assert {face: one.failed for face, one in traffic.items()} == {face: [] for face in PATHS}
    assert not set(before.values()) & set(children(supervised).values())
    supervised.wait_for_faces(())
