"""Entries of the log, written in the same transaction as what they report (SIG-6, EVD-2).

What happened (`content`) stays in the database beside a fresh 256-bit salt. The public leaf holds
the salted digest of it and the entry's place in its writer's chain, and nothing else: no name, no
time, no kind. Whoever has content and salt can show what the leaf stands for; nobody can guess it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update
from sqlalchemy.orm import Session

from tsp.audit.canonical import Json, canonical
from tsp.audit.tables import Entry, WriterHead
from tsp.audit.tree import leaf_hash
from tsp.core.clock import Clock
from tsp.core.database import insert_if_free, table_of
from tsp.core.errors import Invalid
from tsp.core.randomness import Randomness
from tsp.core.statements import Prepared

#: What the first entry of a writer names as its predecessor.
NO_PREVIOUS = bytes(32)
_SALT = 32
_WRITER = re.compile(r"[a-z][a-z0-9.-]{0,63}")
_KIND = re.compile(r"[a-z][a-z0-9-]{0,63}")
_HEX32 = re.compile(r"[0-9a-f]{64}")
_MAX_CONTENT = 64 * 1024
# Core statements: for rows that are only added, the session's bookkeeping took longer than the database.
_ENTRY, _WRITER_HEAD = table_of(Entry), table_of(WriterHead)
_HEAD = Prepared(
    select(_WRITER_HEAD.c.counter, _WRITER_HEAD.c.last)
    .where(_WRITER_HEAD.c.name == bindparam("_name"))
    .with_for_update()
)
_MOVE_HEAD = Prepared(update(_WRITER_HEAD).where(_WRITER_HEAD.c.name == bindparam("_name")), "counter", "last")
_INSERT = Prepared(insert(_ENTRY), "writer", "counter", "kind", "recorded_at", "content", "salt", "leaf", "leaf_hash")
_IDS = Prepared(
    select(_ENTRY.c.id)
    .where(_ENTRY.c.writer == bindparam("_writer"), _ENTRY.c.counter.between(bindparam("first"), bindparam("last")))
    .order_by(_ENTRY.c.counter)
)
_LEAF_KEYS = {"commitment", "counter", "previous", "version", "writer"}


@dataclass(frozen=True)
class Writer:
    """Who writes: a role, or a role and a number (`engine`, `idp.2`); never anything about a person."""

    name: str
    randomness: Randomness
    clock: Clock

    def __post_init__(self) -> None:
        if not _WRITER.fullmatch(self.name):
            raise ValueError("a writer's name is a role's name")


@dataclass(frozen=True)
class Leaf:
    """The public side of an entry. `previous` is the leaf hash of the writer's entry before."""

    writer: str
    counter: int
    previous: bytes
    commitment: bytes

    def encode(self) -> bytes:
        """The octets that go into the tree: canonical JSON, in which a writer's name needs no escapes."""
        return (
            f'{{"commitment":"{self.commitment.hex()}","counter":{self.counter},"previous":"{self.previous.hex()}",'
            f'"version":1,"writer":"{self.writer}"}}'
        ).encode()


def parse_leaf(data: bytes) -> Leaf:
    """The inverse of `Leaf.encode`; `Invalid` (leaf-malformed) for any octets that it would not make."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise _malformed() from None
    if not isinstance(found, dict) or set(found) != _LEAF_KEYS or found["version"] != 1:
        raise _malformed()
    texts = (found["writer"], found["previous"], found["commitment"])
    if not all(isinstance(text, str) for text in texts) or type(found["counter"]) is not int or found["counter"] < 1:
        raise _malformed()
    if not _WRITER.fullmatch(texts[0]) or not _HEX32.fullmatch(texts[1]) or not _HEX32.fullmatch(texts[2]):
        raise _malformed()
    leaf = Leaf(texts[0], found["counter"], bytes.fromhex(texts[1]), bytes.fromhex(texts[2]))
    try:
        if leaf.encode() != data:
            raise _malformed()
    except ValueError:
        raise _malformed() from None
    return leaf


def commitment(salt: bytes, content: bytes) -> bytes:
    """SHA-256(salt || content); the salt always has 32 octets, so nothing can slide between the two."""
    if len(salt) != _SALT:
        raise ValueError("a salt has 32 octets")
    return sha256(salt + content).digest()


def timestamp(moment: datetime) -> str:
    """A moment as records write it: UTC with microseconds."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


@dataclass(frozen=True)
class Recorded:
    """An entry that was written: its row's id, and its leaf hash in the log."""

    id: int
    leaf_hash: bytes


def record(session: Session, *, writer: Writer, kind: str, payload: Mapping[str, Json]) -> Recorded:
    """Writes one entry; it exists exactly when the caller's transaction does.

    `payload` holds references and digests, never personal data. Raises `ValueError` where it is no
    canonical JSON or over 64 kB, or `kind` is no kebab-case word.
    """
    return record_all(session, writer=writer, facts=[(kind, payload)])[0]


def record_all(
    within: Session | Connection, *, writer: Writer, facts: Sequence[tuple[str, Mapping[str, Json]]]
) -> list[Recorded]:
    """The same for several entries (kind and payload), which follow each other in the writer's chain.

    The statements are as many for a thousand entries as for one.
    """
    connection = within.connection() if isinstance(within, Session) else within
    rows = append(connection, writer=writer, facts=facts)
    if not rows:
        return []
    found = _IDS.execute(connection, {"_writer": writer.name, "first": rows[0]["counter"], "last": rows[-1]["counter"]})
    return [Recorded(id_, row["leaf_hash"]) for (id_,), row in zip(found, rows, strict=True)]


def note(session: Session, *, writer: Writer, kind: str, payload: Mapping[str, Json]) -> None:
    """As `record`, for who has no use for the entry's row: one question to the database less."""
    append(session.connection(), writer=writer, facts=[(kind, payload)])


def append(
    connection: Connection, *, writer: Writer, facts: Sequence[tuple[str, Mapping[str, Json]]]
) -> list[dict[str, Any]]:
    """The same without asking for the ids of the rows; what was written, by column."""
    now = writer.clock.now()
    contents = [(kind, _content(kind, payload, now)) for kind, payload in facts]
    head = _locked_head(connection, writer.name)
    rows: list[dict[str, Any]] = []
    for counter, (kind, content) in enumerate(contents, head.counter + 1):
        salt = writer.randomness.bytes(_SALT)
        previous = rows[-1]["leaf_hash"] if rows else head.last
        leaf = Leaf(writer.name, counter, previous, commitment(salt, content)).encode()
        rows.append(
            {
                "writer": writer.name,
                "counter": counter,
                "kind": kind,
                "recorded_at": now,
                "content": content.decode(),
                "salt": salt,
                "leaf": leaf,
                "leaf_hash": leaf_hash(leaf),
            }
        )
    if rows:
        _MOVE_HEAD.execute(
            connection, {"_name": writer.name, "counter": rows[-1]["counter"], "last": rows[-1]["leaf_hash"]}
        )
        _INSERT.execute(connection, *rows)
    return rows


def _content(kind: str, payload: Mapping[str, Json], now: datetime) -> bytes:
    if not _KIND.fullmatch(kind):
        raise ValueError("an entry's kind is a kebab-case word")
    content = canonical({"at": timestamp(now), "facts": payload, "kind": kind})
    if len(content) > _MAX_CONTENT:
        raise ValueError("an entry holds 64 kB at most")
    return content


@dataclass(frozen=True)
class _Head:
    counter: int
    last: bytes


def _locked_head(connection: Connection, name: str) -> _Head:
    """Where the writer's chain ends, locked to the end of the transaction: its entries form one line."""
    found = _HEAD.execute(connection, {"_name": name}).first()
    if found is None:
        # Another process of this name may write its first entry just now; then its row serves both.
        insert_if_free(connection, _WRITER_HEAD, {"name": name, "counter": 0, "last": NO_PREVIOUS})
        found = _HEAD.execute(connection, {"_name": name}).one()
    return _Head(found.counter, found.last)


def _malformed() -> Invalid:
    return Invalid("leaf-malformed", "This is not a leaf of the log.")
