"""Reading a stranger's PDF file (inside the isolated process): taken as it is, or refused.

pyHanko reads strictly first. Where only its strictness objects, the file is still taken if nothing in
it would have to be repaired: every cross-reference section begins where the file says, no object lies
beyond /Size (a new object could take its number), and every object that the document uses can be read
strictly. A repair is a guess, and each viewer guesses differently. For the same reason nothing may
stand before the header or behind the end, and the parts of a hybrid file must not contradict each other.
"""
# mypy: disallow-untyped-calls=False
# (pyHanko's annotations have gaps.)

import io
import logging
import re
import struct
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.misc import PdfError, PdfStrictReadError
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.fields import enumerate_sig_fields

from tsp.core.errors import Invalid

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

_ANNOTATIONS = b"/Annots"
#: White space of PDF (ISO 32000-2, table 1).
_WHITE_SPACE = b"\0\t\n\f\r "
#: The end of a file or of one of its revisions (7.5.5), on lines of its own.
_END = re.compile(rb"(?<![^\r\n])startxref\s+\d+\s+%%EOF")


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
    if not pdf.startswith(b"%PDF-") or pdf[pdf.rfind(b"%%EOF") :].strip(_WHITE_SPACE) != b"%%EOF":
        raise damaged("something before the header or behind the end")
    try:
        reader = _open(pdf)
        _refuse_contradictions(reader)
        encrypted = "/Encrypt" in reader.trailer
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
        between = pdf[section.declared_startxref : section.start_location].strip(_WHITE_SPACE)
        if section.start_location < section.declared_startxref or between not in (b"", b"xref"):
            raise PdfStrictReadError("a cross-reference section is not where the file says")
    size = int(reader.trailer["/Size"])
    for revision in range(reader.total_revisions):
        if any(ref.idnum >= size for ref in reader.xrefs.explicit_refs_in_revision(revision)):
            raise PdfStrictReadError("an object lies beyond /Size")
    # Objects are read strictly from here on; `survey` reads all that the document uses.
    reader.strict = True
    return reader


def refuse_second_document(reader: PdfFileReader, pdf: bytes) -> None:
    """Refuses a file in which another one stands: each end of a file in it must be one of its revisions.

    Raises `Invalid` (document-damaged).
    """
    revisions = reader.total_revisions
    if pdf.count(b"startxref") > revisions and len(_END.findall(pdf)) > revisions:
        raise damaged("a second document")


def _refuse_contradictions(reader: PdfFileReader) -> None:
    """Refuses a hybrid section (7.5.8.4) that gives two places for one object: each viewer chooses its own."""
    for revision in range(reader.total_revisions):
        table = reader.xrefs.get_xref_data(revision)
        if table.hybrid is None:
            continue
        stream = table.hybrid.xref_data
        twice = stream.xrefs_in_objstm.keys() & table.standard_xrefs.keys()
        twice |= {n for n, place in stream.standard_xrefs.items() if table.standard_xrefs.get(n, place) != place}
        freed = {n for n, generation in table.freed.items() if generation == 1}
        if twice or freed & (stream.xrefs_in_objstm.keys() | stream.standard_xrefs.keys()):
            raise PdfError("two places for one object")


def form_fields(form: generic.DictionaryObject) -> Iterator[generic.DictionaryObject]:
    """Every field and widget of a form, parents first, each once."""
    seen: set[tuple[int, int]] = set()
    waiting: list[Any] = members(form, "/Fields")
    while waiting:
        value = waiting.pop(0)
        if isinstance(value, generic.IndirectObject):
            if (place := (value.idnum, value.generation)) in seen:
                continue
            seen.add(place)
            value = value.get_object()
        if isinstance(value, generic.DictionaryObject):
            yield value
            waiting += members(value, "/Kids")


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
            kids = members(node, "/Kids")
            waiting += reversed(kids)
            if not kids:
                yield node


def octets_of(reader: PdfFileReader) -> bytes:
    """The file that is being read, as it was brought; not a copy."""
    octets: bytes = reader.stream.getvalue()
    return octets


def may_have_annotations(reader: PdfFileReader) -> bool:
    """False where no page can have annotations, told without reading the pages: the word stands nowhere.

    Who writes the name with escapes (7.3.5), which nobody does, has annotations that nobody here names.
    """
    if _ANNOTATIONS in octets_of(reader):
        return True
    streams = {
        number
        for revision in range(reader.total_revisions)
        for number in reader.xrefs.get_xref_data(revision).obj_streams_used
    }
    packed = (reader.get_object(generic.Reference(number, 0, reader)) for number in sorted(streams))
    return any(not isinstance(one, generic.StreamObject) or _ANNOTATIONS in one.data for one in packed)


def nameless_annotations(page: generic.DictionaryObject) -> list[int]:
    """The places in a page's /Annots where a dictionary stands directly instead of a reference."""
    annotations = members(page, "/Annots")
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
    for reference in members(signature, "/Reference"):
        method = reference.get_object()
        if isinstance(method, generic.DictionaryObject):
            parameters = value_of(method, "/TransformParams")
            rules += [parameters] if isinstance(parameters, generic.DictionaryObject) else []
    return any(value_of(rule, "/P") == 1 for rule in rules)


def members(dictionary: generic.DictionaryObject, key: str) -> list[Any]:
    """The members of an array as they stand there; none where there is no array."""
    value = value_of(dictionary, key)
    return list(list.__iter__(value)) if isinstance(value, generic.ArrayObject) else []


def value_of(dictionary: generic.DictionaryObject, key: str) -> Any:
    """The value of a key, `None` where there is none; a reference to nothing is nothing (7.3.10)."""
    try:
        value = dictionary.raw_get(key)
        return value.get_object() if isinstance(value, generic.IndirectObject) else value
    except (KeyError, PdfStrictReadError):
        return None


def name_of(dictionary: generic.DictionaryObject, key: str) -> str | None:
    """The value of a key if it is a name, with its slash."""
    value = value_of(dictionary, key)
    return str(value) if isinstance(value, generic.NameObject) else None
