"""Runs the processes of every role and keeps all of them running.

A process that ends is started again, with a pause that grows while it keeps failing. SIGTERM and
SIGINT end every child and then the supervisor; a child that does not end in time is killed. SIGHUP
restarts one child after the other, each only when the one before has stayed up for a while.
"""

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tsp.core.clock import Clock

STOP_SECONDS = 10.0
#: How long a process must have been up before the next one of a rolling restart is ended.
SETTLE_SECONDS = 3.0
_PAUSES = (0.2, 1.0, 5.0, 15.0)
#: A role that ended in order wants to begin anew (its token is back): that is no failure.
_IN_ORDER = (0, -signal.SIGTERM)


@dataclass
class Child:
    """One process and how often it failed in a row. `listener` is a socket that it is handed and we keep."""

    name: str
    command: Sequence[str]
    listener: socket.socket | None = None
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    wait_until: float = 0.0
    asked: bool = False


@dataclass
class Supervisor:
    """Keeps children running until it is told to stop."""

    clock: Clock
    say: Callable[[str], None]
    children: list[Child] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    #: Children that still have to be restarted because of a SIGHUP, the next one first.
    _due: list[Child] = field(default_factory=list)

    def add(self, name: str, command: Sequence[str], listener: socket.socket | None = None) -> None:
        """Plans a child; `run` starts it."""
        self.children.append(Child(name, command, listener))

    def run(self) -> None:
        """Starts everything and returns when everything has ended."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stopping.set())
        signal.signal(signal.SIGHUP, lambda *_: self._due.extend(c for c in self.children if c not in self._due))
        try:
            while not self.stopping.is_set():
                for child in self.children:
                    self._tend(child)
                self._restart_next()
                self.stopping.wait(0.2)
        finally:
            self._stop()

    def _restart_next(self) -> None:
        """Ends the next child of a rolling restart, once all the others have been up for a while."""
        now = self.clock.monotonic()
        if self._due and all(c.process is not None and now - c.started > SETTLE_SECONDS for c in self.children):
            child = self._due.pop(0)
            assert child.process is not None
            child.asked = True
            child.process.terminate()

    def _tend(self, child: Child) -> None:
        now = self.clock.monotonic()
        if child.process is None:
            if now >= child.wait_until:
                # A session of its own: a Ctrl-C in the terminal reaches the supervisor alone, which ends all in order.
                handed = [child.listener.fileno()] if child.listener else []
                child.process = subprocess.Popen(child.command, start_new_session=True, pass_fds=handed)
                child.started = now
            return
        code = child.process.poll()
        if code is None:
            return
        child.process = None
        if child.asked:
            child.asked, child.wait_until = False, now
            return
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


def role_command(role: str, number: int = 1, listener: socket.socket | None = None) -> list[str]:
    """The command line that runs one process of a role with the same interpreter."""
    handed = ["--fd", str(listener.fileno())] if listener else []
    return [sys.executable, "-m", "tsp", "serve", "--role", role, "--number", str(number), *handed]
