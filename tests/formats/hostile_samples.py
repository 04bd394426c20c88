"""Hostile PDF files, made from code: each function makes one attack and says in a sentence what it is.

`REFUSED` names what the reader answers to each (codes in a tuple: any of them is a right answer), `REMARKED`
what the signer is told of those that may pass.
"""

import io
import zlib
from collections.abc import Callable

from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.pdf_utils.writer import copy_into_new_writer

from tests.formats.pdf_samples import (
    CONTENT,
    PAGE,
    PAGES,
    classic,
    form_field,
    hybrid,
    linearised,
    objects,
    stream,
    updated,
)
from tests.formats.pdf_samples import with_xref_stream as packed
from tsp.formats.findings import Finding

Maker = Callable[[], bytes]
DAMAGED, COMPLEX = "document-damaged", "document-too-complex"


def with_parts(catalog: bytes = b"", page: bytes = b"", **more: bytes) -> bytes:
    """A document of one page with entries in its catalog and page, and objects `o20`, `o21`…"""
    numbered = {int(number.lstrip("o")): value for number, value in more.items()}
    return classic(objects(catalog=catalog, page=page, more=numbered))


def content(drawing: bytes, entries: bytes = b"", resources: bytes = b"", **more: bytes) -> bytes:
    """A document whose page draws this."""
    made = objects(more={int(n.lstrip("o")): v for n, v in more.items()})
    made[CONTENT] = stream(drawing, entries)
    made[PAGE] = made[PAGE].replace(b"/Resources<<", b"/Resources<<" + resources)
    return classic(made)


def annotated(entries: bytes, **more: bytes) -> bytes:
    """A document with one annotation on its page."""
    return with_parts(page=b"/Annots[20 0 R]", o20=b"<</Type/Annot/Rect[9 9 99 49]%s>>" % entries, **more)


def with_form(entries: bytes, *fields: bytes) -> bytes:
    """A document with a form of these widgets."""
    numbers = range(30, 30 + len(fields))
    references = b" ".join(b"%d 0 R" % n for n in numbers)
    widget = b"<</Type/Annot/Subtype/Widget/Rect[9 9 99 49]/P 3 0 R/F 4%s>>"
    more = {f"o{n}": widget % field for n, field in zip(numbers, fields, strict=True)}
    form = b"<</Fields[%s]/DR<</Font<</F 5 0 R>>>>/DA(/F 12 Tf 0 g)%s>>" % (references, entries)
    return with_parts(b"/AcroForm 20 0 R", b"/Annots[%s]" % references, o20=form, **more)


# --- files that would have to be repaired, or that two viewers read in two ways -----------------------


def cut(share: float) -> Maker:
    """Only the first part of a file."""
    return lambda: classic()[: int(len(classic()) * share)]


def second_file_behind() -> bytes:
    """Two whole files, the second counting from its own beginning."""
    return classic() + classic(objects(text="Druga"))


def behind(front: bytes) -> Maker:
    """A file behind something else that counts from the beginning of all: one file with another thing in it."""

    def make() -> bytes:
        body, rest = classic(objects(text="Druga")).split(b"xref\n0 1\n", 1)
        table, trailer = rest.split(b"trailer\n", 1)
        rows = [
            b"%010d%s" % (int(row[:10]) + len(front), row[10:]) if row.endswith(b" n ") else row
            for row in table.split(b"\n")
        ]
        moved = b"xref\n0 1\n" + b"\n".join(rows) + b"trailer\n" + trailer.split(b"startxref", 1)[0]
        return front + body + moved + b"startxref\n%d\n%%%%EOF\n" % (len(front) + len(body))

    return make


def table_that_points_back(distance: int) -> Maker:
    """/Prev leads to where one was already."""

    def make() -> bytes:
        file = classic(trailer=b"/Prev %010d" % 0)
        here = int(file.rsplit(b"startxref\n", 1)[1].split(b"\n", 1)[0])
        return file.replace(b"/Prev %010d" % 0, b"/Prev %010d" % (here - distance))

    return make


def hybrid_with_two_truths() -> bytes:
    """Table and stream of a hybrid file name different places for the page's content."""
    return hybrid().replace(b"xref\n0 1\n", b"xref\n8 1\n%010d 00000 n \n0 1\n" % hybrid().index(b"4 0 obj"))


def hybrid_with_a_freed_object() -> bytes:
    """The table says that an object is gone, the stream has it."""
    return hybrid().replace(b"xref\n0 1\n", b"xref\n8 1\n0000000000 00001 f \n0 1\n")


def nested(opening: bytes, closing: bytes, depth: int) -> Maker:
    """Brackets within brackets."""
    return lambda: with_parts(b"/Own %s1%s" % (opening * depth, closing * depth))


def page_tree(pages: bytes, **more: bytes) -> Maker:
    """A page tree of one's own."""
    numbered = {int(number.lstrip("o")): value for number, value in more.items()}
    return lambda: classic(objects(more={PAGES: b"<</Type/Pages%s>>" % pages} | numbered))


def pages_of_pages() -> bytes:
    """Ten objects that are ten thousand million pages: every node has the next one ten times."""
    node = b"<</Type/Pages/Parent 2 0 R/Count %d/Kids[%s]>>"
    nodes = {f"o{20 + n}": node % (10 ** (9 - n), b"%d 0 R " % (21 + n) * 10) for n in range(9)}
    return page_tree(b"/Count 1000000000/Kids[20 0 R]", **nodes, o29=b"<</Type/Page/Parent 28 0 R>>")()


def wrong_unpacking(change: Callable[[bytes], bytes]) -> Maker:
    """A compressed page that does not unpack to its end."""
    data = zlib.compress(b"BT /F 24 Tf 20 100 Td (Placam 100 EUR) Tj ET " * 20)
    return lambda: content(change(data), b"/Filter/FlateDecode")


# --- bombs -----------------------------------------------------------------------------------------------


def flate_bomb(layers: int) -> Maker:
    """A page of 300 million zeros, packed once or more often."""

    def make() -> bytes:
        packer = zlib.compressobj(9)
        data = b"".join(packer.compress(bytes(1_000_000)) for _ in range(300)) + packer.flush()
        for _ in range(layers - 1):
            data = zlib.compress(data, 9)
        return content(data, b"/Filter[%s]" % (b"/FlateDecode" * layers))

    return make


def object_stream_bomb() -> bytes:
    """The catalog lies in an object stream that swells up."""
    return _with_object_stream(zlib.compress(b"1 0 " + bytes(150_000_000), 9), b"/N 1/First 4/Filter/FlateDecode")


def object_stream_of_many() -> bytes:
    """An object stream that says it has two thousand million objects."""
    return _with_object_stream(b"1 0 <</Type/Catalog/Pages 2 0 R>>", b"/N 2000000000/First 4")


def _with_object_stream(data: bytes, entries: bytes) -> bytes:
    made = objects(more={20: stream(data, b"/Type/ObjStm" + entries)})
    del made[1]
    head, offsets = bytearray(b"%PDF-1.5\n%\xe2\xe3\xcf\xd3\n"), {}
    for number, value in sorted(made.items()):
        offsets[number] = len(head)
        head += b"%d 0 obj\n%s\nendobj\n" % (number, value)
    rows = {0: b"\0" + bytes(4) + b"\xff", 1: b"\2" + (20).to_bytes(4, "big") + b"\0"}
    rows |= {n: b"\1" + o.to_bytes(4, "big") + b"\0" for n, o in offsets.items()}
    rows[21] = b"\1" + len(head).to_bytes(4, "big") + b"\0"
    index = b" ".join(b"%d 1" % n for n in sorted(rows))
    table = stream(b"".join(rows[n] for n in sorted(rows)), b"/Type/XRef/W[1 4 1]/Size 22/Root 1 0 R/Index[%s]" % index)
    return bytes(head) + b"21 0 obj\n%s\nendobj\nstartxref\n%d\n%%%%EOF\n" % (table, len(head))


def cross_reference_bomb() -> bytes:
    """A cross-reference stream of a hundred million entries in a few octets."""
    data = zlib.compress(bytes(100_000_000), 9)
    entries = b"/Type/XRef/W[1 0 0]/Size 100000000/Root 1 0 R/Filter/FlateDecode"
    head = b"%PDF-1.5\n"
    return head + b"1 0 obj\n%s\nendobj\nstartxref\n%d\n%%%%EOF\n" % (stream(data, entries), len(head))


def table_of_many() -> bytes:
    """A table that says it has ten thousand million rows."""
    return classic().replace(b"xref\n0 1\n", b"xref\n0 9999999999\n")


def picture(width: int, height: int) -> Maker:
    """A picture of so many pixels, all white, in a small file."""

    def make() -> bytes:
        packer = zlib.compressobj(9)
        size = min(width * height, 300_000_000)
        data = b"".join(packer.compress(bytes(1_000_000)) for _ in range(size // 1_000_000)) + packer.flush()
        entries = b"/Type/XObject/Subtype/Image/ColorSpace/DeviceGray/BitsPerComponent 8/Filter/FlateDecode"
        image = stream(data, entries + b"/Width %d/Height %d" % (width, height))
        return content(b"q 300 0 0 200 0 0 cm /I Do Q", resources=b"/XObject<</I 20 0 R>>", o20=image)

    return make


def forms_in_forms(width: int, depth: int) -> Maker:
    """Each form draws the next one `width` times: few octets, `width`^`depth` drawings."""

    def make() -> bytes:
        form = b"/Type/XObject/Subtype/Form/BBox[0 0 300 200]/Resources<</XObject<</X %d 0 R>>>>"
        more = {f"o{20 + n}": stream(b"/X Do " * width, form % (21 + n)) for n in range(depth)}
        more[f"o{20 + depth}"] = stream(b"0 0 300 200 re f", b"/Type/XObject/Subtype/Form/BBox[0 0 300 200]")
        return content(b"/X Do", resources=b"/XObject<</X 20 0 R>>", **more)

    return make


def form_that_draws_itself() -> bytes:
    """A form that has itself as its resource."""
    form = stream(b"/X Do", b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</X 20 0 R>>>>")
    return content(b"/X Do", resources=b"/XObject<</X 20 0 R>>", o20=form)


def pattern_of_dust() -> bytes:
    """A pattern whose tiles are a thousandth of a point wide, each drawn with much ado."""
    tile = stream(
        b"0 0 0.0005 0.0005 re f " * 2000,
        b"/Type/Pattern/PatternType 1/PaintType 1/TilingType 1/BBox[0 0 9 9]/XStep 0.001/YStep 0.001/Resources<<>>",
    )
    return content(b"/Pattern cs /P scn 0 0 300 200 re f", resources=b"/Pattern<</P 20 0 R>>", o20=tile)


def endless_strokes() -> bytes:
    """A page of half a million curves in a file of some kilobytes."""
    data = zlib.compress(b"0 0 m 300 0 0 200 300 200 c S " * 2_000_000, 9)
    return content(data, b"/Filter/FlateDecode")


# --- encryption --------------------------------------------------------------------------------------------


def encrypted(entries: bytes) -> Maker:
    """With an encryption dictionary: whatever it says, the file is not read any further."""
    return lambda: classic(objects(more={20: b"<<%s>>" % entries}), trailer=b"/Encrypt 20 0 R/ID[<00><00>]")


def encrypted_with(user: str) -> Maker:
    """Truly encrypted (AES of 256 bits); an empty user password opens in every viewer without asking."""

    def make() -> bytes:
        writer = copy_into_new_writer(PdfFileReader(io.BytesIO(classic())))
        writer.encrypt(owner_pass="owner", user_pass=user)
        output = io.BytesIO()
        writer.write(output)
        return output.getvalue()

    return make


def encrypted_before() -> bytes:
    """Only the first revision says that the file is encrypted."""
    return updated(encrypted(_STANDARD % (b"1", b"2"))(), CONTENT, stream(b"BT ET"), size=21)


_STANDARD = b"/Filter/Standard/V %s/R %s/P -4/O<" + b"00" * 32 + b">/U<" + b"00" * 32 + b">"
_AES = b"/CF<</StdCF<</CFM/%s/AuthEvent/DocOpen>>>>/StmF/StdCF/StrF/StdCF"
_JS = b"<</S/JavaScript/JS(app.alert\\(1\\))>>"
_ATTACHED = b"<</Type/Filespec/F(racun.xml)/UF(racun.xml)/EF<</F 22 0 R>>>>"
_FILE = stream(b"<racun/>", b"/Type/EmbeddedFile/Params<</Size 8>>")
_GROUP = b"<</Type/OCG/Name(Osnutek)%s>>"
_OWN_FONT = b"<</Type/Font/Subtype/TrueType/BaseFont/Arial/FontDescriptor<</Type/FontDescriptor/FontName/Arial>>>>"


def _action(entries: bytes) -> Maker:
    return lambda: annotated(b"/Subtype/Link/A<</Type/Action%s>>" % entries)


def link_and_note(address: str) -> bytes:
    """A document that a signer is told several things of."""
    link = b"<</Type/Annot/Subtype/Link/Rect[9 9 99 49]/A<</S/URI/URI(%s)>>>>" % address.encode("ascii")
    note = b"<</Type/Annot/Subtype/Text/Rect[9 60 29 80]/Contents(Opomba)>>"
    return with_parts(page=b"/Annots[20 0 R 21 0 R]/Own 22 0 R", o20=link, o21=note, o22=_OWN_FONT)


#: What cannot be signed: the attack, and the code of the refusal.
REFUSED: dict[str, tuple[Maker, str | tuple[str, ...]]] = {
    # damaged, or read differently by different viewers
    "nothing behind the header": (lambda: b"%PDF-1.7\n", DAMAGED),
    "cut at a tenth": (cut(0.1), DAMAGED),
    "cut in the middle": (cut(0.5), DAMAGED),
    "cut at the very end": (cut(0.99), DAMAGED),
    "line ends converted": (lambda: classic().replace(b"\n", b"\r\n"), DAMAGED),
    "line ends converted, linearised": (lambda: linearised().replace(b"\n", b"\r\n"), DAMAGED),
    "startxref leads nowhere": (lambda: classic().replace(b"startxref\n", b"startxref\n9"), DAMAGED),
    "startxref is zero": (lambda: classic()[: classic().rindex(b"startxref")] + b"startxref\n0\n%%EOF\n", DAMAGED),
    "startxref is negative": (lambda: classic().replace(b"startxref\n", b"startxref\n-"), DAMAGED),
    "object under another number": (lambda: classic().replace(b"4 0 obj", b"9 0 obj"), DAMAGED),
    "wrong length of a stream": (lambda: classic().replace(b"/Length ", b"/Length 1"), DAMAGED),
    "length that is itself": (lambda: content(b"", b"/Own 1").replace(b"/Length 0", b"/Length 4 0 R"), DAMAGED),
    "white space before the header": (lambda: b"\n" + classic(), DAMAGED),
    "web page before the header": (behind(b"<html><script>alert(1)</script></html>\n"), DAMAGED),
    "archive behind the end": (lambda: classic() + b"PK\x05\x06" + bytes(18), DAMAGED),
    "two files in a row": (second_file_behind, DAMAGED),
    "a file within a file": (behind(classic()), DAMAGED),
    "sections in a circle": (table_that_points_back(0), DAMAGED),
    "section in the middle of nothing": (table_that_points_back(7), DAMAGED),
    "hybrid with two truths": (hybrid_with_two_truths, DAMAGED),
    "hybrid with a freed object": (hybrid_with_a_freed_object, DAMAGED),
    "two values for one key": (lambda: with_parts(page=b"/Rotate 0/Rotate 90"), DAMAGED),
    "two catalogs": (lambda: classic(trailer=b"/Root 3 0 R"), DAMAGED),
    "page that does not unpack": (wrong_unpacking(lambda data: data[:20] + b"\xff" * 9 + data[29:]), DAMAGED),
    "page that ends early": (wrong_unpacking(lambda data: data[:-9]), DAMAGED),
    "references in a circle": (lambda: with_parts(b"/Own 20 0 R", o20=b"21 0 R", o21=b"20 0 R"), DAMAGED),
    "field that is its own parent": (lambda: with_form(b"", b"/FT/Tx/T(a)/AP<<>>/Kids[30 0 R]/Parent 30 0 R"), DAMAGED),
    # page trees
    "no pages": (page_tree(b"/Count 0/Kids[]"), DAMAGED),
    "page tree that holds itself": (page_tree(b"/Count 1/Kids[2 0 R]"), DAMAGED),
    "page twice in the tree": (page_tree(b"/Count 2/Kids[3 0 R 3 0 R]"), DAMAGED),
    "page that is nothing": (page_tree(b"/Count 2/Kids[3 0 R 77 0 R]"), DAMAGED),
    "count too small": (page_tree(b"/Count 1/Kids[3 0 R 20 0 R]", o20=b"<</Type/Page/Parent 2 0 R>>"), DAMAGED),
    "ten million pages": (page_tree(b"/Count 10000000/Kids[3 0 R]"), DAMAGED),
    "ten thousand million pages": (pages_of_pages, ("document-too-many-pages", DAMAGED)),
    "page of a kilometre": (
        page_tree(b"/Count 1/Kids[20 0 R]", o20=b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 3000000 3000000]>>"),
        "document-page-too-large",
    ),
    "page in units of a metre": (
        page_tree(b"/Count 1/Kids[20 0 R]", o20=b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 300]/UserUnit 2834>>"),
        "document-page-too-large",
    ),
    "page as large as numbers go": (
        page_tree(b"/Count 1/Kids[20 0 R]", o20=b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %s 9]>>" % (b"9" * 60)),
        ("document-page-too-large", DAMAGED),
    ),
    # bombs
    "brackets": (nested(b"[", b"]", 50_000), (DAMAGED, COMPLEX)),
    "dictionaries": (nested(b"<</a", b">>", 50_000), (DAMAGED, COMPLEX)),
    "flate bomb": (flate_bomb(1), COMPLEX),
    "flate bomb in three layers": (flate_bomb(3), COMPLEX),
    "object stream bomb": (object_stream_bomb, (DAMAGED, COMPLEX)),
    "object stream of many": (object_stream_of_many, (DAMAGED, COMPLEX)),
    "cross-reference bomb": (cross_reference_bomb, (DAMAGED, COMPLEX)),
    "table of many": (table_of_many, (DAMAGED, COMPLEX)),
    "picture of a thousand million pixels": (picture(40_000, 40_000), COMPLEX),
    "forms in forms": (forms_in_forms(20, 8), COMPLEX),
    "endless strokes": (endless_strokes, COMPLEX),
    "pattern of dust": (pattern_of_dust, COMPLEX),
    # encryption
    "RC4, 40 bits": (encrypted(_STANDARD % (b"1", b"2")), "document-encrypted"),
    "RC4, 128 bits": (encrypted(_STANDARD % (b"2", b"3") + b"/Length 128"), "document-encrypted"),
    "AES, 128 bits": (encrypted(_STANDARD % (b"4", b"4") + _AES % b"AESV2"), "document-encrypted"),
    "AES, 256 bits": (encrypted_with("geslo"), "document-encrypted"),
    "owner's password only": (encrypted_with(""), "document-encrypted"),
    "for a certificate": (
        encrypted(b"/Filter/Adobe.PubSec/SubFilter/adbe.pkcs7.s4/V 2/Length 128/Recipients[<30>]"),
        "document-encrypted",
    ),
    "of an unknown kind": (encrypted(b"/Filter/Own.Kind/V 9"), "document-encrypted"),
    "attached files only": (
        encrypted(_STANDARD % (b"4", b"4") + b"/CF<<>>/StmF/Identity/StrF/Identity/EFF/StdCF"),
        "document-encrypted",
    ),
    "in an earlier revision only": (encrypted_before, "document-encrypted"),
    # what could change what is shown
    "XFA form": (lambda: with_form(b"/XFA 25 0 R").replace(b"/XFA 25 0 R", b"/XFA(<xdp/>)"), "document-xfa"),
    "script at opening": (lambda: with_parts(b"/OpenAction" + _JS), "document-javascript"),
    "script by name": (
        lambda: with_parts(b"/Names<</JavaScript<</Names[(a) 20 0 R]>>>>", o20=_JS),
        "document-javascript",
    ),
    "script of a page": (lambda: with_parts(page=b"/AA<</O%s>>" % _JS), "document-javascript"),
    "script of a note": (lambda: annotated(b"/Subtype/Link/A" + _JS), "document-javascript"),
    "script of a field": (lambda: with_form(b"", b"/FT/Tx/T(a)/AP<<>>/AA<</C%s>>" % _JS), "document-javascript"),
    "script behind a page move": (_action(b"/S/GoTo/D[3 0 R/Fit]/Next[%s]" % _JS), "document-javascript"),
    "script in disguise": (lambda: with_parts(b"/OpenAction<</S/J#61vaScript/#4aS(1)>>"), "document-javascript"),
    "script in an object stream": (lambda: packed(objects(catalog=b"/OpenAction" + _JS)), "document-javascript"),
    "script in a later revision": (
        lambda: updated(classic(), 1, b"<</Type/Catalog/Pages 2 0 R/AA<</WS%s>>>>" % _JS),
        "document-javascript",
    ),
    "program": (_action(b"/S/Launch/F(calc.exe)"), "document-actions"),
    "other file": (_action(b"/S/GoToR/F(other.pdf)/D[0/Fit]"), "document-actions"),
    "attached file": (_action(b"/S/GoToE/D[0/Fit]"), "document-actions"),
    "sending": (_action(b"/S/SubmitForm/F(http://example.test)"), "document-actions"),
    "filling in": (_action(b"/S/ImportData/F(a.fdf)"), "document-actions"),
    "emptying": (_action(b"/S/ResetForm"), "document-actions"),
    "hiding": (_action(b"/S/Hide/T(a)"), "document-actions"),
    "switching layers": (_action(b"/S/SetOCGState/State[]"), "document-actions"),
    "address at opening": (lambda: with_parts(b"/OpenAction<</S/URI/URI(http://example.test)>>"), "document-actions"),
    "address of a page": (lambda: with_parts(page=b"/AA<</O<</S/URI/URI(http://example.test)>>>>"), "document-actions"),
    "film": (_action(b"/S/Rendition/OP 0"), "document-actions"),
    "rich media": (lambda: annotated(b"/Subtype/RichMedia"), "document-multimedia"),
    "screen": (lambda: annotated(b"/Subtype/Screen"), "document-multimedia"),
    "model": (lambda: annotated(b"/Subtype/3D"), "document-multimedia"),
    "slide show": (lambda: with_parts(b"/Names<</AlternatePresentations<</Names[]>>>>"), "document-multimedia"),
    "portfolio": (lambda: with_parts(b"/Collection<</Type/Collection>>"), "document-portfolio"),
    "content in another file": (lambda: content(b"", b"/F(http://example.test/p)"), "document-external-content"),
    "page of another file": (
        lambda: with_parts(b"/Own 20 0 R", o20=stream(b"", b"/Subtype/Form/Ref<</F(b.pdf)/Page 0>>")),
        "document-external-content",
    ),
    "picture of a print shop": (
        lambda: with_parts(b"/Own 20 0 R", o20=stream(b"", b"/Subtype/Form/OPI<</1.3<<>>>>")),
        "document-external-content",
    ),
    "picture for the printer": (
        lambda: with_parts(b"/Own 20 0 R", o20=stream(b"", b"/Subtype/Image/Width 1/Height 1/Alternates[]")),
        "document-prints-differently",
    ),
    "program for the printer": (
        lambda: with_parts(b"/Own 20 0 R", o20=stream(b"showpage", b"/Subtype/PS")),
        "document-prints-differently",
    ),
    "hidden layer": (
        lambda: with_parts(b"/OCProperties<</OCGs[20 0 R]/D<</OFF[20 0 R]>>>>", o20=_GROUP % b""),
        "document-hidden-layers",
    ),
    "layers off": (
        lambda: with_parts(b"/OCProperties<</OCGs[20 0 R]/D<</BaseState/OFF>>>>", o20=_GROUP % b""),
        "document-hidden-layers",
    ),
    "layer that is not printed": (
        lambda: with_parts(
            b"/OCProperties<</OCGs[20 0 R]/D<</AS[<</Event/Print/Category[/Print]/OCGs[20 0 R]>>]>>>>",
            o20=_GROUP % b"/Usage<</Print<</PrintState/OFF>>>>",
        ),
        "document-hidden-layers",
    ),
    "layer of a language": (
        lambda: with_parts(
            b"/OCProperties<</OCGs[20 0 R]/D<</AS[<</Event/View/Category[/Language]/OCGs[20 0 R]>>]>>>>",
            o20=_GROUP % b"/Usage<</Language<</Lang(de)>>>>",
        ),
        "document-hidden-layers",
    ),
    "shown when a layer is off": (
        lambda: with_parts(
            b"/OCProperties<</OCGs[20 0 R]/D<<>>>>/Own 21 0 R",
            o20=_GROUP % b"",
            o21=b"<</Type/OCMD/OCGs 20 0 R/P/AllOff>>",
        ),
        "document-hidden-layers",
    ),
    "hidden note": (lambda: annotated(b"/Subtype/FreeText/F 2/Contents(a)"), "document-hidden-content"),
    "note for paper only": (lambda: annotated(b"/Subtype/Stamp/F 36"), "document-hidden-content"),
    "hidden field": (
        lambda: with_form(b"", b"/FT/Tx/T(a)/AP<</N 4 0 R>>").replace(b"/F 4/FT", b"/F 6/FT"),
        "document-hidden-content",
    ),
    "fields drawn by the viewer": (
        lambda: with_form(b"/NeedAppearances true", b"/FT/Tx/T(a)/V(99 EUR)/DA(/F 12 Tf 0 g)"),
        "document-unsettled-form",
    ),
    "value without a look": (
        lambda: with_form(b"", b"/FT/Tx/T(a)/V(99 EUR)/DA(/F 12 Tf 0 g)"),
        "document-unsettled-form",
    ),
    "file in the name tree": (
        lambda: with_parts(b"/Names<</EmbeddedFiles<</Names[(a) 20 0 R]>>>>", o20=_ATTACHED, o22=_FILE),
        "document-embedded-files",
    ),
    "file at a note": (
        lambda: annotated(b"/Subtype/FileAttachment/FS 21 0 R", o21=_ATTACHED, o22=_FILE),
        "document-embedded-files",
    ),
    "file of the document": (lambda: with_parts(b"/AF[20 0 R]", o20=_ATTACHED, o22=_FILE), "document-embedded-files"),
}

#: What can be signed: the file, and what its signer is told.
REMARKED: dict[str, tuple[Maker, frozenset[Finding]]] = {
    name: (make, frozenset(findings))
    for name, make, findings in (
        ("plain", classic, ()),
        ("in an object stream", packed, ()),
        ("hybrid", hybrid, ()),
        ("linearised", linearised, ()),
        (
            "page far from the origin",
            page_tree(b"/Count 1/Kids[20 0 R]", o20=b"<</Type/Page/Parent 2 0 R/MediaBox[90000 90000 90300 90200]>>"),
            (),
        ),
        ("picture of ten million pixels", picture(5_000, 2_000), ()),
        ("newest revision counts", lambda: updated(classic(), CONTENT, stream(b"BT ET")), ()),
        ("white space behind the end", lambda: classic(end=b"\r\n\0\0 \n"), ()),
        ("form that draws itself", form_that_draws_itself, ()),
        (
            "outline in a circle",
            lambda: with_parts(
                b"/Outlines 20 0 R",
                o20=b"<</First 21 0 R/Last 21 0 R>>",
                o21=b"<</Title(a)/Parent 20 0 R/Next 21 0 R>>",
            ),
            (),
        ),
        ("many members", lambda: with_parts(b"/Own[%s]" % (b"1 " * 20_000)), ()),
        ("long string and name", lambda: with_parts(b"/Own(%s)/Name/%s" % (b"a" * 500_000, b"b" * 50_000)), ()),
        ("page move at opening", lambda: with_parts(b"/OpenAction<</S/GoTo/D[3 0 R/Fit]>>"), ()),
        ("link", _action(b"/S/URI/URI(https://example.test/a)"), (Finding.LINKS,)),
        ("note", lambda: annotated(b"/Subtype/Text/Contents(Opomba)"), (Finding.ANNOTATIONS,)),
        (
            "field with a look",
            lambda: classic(objects(catalog=b"/AcroForm 11 0 R", page=b"/Annots[10 0 R]", more=form_field(look=True))),
            (Finding.FORM,),
        ),
        ("font that is not there", lambda: with_parts(o20=_OWN_FONT, page=b"/Own 20 0 R"), (Finding.FONTS_MISSING,)),
        (
            "layers that are shown",
            lambda: with_parts(
                b"/OCProperties<</OCGs[20 0 R]/D<</AS[<</Event/Print/Category[/Print]/OCGs[20 0 R]>>]>>>>",
                o20=_GROUP % b"/Usage<</Print<</PrintState/ON>>>>",
            ),
            (Finding.LAYERS,),
        ),
        (
            "usage rights",
            lambda: with_parts(
                b"/Perms<</UR3 20 0 R>>", o20=b"<</Type/Sig/Filter/Adobe.PPKLite/Contents<00>/ByteRange[0 0 0 0]>>"
            ),
            (Finding.USAGE_RIGHTS,),
        ),
    )
}
