"""A minimal PDF writer (ISO 32000-1): A4 pages, Helvetica, rules; enough for a decent contract.

The standard fonts know š and ž by their WinAnsi codes, but many viewers' built-in Helvetica has no
glyph for č. It is composed of c and caron, as typesetters did, with the real letter as ActualText
(14.9.4), so that copying and searching find "č".
"""

import hashlib
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

A4 = (595.28, 841.89)
_CARON = b"\x81"  # a free code of WinAnsiEncoding, given to /caron by Differences
_CARON_WIDTH = 333
_CAPITAL_RISE = 0.19  # of the size: from the caron of small letters to that of capitals
_COMPOSED = {"č": "c", "Č": "C"}

# Widths of codes 32 to 126 in thousandths of the size (Adobe Font Metrics of the two fonts).
_REGULAR_WIDTHS = (
    *(278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556, 556),
    *(556, 556, 556, 556, 278, 278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667),
    *(556, 833, 722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556, 333, 556),
    *(556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556, 556, 556, 333, 500, 278, 556, 500, 722),
    *(500, 500, 500, 334, 260, 334, 584),
)
_BOLD_WIDTHS = (
    *(278, 333, 474, 556, 556, 889, 722, 238, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556, 556),
    *(556, 556, 556, 556, 333, 333, 584, 584, 584, 611, 975, 722, 722, 722, 722, 667, 611, 778, 722, 278, 556, 722),
    *(611, 833, 722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 333, 278, 333, 584, 556, 333, 556),
    *(611, 556, 611, 556, 333, 611, 611, 278, 278, 556, 278, 889, 611, 611, 611, 611, 389, 556, 333, 611, 556, 778),
    *(556, 556, 500, 389, 280, 389, 584),
)
#: Signs beyond ASCII, and letters whose width is that of their base letter.
_OTHER_WIDTHS = {"–": 556, "—": 1000, "»": 556, "«": 556, "€": 556, "§": 556, "•": 350, "…": 1000, "²": 333}
_BASE_LETTERS = {"š": "s", "Š": "S", "ž": "z", "Ž": "Z", **_COMPOSED}


class Font(Enum):
    """The two faces that every viewer has."""

    REGULAR = "F1"
    BOLD = "F2"


def width(text: str, font: Font, size: float) -> float:
    """How wide the text is, in points. `ValueError` for a character that the fonts cannot show."""
    return sum(_width(character, font) for character in text) * size / 1000


def wrap(text: str, font: Font, size: float, room: float) -> list[str]:
    """The text in lines of at most `room` points; a word that is wider stands on a line of its own."""
    lines: list[str] = []
    for word in text.split():
        if lines and width(f"{lines[-1]} {word}", font, size) <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


@dataclass
class Page:
    """What is drawn on one page; the origin is the lower left corner, lengths are points."""

    _content: list[bytes] = field(default_factory=list)

    def text(self, x: float, y: float, text: str, font: Font = Font.REGULAR, size: float = 10.5) -> None:
        """One line of text with its baseline at `y`."""
        shown = b" ".join(_shown(text, font, size))
        self._content.append(b"BT /%s %.2f Tf %.2f %.2f Td %s ET" % (font.value.encode(), size, x, y, shown))

    def line(self, x: float, y: float, to_x: float, *, thickness: float = 0.6) -> None:
        """A horizontal rule."""
        self._content.append(b"%.2f w %.2f %.2f m %.2f %.2f l S" % (thickness, x, y, to_x, y))

    def content(self) -> bytes:
        return b"\n".join(self._content)


def document(pages: Sequence[Page], *, title: str, author: str, created: datetime) -> bytes:
    """The finished file (PDF 1.7) with title, author, language and a file identifier."""
    count = len(pages)
    kids = b" ".join(b"%d 0 R" % (6 + 2 * number) for number in range(count))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R /Lang (sl-SI) /ViewerPreferences << /DisplayDocTitle true >> >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, count),
        _font("Helvetica"),
        _font("Helvetica-Bold"),
        b"<< /Title %s /Author %s /Producer (Sandbox) /CreationDate (D:%s) >>"
        % (_utf16(title), _utf16(author), created.strftime("%Y%m%d%H%M%SZ").encode()),
    ]
    for number, page in enumerate(pages):
        packed = zlib.compress(page.content(), 9)
        objects += [
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %.2f %.2f] /Contents %d 0 R "
            b"/Resources << /Font << /F1 3 0 R /F2 4 0 R >> >> >>" % (*A4, 7 + 2 * number),
            b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(packed), packed),
        ]
    return _file(objects)


def _file(objects: Iterable[bytes]) -> bytes:
    out = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start, identifier = len(out), hashlib.sha256(out).hexdigest()[:32].upper().encode()
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(offsets) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size %d /Root 1 0 R /Info 5 0 R /ID [<%s> <%s>] >>\n" % (
        len(offsets) + 1,
        identifier,
        identifier,
    )
    return bytes(out + b"startxref\n%d\n%%%%EOF\n" % start)


def _font(name: str) -> bytes:
    encoding = b"<< /Type /Encoding /BaseEncoding /WinAnsiEncoding /Differences [129 /caron] >>"
    return b"<< /Type /Font /Subtype /Type1 /BaseFont /%s /Encoding %s >>" % (name.encode(), encoding)


def _shown(text: str, font: Font, size: float) -> Iterator[bytes]:
    """Text-showing operators for one line; composed letters are wrapped with their ActualText."""
    run = ""
    for character in text:
        if character not in _COMPOSED:
            run += character
            continue
        if run:
            yield _literal(run) + b" Tj"
            run = ""
        yield _composed(character, font, size)
    if run:
        yield _literal(run) + b" Tj"


def _composed(character: str, font: Font, size: float) -> bytes:
    """The caron first and the letter last, so that the span ends where the next letter begins."""
    base = _COMPOSED[character]
    rise = size * _CAPITAL_RISE if base.isupper() else 0.0
    margin = (_width(base, font) - _CARON_WIDTH) / 2
    return b"/Span << /ActualText %s >> BDC %.2f Ts [%.1f (%s) %.1f] TJ 0 Ts (%s) Tj EMC" % (
        _utf16(character),
        rise,
        -margin,
        _CARON,
        margin + _CARON_WIDTH,
        base.encode(),
    )


def _width(character: str, font: Font) -> int:
    character = _BASE_LETTERS.get(character, character)
    if character in _OTHER_WIDTHS:
        return _OTHER_WIDTHS[character]
    if not 32 <= ord(character) <= 126:
        raise ValueError(f"the standard fonts cannot show {character!r}")
    return (_REGULAR_WIDTHS if font is Font.REGULAR else _BOLD_WIDTHS)[ord(character) - 32]


def _literal(text: str) -> bytes:
    octets = text.encode("cp1252")
    for sign in (b"\\", b"(", b")"):
        octets = octets.replace(sign, b"\\" + sign)
    return b"(" + octets + b")"


def _utf16(text: str) -> bytes:
    return b"<FEFF" + text.encode("utf-16-be").hex().upper().encode() + b">"
