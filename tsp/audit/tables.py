"""The log's tables: entries with their writers' chains, tiles, checkpoints and what others say of them."""

from datetime import datetime

from sqlalchemy import ForeignKey, LargeBinary, String, Text, UniqueConstraint, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from tsp.core.database import Base, BigKey


class WriterHead(Base):
    """Where a writer's chain ends: the row that its next entry locks."""

    __tablename__ = "audit_writer"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    counter: Mapped[int] = mapped_column(BigKey)
    last: Mapped[bytes] = mapped_column(LargeBinary(32))


class Entry(Base):
    """One entry. `leaf` is public; `content` and `salt` open its commitment and stay here.

    `position` is the entry's place in the tree, null until the sequencer has given it one.
    """

    __tablename__ = "audit_entry"
    __table_args__ = (UniqueConstraint("writer", "counter"),)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    writer: Mapped[str] = mapped_column(ForeignKey("audit_writer.name"))
    counter: Mapped[int] = mapped_column(BigKey)
    kind: Mapped[str] = mapped_column(String(64))
    recorded_at: Mapped[datetime]
    content: Mapped[str] = mapped_column(Text)
    salt: Mapped[bytes] = mapped_column(LargeBinary(32))
    leaf: Mapped[bytes] = mapped_column(LargeBinary)
    leaf_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    position: Mapped[int | None] = mapped_column(BigKey, unique=True)


class Tile(Base):
    """Up to 256 hashes of one level of the tree, one after the other."""

    __tablename__ = "audit_tile"

    level: Mapped[int] = mapped_column(primary_key=True)
    index: Mapped[int] = mapped_column("tile_index", BigKey, primary_key=True)
    hashes: Mapped[bytes] = mapped_column(LargeBinary)


class TreeHead(Base):
    """The tree at one size. Durable before it is signed; `note` is the signed checkpoint."""

    __tablename__ = "audit_tree_head"

    size: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=False)
    root: Mapped[bytes] = mapped_column(LargeBinary(32))
    integrated_at: Mapped[datetime]
    signed_at: Mapped[datetime | None]
    note: Mapped[str | None] = mapped_column(Text)


class SequencerLease(Base):
    """The one row that says who sequences now, and until when."""

    __tablename__ = "audit_sequencer"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    holder: Mapped[str] = mapped_column(String(64))
    until: Mapped[datetime]


class Publication(Base):
    """A tree head that the public is shown: signed, and co-signed by as many witnesses as are asked for."""

    __tablename__ = "audit_publication"

    size: Mapped[int] = mapped_column(BigKey, ForeignKey("audit_tree_head.size"), primary_key=True, autoincrement=False)
    published_at: Mapped[datetime]


class Cosignature(Base):
    """A witness's signature line under one checkpoint, verified before it was stored."""

    __tablename__ = "audit_cosignature"

    size: Mapped[int] = mapped_column(BigKey, ForeignKey("audit_tree_head.size"), primary_key=True, autoincrement=False)
    witness: Mapped[str] = mapped_column(String(200), primary_key=True)
    line: Mapped[str] = mapped_column(Text)
    cosigned_at: Mapped[datetime]


class WitnessState(Base):
    """What is known of one witness: the size that it knows, when it last answered, and what is wrong."""

    __tablename__ = "audit_witness"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    size: Mapped[int] = mapped_column(BigKey)
    cosigned_at: Mapped[datetime | None]
    problem: Mapped[str | None] = mapped_column(String(32))
    problem_at: Mapped[datetime | None]


class CheckpointStamp(Base):
    """A time-stamp token (RFC 3161) over the text of the checkpoint of this size, verified before it was stored."""

    __tablename__ = "audit_time_stamp"

    size: Mapped[int] = mapped_column(BigKey, ForeignKey("audit_tree_head.size"), primary_key=True, autoincrement=False)
    token: Mapped[bytes] = mapped_column(LargeBinary)
    stamped_at: Mapped[datetime]


class KeyCount(Base):
    """How many one-time keys a worker of the engine found alive when it last asked its token."""

    __tablename__ = "audit_key_count"

    worker: Mapped[str] = mapped_column(String(64), primary_key=True)
    token: Mapped[str] = mapped_column(String(64))
    keys_alive: Mapped[int]
    read_at: Mapped[datetime]


def latest_head(session: Session) -> TreeHead | None:
    """The newest tree head, signed or not."""
    return session.scalars(select(TreeHead).order_by(TreeHead.size.desc()).limit(1)).first()


def latest_signed(session: Session) -> TreeHead | None:
    """The newest tree head that bears the log's signature."""
    return session.scalars(
        select(TreeHead).where(TreeHead.note.is_not(None)).order_by(TreeHead.size.desc()).limit(1)
    ).first()


def latest_published(session: Session) -> TreeHead | None:
    """The newest tree head that the public is shown: what the public log says."""
    newest = session.scalar(select(Publication.size).order_by(Publication.size.desc()).limit(1))
    return session.get(TreeHead, newest) if newest is not None else None


def published(session: Session, size: int) -> TreeHead | None:
    """The tree head of exactly this size, where the public is shown it."""
    return session.get(TreeHead, size) if session.get(Publication, size) else None


def anchored_above(session: Session, size: int) -> TreeHead | None:
    """The first published tree head of more than `size` entries that has a time-stamp."""
    return session.scalars(
        select(TreeHead)
        .join(CheckpointStamp, CheckpointStamp.size == TreeHead.size)
        .where(CheckpointStamp.size > size)
        .order_by(CheckpointStamp.size)
        .limit(1)
    ).first()


def cosignatures(session: Session, size: int) -> list[Cosignature]:
    """The witnesses' lines under the checkpoint of this size, by name."""
    found = select(Cosignature).where(Cosignature.size == size).order_by(Cosignature.witness)
    return list(session.scalars(found))


def latest_stamp(session: Session) -> CheckpointStamp | None:
    """The time-stamp of the largest checkpoint that has one."""
    return session.scalars(select(CheckpointStamp).order_by(CheckpointStamp.size.desc()).limit(1)).first()


def tile_hashes(session: Session, level: int, index: int) -> bytes:
    """The stored hashes of one tile; empty where there is none."""
    tile = session.get(Tile, (level, index))
    return tile.hashes if tile else b""


def leaves(session: Session, start: int, end: int) -> list[bytes]:
    """The public leaves at positions `start` to `end` - 1."""
    found = select(Entry.leaf).where(Entry.position >= start, Entry.position < end).order_by(Entry.position)
    return list(session.scalars(found))


def entry_with_leaf(session: Session, leaf_hash: bytes) -> Entry | None:
    """The entry with this leaf hash."""
    return session.scalars(select(Entry).where(Entry.leaf_hash == leaf_hash)).first()


def last_recorded(session: Session, writer: str) -> datetime | None:
    """The moment of this writer's newest entry; None before its first."""
    newest = select(Entry.recorded_at).where(Entry.writer == writer).order_by(Entry.counter.desc()).limit(1)
    return session.scalar(newest)


def newest_entry_at(session: Session) -> datetime | None:
    """The moment of the newest entry, whoever wrote it."""
    return session.scalar(select(Entry.recorded_at).order_by(Entry.id.desc()).limit(1))


def oldest_uncovered(session: Session) -> datetime | None:
    """The moment of the oldest entry that no signed checkpoint covers; None where all are covered."""
    signed = latest_signed(session)
    size = signed.size if signed else 0
    # Two queries, each on the index of the positions: one with OR would read the whole log.
    moments = [
        session.scalar(select(func.min(Entry.recorded_at)).where(where))
        for where in (Entry.position.is_(None), Entry.position >= size)
    ]
    return min((moment for moment in moments if moment is not None), default=None)
