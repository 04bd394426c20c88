"""Reading a stranger's PDF file (inside the isolated process): what it is, and what a signer must know of it.

A file is taken as it is or refused. pyHanko reads strictly first. Where only its strictness objects,
the file is still taken if nothing in it would have to be repaired: every cross-reference section
begins where the file says, no object lies beyond /Size (a new object could take its number), and
every object that the document uses can be read strictly.
"""
# mypy: disallow-untyped-calls=False
# (pyHanko's annotations have gaps.)

import io
import logging
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.misc import PdfError, PdfStrictReadError
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.fields import enumerate_sig_fields

from tsp.core.errors import Invalid
from tsp.formats.findings import Finding

#: What pyHanko raises for files that are not what they say.
READ_ERRORS = (
    PdfError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)

#: Deepest nesting of direct objects that is followed; no producer comes near it.
_MAX_DEPTH = 100

#: Actions that reach beyond the page (ISO 32000-2, 12.6.4); links and page moves are no surprise.
_ACTIONS = frozenset(
    f"/{name}"
    for name in (
        *("Launch", "GoToR", "GoToE", "SubmitForm", "ResetForm"),
        *("ImportData", "Hide", "SetOCGState", "Rendition", "RichMediaExecute"),
    )
)
_MULTIMEDIA = frozenset(("/RichMedia", "/Movie", "/Sound", "/Screen", "/3D"))


def silence_libraries() -> None:
    """Keeps pyHanko's warnings, which quote names and contents of documents, out of the process's output."""
    for name in ("pyhanko", "pyhanko_certvalidator"):
        logger = logging.getLogger(name)
        logger.propagate = False
        logger.addHandler(logging.NullHandler())


def damaged(cause: object) -> Invalid:
    """The refusal of a file that would need a repair."""
    reason = cause if isinstance(cause, str) else type(cause).__name__
    return Invalid(
        "document-damaged",
        "This PDF file is damaged. Open it in the program that made it and save it anew as PDF.",
        reason=reason,
    )


def open_pdf(pdf: bytes) -> PdfFileReader:
    """A reader of a file that can be updated as it is.

    Raises `Invalid`: document-not-pdf, document-encrypted, document-damaged.
    """
    if b"%PDF-" not in pdf[:1024]:
        raise Invalid("document-not-pdf", "This file is not a PDF document.")
    try:
        reader = _open(pdf)
        encrypted = reader.encrypted
    except READ_ERRORS as error:
        raise damaged(error) from error
    if encrypted:
        raise Invalid(
            "document-encrypted",
            "This PDF file is protected by a password or by encryption. Save it without protection and try again.",
        )
    return reader


def _open(pdf: bytes) -> PdfFileReader:
    try:
        return PdfFileReader(io.BytesIO(pdf), strict=True)
    except PdfStrictReadError:
        reader = PdfFileReader(io.BytesIO(pdf), strict=False)
    sections = [reader.xrefs.get_xref_container_info(n) for n in range(reader.total_revisions)]
    for section in sections:
        # pyHanko counts a table from behind its keyword, and tolerates white space before it.
        between = pdf[section.declared_startxref : section.start_location].strip(b"\0\t\n\f\r ")
        if section.start_location < section.declared_startxref or between not in (b"", b"xref"):
            raise PdfStrictReadError("a cross-reference section is not where the file says")
    size = int(reader.trailer["/Size"])
    for revision in range(reader.total_revisions):
        if any(ref.idnum >= size for ref in reader.xrefs.explicit_refs_in_revision(revision)):
            raise PdfStrictReadError("an object lies beyond /Size")
    # Objects are read strictly from here on; `survey` reads all that the document uses.
    reader.strict = True
    return reader


@dataclass
class Survey:
    """What a walk through every object that the document uses has found."""

    findings: set[Finding] = field(default_factory=set)
    xfa: bool = False


def survey(reader: PdfFileReader) -> Survey:
    """Reads every object that can be reached from the trailer; `Invalid` (document-damaged) where one cannot be."""
    found = Survey()
    try:
        for dictionary in _dictionaries(reader):
            _look(dictionary, found)
        _look_at_catalog(reader.root, found)
    except READ_ERRORS as error:
        raise damaged(error) from error
    return found


def _dictionaries(reader: PdfFileReader) -> Iterator[generic.DictionaryObject]:
    """Each dictionary (a stream's too) that is reachable from the trailer, once."""
    seen: set[tuple[int, int]] = set()
    waiting: list[tuple[Any, int]] = [
        (reader.trailer.raw_get(key), 0) for key in ("/Root", "/Info") if key in reader.trailer
    ]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, generic.IndirectObject):
            place = (value.idnum, value.generation)
            if place in seen or reader.xrefs[value.reference] is None:
                continue  # a reference to nothing is null (ISO 32000-2, 7.3.10)
            seen.add(place)
            value, depth = value.get_object(), 0
        if depth > _MAX_DEPTH:
            raise PdfError("nested too deeply")
        if isinstance(value, generic.DictionaryObject):
            yield value
            waiting += [(inner, depth + 1) for inner in value.values()]
        elif isinstance(value, generic.ArrayObject):
            waiting += [(inner, depth + 1) for inner in list.__iter__(value)]


def _look(dictionary: generic.DictionaryObject, found: Survey) -> None:
    """One dictionary, for what could surprise a signer."""
    kind, action = _name(dictionary, "/Type"), _name(dictionary, "/S")
    if action == "/JavaScript" or "/JS" in dictionary or "/JavaScript" in dictionary:
        found.findings.add(Finding.JAVASCRIPT)
    elif action in _ACTIONS:
        found.findings.add(Finding.ACTIONS)
    if "/EF" in dictionary or kind == "/EmbeddedFile":
        found.findings.add(Finding.EMBEDDED_FILES)
    if _name(dictionary, "/Subtype") in _MULTIMEDIA and kind in ("/Annot", None):
        found.findings.add(Finding.MULTIMEDIA)
    if isinstance(dictionary, generic.StreamObject) and ("/F" in dictionary or "/Ref" in dictionary):
        found.findings.add(Finding.EXTERNAL_CONTENT)


def _look_at_catalog(root: generic.DictionaryObject, found: Survey) -> None:
    if "/Collection" in root:
        found.findings.add(Finding.PORTFOLIO)
    layers = value_of(root, "/OCProperties")
    if isinstance(layers, generic.DictionaryObject) and value_of(layers, "/OCGs"):
        found.findings.add(Finding.LAYERS)
    form = value_of(root, "/AcroForm")
    if isinstance(form, generic.DictionaryObject):
        found.xfa = "/XFA" in form
        fields = list(form_fields(form))
        if any(_name(f, "/FT") not in ("/Sig", None) for f in fields):
            found.findings.add(Finding.FORM)
        if any("/V" in f and _name(f, "/FT") == "/Sig" for f in fields):
            found.findings.add(Finding.SIGNED)


def form_fields(form: generic.DictionaryObject) -> Iterator[generic.DictionaryObject]:
    """Every field and widget of a form, parents first, each once."""
    seen: set[tuple[int, int]] = set()
    waiting: list[Any] = _members(form, "/Fields")
    while waiting:
        value = waiting.pop(0)
        if isinstance(value, generic.IndirectObject):
            if (place := (value.idnum, value.generation)) in seen:
                continue
            seen.add(place)
            value = value.get_object()
        if isinstance(value, generic.DictionaryObject):
            yield value
            waiting += _members(value, "/Kids")


def pages_of(root: generic.DictionaryObject) -> Iterator[generic.DictionaryObject]:
    """Every page below the catalog, each once."""
    seen: set[tuple[int, int]] = set()
    waiting: list[Any] = [value_of(root, "/Pages")]
    while waiting:
        node = waiting.pop()
        if isinstance(node, generic.IndirectObject):
            if (place := (node.idnum, node.generation)) in seen:
                continue
            seen.add(place)
            node = node.get_object()
        if isinstance(node, generic.DictionaryObject):
            kids = _members(node, "/Kids")
            waiting += reversed(kids)
            if not kids:
                yield node


def nameless_annotations(page: generic.DictionaryObject) -> list[int]:
    """The places in a page's /Annots where a dictionary stands directly instead of a reference."""
    annotations = _members(page, "/Annots")
    return [place for place, value in enumerate(annotations) if not isinstance(value, generic.IndirectObject)]


class SignatureField(NamedTuple):
    """A filled signature field: its full name, its value, the field itself."""

    name: str
    dictionary: generic.DictionaryObject
    field: generic.DictionaryObject


def signature_fields(reader: PdfFileReader) -> Iterator[SignatureField]:
    """Every filled signature field of the form."""
    for name, value, reference in enumerate_sig_fields(reader, filled_status=True):
        dictionary, field = value.get_object(), reference.get_object()
        if isinstance(dictionary, generic.DictionaryObject) and isinstance(field, generic.DictionaryObject):
            yield SignatureField(str(name), dictionary, field)


def forbids_changes(signature: generic.DictionaryObject, field: generic.DictionaryObject | None = None) -> bool:
    """Whether a signature allows no later change (ISO 32000-2): DocMDP 1 (12.8.2.2), or its field's lock (12.7.5.5)."""
    lock = value_of(field, "/Lock") if field is not None else None
    rules = [lock] if isinstance(lock, generic.DictionaryObject) else []
    for reference in _members(signature, "/Reference"):
        method = reference.get_object()
        if isinstance(method, generic.DictionaryObject):
            parameters = value_of(method, "/TransformParams")
            rules += [parameters] if isinstance(parameters, generic.DictionaryObject) else []
    return any(value_of(rule, "/P") == 1 for rule in rules)


def _members(dictionary: generic.DictionaryObject, key: str) -> list[Any]:
    value = value_of(dictionary, key)
    return list(list.__iter__(value)) if isinstance(value, generic.ArrayObject) else []


def value_of(dictionary: generic.DictionaryObject, key: str) -> Any:
    """The value of a key, `None` where there is none; a reference to nothing is nothing (7.3.10)."""
    try:
        value = dictionary.raw_get(key)
        return value.get_object() if isinstance(value, generic.IndirectObject) else value
    except (KeyError, PdfStrictReadError):
        return None


def _name(dictionary: generic.DictionaryObject, key: str) -> str | None:
    value = value_of(dictionary, key)
    return str(value) if isinstance(value, generic.NameObject) else None
