"""What a PDF needs to know of a TrueType font: which glyph a character has, and how wide it is.

Reads the fonts that are shipped beside it (OpenType 1.9: head, hhea, hmtx, cmap format 4) and no others.
"""

import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

FONTS = Path(__file__).parent / "fonts"
Weight = Literal["regular", "bold"]


@dataclass(frozen=True)
class Font:
    """One font: the file, glyph numbers by code point, widths by glyph number in thousandths of the size."""

    name: str
    data: bytes
    glyphs: dict[int, int]
    widths: tuple[int, ...]
    box: tuple[int, int, int, int]
    ascent: int
    descent: int

    def glyph(self, character: str) -> int:
        """The glyph of a character; 0, the empty box, where the font has none."""
        return self.glyphs.get(ord(character), 0)

    def width(self, text: str, size: float) -> float:
        """How wide a line of text is, in the unit of `size`."""
        return sum(self.widths[self.glyph(character)] for character in text) * size / 1000


@cache
def font(weight: Weight) -> Font:
    """The shipped font of this weight."""
    return parse((FONTS / f"{weight}.ttf").read_bytes(), f"AtkinsonHyperlegibleNext-{weight.title()}")


def parse(data: bytes, name: str) -> Font:
    """A font with 1000 units for an em; ValueError for any other."""
    tables: dict[bytes, tuple[int, int]] = {}
    (count,) = struct.unpack_from(">H", data, 4)
    for at in range(12, 12 + 16 * count, 16):
        tag, _, offset, length = struct.unpack_from(">4sIII", data, at)
        tables[tag] = offset, length
    head, hhea = tables[b"head"][0], tables[b"hhea"][0]
    (units,) = struct.unpack_from(">H", data, head + 18)
    if units != 1000:
        raise ValueError("a font with 1000 units for an em is needed")
    box = struct.unpack_from(">4h", data, head + 36)
    ascent, descent = struct.unpack_from(">2h", data, hhea + 4)
    (measured,) = struct.unpack_from(">H", data, hhea + 34)
    hmtx = tables[b"hmtx"][0]
    widths = tuple(struct.unpack_from(">H", data, hmtx + 4 * glyph)[0] for glyph in range(measured))
    (glyph_count,) = struct.unpack_from(">H", data, tables[b"maxp"][0] + 4)
    widths += (widths[-1],) * (glyph_count - measured)
    return Font(name, data, _characters(data, tables[b"cmap"][0]), widths, box, ascent, descent)


def _characters(data: bytes, cmap: int) -> dict[int, int]:
    """Glyphs by code point from the Windows Unicode subtable (platform 3, encoding 1, format 4)."""
    (count,) = struct.unpack_from(">H", data, cmap + 2)
    for at in range(cmap + 4, cmap + 4 + 8 * count, 8):
        platform, encoding, offset = struct.unpack_from(">HHI", data, at)
        if (platform, encoding) == (3, 1) and struct.unpack_from(">H", data, cmap + offset)[0] == 4:
            return _segments(data, cmap + offset)
    raise ValueError("a font with a Unicode table of format 4 is needed")


def _segments(data: bytes, at: int) -> dict[int, int]:
    segments = struct.unpack_from(">H", data, at + 6)[0] // 2
    ends = struct.unpack_from(f">{segments}H", data, at + 14)
    starts = struct.unpack_from(f">{segments}H", data, at + 16 + 2 * segments)
    deltas = struct.unpack_from(f">{segments}H", data, at + 16 + 4 * segments)
    base = at + 16 + 6 * segments
    ranges = struct.unpack_from(f">{segments}H", data, base)
    found: dict[int, int] = {}
    for index, (start, end, delta, shift) in enumerate(zip(starts, ends, deltas, ranges, strict=True)):
        for code in range(start, min(end, 0xFFFE) + 1):
            glyph = code
            if shift:
                (glyph,) = struct.unpack_from(">H", data, base + 2 * index + shift + 2 * (code - start))
            if glyph or not shift:
                found[code] = (glyph + delta) & 0xFFFF
    return found
