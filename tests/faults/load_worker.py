"""Engines, sequencers and runners that work until somebody kills them (work of `tests.zygote`)."""

import threading
import time
from datetime import datetime, timedelta
from pathlib import Path

from tests.audit.audit_kit import Log
from tests.engine.engine_kit import NOW
from tests.engine.engine_worker import enter
from tests.faults.outbox_worker import Gateway, sealer
from tests.zygote import Begin, Job
from tsp.audit.sequencer import SequencerLimits
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.randomness import SystemRandomness
from tsp.engine.approvals import Terms
from tsp.engine.server import EngineServer, ServerLimits
from tsp.notify.runner import Runner, RunnerRules

#: How many times slower than the machine's the clock runs: no approval gets too old because a machine is busy.
SLOWER = 10
#: Leases so short that the dead are followed within the test.
TERMS = Terms(lease=timedelta(seconds=0.04), finish=timedelta(hours=1))
SERVER_LIMITS = ServerLimits(sweep=0.2)
SEQUENCER_LIMITS = SequencerLimits(interval=0.02, lease=0.04)
RUNNER_RULES = RunnerRules(lease=1, pauses=(1,) * 40)
_NEVER = threading.Event()


class RunningClock(SettableClock):
    """Runs slowly, and the same in every process: `origin` is the machine's monotonic time when it was `NOW`."""

    def __init__(self, origin: float) -> None:
        super().__init__(NOW)
        self.origin = origin

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=(time.monotonic() - self.origin) / SLOWER)


def engine(job: Job, begin: Begin) -> str:
    room = enter(job, RunningClock(job["origin"]))
    server_path = Path(job["socket"])
    with room.engine(terms=TERMS) as made:
        server = EngineServer(made, server_path, room.randomness, limits=SERVER_LIMITS)
        begin()
        server.serve(_NEVER, ready=Path(job["ready"]).touch)
    return "ended"


def sequencer(job: Job, begin: Begin) -> str:
    log = Log(Database(job["database"]), RunningClock(job["origin"]), SystemRandomness())
    made = log.another(job["holder"], limits=SEQUENCER_LIMITS)
    begin()
    Path(job["ready"]).touch()
    made.run(_NEVER)
    return "ended"


def runner(job: Job, begin: Begin) -> str:
    gateway = Gateway(Path(job["directory"]))
    clock, senders = RunningClock(job["origin"]), {"mail": gateway, "sms": gateway}
    made = Runner(Database(job["database"]), sealer(), clock, SystemRandomness(), senders, RUNNER_RULES)
    begin()
    Path(job["ready"]).touch()
    made.run(_NEVER, idle=0.02)
    return "ended"
