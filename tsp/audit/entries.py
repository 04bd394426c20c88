"""Entries of the log, written in the same transaction as what they report (SIG-6, EVD-2).

What happened (`content`) stays in the database beside a fresh 256-bit salt. The public leaf holds
the salted digest of it and the entry's place in its writer's chain, and nothing else: no name, no
time, no kind. Whoever has content and salt can show what the leaf stands for; nobody can guess it.
"""

import contextlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tsp.audit.canonical import Json, canonical
from tsp.audit.tables import Entry, WriterHead
from tsp.audit.tree import leaf_hash
from tsp.core.clock import Clock
from tsp.core.errors import Invalid
from tsp.core.randomness import Randomness

#: What the first entry of a writer names as its predecessor.
NO_PREVIOUS = bytes(32)
_SALT = 32
_WRITER = re.compile(r"[a-z][a-z0-9.-]{0,63}")
_KIND = re.compile(r"[a-z][a-z0-9-]{0,63}")
_HEX32 = re.compile(r"[0-9a-f]{64}")
_MAX_CONTENT = 64 * 1024
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
        """The octets that go into the tree."""
        return canonical(
            {
                "commitment": self.commitment.hex(),
                "counter": self.counter,
                "previous": self.previous.hex(),
                "version": 1,
                "writer": self.writer,
            }
        )


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
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def record(session: Session, *, writer: Writer, kind: str, payload: Mapping[str, Json]) -> Entry:
    """Writes one entry; it exists exactly when the caller's transaction does.

    `payload` holds references and digests, never personal data. Raises `ValueError` where it is no
    canonical JSON or over 64 kB, or `kind` is no kebab-case word.
    """
    if not _KIND.fullmatch(kind):
        raise ValueError("an entry's kind is a kebab-case word")
    now = writer.clock.now()
    content = canonical({"at": timestamp(now), "facts": payload, "kind": kind})
    if len(content) > _MAX_CONTENT:
        raise ValueError("an entry holds 64 kB at most")
    salt = writer.randomness.bytes(_SALT)
    head = _locked_head(session, writer.name)
    leaf = Leaf(writer.name, head.counter + 1, head.last, commitment(salt, content)).encode()
    entry = Entry(
        writer=writer.name,
        counter=head.counter + 1,
        kind=kind,
        recorded_at=now,
        content=content.decode(),
        salt=salt,
        leaf=leaf,
        leaf_hash=leaf_hash(leaf),
    )
    head.counter, head.last = entry.counter, entry.leaf_hash
    session.add(entry)
    session.flush()
    return entry


def _locked_head(session: Session, name: str) -> WriterHead:
    """The writer's row, locked to the end of the transaction: its entries form one line."""
    head = session.get(WriterHead, name, with_for_update=True)
    if head is None:
        # Another process of this name may write its first entry just now; then its row serves both.
        with contextlib.suppress(IntegrityError), session.begin_nested():
            session.add(WriterHead(name=name, counter=0, last=NO_PREVIOUS))
        head = session.get_one(WriterHead, name, with_for_update=True)
    return head


def _malformed() -> Invalid:
    return Invalid("leaf-malformed", "This is not a leaf of the log.")
