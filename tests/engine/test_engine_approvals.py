"""An approval signs once, whoever asks how often, and is never lost (CSC-2)."""

import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from tests.engine.engine_kit import NOW, TERMS, Provider, Room
from tsp.core.errors import Conflict, Refused, TspError, Unavailable
from tsp.core.randomness import Randomness
from tsp.engine import approvals
from tsp.engine.approvals import Reservation
from tsp.engine.engine import Engine
from tsp.engine.liveness import Liveness
from tsp.engine.onetime import Step
from tsp.engine.protocol import SignatureResult, SignRequest
from tsp.engine.tables import Approval, Signature, SignatureIntent


def state(room: Room) -> tuple[str, int]:
    with room.database.read() as session:
        row = session.scalars(select(Approval)).one()
        return row.state, row.attempt


def signatures(room: Room) -> int:
    with room.database.read() as session:
        return session.scalar(select(func.count()).select_from(Signature)) or 0


def at_once(calls: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.requirement("CSC-2", "SIG-1")
def test_of_five_contenders_one_makes_the_signature(room: Room, provider: Provider) -> None:
    request = provider.request("contract")
    start = threading.Barrier(5)
    made: list[Step] = []
    results: list[list[SignatureResult]] = []
    refused: list[str] = []

    def contend(engine: Engine) -> None:
        start.wait()
        try:
            results.append(engine.sign(request))
        except Conflict as error:
            refused.append(error.code)

    with room.engine(on_step=made.append) as one, room.engine(on_step=made.append) as two:
        at_once([lambda e=e: contend(e) for e in (one, one, one, two, two)])  # type: ignore[misc]
    assert made.count(Step.GENERATED) == made.count(Step.COMMITTED) == 1
    # Whoever did not sign was told to wait, or came late enough to get what is stored.
    assert len(results) + len(refused) == 5
    assert set(refused) <= {"approval-in-use"}
    assert all(result == results[0] for result in results)
    assert (state(room), signatures(room), room.one_time_keys()) == (("signed", 1), 1, 0)


@pytest.mark.requirement("CSC-2", "OPS-1")
def test_approvals_of_a_database_that_was_put_back_can_no_longer_be_used(room: Room, provider: Provider) -> None:
    signed, open_ = provider.request("signed"), provider.request("open")
    with room.engine() as engine:
        results = engine.sign(signed)
    with room.engine(on_step=failing_at(Step.PREPARED)) as engine, pytest.raises(Failure):
        engine.sign(open_)
    with room.database.write() as session:
        assert approvals.close_open(session, room.clock.now() - timedelta(days=2)) == 1
    with room.engine() as engine:
        with pytest.raises(Refused, match="approval-expired"):
            engine.sign(open_)
        assert engine.sign(signed) == results


def test_while_one_works_the_others_are_told_to_wait(room: Room, provider: Provider) -> None:
    request = provider.request("contract")
    told: list[str] = []

    def meanwhile(step: Step) -> None:
        if step is Step.SIGNED:
            with room.engine() as other, pytest.raises(Conflict) as caught:
                other.sign(request)
            told.append(caught.value.code)

    with room.engine(on_step=meanwhile) as engine:
        engine.sign(request)
    assert told == ["approval-in-use"]
    assert signatures(room) == 1


class Failure(RuntimeError):
    """Something that nobody expects."""


def failing_at(failing: Step) -> Callable[[Step], None]:
    def hook(step: Step) -> None:
        if step is failing:
            raise Failure(step)

    return hook


@pytest.mark.requirement("CSC-2")
@pytest.mark.parametrize("failing", [step for step in Step if step is not Step.COMMITTED])
def test_after_a_failure_at_any_step_the_approval_can_be_finished(
    room: Room, provider: Provider, failing: Step
) -> None:
    request = provider.request("one", "two")
    with room.engine(on_step=failing_at(failing)) as engine, pytest.raises(Failure):
        engine.sign(request)
    assert (state(room), signatures(room), room.one_time_keys()) == (("released", 1), 0, 0)
    room.clock.advance(minutes=8)  # the approval itself has expired meanwhile
    with room.engine() as engine:
        results = engine.sign(provider.again(request.approval, list(request.digests)))
    assert [result.digest for result in results] == list(request.digests)
    assert results[0].evidence["attempt"]["number"] == 2
    assert (state(room), signatures(room), room.one_time_keys()) == (("signed", 2), 2, 0)
    with room.database.read() as session:
        outcomes = list(session.scalars(select(SignatureIntent.outcome).order_by(SignatureIntent.attempt)))
    assert outcomes == ["abandoned", "abandoned", "done", "done"]


def test_the_time_to_finish_ends(room: Room, provider: Provider) -> None:
    request = provider.request()
    with room.engine(on_step=failing_at(Step.SIGNED)) as engine, pytest.raises(Failure):
        engine.sign(request)
    room.clock.advance(seconds=TERMS.finish.total_seconds() + 1)
    with room.engine() as engine, pytest.raises(Refused, match="approval-expired"):
        engine.sign(provider.again(request.approval, list(request.digests)))


def leave_reserved(room: Room, provider: Provider) -> SignRequest:
    """A reservation whose worker does not answer any more, but lives on paper: nothing could release it."""
    request = provider.request()
    with room.engine(on_step=failing_at(Step.SIGNED)) as engine, pytest.raises(Failure):
        engine.sign(request)
    with room.database.write() as session:
        values = {"state": "reserved", "worker": "engine-elsewhere-0", "lease_until": NOW + timedelta(seconds=30)}
        session.execute(update(Approval).values(**values))
    return request


def set_worker(room: Room, name: str) -> None:
    with room.database.write() as session:
        session.execute(update(Approval).values(worker=name))


@pytest.mark.requirement("CSC-2")
def test_only_a_dead_workers_reservation_is_released(room: Room, provider: Provider) -> None:
    leave_reserved(room, provider)
    with room.engine() as engine, Liveness(room.run, room.randomness) as alive:
        set_worker(room, alive.name)
        assert engine.sweep() == 0  # neither dead nor overdue
        room.clock.advance(seconds=31)
        assert engine.sweep() == 0  # overdue, alive
    with room.engine() as engine:
        room.clock.advance(seconds=-31)
        assert engine.sweep() == 0  # dead, not overdue
        room.clock.advance(seconds=31)
        assert engine.sweep() == 1
    assert state(room) == ("released", 1)


def test_a_worker_of_another_machine_is_never_declared_dead(room: Room, provider: Provider) -> None:
    leave_reserved(room, provider)
    room.clock.advance(minutes=10)
    with room.engine() as engine:
        set_worker(room, "engine-otherbox-abcdefghjkmnpqrs")
        assert engine.sweep() == 0
    assert state(room) == ("reserved", 1)


def test_a_reservation_that_could_not_be_given_back_is_released_by_the_own_sweep(
    room: Room, provider: Provider
) -> None:
    request = provider.request()
    with room.engine(on_step=failing_at(Step.SIGNED)) as engine:
        original = engine._release

        def no_database(held: Reservation, reason: str) -> bool:
            raise Unavailable("database-unavailable", "gone")

        engine._release = no_database  # type: ignore[method-assign]
        with pytest.raises(Failure):
            engine.sign(request)
        engine._release = original  # type: ignore[method-assign]
        assert engine.sweep() == 0
        room.clock.advance(seconds=31)
        assert engine.sweep() == 1
    assert state(room) == ("released", 1)


@pytest.mark.requirement("CSC-2")
def test_whoever_lost_the_turn_commits_nothing(room: Room, provider: Provider) -> None:
    """The database holds even if a worker is declared dead in error."""

    def robbed(step: Step) -> None:
        if step is Step.CHECKED:
            set_worker(room, "engine-somebody-else")

    with room.engine(on_step=robbed) as engine, pytest.raises(Conflict, match="approval-in-use"):
        engine.sign(provider.request())
    assert (state(room), signatures(room), room.one_time_keys()) == (("reserved", 1), 0, 0)


def test_a_plan_after_the_turn_was_lost_is_refused(room: Room, provider: Provider) -> None:
    def settled(step: Step) -> None:
        if step is Step.GENERATED:
            with room.database.write() as session:
                session.execute(update(SignatureIntent).values(outcome="abandoned"))

    with room.engine(on_step=settled) as engine, pytest.raises(Conflict, match="approval-in-use"):
        engine.sign(provider.request())
    assert signatures(room) == 0


def test_a_lock_file_says_who_lives(tmp_path: Path, randomness: Randomness) -> None:
    run = tmp_path / "run"
    with Liveness(run, randomness) as one, Liveness(run, randomness) as two:
        assert not one.is_dead(two.name)
        assert not two.is_dead(one.name)
        assert not one.is_dead(one.name)
        two.tidy()
        assert len(list(run.glob("*.lock"))) == 2
        gone = one.name
    assert Liveness(run, randomness).is_dead(gone)
    assert not Liveness(tmp_path / "other" / "run", randomness).is_dead(gone)
    assert not Liveness(run, randomness).is_dead("../../etc/passwd")
    assert not list(run.glob("*.lock"))


WORKER = """
import sys
from pathlib import Path
from tsp.core.randomness import SystemRandomness
from tsp.engine.liveness import Liveness
with Liveness(Path(sys.argv[1]), SystemRandomness()) as alive:
    print(alive.name, flush=True)
    sys.stdin.read()
"""


@pytest.mark.requirement("CSC-2")
def test_the_kernel_tells_that_a_killed_worker_is_dead(tmp_path: Path, randomness: Randomness) -> None:
    run = tmp_path / "run"
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(run)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    with worker, Liveness(run, randomness) as watcher:
        name = worker.stdout.readline().strip()
        assert not watcher.is_dead(name)
        worker.kill()
        worker.wait()
        assert watcher.is_dead(name)
        assert (run / f"{name}.lock").exists()
        watcher.tidy()
        assert not (run / f"{name}.lock").exists()
        assert watcher.is_dead(name)
        assert (run / f"{watcher.name}.lock").exists()


def test_two_first_sights_make_one_row(room: Room, provider: Provider) -> None:
    """The row is made by whoever comes first; the second finds it."""
    request = provider.request()
    outcome: list[str] = []

    def call() -> None:
        try:
            with room.engine() as engine:
                engine.sign(request)
            outcome.append("signed")
        except TspError as error:
            outcome.append(error.code)

    at_once([call, call])
    assert "signed" in outcome
    assert set(outcome) <= {"signed", "approval-in-use"}
    assert signatures(room) == 1
