"""What is refused, with which code, and what a signer is told of."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyhanko.sign.fields import MDPPerm

from tests.formats import pdf_samples
from tests.validate.pki import NOW, Pki, sign, sign_foreign
from tsp.core.errors import Invalid
from tsp.core.isolated import Isolated
from tsp.formats import pades
from tsp.formats.findings import Attachment, FilesAttached, Finding

LOCK = b"<</Filter/Standard/V 2/R 3/Length 128/P -4/O<%s>/U<%s>>>" % (b"00" * 32, b"00" * 32)
ENCRYPTED = pdf_samples.classic(pdf_samples.objects(more={20: LOCK}), trailer=b"/Encrypt 20 0 R/ID[<00><00>]")
XFA = pdf_samples.classic(
    pdf_samples.objects(
        catalog=b"/AcroForm 11 0 R", more={11: b"<</Fields[]/XFA 12 0 R>>", 12: pdf_samples.stream(b"<xdp/>")}
    )
)


def refusal_of(isolated: Isolated, pdf: bytes, limits: pades.DocumentLimits | None = None) -> str:
    with pytest.raises(Invalid) as refusal:
        pades.inspect(isolated, pdf, limits)
    return refusal.value.code


def with_catalog(entries: bytes, **more: bytes) -> bytes:
    numbered = {int(number.lstrip("o")): value for number, value in more.items()}
    return pdf_samples.classic(pdf_samples.objects(catalog=entries, more=numbered))


@pytest.mark.requirement("SIG-5")
def test_a_plain_document_is_described(isolated: Isolated) -> None:
    seen = pades.inspect(isolated, pdf_samples.classic(pdf_samples.objects(pages=3, title="Pogodba 118")))
    assert seen.pages == 3
    assert seen.page_sizes == ((300.0, 200.0),) * 3
    assert seen.title == "Pogodba 118"
    assert seen.signatures == ()
    assert seen.findings == ()


@pytest.mark.requirement("SIG-5")
def test_a_turned_page_is_measured_as_it_is_seen(isolated: Isolated) -> None:
    seen = pades.inspect(isolated, pdf_samples.classic(pdf_samples.objects(page=b"/Rotate 90")))
    assert seen.page_sizes == ((200.0, 300.0),)


@pytest.mark.requirement("SIG-5")
@pytest.mark.parametrize(
    ("pdf", "code"),
    [
        (b"", "document-not-pdf"),
        (b"PK\x03\x04 a word processor's file", "document-not-pdf"),
        (b"\x89PNG\r\n", "document-not-pdf"),
        (b"%PDF-1.7\nnothing else", "document-damaged"),
        (b"junk before\n" + pdf_samples.classic(), "document-damaged"),
        (pdf_samples.classic()[:-40], "document-damaged"),
        (pdf_samples.classic().replace(b"startxref\n", b"startxref\n9"), "document-damaged"),
        (pdf_samples.classic().replace(b"4 0 obj", b"9 0 obj"), "document-damaged"),
        (pdf_samples.classic().replace(b"/Count 1", b"/Count x"), "document-damaged"),
        (pdf_samples.classic().replace(b"/Size 7", b"/Size 5"), "document-damaged"),
        (pdf_samples.classic().replace(b"/Kids[3 0 R]", b"/Kids[2 0 R]"), "document-damaged"),
        (ENCRYPTED, "document-encrypted"),
        (XFA, "document-xfa"),
    ],
)
def test_what_cannot_be_signed_is_refused_with_its_code(isolated: Isolated, pdf: bytes, code: str) -> None:
    assert refusal_of(isolated, pdf) == code


@pytest.mark.requirement("SIG-5")
def test_limits_of_size_and_pages(isolated: Isolated) -> None:
    pdf = pdf_samples.classic(pdf_samples.objects(pages=4))
    assert refusal_of(isolated, pdf, pades.DocumentLimits(max_pages=3)) == "document-too-many-pages"
    assert refusal_of(isolated, pdf, pades.DocumentLimits(max_bytes=len(pdf) - 1)) == "document-too-large"
    assert pades.inspect(isolated, pdf, pades.DocumentLimits(max_pages=4, max_bytes=len(pdf))).pages == 4


@pytest.mark.requirement("FMT-2")
def test_a_document_locked_by_its_author_is_refused(isolated: Isolated, pki: Pki) -> None:
    locked = sign_foreign(pdf_samples.classic(), pki.ordinary(), certify=MDPPerm.NO_CHANGES)
    assert refusal_of(isolated, locked) == "document-forbids-signing"
    open_still = sign_foreign(pdf_samples.classic(), pki.ordinary(), certify=MDPPerm.FILL_FORMS)
    assert Finding.SIGNED in pades.inspect(isolated, open_still).findings


ATTACHED = with_catalog(
    b"/Names<</EmbeddedFiles<</Names[(a) 20 0 R(b) 22 0 R]>>>>",
    o20=b"<</Type/Filespec/F(a.txt)/UF<FEFF00720061010D0075006E002E0074007800740020>/EF<</F 21 0 R>>>>",
    o21=pdf_samples.stream(b"attached", b"/Type/EmbeddedFile/Params<</Size 8>>"),
    o22=b"<</Type/Filespec/F(b.xml)/EF<</F 21 0 R/UF 23 0 R>>>>",
    o23=pdf_samples.stream(b"attached", b"/Type/EmbeddedFile/Params<</Size(x)>>"),
)
FILES = {Attachment("račun.txt ", 8), Attachment("b.xml", 8)}


@pytest.mark.requirement("SIG-5")
def test_attached_files_are_refused_by_name(isolated: Isolated) -> None:
    with pytest.raises(FilesAttached) as refusal:
        pades.inspect(isolated, ATTACHED)
    assert refusal.value.code == "document-embedded-files"
    assert set(refusal.value.attachments) == FILES
    assert refusal.value.facts == {"count": 2}


@pytest.mark.requirement("SIG-5")
def test_attached_files_are_shown_by_name_where_the_operator_allows_them(isolated: Isolated) -> None:
    seen = pades.inspect(isolated, ATTACHED, pades.DocumentLimits(embedded_files="show"))
    assert seen.findings == (Finding.EMBEDDED_FILES,)
    assert set(seen.attachments) == FILES


@pytest.mark.requirement("SIG-5")
def test_addresses_of_links_are_listed(isolated: Isolated) -> None:
    link = b"<</Type/Annot/Subtype/Link/Rect[0 0 9 9]/A<</Type/Action/S/URI/URI(https://example.test/%d)>>>>"
    pdf = pdf_samples.classic(
        pdf_samples.objects(page=b"/Annots[20 0 R 21 0 R 22 0 R]", more={20: link % 1, 21: link % 2, 22: link % 1})
    )
    seen = pades.inspect(isolated, pdf)
    assert seen.findings == (Finding.LINKS,)
    assert seen.addresses == ("https://example.test/1", "https://example.test/2")


def test_a_reference_to_nothing_is_nothing(isolated: Isolated) -> None:
    assert pades.inspect(isolated, with_catalog(b"/Metadata 77 0 R/OCProperties 78 0 R")).findings == ()


@pytest.mark.requirement("SIG-5")
def test_a_page_is_drawn_with_its_form(isolated: Isolated) -> None:
    plain = pdf_samples.objects(text="")
    form = pdf_samples.objects(
        text="", catalog=b"/AcroForm 11 0 R", page=b"/Annots[10 0 R]", more=pdf_samples.form_field(look=True)
    )
    pictures = [pades.render(isolated, pdf_samples.classic(o), 0, 600) for o in (plain, form)]
    for picture in pictures:
        assert picture.startswith(b"\x89PNG")
        assert struct.unpack(">II", picture[16:24]) == (600, 400)
    assert pictures[0] != pictures[1]


def test_a_page_that_is_not_there(isolated: Isolated) -> None:
    for page in (1, -1):
        with pytest.raises(Invalid) as refusal:
            pades.render(isolated, pdf_samples.classic(), page, 600)
        assert refusal.value.code == "page-not-found"
    with pytest.raises(Invalid) as refusal:
        pades.render(isolated, pdf_samples.classic(), 0, 100_000)
    assert refusal.value.code == "width-out-of-range"


def test_a_very_long_page_is_drawn_within_limits(isolated: Isolated) -> None:
    long = pdf_samples.objects()
    long[pdf_samples.PAGE] = long[pdf_samples.PAGE].replace(b"300 200", b"100 14000")
    picture = pades.render(isolated, pdf_samples.classic(long), 0, 4000)
    assert max(struct.unpack(">II", picture[16:24])) <= 6001


@given(place=st.integers(min_value=0, max_value=3000), value=st.integers(min_value=0, max_value=255))
@settings(deadline=None, max_examples=40)
def test_a_changed_octet_gives_a_document_or_a_coded_refusal(isolated: Isolated, place: int, value: int) -> None:
    damaged = bytearray(pdf_samples.with_xref_stream())
    damaged[place % len(damaged)] = value
    try:
        assert pades.inspect(isolated, bytes(damaged)).pages >= 1
    except Invalid as refusal:
        assert refusal.code.startswith("document-")


@pytest.mark.requirement("FMT-2")
def test_a_foreign_signature_that_cannot_be_read_is_listed(isolated: Isolated, pki: Pki) -> None:
    prepared, _ = sign(isolated, pki, pdf_samples.classic(), pki.one_time(), at=NOW)
    seen = pades.inspect(isolated, prepared.pdf)
    assert [(s.field_name, s.signer) for s in seen.signatures] == [("Signature1", "Ana Žabkar")]
    assert seen.findings == (Finding.SIGNED,)
