"""Files that somebody without a key made out of a signed one: none of them may pass.

The forger may do what they like with the file, but cannot sign; what was signed stays as it is.
"""

import re
from dataclasses import replace

import pytest

from tests.formats import pdf_samples
from tests.validate.pki import NOW, Pki, sign, stamp_document
from tsp.core.isolated import Isolated
from tsp.formats import pades
from tsp.validate.report import Changes, Indication, Signature, SubIndication
from tsp.validate.service import validate_pdf

HIDDEN = b"\n4 0 obj\n" + pdf_samples.stream(b"BT /F 24 Tf 20 100 Td (Drugo) Tj ET") + b"\nendobj\n"


@pytest.fixture(scope="module")
def signed(isolated: Isolated, pki: Pki) -> tuple[pades.Prepared, bytes]:
    """A document that passes, and how it was prepared."""
    prepared, value = sign(isolated, pki, pdf_samples.classic(), pki.one_time())
    return prepared, pades.embed(prepared, value)


def judged(isolated: Isolated, pki: Pki, pdf: bytes) -> Signature:
    trust = replace(pki.trust, crls=(pki.crl(pki.root, NOW),))
    return validate_pdf(pdf, trust, NOW, isolated).signatures[0]


def assert_not_allowed(found: Signature) -> None:
    assert found.indication is Indication.TOTAL_FAILED
    assert found.sub_indication is SubIndication.FORMAT_FAILURE
    assert found.later_changes is Changes.NOT_ALLOWED
    assert not found.whole_file


def literal(value: bytes) -> bytes:
    """The octets as a literal string (ISO 32000-2, 7.3.4.2): half as long as in hexadecimal."""
    for special, escaped in ((b"\\", b"\\\\"), (b"(", b"\\("), (b")", b"\\)"), (b"\r", b"\\r")):
        value = value.replace(special, escaped)
    return b"(" + value + b")"


def another_document(signed: bytes, prepared: pades.Prepared) -> bytes:
    """A document of the forger's own around the two signed parts, all of it in what the signature leaves out.

    The last startxref is signed and cannot be changed; but with more octets before it, it points
    into the forger's part.
    """
    _, length, second, rest = prepared.byte_range
    start, end = signed[:length], signed[second:]
    table_at = int(re.findall(rb"startxref\s+(\d+)", end)[-1])
    half = table_at - length + 20_000
    value = bytes.fromhex(signed[length + 1 : second - 1].decode()).ljust(half, b"\0")[:half]
    left_out = 2 * half + 2
    offsets: dict[int, int] = {}
    body = b"\n"
    objects = {
        1: b"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[5 0 R]/SigFlags 3>>>>",
        2: b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        3: b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Contents 4 0 R/Annots[5 0 R]/Resources<<>>>>",
        4: pdf_samples.stream(b"BT /F 24 Tf 20 100 Td (Dolgujem vam milijon) Tj ET"),
        5: b"<</Type/Annot/Subtype/Widget/FT/Sig/T(Signature1)/V 6 0 R/Rect[0 0 0 0]/F 132/P 3 0 R>>",
    }
    for number, content in objects.items():
        offsets[number] = length + len(body)
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    body = body.ljust(table_at - length)
    trailer = b"trailer\n<</Size 7/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % table_at
    offsets[6] = table_at + len(b"xref\n0 7\n") + 7 * 20 + len(trailer)
    rows = b"".join(b"%010d 00000 n \n" % offset for _, offset in sorted(offsets.items()))
    dictionary = b"<</Type/Sig/SubFilter/ETSI.CAdES.detached/ByteRange[0 %d %d %d]/Contents %s>>" % (
        *(length, length + left_out, rest),
        literal(value),
    )
    body += b"xref\n0 7\n0000000000 65535 f \n" + rows + trailer + b"6 0 obj\n" + dictionary + b"\nendobj\n"
    assert len(body) <= left_out
    return start + body.ljust(left_out) + end


@pytest.mark.requirement("VAL-1", "SIG-5")
def test_a_document_built_into_the_signatures_place_fails(
    isolated: Isolated, pki: Pki, signed: tuple[pades.Prepared, bytes]
) -> None:
    prepared, pdf = signed
    assert judged(isolated, pki, pdf).indication is Indication.TOTAL_PASSED
    assert_not_allowed(judged(isolated, pki, another_document(pdf, prepared)))


@pytest.mark.requirement("VAL-1", "SIG-5")
def test_entries_beside_the_signatures_value_fail(
    isolated: Isolated, pki: Pki, signed: tuple[pades.Prepared, bytes]
) -> None:
    """The same value in a shorter notation makes room for entries that nobody signed."""
    prepared, pdf = signed
    start, end = prepared.contents_offset, prepared.contents_offset + prepared.contents_length
    value = literal(bytes.fromhex(pdf[start + 1 : end - 1].decode()))
    other = (value + b" /M (D:20010101000000Z) /Reason (Drugo)").ljust(end - start)
    assert_not_allowed(judged(isolated, pki, pdf[:start] + other + pdf[end:]))


@pytest.mark.requirement("VAL-1", "SIG-5")
@pytest.mark.parametrize("later", ["nothing", "validation-data"])
@pytest.mark.parametrize("hidden", ["without-end", "with-the-end-repeated"])
def test_octets_that_belong_to_no_revision_fail(
    isolated: Isolated, pki: Pki, signed: tuple[pades.Prepared, bytes], later: str, hidden: str
) -> None:
    prepared, pdf = signed
    if later == "validation-data":
        pdf = pades.add_validation_data(isolated, pdf, prepared.byte_range, certificates=[pki.root.der])
    end = b"startxref\n%s\n%%%%EOF\n" % re.findall(rb"startxref\s+(\d+)", pdf)[-1]
    added = HIDDEN if hidden == "without-end" else HIDDEN * 40 + end
    assert judged(isolated, pki, pdf).indication is Indication.TOTAL_PASSED
    assert judged(isolated, pki, pdf + b"\r\n").indication is Indication.TOTAL_PASSED
    assert_not_allowed(judged(isolated, pki, pdf + added))


@pytest.mark.requirement("VAL-1", "SIG-5")
def test_an_annotation_brought_along_is_no_excuse_for_a_change(
    isolated: Isolated, pki: Pki, signed: tuple[pades.Prepared, bytes]
) -> None:
    """An annotation without a number makes revisions hard to compare: it must be one that was signed."""
    _, pdf = signed
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Contents 4 0 R/Annots[<</Subtype/Text/Rect[9 9 19 19]>>]>>"
    size = int(pdf.rsplit(b"/Size ", 1)[1].split(b"\n", 1)[0])
    assert_not_allowed(judged(isolated, pki, pdf_samples.updated(pdf, pdf_samples.PAGE, page, size=size)))


@pytest.mark.requirement("VAL-1")
def test_a_document_time_stamp_in_another_notation_proves_nothing(isolated: Isolated, pki: Pki) -> None:
    pdf = stamp_document(pdf_samples.classic(), pki.stamper(NOW))
    found = re.search(rb"/Contents <([0-9a-fA-F]+)>", pdf)
    assert found is not None
    value = bytes.fromhex(found[1].decode())
    other = (b"/Contents " + literal(value)).ljust(len(found[0]))
    trust = replace(pki.trust, ocsps=(pki.ocsp(pki.unit, NOW),), crls=(pki.crl(pki.root, NOW),))
    (good,) = validate_pdf(pdf, trust, NOW, isolated).document_time_stamps
    (bad,) = validate_pdf(pdf.replace(found[0], other), trust, NOW, isolated).document_time_stamps
    assert good.passed
    assert (bad.passed, bad.sub_indication) == (False, SubIndication.FORMAT_FAILURE)
