"""A sequencer killed at any step: no position twice, no gap, and nothing published is ever taken back."""

import pytest
from sqlalchemy import select

from tests.audit.audit_kit import Log
from tests.faults.sequencer_worker import sequencer_job
from tests.zygote import Zygote
from tsp.audit.checkpoint import Checkpoint, open_checkpoint
from tsp.audit.sequencer import SequencerStep
from tsp.audit.tables import Entry, latest_signed
from tsp.audit.verify import verify_database
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.randomness import Randomness

#: After these the entries have their places for good.
PLACED = (SequencerStep.INTEGRATED, SequencerStep.SIGNED, SequencerStep.NOTED, SequencerStep.PUBLISHED)


def published(log: Log) -> str:
    """The checkpoint that the public log shows now."""
    with log.database.read() as session:
        head = latest_signed(session)
    assert head is not None
    return head.note or ""


def opened(log: Log, note: str) -> Checkpoint:
    return open_checkpoint(note, log.key)


@pytest.mark.requirement("EVD-2")
@pytest.mark.parametrize("step", SequencerStep)
def test_a_sequencer_killed_at_any_step_leaves_a_log_that_goes_on(
    database: Database, clock: SettableClock, randomness: Randomness, zygote: Zygote, step: SequencerStep
) -> None:
    log = Log(database, clock, randomness)
    log.fill(250)
    before = published(log)
    log.write(20)  # beyond the end of the first tile

    assert zygote.run(sequencer_job(log, "log.1", step)) == ["killed"]
    after = published(log)
    assert opened(log, after).size == (270 if step is SequencerStep.PUBLISHED else 250)
    log.write(2, writer="idp")
    assert zygote.run(sequencer_job(log, "log.2")) == ["0"], "the lease of the dead one still runs"
    assert published(log) == after

    clock.advance(seconds=log.sequencer.limits.lease + 1)
    ends = zygote.run(*[sequencer_job(log, f"log.{number}") for number in range(2, 7)])
    assert sorted(map(int, ends)) == [0, 0, 0, 0, 2 if step in PLACED else 22]
    with database.read() as session:
        assert list(session.scalars(select(Entry.position).order_by(Entry.position))) == list(range(272))
    assert opened(log, published(log)).size == 272
    for remembered in (before, after):
        assert verify_database(database, log.key, remembered=remembered).findings == []


@pytest.mark.requirement("EVD-2")
def test_a_sequencer_that_is_started_again_under_its_name_goes_on_at_once(
    database: Database, clock: SettableClock, randomness: Randomness, zygote: Zygote
) -> None:
    log = Log(database, clock, randomness)
    log.write(3)
    assert zygote.run(sequencer_job(log, "log.1", SequencerStep.INTEGRATED)) == ["killed"]
    assert zygote.run(sequencer_job(log, "log.1")) == ["0"]
    assert opened(log, published(log)).size == 3
