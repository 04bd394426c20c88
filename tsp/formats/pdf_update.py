"""Changing a PDF file by appending to it (inside the isolated process): every earlier octet stays as it is.

The functions return only what is to be appended, so that whoever holds the original knows by
construction that it was not touched.
"""
# mypy: disallow-untyped-calls=False
# (pyHanko's annotations have gaps.)

import hashlib
import io
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from asn1crypto import crl, ocsp, x509
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.generic import pdf_name
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.fields import SigSeedSubFilter, prepare_sig_field
from pyhanko.sign.signers.constants import ESIC_EXTENSION_1
from pyhanko.sign.signers.pdf_byterange import SignatureObject
from pyhanko.sign.validation.dss import DocumentSecurityStore

from tsp.formats.pdf_file import (
    form_fields,
    may_have_annotations,
    nameless_annotations,
    octets_of,
    pages_of,
    signature_fields,
    value_of,
)
from tsp.formats.placeholder import CONTENTS_SIZE, ByteRange


class Update(IncrementalPdfFileWriter):
    """An incremental update that adds what it is told to and nothing of its own.

    pyHanko's writer would besides set the modification date from the machine's clock and draw a
    random identifier; here metadata stay as the author left them, and the second identifier
    follows from the content, so that the same input gives the same output.
    """

    def _update_meta(self) -> None:
        """Leaves the information dictionary and the XMP packet alone."""

    @classmethod
    def _handle_id(cls, prev: PdfFileReader) -> generic.ArrayObject:
        identifiers = value_of(prev.trailer_view, "/ID")
        fresh = _fingerprint(prev, identifiers)
        first = fresh[16:]
        if isinstance(identifiers, generic.ArrayObject) and len(identifiers) == 2:
            first = getattr(identifiers[0], "original_bytes", first)
        return generic.ArrayObject([generic.ByteStringObject(first), generic.ByteStringObject(fresh[:16])])

    def _write_header(self, stream: Any) -> None:
        """The file so far is not written again: `Appended` begins where it ends."""

    def appended(self) -> "Appended":
        """Writes the update; what is to be appended."""
        output = Appended(self.prev)
        self.write(output)
        return output

    def declare_pades(self) -> None:
        """Names the ETSI extension in files older than PDF 2.0 (EN 319 142-1, 5.6)."""
        if self.output_version < (2, 0):
            self.register_extension(ESIC_EXTENSION_1)
            self.update_root()


class Appended(io.BytesIO):
    """What is appended to a file, with places counted from the file's beginning; the file itself is not copied.

    It begins on a line of its own, as objects do.
    """

    def __init__(self, reader: PdfFileReader) -> None:
        super().__init__()
        whole = octets_of(reader)
        self._before = len(whole)
        if not whole.endswith((b"\r", b"\n")):
            self.write(b"\n")

    def tell(self) -> int:
        """The place in the whole file."""
        return self._before + super().tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Goes to a place of the whole file that lies in what is appended."""
        return self._before + super().seek(offset - self._before if whence == io.SEEK_SET else offset, whence)


#: So much of each end of a file goes into its fingerprint.
_END = 1 << 16


def _fingerprint(reader: PdfFileReader, identifiers: Any) -> bytes:
    """An identifier for what is made of this file (14.4): of its own identifiers, its length and its ends.

    Whoever changes a file changes one of them; all octets of a large scan would take as long as its signature.
    """
    digest = hashlib.sha256()
    for one in identifiers if isinstance(identifiers, generic.ArrayObject) else ():
        digest.update(getattr(one, "original_bytes", b""))
    whole = octets_of(reader)
    digest.update(b"%d" % len(whole) + whole[:_END] + whole[-_END:])
    return digest.digest()


def add_signature_field(
    reader: PdfFileReader, *, field_name: str | None, claimed_time: datetime, name: str, reason: str | None
) -> tuple[str, bytes, ByteRange]:
    """An invisible signature on page one with an empty window: the field's name, what to append, the byte range.

    `claimed_time` becomes /M, `name` /Name. Without `field_name` the next free `Signature1…` is taken.
    """
    writer = Update(reader.stream, prev=reader)
    field_name = field_name or _free_name(reader)
    _name_annotations(writer)
    _, field = prepare_sig_field(field_name, writer.root, update_writer=writer)
    signature = SignatureObject(
        timestamp=claimed_time,
        subfilter=SigSeedSubFilter.PADES,
        name=name,
        reason=reason,
        bytes_reserved=2 * CONTENTS_SIZE,
    )
    field.get_object()[pdf_name("/V")] = writer.add_object(signature)
    writer.mark_update(field)
    _set_signature_flags(writer)
    writer.declare_pades()
    output = writer.appended()
    eof = output.tell()
    start, end = signature.contents.offsets
    signature.byte_range.fill_offsets(output, start, end, eof)
    return field_name, output.getvalue(), (0, start, end, eof - end)


def _name_annotations(writer: Update) -> None:
    """Makes objects of their own of annotations that stand directly in a page's list.

    Validators compare annotations by object number: with nameless ones the next signature would
    look like a forbidden change of this one. Only where nobody has signed yet.
    """
    if next(signature_fields(writer.prev), None) is not None:
        return
    if _pages_take_longer_than_octets(writer) and not may_have_annotations(writer.prev):
        return
    for page in pages_of(writer.root):
        annotations = value_of(page, "/Annots")
        for place in nameless_annotations(page):
            annotations[place] = writer.add_object(annotations.raw_get(place))
            writer.update_container(annotations)


#: Octets that can be searched for a word in the time that a page takes to be read.
_OCTETS_A_PAGE = 150_000


def _pages_take_longer_than_octets(writer: Update) -> bool:
    """Which of two ways to the same end is the shorter one; believes the document's own count."""
    pages = value_of(writer.root, "/Pages")
    count = value_of(pages, "/Count") if isinstance(pages, generic.DictionaryObject) else None
    return not isinstance(count, int) or count * _OCTETS_A_PAGE > len(octets_of(writer.prev))


def _free_name(reader: PdfFileReader) -> str:
    form = value_of(reader.root, "/AcroForm")
    taken = {str(value_of(f, "/T")) for f in form_fields(form)} if isinstance(form, generic.DictionaryObject) else set()
    number = 1
    while f"Signature{number}" in taken:
        number += 1
    return f"Signature{number}"


def _set_signature_flags(writer: Update) -> None:
    """SigFlags: signatures exist, append only (ISO 32000-2, table 225); form fields keep the look that they have."""
    form = writer.root["/AcroForm"]
    form[pdf_name("/SigFlags")] = generic.NumberObject(3)
    if looks_are_settled(form):
        form.pop("/NeedAppearances", None)
    writer.update_container(form)
    writer.update_root()


def settle_looks(reader: PdfFileReader) -> bytes:
    """What to append so that the file looks as it will once it is signed; nothing for most files.

    /NeedAppearances makes viewers draw form fields anew. A signature takes it away where every
    field brings its own look (elsewhere the fields would vanish with it), so a preview must, too.
    """
    form = value_of(reader.root, "/AcroForm")
    if not isinstance(form, generic.DictionaryObject) or "/NeedAppearances" not in form or not looks_are_settled(form):
        return b""
    writer = Update(reader.stream, prev=reader)
    form = writer.root["/AcroForm"]
    del form["/NeedAppearances"]
    writer.update_container(form)
    writer.update_root()
    return writer.appended().getvalue()


def looks_are_settled(form: generic.DictionaryObject) -> bool:
    """Whether every field of a form brings its own look."""
    return all(_has_look(field) for field in form_fields(form))


def _has_look(field: generic.DictionaryObject) -> bool:
    is_widget = value_of(field, "/Subtype") == "/Widget"
    return not is_widget or "/AP" in field or value_of(field, "/FT") == "/Sig"


def add_validation_data(
    reader: PdfFileReader,
    signature: bytes | None,
    certificates: Sequence[bytes],
    ocsps: Sequence[bytes],
    crls: Sequence[bytes],
) -> bytes:
    """What to append so that the document security store holds the given data (EN 319 142-1, 5.4).

    `signature` is the value of /Contents (with its padding) that they belong to: they are then also
    listed under its /VRI key, the upper-case hexadecimal SHA-1 of that value. Data that are there
    already are not added twice.
    """
    writer = Update(reader.stream, prev=reader)
    DocumentSecurityStore.supply_dss_in_writer(
        writer,
        signature,
        certs=[x509.Certificate.load(c, strict=True) for c in certificates],
        ocsps=[ocsp.OCSPResponse.load(o, strict=True) for o in ocsps],
        crls=[crl.CertificateList.load(c, strict=True) for c in crls],
    )
    writer.declare_pades()
    return writer.appended().getvalue()
