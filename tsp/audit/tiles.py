"""Tiles: the tree cut into pieces of 256 hashes (C2SP tlog-tiles). Pure.

Tile (level, index) holds up to 256 hashes; hash i stands for the perfect subtree of 256^level
leaves from (index * 256 + i) * 256^level. A tile that is not full yet is "partial"; its hashes
never change when it grows, so an older partial tile is a prefix of a newer one.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tsp.audit.tree import NodeReader, node_hash
from tsp.core.errors import Invalid

HEIGHT = 8
WIDTH = 1 << HEIGHT
HASH = 32

#: Where a tile lies; level 0 holds leaf hashes.
TileId = tuple[int, int]
TileReader = Callable[[int, int], bytes]

_INDEX = re.compile(r"(?:x[0-9]{3}/){0,5}[0-9]{3}")
_PARTIAL = re.compile(r"[1-9][0-9]{0,2}")


@dataclass(frozen=True)
class TileRequest:
    """A tile, or bundle of entries, as its address names it: index and how many of its 256."""

    index: int
    width: int


def encode_index(index: int) -> str:
    """The index as path elements of three digits, all but the last with an x: 1234067 is x001/x234/067."""
    groups = [f"{index % 1000:03d}"]
    while index := index // 1000:
        groups.append(f"x{index % 1000:03d}")
    return "/".join(reversed(groups))


def encode_request(index: int, width: int = WIDTH) -> str:
    """The path of a tile below `tile/<level>/`, with `.p/<width>` where it is partial."""
    return encode_index(index) + ("" if width == WIDTH else f".p/{width}")


def parse_request(path: str) -> TileRequest:
    """The inverse of `encode_request`; `Invalid` (tile-path) for any other spelling of the same tile."""
    index_path, dot, partial = path.partition(".p/")
    if not _INDEX.fullmatch(index_path) or (dot and not _PARTIAL.fullmatch(partial)):
        raise _no_tile()
    index = int(index_path.replace("x", "").replace("/", ""))
    width = int(partial) if dot else WIDTH
    if width > WIDTH or (dot and width == WIDTH) or encode_index(index) != index_path:
        raise _no_tile()
    return TileRequest(index, width)


def tile_width(level: int, index: int, size: int) -> int:
    """How many hashes tile (level, index) has in a tree of `size` leaves: 0 to 256."""
    return max(0, min(WIDTH, (size >> HEIGHT * level) - index * WIDTH))


def tiles_of(size: int) -> list[TileId]:
    """Every tile of a tree of `size` leaves, lowest level first."""
    found: list[TileId] = []
    level = 0
    while hashes := size >> HEIGHT * level:
        found += [(level, index) for index in range((hashes + WIDTH - 1) // WIDTH)]
        level += 1
    return found


def node_reader(tile: TileReader) -> NodeReader:
    """Any perfect subtree's hash, computed from the tile that holds it."""

    def node(level: int, index: int) -> bytes:
        tile_level, height = divmod(level, HEIGHT)
        first = index << height
        content = tile(tile_level, first // WIDTH)
        offset = first % WIDTH
        hashes = [content[i * HASH : (i + 1) * HASH] for i in range(offset, offset + (1 << height))]
        if len(hashes[-1]) != HASH:
            raise KeyError(f"tile {tile_level}/{first // WIDTH} is too short")
        return _perfect(hashes)

    return node


def extend(tile: TileReader, size: int, leaves: Sequence[bytes]) -> Mapping[TileId, bytes]:
    """The tiles that change when `leaves` (hashes) are appended to a tree of `size` leaves.

    `tile` is asked only for partial tiles at the old right edge.
    """
    changed: dict[TileId, bytes] = {}
    level, count, added = 0, size, list(leaves)
    while added:
        rising: list[bytes] = []
        while added:
            index, width = divmod(count, WIDTH)
            content = tile(level, index)[: width * HASH] if width else b""
            taken, added = added[: WIDTH - width], added[WIDTH - width :]
            content += b"".join(taken)
            changed[level, index] = content
            count += len(taken)
            if len(content) == WIDTH * HASH:
                rising.append(tile_root(content))
        level, count, added = level + 1, size >> HEIGHT * (level + 1), rising
    return changed


def tile_root(content: bytes) -> bytes:
    """The hash over a full tile: one hash of the level above."""
    return _perfect([content[i : i + HASH] for i in range(0, WIDTH * HASH, HASH)])


def _perfect(hashes: list[bytes]) -> bytes:
    """The root over 2^n neighbouring hashes."""
    while len(hashes) > 1:
        hashes = [node_hash(left, right) for left, right in zip(hashes[::2], hashes[1::2], strict=True)]
    return hashes[0]


def _no_tile() -> Invalid:
    return Invalid("tile-path", "There is no such part of the log.")
