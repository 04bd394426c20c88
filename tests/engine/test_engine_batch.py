"""A large batch: keys in groups, on several threads, and still one key for one document, all or nothing."""

import json
from collections import Counter
from dataclasses import replace
from hashlib import sha256
from itertools import count

import pytest
from sqlalchemy import func, select

from tests.engine.engine_kit import Provider, Room
from tsp.audit.tables import Entry
from tsp.ca.tables import Certificate
from tsp.core.errors import Unavailable
from tsp.engine.engine import TOGETHER
from tsp.engine.onetime import KEY_STEPS, Step
from tsp.engine.tables import Approval, Evidence, Signature, SignatureIntent

NAMES = [f"document {number}" for number in range(2 * TOGETHER + 3)]


def rows(room: Room, table: type) -> int:
    with room.database.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


@pytest.mark.requirement("SIG-1", "EVD-1")
def test_every_document_of_a_batch_has_a_key_of_its_own(room: Room, provider: Provider) -> None:
    request = provider.request(*NAMES)
    steps: Counter[Step] = Counter()

    def note(step: Step) -> None:
        steps[step] += 1

    with room.engine(on_step=note) as engine:
        results = engine.sign(request)
        assert engine.sign(provider.again(request.approval, list(request.digests))) == results
    assert [result.digest for result in results] == list(request.digests)
    assert all(steps[step] == len(NAMES) for step in KEY_STEPS)
    keys = {result.evidence["key"]["public_key_sha256"] for result in results}
    assert len(keys) == len({result.certificate for result in results}) == len(NAMES)
    assert all(result.evidence["key"]["destruction"]["found_after"] == 0 for result in results)
    assert [rows(room, table) for table in (Certificate, Signature, Evidence)] == [len(NAMES)] * 3
    with room.database.read() as session:
        planned = session.scalars(select(SignatureIntent.serial).order_by(SignatureIntent.ordinal)).all()
        kept = session.scalars(select(Signature.serial).order_by(Signature.ordinal)).all()
        counters = session.scalars(select(Entry.counter).order_by(Entry.id)).all()
    assert list(planned) == list(kept)
    assert list(counters) == list(range(1, 2 * len(NAMES) + 2))
    assert room.one_time_keys() == 0


@pytest.mark.requirement("SIG-1", "CSC-2")
def test_one_failure_in_a_batch_leaves_nothing_signed(room: Room, provider: Provider) -> None:
    request, made = provider.request(*NAMES), count(1)

    def fail(step: Step) -> None:
        if step is Step.SIGNED and next(made) == TOGETHER + 2:
            raise Unavailable("hsm-unavailable", "Nothing was signed.")

    with room.engine(on_step=fail) as engine, pytest.raises(Unavailable):
        engine.sign(request)
    assert (rows(room, Signature), rows(room, Certificate), room.one_time_keys()) == (0, 0, 0)
    with room.database.read() as session:
        assert session.scalars(select(Approval.state)).one() == "released"
    with room.engine() as engine:
        assert len(engine.sign(provider.again(request.approval, list(request.digests)))) == len(NAMES)


def test_the_log_holds_one_digest_for_very_many(room: Room, provider: Provider) -> None:
    """An entry of the log has bounds: beyond a hundred digests it holds the digest of them all."""
    request = provider.request(*(f"document {number}" for number in range(101)))
    policy = replace(room.policy(), max_documents=1000)
    with room.engine(activator=room.activator(policy)) as engine:
        engine.sign(request)
    with room.database.read() as session:
        content = session.scalars(select(Entry.content).where(Entry.kind == "signature-intended")).one()
    digest = sha256("".join(request.digests).encode()).hexdigest()
    assert json.loads(content)["facts"]["digests"] == {"count": 101, "sha256": digest}
