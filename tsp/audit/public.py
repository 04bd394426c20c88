"""What the log tells the public: only what a published checkpoint covers, read from the database."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from tsp.audit import tables, tiles, tree
from tsp.audit.tables import CheckpointStamp, Entry, TreeHead
from tsp.core.errors import Invalid, NotFound, Unavailable


@dataclass(frozen=True)
class Inclusion:
    """Where a leaf stands, and the path that proves it against the checkpoint `note`."""

    leaf: bytes
    index: int
    size: int
    proof: list[bytes]
    note: str


@dataclass(frozen=True)
class Place:
    """What the lookup page says of a leaf: `index` is None while no checkpoint covers it."""

    leaf: bytes
    known: bool
    index: int | None = None


def newest(session: Session) -> TreeHead:
    """The newest published head; `Unavailable` (log-empty) before there is one."""
    head = tables.latest_published(session)
    if head is None:
        raise Unavailable("log-empty", "The log has not been signed yet. Please try again in a moment.")
    return head


def full_note(session: Session, head: TreeHead) -> str:
    """The head's signed note with the lines of all witnesses that have co-signed it."""
    return (head.note or "") + "".join(one.line for one in tables.cosignatures(session, head.size))


def checkpoint(session: Session, size: int | None = None) -> str:
    """The newest checkpoint, or that of exactly `size`, as a signed note with its cosignatures.

    `NotFound` (checkpoint-unknown) where none of this size was published.
    """
    if size is None:
        return full_note(session, newest(session))
    head = tables.published(session, size)
    if head is None:
        raise NotFound("checkpoint-unknown", "The log has published no statement of this size.")
    return full_note(session, head)


def time_stamp(session: Session, size: int) -> bytes:
    """The time-stamp token over the checkpoint of this size; `NotFound` (checkpoint-not-stamped)."""
    stamp = session.get(CheckpointStamp, size)
    if stamp is None:
        raise NotFound("checkpoint-not-stamped", "No time-stamp was taken for a statement of this size.")
    return stamp.token


def tile(session: Session, level: int, request: tiles.TileRequest) -> bytes:
    """The hashes of a tile; `NotFound` (tile-unknown) beyond the newest checkpoint."""
    if request.width > tiles.tile_width(level, request.index, newest(session).size):
        raise _unknown()
    return tables.tile_hashes(session, level, request.index)[: request.width * tiles.HASH]


def entries(session: Session, request: tiles.TileRequest) -> bytes:
    """A bundle of leaves, each behind its length in two octets; the same bounds as a tile of level 0."""
    if request.width > tiles.tile_width(0, request.index, newest(session).size):
        raise _unknown()
    start = request.index * tiles.WIDTH
    found = tables.leaves(session, start, start + request.width)
    return b"".join(len(leaf).to_bytes(2, "big") + leaf for leaf in found)


def split_bundle(bundle: bytes) -> list[bytes]:
    """The inverse of `entries`' encoding; `Invalid` (bundle-malformed) where lengths do not fit."""
    found: list[bytes] = []
    offset = 0
    while offset < len(bundle):
        end = offset + 2 + int.from_bytes(bundle[offset : offset + 2], "big")
        if offset + 2 > len(bundle) or end > len(bundle):
            raise Invalid("bundle-malformed", "The log sent entries that cannot be read.")
        found.append(bundle[offset + 2 : end])
        offset = end
    return found


def inclusion(session: Session, leaf: bytes) -> Inclusion:
    """The proof for a leaf hash.

    Raises `NotFound`: leaf-unknown, or leaf-pending where the entry is written but no checkpoint
    covers it yet (ask again in a second).
    """
    head = newest(session)
    entry = tables.entry_with_leaf(session, leaf)
    if entry is None:
        raise NotFound("leaf-unknown", "The log has no entry with this fingerprint.")
    if entry.position is None or entry.position >= head.size:
        raise NotFound("leaf-pending", "The entry is written and will be in the log in a moment. Please ask again.")
    return inclusion_under(session, head, entry)


def inclusion_under(session: Session, head: TreeHead, entry: Entry) -> Inclusion:
    """The proof that a placed entry is in the tree of this head, which is larger than the entry's position."""
    assert entry.position is not None and entry.position < head.size
    proof = tree.inclusion_proof(entry.position, head.size, nodes(session))
    return Inclusion(entry.leaf_hash, entry.position, head.size, proof, full_note(session, head))


def consistency(session: Session, old: int, new: int) -> list[bytes]:
    """The proof that the log of `old` entries is a prefix of that of `new`; `Invalid` (log-sizes)."""
    if not 0 <= old <= new <= newest(session).size:
        raise Invalid("log-sizes", "Name two sizes of the log, the smaller first.")
    return tree.consistency_proof(old, new, nodes(session))


def look_up(session: Session, leaf: bytes) -> Place:
    """For the page: where the leaf stands, if anywhere."""
    entry = tables.entry_with_leaf(session, leaf)
    if entry is None:
        return Place(leaf, known=False)
    covered = entry.position is not None and entry.position < newest(session).size
    return Place(leaf, known=True, index=entry.position if covered else None)


def nodes(session: Session) -> tree.NodeReader:
    """The stored tree's nodes."""
    return tiles.node_reader(lambda level, index: tables.tile_hashes(session, level, index))


def _unknown() -> NotFound:
    return NotFound("tile-unknown", "The log is not that long yet.")
