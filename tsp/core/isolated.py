"""Runs functions on hostile input in a process that has nothing to lose.

A small "nursery" process is started with an empty environment and no open files of ours. It
imports the worker modules once and forks a child for each job; the child gets limits on memory,
processor time, file size and open files, does one job, answers and ends. Whatever happens to the
child, the caller gets a result or a coded error within the time limit.

Wire format on the nursery's Unix socket, each way one frame: 4 bytes length, JSON header, and the
named files behind it in the header's order.
"""

import contextlib
import importlib
import json
import math
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tsp.core.clock import Clock, SystemClock
from tsp.core.errors import Invalid, Refused, TspError, Unavailable

Files = dict[str, bytes]
_MAX_FRAME = 512 * 1024 * 1024
#: The modules whose functions may be called; imported once, before the first job.
WORKER_MODULES = ("tsp.formats.pades_worker", "tsp.validate.worker")


@dataclass(frozen=True)
class IsolationLimits:
    """What one job may use: seconds of wall and of processor time, bytes of address space and of a file.

    Without `processor_seconds` both times are the same. A shorter one stops what is hostile as soon on
    a busy machine as on an idle one, while what is good may wait for its turn.
    """

    seconds: float = 30.0
    processor_seconds: int | None = None
    memory: int = 2 * 1024**3
    file_size: int = 256 * 1024**2
    jobs: int = 4


class Isolated:
    """The caller's side: starts the nursery at first use, and again if it is gone."""

    def __init__(
        self,
        limits: IsolationLimits | None = None,
        modules: tuple[str, ...] = WORKER_MODULES,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self.limits = limits or IsolationLimits()
        self._modules = modules
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(self.limits.jobs)
        self._process: subprocess.Popen[bytes] | None = None
        self._directory: tempfile.TemporaryDirectory[str] | None = None

    def run(
        self, function: str, arguments: Mapping[str, Any], files: Mapping[str, bytes] | None = None
    ) -> tuple[dict[str, Any], Files]:
        """Calls `module:function(arguments, files) -> (dict, files)` in a fresh child.

        Raises the `Invalid` or `Refused` that the function raised; `Invalid` (document-too-complex)
        when it ran out of time or memory, or died; `Unavailable` (worker-unavailable) when no child
        could be had.
        """
        with self._slots:
            try:
                with self._connect() as stream:
                    return self._exchange(stream, function, arguments, files or {})
            except OSError as error:
                raise Unavailable(
                    "worker-unavailable", "The document service is restarting. Please try again in a moment."
                ) from error

    def close(self) -> None:
        """Ends the nursery and every child."""
        with self._lock:
            self._stop()

    def _exchange(
        self, stream: socket.socket, function: str, arguments: Mapping[str, Any], files: Mapping[str, bytes]
    ) -> tuple[dict[str, Any], Files]:
        pid = 0
        # One deadline for all: a child that was taken over could else keep its caller with an octet now and then.
        deadline = self._clock.monotonic() + self.limits.seconds

        def left() -> float:
            return deadline - self._clock.monotonic()

        stream.settimeout(self.limits.seconds)
        try:
            pid = struct.unpack(">I", _exactly(stream, 4, left))[0]
            _send(stream, {"function": function, "arguments": dict(arguments)}, files)
            answer, produced = _receive(stream, left)
        except (TimeoutError, EOFError, ConnectionError, struct.error):
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            raise Invalid(
                "document-too-complex",
                "This document could not be processed. Save it anew as a plain PDF and try again.",
            ) from None
        if "error" in answer:
            kind = Refused if answer["error"]["kind"] == Refused.kind else Invalid
            raise kind(answer["error"]["code"], answer["error"]["sentence"], **answer["error"]["facts"])
        return answer["result"], produced

    def _connect(self) -> socket.socket:
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._start()
            assert self._directory is not None
            stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            stream.connect(str(Path(self._directory.name) / "nursery.sock"))
            return stream

    def _start(self) -> None:
        self._stop()
        self._directory = tempfile.TemporaryDirectory(prefix="enkrat-worker-")
        root = Path(__file__).resolve().parents[2]
        limits = self.limits
        command = [sys.executable, "-m", "tsp.core.isolated", self._directory.name]
        command += [
            str(limits.processor_seconds or math.ceil(limits.seconds)),
            str(limits.memory),
            str(limits.file_size),
            *self._modules,
        ]
        self._process = subprocess.Popen(
            command,
            env={"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": self._directory.name},
            cwd=root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            close_fds=True,
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            raise OSError("nursery did not start")

    def _stop(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None and self._process.stdout is not None
            self._process.stdin.close()
            self._process.stdout.close()
            self._process.terminate()
            self._process.wait()
            self._process = None
        if self._directory is not None:
            self._directory.cleanup()
            self._directory = None


def _send(stream: socket.socket, header: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
    head = json.dumps({**header, "files": {name: len(content) for name, content in files.items()}}).encode()
    stream.sendall(struct.pack(">I", len(head)) + head)
    for content in files.values():
        stream.sendall(content)


def _receive(stream: socket.socket, left: Callable[[], float] | None = None) -> tuple[dict[str, Any], Files]:
    (size,) = struct.unpack(">I", _exactly(stream, 4, left))
    header: dict[str, Any] = json.loads(_exactly(stream, size, left))
    return header, {name: _exactly(stream, length, left) for name, length in header.pop("files").items()}


def _exactly(stream: socket.socket, size: int, left: Callable[[], float] | None = None) -> bytes:
    """So many octets, while seconds are `left`. Raises `EOFError`, `TimeoutError`."""
    if not 0 <= size <= _MAX_FRAME:
        raise EOFError("frame over the limit")
    buffer = bytearray()
    while len(buffer) < size:
        if left is not None:
            stream.settimeout(max(left(), 0.001))
        piece = stream.recv(min(size - len(buffer), 1 << 20))
        if not piece:
            raise EOFError("connection ended early")
        buffer += piece
    return bytes(buffer)


def _nursery(directory: str, seconds: int, memory: int, file_size: int, modules: Sequence[str]) -> None:
    """The nursery's life: fork a child for each connection until the owner closes our standard input.

    It has one thread only: a fork beside another thread can copy a lock that nobody will ever open.
    """
    for module in modules:
        importlib.import_module(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(f"{directory}/nursery.sock")
        os.chmod(f"{directory}/nursery.sock", 0o600)
        listener.listen(64)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        owner = sys.stdin.fileno()
        while owner not in select.select([listener, owner], [], [])[0]:
            stream, _ = listener.accept()
            with stream:
                if os.fork() == 0:
                    listener.close()
                    _child(stream, seconds, memory, file_size, modules)


def _child(stream: socket.socket, seconds: int, memory: int, file_size: int, modules: Sequence[str]) -> None:
    """One job; never returns."""
    try:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        sys.setrecursionlimit(2000)
        _close_standard_streams()
        stream.sendall(struct.pack(">I", os.getpid()))
        request, files = _receive(stream)
        _send(stream, *_call(request, files, modules))
        os._exit(0)
    except BaseException:  # noqa: BLE001  (last line of defence: nothing may run on in this child)
        # The caller sees the closed connection; a traceback could hold parts of the document.
        os._exit(1)


def _close_standard_streams() -> None:
    """What a library prints about a document goes nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _call(request: dict[str, Any], files: Files, modules: Sequence[str]) -> tuple[dict[str, Any], Files]:
    module, _, name = request["function"].partition(":")
    if module not in modules or name.startswith("_"):
        raise ValueError("function not offered")
    try:
        result, produced = getattr(sys.modules[module], name)(request["arguments"], files)
    except TspError as error:
        facts = {"kind": error.kind, "code": error.code, "sentence": error.sentence, "facts": error.facts}
        return {"error": facts}, {}
    return {"result": result}, produced


if __name__ == "__main__":
    _nursery(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:])
