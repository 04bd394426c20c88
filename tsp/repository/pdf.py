"""PDF (ISO 32000-1) of a document: text in an embedded font, tagged, with an outline. Values in, octets out.

The same values give the same octets: a statement that is published does not change by being asked for.
"""

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from tsp.repository.truetype import Font, Weight, font

WIDTH, HEIGHT = 595.28, 841.89
LEFT, RIGHT, TOP, BOTTOM = 62.0, 533.0, 780.0, 70.0
Tag = Literal["H1", "H2", "H3", "P", "Note"]


@dataclass(frozen=True, slots=True)
class Style:
    """How one block of text looks: size and leading in points, space before it, indent from the left margin."""

    size: float
    leading: float
    before: float
    weight: Weight = "regular"
    indent: float = 0.0
    grey: float = 0.0


STYLES: dict[str, Style] = {
    "title": Style(21, 26, 4, "bold"),
    "lead": Style(10.5, 15, 2, grey=0.3),
    "heading": Style(14.5, 19, 20, "bold"),
    "subheading": Style(11, 15, 12, "bold"),
    "text": Style(10, 14.2, 5),
    "promise": Style(10, 14.2, 7, indent=14),
    "proof": Style(8.4, 11.4, 2, indent=14, grey=0.32),
    "cell": Style(9, 12, 4),
    "head": Style(9, 12, 8, "bold"),
}
_TAGS: dict[str, Tag] = {"title": "H1", "heading": "H2", "subheading": "H3", "proof": "Note"}


@dataclass(frozen=True, slots=True)
class Block:
    """Text of one style; several columns stand beside each other. `outline` puts it into the outline at this depth."""

    style: str
    columns: tuple[str, ...]
    outline: int | None = None


@dataclass(slots=True)
class _Page:
    content: list[bytes] = field(default_factory=list)
    marks: int = 0


class _Typesetter:
    """Sets blocks one below the other and begins a page where the last one is full."""

    def __init__(self) -> None:
        self.pages = [_Page()]
        self.y = TOP
        #: For each block: its tag, and where its parts stand (page, marked content).
        self.elements: list[tuple[Tag, list[tuple[int, int]]]] = []
        self.outline: list[tuple[int, str, int, float]] = []

    def set(self, block: Block, keep: float = 0.0) -> None:
        """One block; `keep` points must be free below its first line, so that no heading ends a page."""
        style = STYLES[block.style]
        columns = [wrap(text, style, width) for text, width in zip(block.columns, _widths(block, style), strict=True)]
        lines = max(len(column) for column in columns)
        self.y -= style.before
        if self.y - style.leading - keep < BOTTOM:
            self._next_page()
        if block.outline is not None:
            self.outline.append((block.outline, block.columns[0], len(self.pages) - 1, self.y + 4))
        places: list[tuple[int, int]] = []
        begin = 0
        while begin < lines:
            fit = max(1, min(lines - begin, int((self.y - BOTTOM) / style.leading)))
            self._part(block, style, [column[begin : begin + fit] for column in columns], places)
            begin += fit
            if begin < lines:
                self._next_page()
        self.elements.append((_TAGS.get(block.style, "P"), places))

    def _part(self, block: Block, style: Style, columns: list[list[str]], places: list[tuple[int, int]]) -> None:
        page = self.pages[-1]
        tag = _TAGS.get(block.style, "P")
        page.content.append(f"/{tag} <</MCID {page.marks}>> BDC BT {style.grey:g} g".encode())
        x = LEFT + style.indent
        for column, width in zip(columns, _widths(block, style), strict=True):
            for number, line in enumerate(column):
                page.content.append(_line(line, style, x, self.y - style.leading * (number + 1) + 3))
            x += width + 10
        page.content.append(b"ET EMC")
        places.append((len(self.pages) - 1, page.marks))
        page.marks += 1
        self.y -= style.leading * max(len(column) for column in columns)

    def _next_page(self) -> None:
        self.pages.append(_Page())
        self.y = TOP


def _widths(block: Block, style: Style) -> list[float]:
    count = len(block.columns)
    room = RIGHT - LEFT - style.indent - 10 * (count - 1)
    return [room / count] * count if count != 2 else [room * 0.36, room * 0.64]


def _line(text: str, style: Style, x: float, y: float) -> bytes:
    name, face = ("B", font("bold")) if style.weight == "bold" else ("R", font("regular"))
    return f"/{name} {style.size:g} Tf 1 0 0 1 {x:.2f} {y:.2f} Tm <{_glyphs(face, text)}> Tj".encode()


def _glyphs(face: Font, text: str) -> str:
    return "".join(f"{face.glyph(character):04X}" for character in text)


def wrap(text: str, style: Style, width: float) -> list[str]:
    """The text in lines that are no wider than `width` points; a word that is wider is broken."""
    face = font(style.weight)
    lines, line = [], ""
    for word in text.split():
        while face.width(word, style.size) > width:
            end = max(n for n in range(1, len(word) + 1) if n == 1 or face.width(word[:n], style.size) <= width)
            if line:
                lines.append(line)
                line = ""
            lines.append(word[:end])
            word = word[end:]  # noqa: PLW2901  (what is left of it)
        longer = f"{line} {word}".strip()
        if face.width(longer, style.size) <= width:
            line = longer
        else:
            lines.append(line)
            line = word
    return [*lines, line] if line or not lines else lines


def make_pdf(
    blocks: Sequence[Block], *, title: str, author: str, language: str, date: datetime, footer: str, mark: str = ""
) -> bytes:
    """The document. `footer` stands on each page before its number, `mark` (TEST) at its head."""
    setter = _Typesetter()
    for index, block in enumerate(blocks):
        following = blocks[index + 1].style if index + 1 < len(blocks) else ""
        keep = 42.0 if block.style in ("heading", "subheading", "head") or following == "proof" else 0.0
        setter.set(block, keep)
    return _File(setter, title, author, language, date, footer, mark).octets()


class _File:
    """The objects of the file, numbered as they are added."""

    def __init__(
        self, setter: _Typesetter, title: str, author: str, language: str, date: datetime, footer: str, mark: str
    ) -> None:
        self._objects: list[bytes] = [b"", b""]  # catalogue and page tree come last, with numbers 1 and 2
        self._setter = setter
        fonts = f"<</R {self._font(font('regular'))} 0 R /B {self._font(font('bold'))} 0 R>>"
        pages = [self._page(number, page, fonts, footer, mark) for number, page in enumerate(setter.pages)]
        tree = self._structure(pages, language)
        outline = self._outlines(pages)
        stamp = f"{date:%Y%m%d%H%M%S}Z"
        info = self._add(
            f"<</Title {_text(title)} /Author {_text(author)} /CreationDate (D:{stamp}) /ModDate (D:{stamp})>>"
        )
        self._objects[0] = (
            f"<</Type /Catalog /Pages 2 0 R /Lang ({language}) /MarkInfo <</Marked true>> /StructTreeRoot {tree} 0 R "
            f"/Outlines {outline} 0 R /ViewerPreferences <</DisplayDocTitle true>>>>"
        ).encode()
        kids = " ".join(f"{page} 0 R" for page in pages)
        self._objects[1] = f"<</Type /Pages /Count {len(pages)} /Kids [{kids}]>>".encode()
        self._info = info

    def octets(self) -> bytes:
        """The file with its cross-reference table."""
        out = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
        offsets = []
        for number, body in enumerate(self._objects, 1):
            offsets.append(len(out))
            out += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
        start, count = len(out), len(self._objects) + 1
        identity = hashlib.sha256(out).hexdigest()[:32]
        out += f"xref\n0 {count}\n0000000000 65535 f \n".encode()
        out += "".join(f"{offset:010d} 00000 n \n" for offset in offsets).encode()
        out += (
            f"trailer\n<</Size {count} /Root 1 0 R /Info {self._info} 0 R /ID [<{identity}> <{identity}>]>>\n".encode()
        )
        out += f"startxref\n{start}\n%%EOF\n".encode()
        return bytes(out)

    def _add(self, body: str | bytes) -> int:
        self._objects.append(body.encode() if isinstance(body, str) else body)
        return len(self._objects)

    def _stream(self, data: bytes, more: str = "") -> int:
        packed = zlib.compress(data, 9)
        head = f"<</Length {len(packed)} /Filter /FlateDecode{more}>>\nstream\n".encode()
        return self._add(head + packed + b"\nendstream")

    def _font(self, face: Font) -> int:
        file = self._stream(face.data, f" /Length1 {len(face.data)}")
        box = " ".join(str(edge) for edge in face.box)
        descriptor = self._add(
            f"<</Type /FontDescriptor /FontName /{face.name} /Flags 4 /FontBBox [{box}] /ItalicAngle 0 /Ascent "
            f"{face.ascent} /Descent {face.descent} /CapHeight {face.ascent} /StemV 80 /FontFile2 {file} 0 R>>"
        )
        widths = " ".join(str(width) for width in face.widths)
        child = self._add(
            f"<</Type /Font /Subtype /CIDFontType2 /BaseFont /{face.name} /CIDToGIDMap /Identity /CIDSystemInfo "
            f"<</Registry (Adobe) /Ordering (Identity) /Supplement 0>> /FontDescriptor {descriptor} 0 R "
            f"/W [0 [{widths}]]>>"
        )
        unicode = self._stream(_to_unicode(face))
        return self._add(
            f"<</Type /Font /Subtype /Type0 /BaseFont /{face.name} /Encoding /Identity-H "
            f"/DescendantFonts [{child} 0 R] /ToUnicode {unicode} 0 R>>"
        )

    def _page(self, number: int, page: _Page, fonts: str, footer: str, mark: str) -> int:
        style = Style(8, 10, 0, grey=0.35)
        total = len(self._setter.pages)
        parts = [*page.content, b"/Artifact BMC BT 0.35 g", _line(footer, style, LEFT, 40)]
        place = f"{number + 1} / {total}"
        parts.append(_line(place, style, RIGHT - font("regular").width(place, 8), 40))
        if mark:
            parts.append(_line(mark, style, RIGHT - font("regular").width(mark, 8), 806))
        parts.append(b"ET EMC")
        content = self._stream(b"\n".join(parts))
        return self._add(
            f"<</Type /Page /Parent 2 0 R /MediaBox [0 0 {WIDTH} {HEIGHT}] /Resources <</Font {fonts}>> "
            f"/Contents {content} 0 R /StructParents {number} /Tabs /S>>"
        )

    def _structure(self, pages: list[int], language: str) -> int:
        """The structure tree (ISO 32000-1, 14.7): a reader hears headings and paragraphs in their order."""
        root = len(self._objects) + 1
        self._objects.append(b"")
        whole = len(self._objects) + 1
        self._objects.append(b"")
        owners: dict[int, list[tuple[int, int]]] = {}
        elements = []
        for tag, places in self._setter.elements:
            parts = " ".join(f"<</Type /MCR /Pg {pages[page]} 0 R /MCID {mark}>>" for page, mark in places)
            element = self._add(f"<</Type /StructElem /S /{tag} /P {whole} 0 R /K [{parts}]>>")
            elements.append(element)
            for page, mark in places:
                owners.setdefault(page, []).append((mark, element))
        numbers = " ".join(
            f"{page} [{' '.join(f'{element} 0 R' for _, element in sorted(marks))}]" for page, marks in owners.items()
        )
        kids = " ".join(f"{element} 0 R" for element in elements)
        self._objects[whole - 1] = (
            f"<</Type /StructElem /S /Document /P {root} 0 R /Lang ({language}) /K [{kids}]>>".encode()
        )
        self._objects[root - 1] = (
            f"<</Type /StructTreeRoot /K {whole} 0 R /ParentTree <</Nums [{numbers}]>> "
            f"/ParentTreeNextKey {len(pages)}>>"
        ).encode()
        return root

    def _outlines(self, pages: list[int]) -> int:
        """A flat outline of the chapters (ISO 32000-1, 12.3.3)."""
        chapters = [entry for entry in self._setter.outline if entry[0] == 0]
        root = len(self._objects) + 1
        self._objects.append(b"")
        first = root + 1
        for index, (_, title, page, y) in enumerate(chapters):
            links = f" /Prev {first + index - 1} 0 R" if index else ""
            links += f" /Next {first + index + 1} 0 R" if index + 1 < len(chapters) else ""
            self._add(
                f"<</Title {_text(title)} /Parent {root} 0 R{links} /Dest [{pages[page]} 0 R /XYZ {LEFT:g} {y:.2f} 0]>>"
            )
        ends = f" /First {first} 0 R /Last {first + len(chapters) - 1} 0 R" if chapters else ""
        self._objects[root - 1] = f"<</Type /Outlines /Count {len(chapters)}{ends}>>".encode()
        return root


def _to_unicode(face: Font) -> bytes:
    """The map back from glyphs to characters (ISO 32000-1, 9.10.3), so that text can be searched and copied."""
    back = {glyph: code for code, glyph in sorted(face.glyphs.items(), reverse=True) if glyph}
    pairs = [f"<{glyph:04X}> <{code:04X}>" for glyph, code in sorted(back.items())]
    parts = [
        "/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapType 2 def /CMapName /ToUnicode def",
        "/CIDSystemInfo <</Registry (Adobe) /Ordering (UCS) /Supplement 0>> def",
        "1 begincodespacerange <0000> <FFFF> endcodespacerange",
    ]
    for at in range(0, len(pairs), 100):
        chunk = pairs[at : at + 100]
        parts.append(f"{len(chunk)} beginbfchar {' '.join(chunk)} endbfchar")
    return "\n".join([*parts, "endcmap CMapName currentdict /CMap defineresource pop end end"]).encode()


def _text(value: str) -> str:
    """A text string (ISO 32000-1, 7.9.2.2) in UTF-16 with its byte order mark, as hexadecimal digits."""
    return f"<FEFF{value.encode('utf-16-be').hex().upper()}>"
