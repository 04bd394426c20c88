"""A process that forks one engine after the other for the fault tests: importing everything once is enough.

Reads one JSON line a job from standard input, forks, lets the child sign and kill itself where the
job says, and answers with the child's end: "killed", or the text that the child wrote.
"""

import fcntl
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from joserfc.jwk import ECKey

import hsm
from hsm import softhsm
from tests.engine.engine_kit import NOW, Room
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.errors import TspError
from tsp.engine.onetime import Step
from tsp.engine.protocol import SignRequest


def suicide(after: int) -> Callable[[Step], None]:
    """Ends this process without any goodbye at the `after`-th step."""
    left = [after]

    def hook(_step: Step) -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


def work(job: dict[str, Any], gate: Barrier) -> str:
    """Signs as an engine of the job's room does, at the same moment as the other jobs."""
    with (Path(job["directory"]) / "opening").open("w") as turn:
        # SoftHSM rewrites the token's own record at every login: two at once may read half of it.
        fcntl.flock(turn, fcntl.LOCK_EX)
        token = hsm.Token.open(softhsm.find_module(), job["token"], job["pin"])
    gate.wait(timeout=30)
    room = Room(
        Path(job["directory"]),
        Database(job["database"]),
        token,
        bytes.fromhex(job["issuer"]),
        SettableClock(NOW),
        ECKey.import_key(job["key"]),
    )
    with room.engine(on_step=suicide(job["after"])) as engine:
        try:
            (first, *_) = engine.sign(SignRequest(job["approval"], job["proof"], job["digests"]))
        except TspError as error:
            return error.code
    return f"signed {first.evidence_id} {first.evidence['attempt']['worker']}"


def child(job: dict[str, Any], gate: Barrier, out: int) -> None:
    """One forked child's life; ends the process."""
    try:
        os.write(out, work(job, gate).encode())
    except BaseException:  # noqa: BLE001  (told on the terminal, then the process ends)
        traceback.print_exc()
    finally:
        os._exit(0)


def start(job: dict[str, Any], gate: Barrier) -> tuple[int, int]:
    """Forks a child for the job; its process id and the pipe it answers on."""
    read, write = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(read)
        child(job, gate, write)
    os.close(write)
    return process, read


def end(process: int, read: int) -> str:
    """Waits for the child's end."""
    with os.fdopen(read) as pipe:
        text = pipe.read()
    _, status = os.waitpid(process, 0)
    return "killed" if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL else text


if __name__ == "__main__":
    for line in sys.stdin:
        jobs = json.loads(line)
        gate = get_context("fork").Barrier(len(jobs))
        ends = [end(*started) for started in [start(job, gate) for job in jobs]]
        sys.stdout.write(json.dumps(ends) + "\n")
        sys.stdout.flush()
