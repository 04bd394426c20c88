"""Freezing, embedding, finishing: the original octets stay, the signature is what PAdES asks for, others agree."""

import hashlib
import re
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from pyhanko.sign.fields import MDPPerm

from tests.formats import pdf_samples
from tests.validate.pki import NOW, Party, Pki, sign, sign_foreign, signed_cms
from tsp.core.errors import Invalid
from tsp.core.isolated import Isolated
from tsp.formats import cms, pades
from tsp.formats.placeholder import CONTENTS_SIZE, Prepared, contents, signed_digest
from tsp.validate.service import validate_pdf

KINDS = {
    "classic": pdf_samples.classic(),
    "version 1.4": pdf_samples.classic(version=b"1.4"),
    "version 2.0": pdf_samples.classic(version=b"2.0"),
    "no line end": pdf_samples.classic(end=b""),
    "cross-reference stream": pdf_samples.with_xref_stream(),
    "hybrid": pdf_samples.hybrid(),
    "linearised": pdf_samples.linearised(),
    "updated": pdf_samples.updated(pdf_samples.classic(), 4, pdf_samples.stream(b"BT ET")),
    "odd free entry": pdf_samples.classic(free=b"0000000000 65536 f \n"),
}
FORM = pdf_samples.objects(catalog=b"/AcroForm 11 0 R", page=b"/Annots[10 0 R]", more=pdf_samples.form_field(look=True))


def pdfsig(pdf: bytes, directory: Path, *trusted: Party) -> str:
    """What poppler says of a file, with an NSS database that trusts the given authorities."""
    database = directory / "nss"
    database.mkdir()
    subprocess.run(["certutil", "-N", "-d", f"sql:{database}", "--empty-password"], check=True)
    for number, party in enumerate(trusted):
        (directory / "ca.pem").write_bytes(party.certificate.public_bytes(Encoding.PEM))
        add = ["certutil", "-A", "-d", f"sql:{database}", "-n", f"ca{number}", "-t", "CT,CT,CT"]
        subprocess.run([*add, "-i", str(directory / "ca.pem")], check=True)
    path = directory / "signed.pdf"
    path.write_bytes(pdf)
    done = subprocess.run(
        ["pdfsig", "-nssdir", str(database), "-no-ocsp", str(path)], capture_output=True, text=True, check=False
    )
    return done.stdout


@pytest.mark.requirement("SIG-5", "FMT-1")
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_is_signed_by_appending(isolated: Isolated, pki: Pki, tmp_path: Path, kind: str) -> None:
    original = KINDS[kind]
    prepared, signature = sign(isolated, pki, original, pki.one_time(), stamped=NOW)
    signed = pades.embed(prepared, signature)
    assert signed.startswith(original)
    assert pades.inspect(isolated, signed).pages == 1
    answer = pdfsig(signed, tmp_path, pki.root)
    assert "Signature is Valid." in answer
    assert "Total document signed" in answer
    assert "ETSI.CAdES.detached" in answer


@pytest.mark.requirement("FMT-1")
def test_the_signature_dictionary_is_that_of_pades(isolated: Isolated) -> None:
    prepared = pades.freeze(isolated, pdf_samples.classic(), claimed_time=NOW, name="Ana Žabkar", reason="Strinjam se")
    written = prepared.pdf[len(pdf_samples.classic()) :]
    assert b"/Type /Sig\n" in written
    assert b"/Filter /Adobe.PPKLite" in written
    assert b"/SubFilter /ETSI.CAdES.detached" in written
    assert b"/M (D\\07220261123100000Z)" in written
    assert b"/ESIC" in written
    assert b"/SigFlags 3" in written
    assert b"/Cert" not in written.replace(b"/Certs", b"")
    assert "Ana Žabkar".encode("utf-16-be").hex() in written.hex() or b"/Name" in written
    assert b"/Reason (Strinjam se)" in written
    assert prepared.contents_length == 2 * CONTENTS_SIZE + 2
    assert prepared.field_name == "Signature1"


@pytest.mark.requirement("SIG-5")
def test_the_same_document_frozen_twice_is_the_same(isolated: Isolated) -> None:
    first, second = (pades.freeze(isolated, pdf_samples.classic(), claimed_time=NOW, name="Ana") for _ in range(2))
    assert first.pdf == second.pdf
    assert first.digest_signed == second.digest_signed
    later = pades.freeze(isolated, pdf_samples.classic(), claimed_time=NOW + timedelta(seconds=1), name="Ana")
    assert later.digest_signed != first.digest_signed


@pytest.mark.requirement("SIG-5")
def test_the_digest_covers_everything_but_the_window(isolated: Isolated) -> None:
    prepared = pades.freeze(isolated, pdf_samples.classic(), claimed_time=NOW, name="Ana")
    start, end = prepared.contents_offset, prepared.contents_offset + prepared.contents_length
    outside = prepared.pdf[:start] + prepared.pdf[end:]
    assert prepared.digest_signed == hashlib.sha256(outside).digest()
    assert re.fullmatch(rb"<0+>", prepared.pdf[start:end])


@pytest.mark.requirement("FMT-2")
def test_a_second_signer_never_breaks_the_first(isolated: Isolated, pki: Pki, tmp_path: Path) -> None:
    first_file = pades.embed(*sign(isolated, pki, pdf_samples.classic(FORM), pki.one_time(), stamped=NOW))
    prepared, signature = sign(isolated, pki, first_file, pki.one_time(), stamped=NOW)
    assert prepared.field_name == "Signature2"
    both = pades.embed(prepared, signature)
    assert both.startswith(first_file)
    inspection = pades.inspect(isolated, both)
    assert [s.field_name for s in inspection.signatures] == ["Signature1", "Signature2"]
    assert inspection.signatures[0].signer == "Ana Žabkar"
    assert inspection.signatures[0].claimed_time == NOW
    answer = pdfsig(both, tmp_path, pki.root)
    assert answer.count("Signature is Valid.") == 2


@pytest.mark.requirement("FMT-2")
def test_a_name_that_is_taken_by_another_field_is_left(isolated: Isolated) -> None:
    fields = pdf_samples.form_field(look=True)
    fields[10] = fields[10].replace(b"/T(znesek)", b"/T(Signature1)")
    pdf = pdf_samples.classic(pdf_samples.objects(catalog=b"/AcroForm 11 0 R", page=b"/Annots[10 0 R]", more=fields))
    assert pades.freeze(isolated, pdf, claimed_time=NOW, name="Ana").field_name == "Signature2"


NOTE = b"/Annots[<</Type/Annot/Subtype/Text/Rect[9 9 19 19]/Contents(Opomba)>>]"


@pytest.mark.requirement("FMT-2")
@pytest.mark.parametrize(
    "pdf",
    [
        pdf_samples.classic(pdf_samples.objects(page=NOTE)),
        pdf_samples.classic(pdf_samples.objects(pages=2, page=NOTE)),
        pdf_samples.with_xref_stream(pdf_samples.objects(page=NOTE), pages_too=True),
        # So long that reading the page is quicker than looking for the word.
        pdf_samples.classic(pdf_samples.objects(page=NOTE, more={7: pdf_samples.stream(bytes(200_000))})),
    ],
    ids=["one page", "two pages", "compressed pages", "long"],
)
def test_annotations_without_a_number_do_not_break_the_next_signature(isolated: Isolated, pki: Pki, pdf: bytes) -> None:
    first = pades.embed(*sign(isolated, pki, pdf, pki.one_time()))
    second = pades.embed(*sign(isolated, pki, first, pki.one_time()))
    assert pades.render(isolated, second, 0, 300) == pades.render(isolated, pdf, 0, 300)
    report = validate_pdf(second, replace(pki.trust, crls=(pki.crl(pki.root, NOW),)), NOW, isolated)
    assert [str(s.indication) for s in report.signatures] == ["TOTAL-PASSED", "TOTAL-PASSED"]


@pytest.mark.requirement("FMT-2")
def test_an_empty_field_of_the_document_is_signed(isolated: Isolated, pki: Pki, tmp_path: Path) -> None:
    empty = {
        10: b"<</Type/Annot/Subtype/Widget/FT/Sig/T(Kupec)/Rect[20 20 120 40]/P 3 0 R/F 4>>",
        11: b"<</Fields[10 0 R]/SigFlags 1>>",
    }
    pdf = pdf_samples.classic(pdf_samples.objects(catalog=b"/AcroForm 11 0 R", page=b"/Annots[10 0 R]", more=empty))
    prepared = pades.freeze(isolated, pdf, claimed_time=NOW, name="Ana", field_name="Kupec")
    signed = pades.embed(prepared, signed_cms(prepared, pki.one_time()))
    assert [s.field_name for s in pades.inspect(isolated, signed).signatures] == ["Kupec"]
    assert "Signature is Valid." in pdfsig(signed, tmp_path, pki.root)
    for taken, name in ((signed, "Kupec"), (pdf_samples.classic(FORM), "znesek")):
        with pytest.raises(Invalid) as refusal:
            pades.freeze(isolated, taken, claimed_time=NOW, name="Ana", field_name=name)
        assert refusal.value.code == "signature-field-unusable"


@pytest.mark.requirement("SIG-5")
@pytest.mark.parametrize(("look", "kept"), [(True, False), (False, True)])
def test_form_fields_look_the_same_after_signing(isolated: Isolated, look: bool, kept: bool) -> None:
    fields = pdf_samples.form_field(look=look)
    pdf = pdf_samples.classic(pdf_samples.objects(catalog=b"/AcroForm 11 0 R", page=b"/Annots[10 0 R]", more=fields))
    prepared = pades.freeze(isolated, pdf, claimed_time=NOW, name="Ana")
    assert (b"/NeedAppearances" in prepared.pdf[len(pdf) :]) is kept
    assert pades.render(isolated, pdf, 0, 400) == pades.render(isolated, prepared.pdf, 0, 400)


@pytest.mark.requirement("SIG-5")
def test_a_form_field_is_shown_as_the_signed_file_will_show_it(isolated: Isolated) -> None:
    """A field whose drawing contradicts its value: viewers would draw the value before signing, the drawing after."""
    fields = pdf_samples.form_field(look=True, value="12 EUR")
    contradiction = dict(fields)
    contradiction[10] = contradiction[10].replace(b"12 EUR", b"99 EUR")
    pictures = [
        pades.render(
            isolated,
            pdf_samples.classic(
                pdf_samples.objects(catalog=b"/AcroForm 11 0 R", page=b"/Annots[10 0 R]", more=objects)
            ),
            0,
            400,
        )
        for objects in (fields, contradiction)
    ]
    assert pictures[0] == pictures[1]


@pytest.mark.requirement("FMT-1")
def test_validation_data_are_added_once_and_found_under_their_signature(isolated: Isolated, pki: Pki) -> None:
    prepared, signature = sign(isolated, pki, pdf_samples.classic(), pki.one_time(), stamped=NOW)
    answers = [pki.ocsp(pki.unit, NOW)]
    crls = [pki.crl(pki.root, NOW)]
    pdf = pades.finish(
        isolated, prepared, signature, certificates=[pki.issuing.der, pki.issuing.der], ocsps=answers, crls=crls
    )
    added = pdf[len(prepared.pdf) :]
    key = hashlib.sha1(contents(pdf, prepared.byte_range)).hexdigest().upper()  # noqa: S324  (the standard's key)
    assert b"/" + key.encode() in added
    for entry in (b"/DSS", b"/Certs", b"/OCSPs", b"/CRLs", b"/VRI"):
        assert entry in added
    assert added.count(pki.issuing.der) == 1
    assert added.count(answers[0]) == 1
    assert added.count(crls[0]) == 1
    again = pades.add_validation_data(isolated, pdf, prepared.byte_range, certificates=[pki.root.der], ocsps=answers)
    assert again[len(pdf) :].count(answers[0]) == 0
    assert again[len(pdf) :].count(pki.root.der) == 1


@pytest.mark.requirement("FMT-1")
@pytest.mark.parametrize("kind", ["cross-reference stream", "hybrid", "linearised", "odd free entry"])
def test_every_kind_of_file_takes_validation_data(isolated: Isolated, pki: Pki, tmp_path: Path, kind: str) -> None:
    prepared, signature = sign(isolated, pki, KINDS[kind], pki.one_time(), stamped=NOW)
    pdf = pades.finish(isolated, prepared, signature, certificates=[pki.root.der], crls=[pki.crl(pki.root, NOW)])
    assert pdf.startswith(pades.embed(prepared, signature))
    assert "Signature is Valid." in pdfsig(pdf, tmp_path, pki.root)


@pytest.mark.requirement("SIG-5")
def test_a_signature_of_another_document_is_not_embedded(isolated: Isolated, pki: Pki) -> None:
    prepared, _ = sign(isolated, pki, pdf_samples.classic(), pki.one_time())
    other, signature = sign(isolated, pki, pdf_samples.with_xref_stream(), pki.one_time())
    assert other.digest_signed != prepared.digest_signed
    with pytest.raises(Invalid) as refusal:
        pades.embed(prepared, signature)
    assert refusal.value.code == "signature-of-other-document"


def test_a_signature_that_is_too_large_is_refused(isolated: Isolated, pki: Pki) -> None:
    prepared, signature = sign(isolated, pki, pdf_samples.classic(), pki.one_time())
    stamp = pki.stamp(cms.signature_value(signature), NOW)
    while len(signature) <= CONTENTS_SIZE:
        signature = cms.add_signature_timestamp(signature, stamp)
    with pytest.raises(Invalid) as refusal:
        pades.embed(prepared, signature)
    assert refusal.value.code == "signature-too-large"


@pytest.mark.requirement("SIG-5")
def test_a_prepared_document_that_was_changed_is_refused(isolated: Isolated) -> None:
    prepared = pades.freeze(isolated, pdf_samples.classic(), claimed_time=NOW, name="Ana")
    first, length, second, rest = prepared.byte_range
    for pdf, byte_range in (
        (prepared.pdf + b"\n", prepared.byte_range),
        (prepared.pdf[:length] + b"<1" + prepared.pdf[length + 2 :], prepared.byte_range),
        (prepared.pdf, (first, length + 2, second, rest)),
        (prepared.pdf, (10, length, second, rest)),
        (prepared.pdf, (first, length, second + 2, rest - 2)),
    ):
        with pytest.raises(Invalid) as refusal:
            replace(prepared, pdf=pdf, byte_range=byte_range)
        assert refusal.value.code == "placeholder-damaged"


@given(body=st.binary(min_size=1, max_size=300), split=st.integers(min_value=0, max_value=300))
@settings(deadline=None)
def test_filling_changes_nothing_outside_the_window(pki: Pki, body: bytes, split: int) -> None:
    split = min(split, len(body) - 1)
    window = b"<" + b"0" * 8000 + b">"
    byte_range = (0, split, split + len(window), len(body) - split)
    prepared = Prepared(body[:split] + window + body[split:], "Signature1", byte_range)
    signature = signed_cms(prepared, pki.issuing)
    filled = pades.embed(prepared, signature)
    assert signed_digest(filled, byte_range) == prepared.digest_signed
    assert len(filled) == len(prepared.pdf)
    assert contents(filled, byte_range).rstrip(b"\0") == signature.rstrip(b"\0")


@pytest.mark.requirement("FMT-2")
def test_a_locked_document_is_not_prepared(isolated: Isolated, pki: Pki) -> None:
    locked = sign_foreign(pdf_samples.classic(), pki.ordinary(), certify=MDPPerm.NO_CHANGES)
    with pytest.raises(Invalid) as refusal:
        pades.freeze(isolated, locked, claimed_time=NOW, name="Ana")
    assert refusal.value.code == "document-forbids-signing"


@pytest.mark.requirement("FMT-2")
def test_a_certified_document_that_allows_it_is_signed(isolated: Isolated, pki: Pki, tmp_path: Path) -> None:
    certified = sign_foreign(pdf_samples.classic(), pki.ordinary(), certify=MDPPerm.FILL_FORMS)
    signed = pades.embed(*sign(isolated, pki, certified, pki.one_time()))
    assert pdfsig(signed, tmp_path, pki.root).count("Signature is Valid.") == 2
