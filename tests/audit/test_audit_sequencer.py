"""The sequencer: one at a time, nothing twice, nothing lost, never a lie over a damaged tree."""

import threading

import pytest
from sqlalchemy import delete, select, update

import hsm
from tests.audit.audit_kit import Log, SoftSigner
from tests.conftest import TokenFactory
from tsp.audit.checkpoint import open_checkpoint
from tsp.audit.tables import Entry, Tile, TreeHead, latest_head, latest_signed
from tsp.audit.tree import EMPTY_ROOT, Frontier
from tsp.core.errors import Conflict, Unavailable


def signed(log: Log) -> TreeHead:
    with log.database.read() as session:
        head = latest_signed(session)
        assert head is not None
        session.expunge(head)
    return head


@pytest.mark.requirement("EVD-2")
def test_every_entry_gets_its_place_and_the_checkpoint_covers_it(log: Log) -> None:
    hashes = [*log.fill(300), *log.write(3, writer="idp")]
    assert log.sequencer.step() == 3
    with log.database.read() as session:
        placed = session.execute(select(Entry.position, Entry.leaf_hash).order_by(Entry.position)).all()
    assert [tuple(row) for row in placed] == list(enumerate(hashes))
    frontier = Frontier()
    for leaf in hashes:
        frontier.append(leaf)
    checkpoint = open_checkpoint(signed(log).note or "", log.key)
    assert (checkpoint.size, checkpoint.root) == (303, frontier.root())


def test_an_empty_log_is_signed_too_and_an_idle_one_is_left_alone(log: Log) -> None:
    assert log.sequencer.step() == 0
    assert (signed(log).size, signed(log).root) == (0, EMPTY_ROOT)
    assert log.sequencer.step() == 0
    assert log.signer.signed == 1


def test_only_the_holder_of_the_lease_works_until_it_ends(log: Log) -> None:
    other = log.another("log.2")
    log.write(1)
    assert log.sequencer.step() == 1
    log.write(1)
    assert other.step() == 0
    log.clock.advance(seconds=16)
    assert other.step() == 1
    log.write(1)
    assert log.sequencer.step() == 0


@pytest.mark.requirement("OPS-2", "EVD-2")
def test_who_ends_in_order_lets_the_next_one_work_at_once(log: Log) -> None:
    log.write(1)
    assert log.sequencer.step() == 1
    stop = threading.Event()
    stop.set()
    log.sequencer.run(stop)
    log.write(1)
    other = log.another("log.2")
    assert other.step() == 1
    log.sequencer.release()
    log.write(1)
    assert other.step() == 1, "a lease that another holds is left alone"


def test_five_sequencers_at_once_give_each_place_once(log: Log) -> None:
    log.sequencer.step()
    log.write(20)
    log.clock.advance(seconds=60)
    contenders = [log.another(f"log.{number}") for number in range(5)]
    placed: list[int] = []
    threads = [threading.Thread(target=lambda c=c: placed.append(c.step())) for c in contenders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(placed) == [0, 0, 0, 0, 20]
    with log.database.read() as session:
        assert set(session.scalars(select(Entry.position))) == set(range(20))


class BrokenSigner(SoftSigner):
    def sign(self, message: bytes) -> bytes:
        raise hsm.errors.TokenGone("the token is gone")


def test_without_the_token_places_are_given_and_signed_later(log: Log) -> None:
    log.sequencer.step()
    log.write(2)
    broken = log.another("log.1", BrokenSigner())
    with pytest.raises(Unavailable, match="hsm-unavailable"):
        broken.step()
    with log.database.read() as session:
        head = latest_head(session)
        assert head is not None
        assert (head.size, head.note) == (2, None)
    assert signed(log).size == 0
    assert log.sequencer.step() == 0
    assert signed(log).size == 2


def test_a_damaged_tile_is_never_built_upon(log: Log) -> None:
    log.fill(5)
    log.write(1)
    with log.database.write() as session:
        session.execute(update(Tile).values(hashes=bytes(5 * 32)))
    with pytest.raises(Conflict, match="log-damaged"):
        log.sequencer.step()
    with log.database.write() as session:
        session.execute(delete(Tile))
    with pytest.raises(Conflict, match="log-damaged"):
        log.sequencer.step()
    assert signed(log).size == 5


def test_an_entry_that_is_not_its_leaf_gets_no_place(log: Log) -> None:
    log.fill(2)
    log.write(1)
    with log.database.write() as session:
        session.execute(update(Entry).where(Entry.position.is_(None)).values(leaf=b"other"))
    with pytest.raises(Conflict, match="log-damaged"):
        log.sequencer.step()


def test_the_loop_goes_on_after_a_failure_and_ends_when_told(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    stop = threading.Event()

    class FailsOnce(SoftSigner):
        def sign(self, message: bytes) -> bytes:
            if not self.signed:
                self.signed += 1
                raise hsm.errors.TokenGone("gone for a moment")
            stop.set()
            return super().sign(message)

    log.write(1)
    sequencer = log.another("log.1", FailsOnce())
    runner = threading.Thread(target=sequencer.run, args=(stop,))
    runner.start()
    runner.join(timeout=20)
    assert not runner.is_alive()
    assert signed(log).size == 1
    assert "hsm-unavailable" in caplog.text


@pytest.mark.requirement("EVD-2")
def test_the_key_of_the_token_signs_checkpoints(log: Log, token_factory: TokenFactory) -> None:
    token = token_factory("log")
    key = token.generate_signing_key("log-checkpoint", hsm.KeySpec.ED25519)
    sequencer = log.another("log.1", key)
    log.write(2)
    assert sequencer.step() == 2
    assert open_checkpoint(signed(log).note or "", sequencer.key).size == 2
