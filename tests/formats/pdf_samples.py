"""Small PDF files made by hand: every kind of cross-reference, and the things that a signer must be told of."""

import zlib
from collections.abc import Mapping

Objects = dict[int, bytes]

CATALOG, PAGES, PAGE, CONTENT, FONT, INFO = 1, 2, 3, 4, 5, 6


def stream(data: bytes, entries: bytes = b"") -> bytes:
    return b"<</Length %d%s>>\nstream\n%s\nendstream" % (len(data), entries, data)


def objects(
    *,
    pages: int = 1,
    text: str = "Pogodba",
    catalog: bytes = b"",
    page: bytes = b"",
    title: str = "Pogodba o kreditu",
    more: Mapping[int, bytes] | None = None,
) -> Objects:
    """A document of `pages` equal pages; `catalog` and `page` add entries to those dictionaries."""
    kids = b" ".join(b"%d 0 R" % (PAGE if n == 0 else 100 + n) for n in range(pages))
    one_page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>%s>>"
    made: Objects = {
        CATALOG: b"<</Type/Catalog/Pages 2 0 R%s>>" % catalog,
        PAGES: b"<</Type/Pages/Count %d/Kids[%s]>>" % (pages, kids),
        PAGE: one_page % page,
        CONTENT: stream(b"BT /F 24 Tf 20 100 Td (%s) Tj ET" % text.encode("ascii")),
        FONT: b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        INFO: b"<</Title(%s)>>" % title.encode("ascii"),
    }
    made |= {100 + n: one_page % b"" for n in range(1, pages)}
    return made | dict(more or {})


def _body(content: Objects, start: int) -> tuple[bytes, dict[int, int]]:
    body, offsets = bytearray(), {}
    for number, value in sorted(content.items()):
        offsets[number] = start + len(body)
        body += b"%d 0 obj\n%s\nendobj\n" % (number, value)
    return bytes(body), offsets


def _table(offsets: Mapping[int, int], *, free: bytes = b"0000000000 65535 f \n") -> bytes:
    """A classic table: one subsection for each run of numbers."""
    table = b"xref\n0 1\n" + free
    for number, offset in sorted(offsets.items()):
        table += b"%d 1\n%010d 00000 n \n" % (number, offset)
    return table


def _trailer(content: Objects, extra: bytes = b"") -> bytes:
    size = max(content) + 1
    return b"trailer\n<</Size %d/Root 1 0 R/Info 6 0 R%s>>\n" % (size, extra)


def classic(
    content: Objects | None = None,
    *,
    version: bytes = b"1.7",
    trailer: bytes = b"",
    free: bytes = b"0000000000 65535 f \n",
    end: bytes = b"\n",
) -> bytes:
    """With a cross-reference table."""
    content = content or objects()
    head = b"%%PDF-%s\n%%\xe2\xe3\xcf\xd3\n" % version
    body, offsets = _body(content, len(head))
    where = len(head) + len(body)
    tail = b"startxref\n%d\n%%%%EOF%s" % (where, end)
    return head + body + _table(offsets, free=free) + _trailer(content, trailer) + tail


def _xref_stream(
    number: int, offsets: Mapping[int, int], packed: Mapping[int, tuple[int, int]], entries: bytes
) -> bytes:
    """A cross-reference stream that also knows objects packed into object streams."""
    rows = {0: b"\0" + bytes(4) + b"\xff"}
    rows |= {n: b"\1" + o.to_bytes(4, "big") + b"\0" for n, o in offsets.items()}
    rows |= {n: b"\2" + s.to_bytes(4, "big") + bytes((i,)) for n, (s, i) in packed.items()}
    index = b" ".join(b"%d 1" % n for n in sorted(rows))
    data = zlib.compress(b"".join(rows[n] for n in sorted(rows)))
    head = b"/Type/XRef/Filter/FlateDecode/W[1 4 1]/Index[%s]/Size %d%s" % (index, number + 1, entries)
    return b"%d 0 obj\n%s\nendobj\n" % (number, stream(data, head))


def with_xref_stream(content: Objects | None = None, *, pages_too: bool = False) -> bytes:
    """With a cross-reference stream, and the page tree packed into an object stream; `pages_too`: and compressed."""
    content = dict(content or objects())
    packed_numbers = [n for n in (CATALOG, PAGES, FONT, INFO, *((PAGE,) if pages_too else ())) if n in content]
    values = [content.pop(n) for n in packed_numbers]
    places, at = [], 0
    for number, value in zip(packed_numbers, values, strict=True):
        places.append(b"%d %d" % (number, at))
        at += len(value) + 1
    first = b" ".join(places) + b"\n"
    holder = 90
    entries = b"/Type/ObjStm/N %d/First %d" % (len(values), len(first))
    packed_values = first + b"\n".join(values)
    if pages_too:
        packed_values, entries = zlib.compress(packed_values), entries + b"/Filter/FlateDecode"
    content[holder] = stream(packed_values, entries)
    head = b"%PDF-1.5\n%\xe2\xe3\xcf\xd3\n"
    body, offsets = _body(content, len(head))
    where = len(head) + len(body)
    number = holder + 1
    packed = {n: (holder, i) for i, n in enumerate(packed_numbers)}
    xref = _xref_stream(number, {**offsets, number: where}, packed, b"/Root 1 0 R/Info 6 0 R")
    return head + body + xref + b"startxref\n%d\n%%%%EOF\n" % where


def hybrid() -> bytes:
    """With a table for old readers and a stream for new ones (ISO 32000-2, 7.5.8.4)."""
    content = objects(catalog=b"/Lang(sl)/OpenAction 8 0 R")
    packed_value = b"[3 0 R/Fit]"
    content[7] = stream(b"8 0\n" + packed_value, b"/Type/ObjStm/N 1/First 4")
    head = b"%PDF-1.5\n%\xe2\xe3\xcf\xd3\n"
    body, offsets = _body(content, len(head))
    stream_at = len(head) + len(body)
    xref = _xref_stream(9, {}, {8: (7, 0)}, b"/Root 1 0 R")
    table_at = stream_at + len(xref)
    table = _table(offsets)
    trailer = b"trailer\n<</Size 10/Root 1 0 R/Info 6 0 R/XRefStm %d>>\n" % stream_at
    return head + body + xref + table + trailer + b"startxref\n%d\n%%%%EOF\n" % table_at


def linearised() -> bytes:
    """With the first page first: two tables that point at each other (ISO 32000-2, annex F)."""
    content = objects()
    first_numbers = (CATALOG, PAGE, CONTENT, FONT, INFO)
    first = {n: content[n] for n in first_numbers}
    rest = {PAGES: content[PAGES]}
    head = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"

    def dictionary(length: int, table: int) -> bytes:
        values = (length, 0, 0, 0, table)
        return b"7 0 obj\n<</Linearized 1/L %010d/H[%010d %010d]/O 3/E %010d/N 1/T %010d>>\nendobj\n" % values

    def first_table(offsets: Mapping[int, int], previous: int) -> bytes:
        rows = b"".join(b"%d 1\n%010d 00000 n \n" % (n, o) for n, o in sorted(offsets.items()))
        extra = b"/Prev %010d" % previous
        return b"xref\n" + rows + b"trailer\n<</Size 8/Root 1 0 R/Info 6 0 R%s>>\nstartxref\n0\n%%%%EOF\n" % extra

    linear = dictionary(0, 0)
    first_at = len(head) + len(linear)
    sized = first_table(dict.fromkeys((*first_numbers, 7), 0), 0)
    body_one, offsets_one = _body(first, first_at + len(sized))
    body_two, offsets_two = _body(rest, first_at + len(sized) + len(body_one))
    main_at = first_at + len(sized) + len(body_one) + len(body_two)
    main = _table(offsets_two) + b"trailer\n<</Size 3>>\n" + b"startxref\n%d\n%%%%EOF\n" % first_at
    total = main_at + len(main)
    table = first_table({**offsets_one, 7: len(head)}, main_at)
    return head + dictionary(total, main_at) + table + body_one + body_two + main


def updated(pdf: bytes, number: int, value: bytes, *, size: int = 7) -> bytes:
    """`pdf` (classic) with one object replaced by an incremental update."""
    previous = int(pdf.rsplit(b"startxref\n", 1)[1].split(b"\n", 1)[0])
    written = b"%d 0 obj\n%s\nendobj\n" % (number, value)
    where = len(pdf) + len(written)
    table = b"xref\n%d 1\n%010d 00000 n \n" % (number, len(pdf))
    trailer = b"trailer\n<</Size %d/Root 1 0 R/Info 6 0 R/Prev %d>>\n" % (size, previous)
    return pdf + written + table + trailer + b"startxref\n%d\n%%%%EOF\n" % where


def form_field(*, look: bool, value: str = "12 EUR") -> Objects:
    """A text field 10 (a widget on page one) and the form 11; `look` gives it its own appearance 12."""
    appearance = b"/AP<</N 12 0 R>>" if look else b""
    widget = b"<</Type/Annot/Subtype/Widget/FT/Tx/T(znesek)/V(%s)/DA(/F 12 Tf 0 g)/Rect[20 20 120 40]/P 3 0 R/F 4%s>>"
    made = {
        10: widget % (value.encode(), appearance),
        11: b"<</Fields[10 0 R]/NeedAppearances true/DR<</Font<</F 5 0 R>>>>/DA(/F 12 Tf 0 g)>>",
    }
    if look:
        drawing = b"BT /F 12 Tf 2 6 Td (%s) Tj ET" % value.encode()
        box = b"/Type/XObject/Subtype/Form/BBox[0 0 100 20]/Resources<</Font<</F 5 0 R>>>>"
        made[12] = stream(drawing, box)
    return made
