"""What is done with a stranger's PDF file inside the isolated process (`tsp.core.isolated`).

Each public function takes the JSON arguments and the files of one job and returns a JSON result and
files; refusals are `Invalid`. The callers' side, with types, is `tsp.formats.pades`.
"""

import io
from datetime import UTC, datetime
from typing import Any

import pypdfium2
from asn1crypto import cms
from PIL import Image
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.misc import FormFillingError
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.general import extract_certificate_info
from pyhanko.sign.validation.pdf_embedded import EmbeddedPdfSignature

from tsp.core.errors import Invalid
from tsp.formats import pdf_update
from tsp.formats.pdf_file import (
    READ_ERRORS,
    SignatureField,
    damaged,
    forbids_changes,
    members,
    open_pdf,
    refuse_second_document,
    signature_fields,
    silence_libraries,
    value_of,
)
from tsp.formats.pdf_survey import survey
from tsp.formats.placeholder import contents

Files = dict[str, bytes]
Answer = tuple[dict[str, Any], Files]

silence_libraries()

#: Longest side of a rendered page in pixels, whatever width was asked for.
_MAX_PIXELS = 6000
#: Longest side of a page in points: 200 inches, what the oldest viewers that matter can show (ISO 32000-1, annex C).
_MAX_SIDE = 14_400
#: Longest side in pixels of the drawing that only asks whether a page can be drawn.
_GLANCE = 100


def inspect(arguments: dict[str, Any], files: Files) -> Answer:
    """Pages, sizes, title, signatures and findings of `files["pdf"]`, or why it cannot be signed."""
    pdf = files["pdf"]
    reader = open_pdf(pdf)
    refuse_second_document(reader, pdf)
    found = survey(reader)
    found.refuse()
    sizes = _page_sizes(pdf, int(arguments["max_pages"]))
    _check_page_tree(reader, len(sizes))
    signatures = _signatures(reader)
    _refuse_locked(reader)
    if signatures:
        _refuse_harm(reader)
    _draw_all(pdf)
    return {
        "pages": len(sizes),
        "page_sizes": sizes,
        "title": _title(reader),
        "signatures": [_describe(s) for s in signatures],
        "findings": sorted(found.findings),
        "files": sorted(((f.name, f.size) for f in found.files), key=str),
        "addresses": sorted(found.addresses),
    }, {}


def render(arguments: dict[str, Any], files: Files) -> Answer:
    """Page `page` (from 0) of `files["pdf"]` as PNG, `width` pixels wide, as the signed file will show it."""
    number, width = int(arguments["page"]), int(arguments["width"])
    try:
        pdf = files["pdf"] + pdf_update.settle_looks(open_pdf(files["pdf"]))
    except READ_ERRORS as error:
        raise damaged(error) from error
    try:
        with pypdfium2.PdfDocument(pdf) as document:
            document.init_forms()
            if not 0 <= number < len(document):
                raise Invalid("page-not-found", "The document has no such page.", page=number)
            page = document[number]
            page_width, page_height = page.get_size()
            scale = min(width / page_width, _MAX_PIXELS / max(page_width, page_height))
            image: Image.Image = page.render(scale=scale, may_draw_forms=True).to_pil()
    except (pypdfium2.PdfiumError, ArithmeticError) as error:
        raise damaged(error) from error
    output = io.BytesIO()
    image.convert("RGB").save(output, "PNG", compress_level=3)
    return {"width": image.width, "height": image.height}, {"png": output.getvalue()}


def freeze(arguments: dict[str, Any], files: Files) -> Answer:
    """What to append to `files["pdf"]` for an empty signature, and where its window lies."""
    reader = open_pdf(files["pdf"])
    _refuse_locked(reader)
    try:
        name, update, byte_range = pdf_update.add_signature_field(
            reader,
            field_name=arguments["field_name"],
            claimed_time=datetime.fromisoformat(arguments["claimed_time"]),
            name=arguments["name"],
            reason=arguments["reason"],
        )
    except FormFillingError as error:
        raise Invalid(
            "signature-field-unusable",
            "This signature field cannot be used: it is signed already, or it is not a signature field.",
        ) from error
    except READ_ERRORS as error:
        raise damaged(error) from error
    return {"field_name": name, "byte_range": list(byte_range)}, {"update": update}


def finish(arguments: dict[str, Any], files: Files) -> Answer:
    """What to append to the signed `files["pdf"]` so that it holds its validation data.

    The data are the files `certificate-<n>`, `ocsp-<n>` and `crl-<n>`; `byte_range` names the
    signature that they belong to.
    """
    pdf = files["pdf"]
    reader = open_pdf(pdf)
    first, first_length, second, second_length = arguments["byte_range"]
    signature = contents(pdf, (first, first_length, second, second_length))
    try:
        update = pdf_update.add_validation_data(
            reader, signature, _numbered(files, "certificate"), _numbered(files, "ocsp"), _numbered(files, "crl")
        )
    except READ_ERRORS as error:
        raise damaged(error) from error
    return {}, {"update": update}


def _numbered(files: Files, kind: str) -> list[bytes]:
    return [content for name, content in files.items() if name.startswith(f"{kind}-")]


def _page_sizes(pdf: bytes, max_pages: int) -> list[list[float]]:
    """Width and height of each page in points, as a viewer turns it."""
    try:
        with pypdfium2.PdfDocument(pdf) as document:
            count = len(document)
            if count > max_pages:
                raise Invalid(
                    "document-too-many-pages", "The document has more pages than this service accepts.", pages=count
                )
            sizes = [[round(side, 2) for side in document.get_page_size(number)] for number in range(count)]
    except pypdfium2.PdfiumError as error:
        raise damaged(error) from error
    if not sizes or not all(side > 0 for size in sizes for side in size):
        raise damaged("no pages")
    return sizes


def _check_page_tree(reader: PdfFileReader, count: int) -> None:
    """Refuses a page tree (ISO 32000-2, 7.7.3.2) that viewers count in different ways, and pages that few can show."""
    try:
        seen: set[tuple[int, int]] = set()
        waiting: list[tuple[Any, float]] = [(reader.root.raw_get("/Pages"), 0.0)]
        pages = 0
        while waiting:
            place, inherited = waiting.pop()
            node = place.get_object()
            if not isinstance(node, generic.DictionaryObject) or (place.idnum, place.generation) in seen:
                raise damaged("page tree")
            seen.add((place.idnum, place.generation))
            box = [float(edge) for edge in members(node, "/MediaBox")]
            side = max(abs(box[2] - box[0]), abs(box[3] - box[1])) if box else inherited
            if side * float(value_of(node, "/UserUnit") or 1) > _MAX_SIDE:
                raise Invalid("document-page-too-large", "A page of this document is larger than this service accepts.")
            pages += "/Kids" not in node
            waiting += [(kid, side) for kid in members(node, "/Kids")]
        counted = value_of(reader.root["/Pages"], "/Count")
    except READ_ERRORS as error:
        raise damaged(error) from error
    if not pages == counted == count:
        raise damaged("page tree")


def _draw_all(pdf: bytes) -> None:
    """Draws every page small: a page that cannot be drawn within the limits cannot be shown, so not be signed."""
    try:
        with pypdfium2.PdfDocument(pdf) as document:
            document.init_forms()
            for number in range(len(document)):
                page = document[number]
                page.render(scale=_GLANCE / max(page.get_size()))
                page.close()
    except (pypdfium2.PdfiumError, ArithmeticError) as error:
        raise damaged(error) from error


def _title(reader: PdfFileReader) -> str | None:
    try:
        info = reader.trailer_view["/Info"]
        title = info.get("/Title") if isinstance(info, generic.DictionaryObject) else None
    except READ_ERRORS:
        return None  # a broken title is no reason against a document
    return str(title)[:500].strip() or None if isinstance(title, generic.TextStringObject) else None


def _signatures(reader: PdfFileReader) -> list[SignatureField]:
    try:
        return list(signature_fields(reader))
    except READ_ERRORS as error:
        raise damaged(error) from error


def _refuse_locked(reader: PdfFileReader) -> None:
    """Refuses a document whose author (DocMDP) or an earlier signer (field lock) allows no change at all."""
    permissions = value_of(reader.root, "/Perms")
    certified = value_of(permissions, "/DocMDP") if isinstance(permissions, generic.DictionaryObject) else None
    locked = isinstance(certified, generic.DictionaryObject) and forbids_changes(certified)
    if locked or any(forbids_changes(s.dictionary, s.field) for s in _signatures(reader)):
        raise Invalid(
            "document-forbids-signing",
            "An earlier signer has locked this document: it allows no further signatures.",
        )


def _refuse_harm(reader: PdfFileReader) -> None:
    """Refuses a document where one more signature would look like a forbidden change of an earlier one.

    Locks of fields (FieldMDP, 12.8.2.4) and permissions are judged by doing it: with an empty
    signature appended, every signature that was unharmed must be so still.
    """
    try:
        before = _unharmed(reader)  # first: the writer changes what the reader has read
        _, update, _ = pdf_update.add_signature_field(
            reader, field_name=None, claimed_time=datetime.fromtimestamp(0, UTC), name="", reason=None
        )
        after = _unharmed(open_pdf(reader.stream.getvalue() + update))
    except READ_ERRORS as error:
        raise damaged(error) from error
    if before - after:
        raise Invalid(
            "document-forbids-signing",
            "An earlier signer has locked this document: it allows no further signatures.",
        )


def _unharmed(reader: PdfFileReader) -> set[str]:
    """The names of the signatures after which nothing happened that they forbid."""
    names = set()
    for signature in signature_fields(reader):
        try:
            judged = EmbeddedPdfSignature(reader, signature.field, signature.name)
            judged.compute_integrity_info()  # type: ignore[no-untyped-call]  # pyHanko has no annotation
            if judged.summarise_integrity_info()["docmdp_ok"] is not False:
                names.add(signature.name)
        except READ_ERRORS:
            continue  # what cannot be read cannot be harmed; the new, empty one is such
    return names


def _describe(signature: SignatureField) -> dict[str, Any]:
    """One signature that is there already, by what it says of itself; nothing of it is checked here."""
    claimed = value_of(signature.dictionary, "/M")
    name = value_of(signature.dictionary, "/Name")
    try:
        contents = value_of(signature.dictionary, "/Contents")
        signed_data = cms.ContentInfo.load(contents.original_bytes)["content"]
        common_name = extract_certificate_info(signed_data).signer_cert.subject.native.get("common_name")
    except READ_ERRORS:
        common_name = name  # not readable as CMS: what the dictionary says
    try:
        time = generic.parse_pdf_date(str(claimed), strict=False).isoformat() if claimed is not None else None
    except READ_ERRORS:
        time = None
    return {
        "field_name": signature.name,
        "kind": "time-stamp" if value_of(signature.dictionary, "/Type") == "/DocTimeStamp" else "signature",
        "claimed_time": time,
        "signer": str(common_name) if isinstance(common_name, str) else None,
    }
