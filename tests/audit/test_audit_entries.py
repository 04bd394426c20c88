"""Entries: in the caller's transaction, in one line per writer, with nothing readable outside."""

import json
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from tests.audit.audit_kit import Log
from tsp.audit.canonical import Json, canonical
from tsp.audit.entries import NO_PREVIOUS, Leaf, Writer, commitment, parse_leaf, record
from tsp.audit.tables import Entry
from tsp.audit.tree import leaf_hash
from tsp.core.clock import SettableClock
from tsp.core.errors import Invalid
from tsp.core.randomness import Randomness


@pytest.mark.requirement("SIG-6", "EVD-2")
def test_entries_of_a_writer_form_a_chain(log: Log) -> None:
    log.write(3)
    log.write(2, writer="idp")
    with log.database.read() as session:
        entries = session.execute(select(Entry.writer, Entry.leaf, Entry.leaf_hash).order_by(Entry.id)).all()
    engine = [parse_leaf(e.leaf) for e in entries if e.writer == "engine"]
    assert [leaf.counter for leaf in engine] == [1, 2, 3]
    assert engine[0].previous == NO_PREVIOUS
    assert engine[1].previous == entries[0].leaf_hash == leaf_hash(entries[0].leaf)
    assert engine[2].previous == entries[1].leaf_hash
    assert [parse_leaf(e.leaf).counter for e in entries if e.writer == "idp"] == [1, 2]


def test_an_entry_that_is_rolled_back_leaves_no_gap(log: Log) -> None:
    log.write(1)
    with pytest.raises(RuntimeError), log.database.write() as session:
        record(session, writer=log.writer(), kind="tested", payload={})
        raise RuntimeError("the use case failed")
    log.write(1)
    with log.database.read() as session:
        assert list(session.scalars(select(Entry.counter).order_by(Entry.id))) == [1, 2]


@pytest.mark.requirement("EVD-2")
def test_the_leaf_tells_nothing_and_the_salt_opens_it(log: Log) -> None:
    with log.database.write() as session:
        for _ in range(2):
            record(session, writer=log.writer(), kind="tested", payload={"reference": "Ana Primer"})
        first, second = session.scalars(select(Entry).order_by(Entry.id))
    assert b"Ana" not in first.leaf
    assert b"tested" not in first.leaf
    leaf = parse_leaf(first.leaf)
    assert leaf.commitment == commitment(first.salt, first.content.encode())
    # The same words at the same moment look different each time.
    assert first.content == second.content
    assert leaf.commitment != parse_leaf(second.leaf).commitment
    content = json.loads(first.content)
    assert content == {"at": "2026-11-23T10:00:00.000000Z", "facts": {"reference": "Ana Primer"}, "kind": "tested"}


def test_writers_at_the_same_time_wait_for_each_other(log: Log) -> None:
    log.write(1)
    threads = [threading.Thread(target=log.write, args=(5,)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with log.database.read() as session:
        counters = list(session.scalars(select(Entry.counter).order_by(Entry.id)))
        assert session.scalar(select(func.count()).select_from(Entry)) == 26
    assert counters == list(range(1, 27))


@pytest.mark.parametrize("name", ["", "Engine", "ana.primer@example.si", "1", "a" * 65])
def test_a_writer_is_a_role(name: str, clock: SettableClock, randomness: Randomness) -> None:
    with pytest.raises(ValueError, match="role"):
        Writer(name, randomness, clock)


@pytest.mark.parametrize("payload", [{"a": 1.5}, {"a": None}, {"a": "x" * 70_000}])
def test_what_is_no_record_is_refused(log: Log, payload: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"."), log.database.write() as session:
        record(session, writer=log.writer(), kind="tested", payload=payload)


def test_a_kind_is_a_word(log: Log) -> None:
    with pytest.raises(ValueError, match="kebab"), log.database.write() as session:
        record(session, writer=log.writer(), kind="Not a word", payload={})


DIGESTS = st.binary(min_size=32, max_size=32)


@settings(deadline=None)
@given(st.from_regex(r"[a-z][a-z0-9.-]{0,63}", fullmatch=True), st.integers(1, 2**53 - 1), DIGESTS, DIGESTS)
def test_a_leaf_reads_back(writer: str, counter: int, previous: bytes, committed: bytes) -> None:
    leaf = Leaf(writer, counter, previous, committed)
    assert parse_leaf(leaf.encode()) == leaf
    parts: dict[str, Json] = {"commitment": committed.hex(), "previous": previous.hex(), "writer": writer}
    assert leaf.encode() == canonical({**parts, "counter": counter, "version": 1})


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_other_octets_are_no_leaf(data: bytes) -> None:
    with pytest.raises(Invalid, match="leaf-malformed"):
        parse_leaf(data)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"counter":1', b'"counter":1 '),
        (b'"counter":1', b'"counter":true'),
        (b'"counter":1', b'"counter":0'),
        (b'"counter":1', b'"counter":1e0'),
        (b'"version":1', b'"version":2'),
        (b'"writer":"engine"', b'"writer":"Engine"'),
        (b'"version":1', b'"version":1,"extra":1'),
    ],
)
def test_a_second_spelling_of_a_leaf_is_refused(old: bytes, new: bytes) -> None:
    data = Leaf("engine", 1, bytes(32), bytes(32)).encode()
    assert parse_leaf(data)
    with pytest.raises(Invalid, match="leaf-malformed"):
        parse_leaf(data.replace(old, new))
