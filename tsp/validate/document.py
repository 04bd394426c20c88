"""The signed document as a validation sees it: signatures, validation data, what came after.

Runs inside the isolated process.
"""
# mypy: disallow-untyped-calls=False
# (pyHanko's annotations have gaps.)

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from asn1crypto import cms, crl, x509
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.diff_analysis import DiffResult, ModificationLevel
from pyhanko.sign.fields import enumerate_sig_fields
from pyhanko.sign.general import extract_signer_info, find_cms_attribute_iter
from pyhanko.sign.validation.errors import SignatureValidationError
from pyhanko.sign.validation.generic_cms import extract_tst_data_iter
from pyhanko.sign.validation.pdf_embedded import EmbeddedPdfSignature
from pyhanko.sign.validation.status import SignatureCoverageLevel

from tsp.core.errors import Invalid
from tsp.formats.pdf_file import READ_ERRORS, damaged, nameless_annotations, pages_of, value_of
from tsp.validate.paths import Material
from tsp.validate.report import Changes

#: The forms of signatures in PDF that can be checked (ISO 32000-2, table 260; EN 319 142-1).
_SUBFILTERS = ("/ETSI.CAdES.detached", "/adbe.pkcs7.detached", "/ETSI.RFC3161")
MAX_SIGNATURES = 100
#: What a byte range may leave out: one hexadecimal string (ISO 32000-2, table 255, Contents). A literal string
#: is half as long as its octets in hexadecimal, and the other half could be anything.
_WINDOW = re.compile(rb"<[0-9A-Fa-f]+>")
#: How a revision ends (ISO 32000-2, 7.5.5).
_END = re.compile(rb"startxref\s+[0-9]+\s+%%EOF[\0\s]*\Z")

_CHANGES = {
    ModificationLevel.NONE: Changes.NONE,
    ModificationLevel.LTA_UPDATES: Changes.VALIDATION_DATA,
    ModificationLevel.FORM_FILLING: Changes.FORM_AND_SIGNATURES,
    ModificationLevel.ANNOTATIONS: Changes.ANNOTATIONS,
    ModificationLevel.OTHER: Changes.NOT_ALLOWED,
}


@dataclass(frozen=True)
class Unreadable:
    """A filled signature field whose value is not a signature that can be checked."""

    field_name: str


def open_signed(pdf: bytes) -> PdfFileReader:
    """A tolerant reader: what others have signed is judged, not refused for its looks.

    Raises `Invalid`: document-not-pdf, document-encrypted, document-damaged.
    """
    if b"%PDF-" not in pdf[:1024]:
        raise Invalid("document-not-pdf", "This file is not a PDF document.")
    try:
        reader = PdfFileReader(io.BytesIO(pdf), strict=False)
        encrypted = reader.encrypted
        _ = reader.root
    except READ_ERRORS as error:
        raise damaged(error) from error
    if encrypted:
        raise Invalid(
            "document-encrypted",
            "This PDF file is protected by a password or by encryption. Save it without protection and try again.",
        )
    return reader


def signatures_of(reader: PdfFileReader) -> list[EmbeddedPdfSignature | Unreadable]:
    """Every filled signature field, oldest first. Raises `Invalid` (document-damaged, document-too-complex)."""
    found: list[EmbeddedPdfSignature | Unreadable] = []
    try:
        fields = list(enumerate_sig_fields(reader, filled_status=True))
    except READ_ERRORS as error:
        raise damaged(error) from error
    if len(fields) > MAX_SIGNATURES:
        raise Invalid("document-too-complex", "This document has too many signatures.", signatures=len(fields))
    for name, value, field in fields:
        found.append(_read_signature(reader, str(name), value, field))
    return sorted(found, key=lambda s: s.signed_revision if isinstance(s, EmbeddedPdfSignature) else -1)


def _read_signature(
    reader: PdfFileReader, name: str, value: generic.PdfObject, field: Any
) -> EmbeddedPdfSignature | Unreadable:
    try:
        dictionary = value.get_object()
        if value_of(dictionary, "/SubFilter") not in _SUBFILTERS:
            return Unreadable(name)
        return EmbeddedPdfSignature(reader, field, name)
    except READ_ERRORS:
        return Unreadable(name)


def changes_after(signature: EmbeddedPdfSignature) -> tuple[bool, Changes]:
    """Whether the signature covers the whole file, and what kind of thing was added after it.

    A byte range that leaves out anything but the signature itself, or does not reach the end of
    the revision, is no coverage at all: `NOT_ALLOWED`; so are octets that belong to no revision.
    """
    if not covers_revision(signature):
        return False, Changes.NOT_ALLOWED
    coverage: SignatureCoverageLevel = signature.evaluate_signature_coverage()
    if coverage == SignatureCoverageLevel.ENTIRE_FILE:
        return True, Changes.NONE
    if not _ends_in_order(signature):
        return False, Changes.NOT_ALLOWED
    result: object = signature.diff_result
    if not isinstance(result, DiffResult):
        return False, Changes.UNCLEAR if _defies_comparison(signature) else Changes.NOT_ALLOWED
    allowed = signature.docmdp_level
    changes = _CHANGES[result.modification_level]
    if allowed is not None and result.modification_level.value > allowed.value:
        changes = Changes.NOT_ALLOWED
    return False, changes


def covers_revision(signature: EmbeddedPdfSignature) -> bool:
    """Whether everything up to the end of its revision is signed, but the signature's own value."""
    try:
        signature.compute_integrity_info()
        window = _left_out(signature)
        exact = _WINDOW.fullmatch(window) and bytes.fromhex(window[1:-1].decode()) == signature.pkcs7_content
    except (*READ_ERRORS, SignatureValidationError):
        return False
    whole = (SignatureCoverageLevel.ENTIRE_FILE, SignatureCoverageLevel.ENTIRE_REVISION)
    return bool(exact) and signature.coverage in whole


def _left_out(signature: EmbeddedPdfSignature) -> bytes:
    """The octets between the two parts of the byte range."""
    first, length, second, rest = (int(number) for number in signature.byte_range)
    if first != 0 or not 0 < length < second or rest < 0:
        return b""
    return bytes(signature.reader.stream.getbuffer()[length:second])


def _ends_in_order(signature: EmbeddedPdfSignature) -> bool:
    """Whether the file ends where its last revision does.

    Validators follow the cross-references; a viewer that repairs a file shows whatever objects it finds.
    """
    reader = signature.reader
    _, _, second, rest = (int(number) for number in signature.byte_range)
    later = range(signature.signed_revision + 1, reader.total_revisions)
    octets = reader.stream.getbuffer()
    if not later:
        return not bytes(octets[second + rest :]).strip(b"\0\t\n\f\r ")
    tail = bytes(octets[max(reader.xrefs.get_xref_container_info(n).end_location for n in later) :])
    return tail.count(b"startxref") == 1 and _END.search(tail) is not None


def _defies_comparison(signature: EmbeddedPdfSignature) -> bool:
    """Whether revisions cannot be compared: annotations without object numbers look changed by any change.

    Only those that were signed count: whoever changes a document could bring one along as an excuse.
    """
    try:
        signed = signature.reader.get_historical_root(signature.signed_revision)
        return any(nameless_annotations(page) for page in pages_of(signed))
    except READ_ERRORS:
        return False


def collect(reader: PdfFileReader, material: Material) -> None:
    """Adds what the document's security store holds (EN 319 142-1, 5.4)."""
    store = value_of(reader.root, "/DSS")
    if not isinstance(store, generic.DictionaryObject):
        return
    for encoded in _streams(store, "/Certs"):
        try:
            material.add_certificates([x509.Certificate.load(encoded, strict=True)])
        except ValueError:
            continue  # not a certificate: counts for nothing
    for encoded in _streams(store, "/OCSPs"):
        material.add_ocsp(encoded, in_document=True)
    for encoded in _streams(store, "/CRLs"):
        material.add_crl(encoded, in_document=True)


def collect_from_signature(signed_data: cms.SignedData, material: Material) -> None:
    """Adds certificates and status information that a signature or a time-stamp token brings along."""
    try:
        material.add_certificates(_certificates(signed_data))
        for choice in signed_data["crls"] or ():
            if isinstance(choice.chosen, crl.CertificateList):
                material.add_crl(choice.chosen.dump(), in_document=True)
            elif choice.name == "other" and choice.chosen["other_rev_info_format"].native == "ocsp_response":
                material.add_ocsp(choice.chosen["other_rev_info"].dump(), in_document=True)
        signer = extract_signer_info(signed_data)
        for archive in find_cms_attribute_iter(signer["signed_attrs"], "adobe_revocation_info_archival"):
            for entry in archive["crl"] or ():
                material.add_crl(entry.dump(), in_document=True)
            for entry in archive["ocsp"] or ():
                material.add_ocsp(entry.dump(), in_document=True)
        for token in extract_tst_data_iter(signer, signed=False):
            collect_from_signature(token, material)
    except READ_ERRORS:
        return  # what cannot be read counts for nothing; the signature itself is judged elsewhere


def _certificates(signed_data: cms.SignedData) -> list[x509.Certificate]:
    choices = signed_data["certificates"] or ()
    return [choice.chosen.untag() for choice in choices if choice.name == "certificate"]


def _streams(store: generic.DictionaryObject, key: str) -> Iterator[bytes]:
    array = value_of(store, key)
    if not isinstance(array, generic.ArrayObject):
        return
    for item in array:
        try:
            stream = item.get_object()
            if isinstance(stream, generic.StreamObject):
                yield stream.data
        except READ_ERRORS:
            continue  # an unreadable stream counts for nothing


def has_store_at(reader: PdfFileReader, revision: int) -> bool:
    """Whether the document had a security store in the revision."""
    try:
        return "/DSS" in reader.get_historical_root(revision)
    except READ_ERRORS:
        return False
