"""Sequencers in processes of their own, for the tests that kill them (work of `tests.zygote`)."""

from datetime import datetime

from tests.audit.audit_kit import Log
from tests.zygote import Begin, Job, fatal
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.randomness import SystemRandomness


def sequencer_job(log: Log, holder: str, step: str = "") -> Job:
    """One round of a sequencer; it kills itself after `step`."""
    return {
        "work": "tests.faults.sequencer_worker:place",
        "database": log.database.url,
        "now": log.clock.now().isoformat(),
        "holder": holder,
        "step": step,
    }


def place(job: Job, begin: Begin) -> str:
    """How many entries got a position."""
    log = Log(Database(job["database"]), SettableClock(datetime.fromisoformat(job["now"])), SystemRandomness())
    sequencer = log.another(job["holder"], on_step=fatal(job))
    begin()
    return str(sequencer.step())
