"""Runs one process for each role and keeps all of them running.

A role that ends is started again, with a pause that grows while it keeps failing. SIGTERM and
SIGINT end every child and then the supervisor; a child that does not end in time is killed.
"""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tsp.core.clock import Clock

STOP_SECONDS = 10.0
_PAUSES = (0.2, 1.0, 5.0, 15.0)
#: A role that ended in order wants to begin anew (its token is back): that is no failure.
_IN_ORDER = (0, -signal.SIGTERM)


@dataclass
class Child:
    """One role's process and how often it failed in a row."""

    name: str
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    wait_until: float = 0.0


@dataclass
class Supervisor:
    """Keeps children running until it is told to stop."""

    clock: Clock
    say: Callable[[str], None]
    children: list[Child] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def add(self, name: str, command: Sequence[str]) -> None:
        """Plans a child; `run` starts it."""
        self.children.append(Child(name, command))

    def run(self) -> None:
        """Starts everything and returns when everything has ended."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stopping.set())
        try:
            while not self.stopping.is_set():
                for child in self.children:
                    self._tend(child)
                self.stopping.wait(0.2)
        finally:
            self._stop()

    def _tend(self, child: Child) -> None:
        now = self.clock.monotonic()
        if child.process is None:
            if now >= child.wait_until:
                # A session of its own: a Ctrl-C in the terminal reaches the supervisor alone, which ends all in order.
                child.process = subprocess.Popen(child.command, start_new_session=True)
                child.started = now
            return
        code = child.process.poll()
        if code is None:
            return
        child.process = None
        child.failures = 0 if code in _IN_ORDER or now - child.started > 60 else child.failures + 1
        pause = _PAUSES[min(child.failures, len(_PAUSES) - 1)]
        child.wait_until = now + pause
        self.say(f"{child.name} ended with code {code}; starting it again in {pause:g} s")

    def _stop(self) -> None:
        running = [c for c in self.children if c.process is not None]
        for child in running:
            assert child.process is not None
            child.process.terminate()
        deadline = self.clock.monotonic() + STOP_SECONDS
        for child in running:
            assert child.process is not None
            try:
                child.process.wait(max(0.1, deadline - self.clock.monotonic()))
            except subprocess.TimeoutExpired:
                self.say(f"{child.name} did not end in time and was killed")
                child.process.kill()
                child.process.wait()


def role_command(role: str) -> list[str]:
    """The command line that runs one role with the same interpreter."""
    return [sys.executable, "-m", "tsp", "serve", "--role", role]
