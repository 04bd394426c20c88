"""An engine killed at any step: no key left, no signature without evidence, no approval spent twice or lost."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import func, select

from tests.engine.engine_kit import Provider, Room
from tests.engine.engine_worker import sign_job
from tests.zygote import Zygote
from tsp.audit.sequencer import Sequencer
from tsp.audit.tables import Entry
from tsp.audit.verify import verify_database
from tsp.ca.tables import Certificate
from tsp.engine.onetime import KEY_STEPS, STEPS, Step
from tsp.engine.tables import Approval, Evidence, Signature, SignatureIntent

#: Every step of a call that signs two documents, in order.
CALLS = [STEPS[0], *KEY_STEPS, *KEY_STEPS, *STEPS[9:]]


def counts(room: Room) -> tuple[int, int, int]:
    """Signatures, evidence, certificates."""
    with room.database.read() as session:
        tables = (Signature, Evidence, Certificate)
        found = [session.scalar(select(func.count()).select_from(table)) or 0 for table in tables]
    return found[0], found[1], found[2]


def state(room: Room) -> str | None:
    with room.database.read() as session:
        return session.scalar(select(Approval.state))


def log_is_sound(room: Room) -> bool:
    class Signer:
        key = Ed25519PrivateKey.generate()
        public_spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        sign = key.sign

    sequencer = Sequencer(room.database, Signer(), origin="log.example/TEST", holder="log.1", clock=room.clock)
    sequencer.step()
    return verify_database(room.database, sequencer.key).sound


def test_the_steps_are_those_of_a_call(room: Room, provider: Provider) -> None:
    seen: list[Step] = []
    with room.engine(on_step=seen.append) as engine:
        engine.sign(provider.request("one", "two"))
    assert seen == CALLS


@pytest.mark.requirement("SIG-1", "EVD-1", "EVD-5", "CSC-2")
@pytest.mark.parametrize("after", range(1, len(CALLS) + 1), ids=lambda n: f"{n}-{CALLS[n - 1]}")
def test_an_engine_killed_at_any_step_leaves_nothing_half_done(
    room: Room, provider: Provider, zygote: Zygote, after: int
) -> None:
    request = provider.request("one", "two")
    step = CALLS[after - 1]
    assert zygote.run(sign_job(room, request, step, CALLS[:after].count(step))) == ["killed"]
    committed = step is Step.COMMITTED
    assert room.one_time_keys() == 0
    assert counts(room) == ((2, 2, 2) if committed else (0, 0, 0))
    assert state(room) == ("signed" if committed else "reserved")
    with room.engine() as engine:
        assert engine.sweep() == 0  # its lease still runs
        room.clock.advance(seconds=31)
        assert engine.sweep() == (0 if committed else 1)
        results = engine.sign(provider.again(request.approval, list(request.digests)))
        assert engine.status().keys_alive == 0
    assert [result.digest for result in results] == list(request.digests)
    assert results[0].evidence["attempt"]["number"] == (1 if committed else 2)
    assert counts(room) == (2, 2, 2)
    assert (state(room), room.one_time_keys()) == ("signed", 0)
    assert not list(room.run.glob("*.lock"))
    assert log_is_sound(room)


@pytest.mark.requirement("SIG-6")
def test_a_certificate_that_a_crash_lost_is_known_by_its_serial_number(
    room: Room, provider: Provider, zygote: Zygote
) -> None:
    assert zygote.run(sign_job(room, provider.request("one"), Step.CERTIFIED)) == ["killed"]
    room.clock.advance(seconds=31)
    with room.engine() as engine:
        engine.sweep()
    with room.database.read() as session:
        intent = session.scalars(select(SignatureIntent)).one()
        outcome, serial = intent.outcome, intent.serial
        told = json.loads(session.scalars(select(Entry.content).where(Entry.kind == "signature-abandoned")).one())
        assert session.get(Certificate, serial) is None
    assert (outcome, len(serial or "")) == ("abandoned", 32)
    assert told["facts"]["serials"] == [serial]
    assert told["facts"]["reason"] == "worker-dead"


@pytest.mark.requirement("CSC-2", "SIG-1")
def test_of_five_processes_one_makes_the_signature(room: Room, provider: Provider, zygote: Zygote) -> None:
    request = provider.request("contract")
    ends = zygote.run(*[sign_job(room, request)] * 5)
    signed = {end for end in ends if end.startswith("signed ")}
    assert len(signed) == 1
    assert set(ends) - signed <= {"approval-in-use"}
    assert counts(room) == (1, 1, 1)
    assert room.one_time_keys() == 0
