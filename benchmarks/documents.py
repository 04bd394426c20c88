"""The documents that are signed: made here, the same in every run, of the sizes that people bring."""

import hashlib
import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from PIL import Image

from sandbox.pdf import A4, Font, Page, document, wrap

_MADE = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
_WORDS = (
    *(
        "pogodba",
        "stranka",
        "podpis",
        "rok",
        "obveznost",
        "znesek",
        "priloga",
        "izjava",
        "soglasje",
        "najem",
        "prodaja",
    ),
    *("overitev", "ponudnik", "naročnik", "odstop", "kazen", "dogovor", "račun", "varščina", "člen", "žig", "plačilo"),
)
_FONT = (
    b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica "
    b"/Encoding << /Type /Encoding /BaseEncoding /WinAnsiEncoding /Differences [129 /caron] >> >>"
)
_MARGIN, _LINE, _SIZE = 56.0, 14.0, 10.5


@dataclass(frozen=True)
class _Picture:
    """A JPEG with its size in pixels."""

    jpeg: bytes
    width: int
    height: int
    mode: Literal["RGB", "L"]


def text() -> bytes:
    """A few pages of text, about 12 kB: an ordinary contract."""
    return _text(6)


def pages() -> bytes:
    """200 pages of text."""
    return _text(200)


def mixed() -> bytes:
    """Four pages with text and a picture each, about 140 kB: an offer with photographs."""
    return _with_pictures([(_lines(number, 20), _picture(number, 270, 200, "RGB")) for number in range(4)])


def scan() -> bytes:
    """Five pages that are pictures and nothing else, about 6 MB: a paper that went through a scanner."""
    return _with_pictures([([], _picture(number, 1240, 1754, "L")) for number in range(5)])


def _octets(seed: str, count: int) -> bytes:
    """Octets without a pattern, the same in every run."""
    return hashlib.shake_256(seed.encode()).digest(count)


def _lines(number: int, count: int) -> list[str]:
    words = [_WORDS[octet % len(_WORDS)] for octet in _octets(f"page {number}", count * 14)]
    return wrap(" ".join(words), Font.REGULAR, _SIZE, A4[0] - 2 * _MARGIN)[:count]


def _text(count: int) -> bytes:
    return document(
        [_page(number, _lines(number, 46)) for number in range(count)],
        title="Pogodba",
        author="Enkrat TEST",
        created=_MADE,
    )


def _page(number: int, lines: Sequence[str]) -> Page:
    page = Page()
    page.text(_MARGIN, A4[1] - _MARGIN, f"{number + 1}. člen", Font.BOLD, 14)
    for row, line in enumerate(lines, 2):
        page.text(_MARGIN, A4[1] - _MARGIN - row * _LINE, line)
    return page


def _picture(number: int, width: int, height: int, mode: Literal["RGB", "L"]) -> _Picture:
    """As noisy as what comes out of a scanner or a telephone: it cannot be packed any smaller."""
    noise = Image.frombytes(mode, (width, height), _octets(f"picture {number}", width * height * len(mode)))
    out = io.BytesIO()
    noise.save(out, "JPEG", quality=75)
    return _Picture(out.getvalue(), width, height, mode)


def _with_pictures(content: Sequence[tuple[Sequence[str], _Picture]]) -> bytes:
    """A file (PDF 1.7) of pages with lines of text, if there are any, and a picture below them."""
    kids = b" ".join(b"%d 0 R" % (5 + 3 * number) for number in range(len(content)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, len(content)),
        _FONT,
        b"<< /Title (Ponudba) /CreationDate (D:%s) >>" % _MADE.strftime("%Y%m%d%H%M%SZ").encode(),
    ]
    for number, (lines, picture) in enumerate(content):
        objects += _page_objects(number, lines, picture)
    return _file(objects)


def _page_objects(number: int, lines: Sequence[str], picture: _Picture) -> list[bytes]:
    """Page, content and picture, with the numbers 5, 6, 7 for the first page and so on."""
    words = _page(number, lines).content().replace(b"/F2", b"/F1") if lines else b""
    height = A4[1] / (2 if lines else 1)
    drawn = zlib.compress(b"%s\nq %.2f 0 0 %.2f 0 0 cm /P Do Q" % (words, A4[0], height), 9)
    first = 5 + 3 * number
    space = b"/DeviceRGB" if picture.mode == "RGB" else b"/DeviceGray"
    resources = b"<< /Font << /F1 3 0 R >> /XObject << /P %d 0 R >> >>" % (first + 2)
    return [
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %.2f %.2f] /Contents %d 0 R /Resources %s >>"
        % (*A4, first + 1, resources),
        b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(drawn), drawn),
        b"<< /Type /XObject /Subtype /Image /Width %d /Height %d /ColorSpace %s /BitsPerComponent 8 "
        b"/Filter /DCTDecode /Length %d >>\nstream\n%s\nendstream"
        % (picture.width, picture.height, space, len(picture.jpeg), picture.jpeg),
    ]


def _file(objects: Sequence[bytes]) -> bytes:
    out = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start, identifier = len(out), hashlib.sha256(out).hexdigest()[:32].upper().encode()
    rows = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(offsets) + 1, rows)
    out += b"trailer\n<< /Size %d /Root 1 0 R /Info 4 0 R /ID [<%s> <%s>] >>\n" % (
        len(offsets) + 1,
        identifier,
        identifier,
    )
    return bytes(out + b"startxref\n%d\n%%%%EOF\n" % start)
