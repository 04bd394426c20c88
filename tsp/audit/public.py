"""What the log tells the public: only what a signed checkpoint covers, read from the database."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from tsp.audit import tables, tiles, tree
from tsp.audit.tables import TreeHead
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


@dataclass(frozen=True)
class Summary:
    """The newest signed state for people."""

    size: int
    root: bytes
    signed_at: datetime | None
    note: str


def newest(session: Session) -> TreeHead:
    """The newest signed head; `Unavailable` (log-empty) before there is one."""
    head = tables.latest_signed(session)
    if head is None:
        raise Unavailable("log-empty", "The log has not been signed yet. Please try again in a moment.")
    return head


def checkpoint(session: Session) -> str:
    """The newest checkpoint as a signed note."""
    return newest(session).note or ""


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
    proof = tree.inclusion_proof(entry.position, head.size, _nodes(session))
    return Inclusion(leaf, entry.position, head.size, proof, head.note or "")


def consistency(session: Session, old: int, new: int) -> list[bytes]:
    """The proof that the log of `old` entries is a prefix of that of `new`; `Invalid` (log-sizes)."""
    if not 0 <= old <= new <= newest(session).size:
        raise Invalid("log-sizes", "Name two sizes of the log, the smaller first.")
    return tree.consistency_proof(old, new, _nodes(session))


def look_up(session: Session, leaf: bytes) -> Place:
    """For the page: where the leaf stands, if anywhere."""
    entry = tables.entry_with_leaf(session, leaf)
    if entry is None:
        return Place(leaf, known=False)
    covered = entry.position is not None and entry.position < newest(session).size
    return Place(leaf, known=True, index=entry.position if covered else None)


def summary(session: Session) -> Summary:
    """For the page: size, root and time of the newest checkpoint."""
    head = newest(session)
    return Summary(head.size, head.root, head.signed_at, head.note or "")


def _nodes(session: Session) -> tree.NodeReader:
    return tiles.node_reader(lambda level, index: tables.tile_hashes(session, level, index))


def _unknown() -> NotFound:
    return NotFound("tile-unknown", "The log is not that long yet.")
