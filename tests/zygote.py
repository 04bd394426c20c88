"""Forks processes that tests may kill: importing everything once, in a zygote, is enough for all of them.

    zygote.run(job, job)     forks a worker for each job, at the same moment; how each ended
    zygote.start(job)        forks a worker that goes on; its process id
    zygote.end(process)      waits for that one's end

A job is a JSON object whose `work` names a function, "module:function". It is called with the job and
with `begin`, which it calls when it is ready: all jobs of one `run` go on together. It ends with what the
function returned, with "killed", or with "" where the function failed (its traceback is on the terminal).
"""

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from enum import StrEnum
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine
from sqlalchemy.orm import configure_mappers

Job = dict[str, Any]
Begin = Callable[[], None]
#: By process id: the pipe that it answers on, and its gate, whose shared memory would be given away without it.
Running = dict[int, tuple[int, Barrier]]

_ROOT = Path(__file__).resolve().parent.parent


class Zygote:
    """The tests' end."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.zygote"], cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, *jobs: Job) -> list[str]:
        """Runs the jobs at the same time; how each ended."""
        ends: list[str] = self._ask({"end": self._ask({"start": jobs})})
        return ends

    def start(self, job: Job) -> int:
        """Starts one job; the id of its process."""
        [process] = self._ask({"start": [job]})
        return int(process)

    def end(self, process: int) -> str:
        """Waits for the end of a job that was started."""
        [told] = self._ask({"end": [process]})
        return str(told)

    def close(self) -> None:
        """Ends the zygote; workers that nobody waited for are killed."""
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(timeout=20)

    def _ask(self, command: Job) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def fatal(job: Job) -> Callable[[StrEnum], None]:
    """A hook that ends this process without any goodbye after step `step` of the job, the `nth` time (the first)."""
    left = [job.get("nth", 1)]

    def hook(step: StrEnum) -> None:
        left[0] -= step == job.get("step")
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


def _work(job: Job, gate: Barrier, out: int) -> None:
    """One forked worker's life; ends the process."""
    try:
        module, _, name = job["work"].partition(":")
        told = getattr(import_module(module), name)(job, lambda: gate.wait(timeout=30))
        os.write(out, told.encode())
    except BaseException:  # noqa: BLE001  (told on the terminal, then the process ends)
        traceback.print_exc()
    finally:
        os._exit(0)


def _start(jobs: list[Job], running: Running) -> list[int]:
    """Forks a worker for each job; their process ids."""
    gate, started = get_context("fork").Barrier(len(jobs)), []
    for job in jobs:
        import_module(job["work"].partition(":")[0])
        configure_mappers()
        read, write = os.pipe()
        process = os.fork()
        if process == 0:
            os.close(read)
            _work(job, gate, write)
        os.close(write)
        running[process] = read, gate
        started.append(process)
    return started


def _end(process: int, running: Running) -> str:
    read, _gate = running.pop(process)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    _, status = os.waitpid(process, 0)
    return "killed" if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL else text


def _serve() -> None:
    for url in ("sqlite://", "postgresql+psycopg://"):
        create_engine(url)  # loads the drivers before anything is forked; nothing is connected
    running: Running = {}
    for line in sys.stdin:
        command = json.loads(line)
        answer: list[Any] = [_end(process, running) for process in command.get("end", ())]
        answer += _start(command.get("start", []), running)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    for process in running:
        os.kill(process, signal.SIGKILL)


if __name__ == "__main__":
    _serve()
