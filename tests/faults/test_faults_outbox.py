"""A runner of the outbox killed at any step: no message lost, one sent twice only where nobody can know better."""

from datetime import timedelta
from pathlib import Path

import pytest

from tests.faults.outbox_worker import RULES, Gateway, outbox_job, sealer
from tests.zygote import Zygote
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.randomness import Randomness
from tsp.notify.outbox import Outbox
from tsp.notify.runner import RunnerStep, backlog


@pytest.mark.requirement("NOT-1")
@pytest.mark.parametrize("step", RunnerStep)
def test_a_runner_killed_at_any_step_loses_no_message(
    database: Database, clock: SettableClock, randomness: Randomness, tmp_path: Path, zygote: Zygote, step: RunnerStep
) -> None:
    outbox, gateway = Outbox(sealer(), randomness, clock), Gateway(tmp_path)

    def put(text: str, *, good_for: int = 3600) -> str:
        with database.write() as session:
            expires_at = clock.now() + timedelta(seconds=good_for)
            return outbox.sms(session, "+38641123456", text, purpose="test", expires_at=expires_at)

    def states() -> dict[str, int]:
        with database.read() as session:
            return backlog(session)

    old = put("old")
    assert zygote.run(outbox_job(database, tmp_path, clock)) == ["emptied"]
    clock.advance(days=RULES.keep, seconds=1)
    late = put("late", good_for=1)
    clock.advance(seconds=1)
    gateway.busy.touch()
    waits, first, second = put("busy"), put("first"), put("second")

    assert zygote.run(outbox_job(database, tmp_path, clock, step)) == ["killed"]
    assert zygote.run(outbox_job(database, tmp_path, clock)) == ["emptied"]
    assert max(gateway.taken().values()) == 1, "nobody touches a message before the lease of the dead is over"
    gateway.busy.unlink()
    clock.advance(seconds=RULES.lease)
    assert zygote.run(outbox_job(database, tmp_path, clock)) == ["emptied"]

    assert states() == {"sent": 3, "expired": 1}
    assert set(gateway.taken()) == {old, waits, first, second}
    assert late not in gateway.taken()
    twice = {message for message, times in gateway.taken().items() if times > 1}
    assert twice == ({first} if step in (RunnerStep.SENT, RunnerStep.MARKED) else set())
    assert max(gateway.taken().values()) <= 2
