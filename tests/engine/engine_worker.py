"""Engines in processes of their own, for the tests that kill them (work of `tests.zygote`)."""

import fcntl
from pathlib import Path

from joserfc.jwk import ECKey

import hsm
from hsm import softhsm
from tests.engine.engine_kit import NOW, Room
from tests.zygote import Begin, Job, fatal
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.errors import TspError
from tsp.engine.protocol import SignRequest

PIN = "123456-test"


def room_job(room: Room) -> Job:
    """What a worker needs to stand in this room."""
    return {
        "token": room.token.label,
        "directory": str(room.directory),
        "database": room.database.url,
        "issuer": room.issuer.hex(),
        "key": room.approval_key.as_dict(private=False),
    }


def sign_job(room: Room, request: SignRequest, step: str = "", nth: int = 1) -> Job:
    """An engine of this room that signs once, and kills itself after the `nth` step of this name."""
    return room_job(room) | {
        "work": "tests.engine.engine_worker:sign",
        "approval": request.approval,
        "proof": request.proof,
        "digests": list(request.digests),
        "step": step,
        "nth": nth,
    }


def enter(job: Job, clock: SettableClock) -> Room:
    """The job's room, entered from another process: same directory, database and token."""
    with (Path(job["directory"]) / "opening").open("w") as turn:
        # SoftHSM rewrites the token's own record at every login: two at once may read half of it.
        fcntl.flock(turn, fcntl.LOCK_EX)
        token = hsm.Token.open(softhsm.find_module(), job["token"], PIN)
    database, issuer = Database(job["database"]), bytes.fromhex(job["issuer"])
    return Room(Path(job["directory"]), database, token, issuer, clock, ECKey.import_key(job["key"]))


def sign(job: Job, begin: Begin) -> str:
    """Signs as an engine of the job's room does, at the same moment as the other jobs."""
    room = enter(job, SettableClock(NOW))
    begin()
    with room.engine(on_step=fatal(job)) as engine:
        try:
            (first, *_) = engine.sign(SignRequest(job["approval"], job["proof"], job["digests"]))
        except TspError as error:
            return error.code
    return f"signed {first.evidence_id} {first.evidence['attempt']['worker']}"
