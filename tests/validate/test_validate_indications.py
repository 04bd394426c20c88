"""Main and sub-indications of EN 319 102-1, with explicit times; signatures by our own code with software keys."""

import socket
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from tests.formats import pdf_samples
from tests.validate.pki import NOW, Party, Pki, sign, sign_foreign, signed_cms
from tsp.core.errors import Invalid
from tsp.core.isolated import Isolated
from tsp.formats import cms, pades
from tsp.validate.report import Changes, Indication, Level, Signature, Status, SubIndication, ValidationReport
from tsp.validate.service import validate_pdf
from tsp.validate.trust import TrustAnchors

SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
YEAR = 365 * DAY
PDF = pdf_samples.classic()


def only(report: ValidationReport) -> Signature:
    (signature,) = report.signatures
    assert signature.explanation
    return signature


def long_term(
    isolated: Isolated, pki: Pki, prepared: pades.Prepared, signature: bytes, unit: Party | None = None
) -> bytes:
    """B-LT: with the status of the time-stamping unit and of the authority."""
    return pades.finish(
        isolated,
        prepared,
        signature,
        certificates=[pki.issuing.der, pki.root.der],
        ocsps=[pki.ocsp(pki.unit, NOW + SECOND)],
        crls=[pki.crl(pki.root, NOW - DAY)],
    )


# --- the one-time certificate ----------------------------------------------------------------------


@pytest.mark.requirement("VAL-1", "SIG-4", "CA-5")
def test_expired_one_time_certificate_with_time_stamp_passes(isolated: Isolated, pki: Pki) -> None:
    pdf = long_term(isolated, pki, *sign(isolated, pki, PDF, pki.one_time(qualified=True), stamped=NOW))
    signature = only(validate_pdf(pdf, pki.trust, NOW + YEAR, isolated))
    assert (signature.indication, signature.sub_indication) == (Indication.TOTAL_PASSED, None)
    assert signature.best_signature_time == NOW
    assert signature.level is Level.B_LT
    assert signature.later_changes is Changes.VALIDATION_DATA
    assert signature.signer is not None
    assert signature.signer.common_name == "Ana Žabkar"
    assert signature.signer.status is Status.NOT_NEEDED
    statements = signature.signer.statements
    assert (statements.qualified, statements.qscd, statements.purpose) == (True, True, "esign")
    assert [c.status for c in signature.chain] == [Status.NOT_NEEDED, Status.GOOD, Status.TRUST_ANCHOR]


@pytest.mark.requirement("VAL-1")
def test_expired_one_time_certificate_without_time_stamp_is_out_of_bounds(isolated: Isolated, pki: Pki) -> None:
    pdf = long_term(isolated, pki, *sign(isolated, pki, PDF, pki.one_time()))
    now = only(validate_pdf(pdf, pki.trust, NOW + timedelta(minutes=5), isolated))
    assert now.indication is Indication.TOTAL_PASSED
    assert now.level is Level.B_B
    later = only(validate_pdf(pdf, pki.trust, NOW + 2 * HOUR, isolated))
    assert later.indication is Indication.INDETERMINATE
    assert later.sub_indication is SubIndication.OUT_OF_BOUNDS_NO_POE
    assert later.intact


@pytest.mark.requirement("VAL-1")
def test_time_stamp_after_expiry_proves_nothing(isolated: Isolated, pki: Pki) -> None:
    prepared, signature = sign(isolated, pki, PDF, pki.one_time(), stamped=NOW + 2 * HOUR)
    pdf = pades.finish(
        isolated,
        prepared,
        signature,
        certificates=[pki.issuing.der],
        ocsps=[pki.ocsp(pki.unit, NOW + 3 * HOUR)],
        crls=[pki.crl(pki.root, NOW)],
    )
    found = only(validate_pdf(pdf, pki.trust, NOW + DAY, isolated))
    assert found.time_stamps[0].passed
    assert found.sub_indication is SubIndication.OUT_OF_BOUNDS_NO_POE
    assert found.best_signature_time == NOW + 2 * HOUR


@pytest.mark.requirement("VAL-1")
def test_time_stamp_before_the_certificate_was_valid(isolated: Isolated, pki: Pki) -> None:
    signer = pki.one_time(NOW + HOUR)
    pdf = long_term(isolated, pki, *sign(isolated, pki, PDF, signer, stamped=NOW))
    found = only(validate_pdf(pdf, pki.trust, NOW + DAY, isolated))
    assert found.indication is Indication.TOTAL_FAILED
    assert found.sub_indication is SubIndication.NOT_YET_VALID


@pytest.mark.requirement("VAL-1")
def test_a_short_term_mark_on_a_long_lived_certificate_is_not_believed(isolated: Isolated, pki: Pki) -> None:
    mark = (x509.UnrecognizedExtension(x509.ObjectIdentifier("0.4.0.194121.2.1"), b"\x05\x00"), False)
    signer = pki.end_entity("Ana", start=NOW - DAY, end=NOW + YEAR, extra=[mark])
    pdf = long_term(isolated, pki, *sign(isolated, pki, PDF, signer, stamped=NOW))
    found = only(validate_pdf(pdf, pki.trust, NOW + HOUR, isolated))
    assert found.sub_indication is SubIndication.TRY_LATER
    assert found.chain[0].status is Status.UNKNOWN


@pytest.mark.requirement("VAL-1")
def test_no_revocation_available_needs_no_status(isolated: Isolated, pki: Pki) -> None:
    mark = (x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.56"), b"\x05\x00"), False)
    signer = pki.end_entity("Ana", start=NOW - DAY, end=NOW + YEAR, extra=[mark])
    pdf = long_term(isolated, pki, *sign(isolated, pki, PDF, signer, stamped=NOW))
    found = only(validate_pdf(pdf, pki.trust, NOW + HOUR, isolated))
    assert found.indication is Indication.TOTAL_PASSED
    assert found.chain[0].status is Status.NOT_NEEDED


# --- octets ----------------------------------------------------------------------------------------


@pytest.mark.requirement("VAL-1", "SIG-5")
def test_altered_octet_fails(isolated: Isolated, pki: Pki) -> None:
    pdf = long_term(isolated, pki, *sign(isolated, pki, PDF, pki.one_time(), stamped=NOW))
    altered = pdf.replace(b"(Pogodba) Tj", b"(Pogadba) Tj")
    assert altered != pdf
    found = only(validate_pdf(altered, pki.trust, NOW + HOUR, isolated))
    assert found.indication is Indication.TOTAL_FAILED
    assert found.sub_indication is SubIndication.HASH_FAILURE
    assert not found.intact
    untrusted = only(validate_pdf(altered, TrustAnchors(()), NOW + HOUR, isolated))
    assert untrusted.sub_indication is SubIndication.HASH_FAILURE


@pytest.mark.requirement("VAL-1")
def test_signature_value_of_another_key_fails(isolated: Isolated, pki: Pki) -> None:
    prepared = pades.freeze(isolated, PDF, claimed_time=NOW, name="Ana")
    signer, stranger = pki.one_time(), ec.generate_private_key(ec.SECP256R1())
    pdf = pades.embed(prepared, signed_cms(prepared, replace(signer, key=stranger)))
    found = only(validate_pdf(pdf, pki.trust, NOW, isolated))
    assert found.indication is Indication.TOTAL_FAILED
    assert found.sub_indication is SubIndication.SIG_CRYPTO_FAILURE
    assert not found.intact


@pytest.mark.requirement("VAL-1", "SIG-5")
def test_pages_changed_after_signing_fail(isolated: Isolated, pki: Pki) -> None:
    pdf = pades.embed(*sign(isolated, pki, PDF, pki.one_time()))
    size = int(pdf.rsplit(b"/Size ", 1)[1].split(b"\n", 1)[0])
    changed = pdf_samples.stream(b"BT /F 24 Tf 20 100 Td (Drugacna pogodba) Tj ET")
    later = pdf_samples.updated(pdf, pdf_samples.CONTENT, changed, size=size)
    found = only(validate_pdf(later, pki.trust, NOW, isolated))
    assert found.indication is Indication.TOTAL_FAILED
    assert found.sub_indication is SubIndication.FORMAT_FAILURE
    assert found.intact
    assert not found.whole_file
    assert found.later_changes is Changes.NOT_ALLOWED


@pytest.mark.requirement("VAL-1", "SIG-5")
def test_a_byte_range_that_leaves_something_out_fails(isolated: Isolated, pki: Pki) -> None:
    prepared = pades.freeze(isolated, PDF, claimed_time=NOW, name="Ana")
    first, length, second, rest = prepared.byte_range
    shorter = b"/ByteRange [%d %d %d %d]" % (first, length, second, rest - 10)
    written = b"/ByteRange [%d %d %d %d]" % prepared.byte_range
    pdf = prepared.pdf.replace(written, shorter.ljust(len(written)))
    view = pdf[:length] + pdf[second : second + rest - 10]
    signer = pki.one_time()
    attributes = cms.signed_attributes(sha256(view).digest(), signer.der)
    assert isinstance(signer.key, ec.EllipticCurvePrivateKey)
    value = signer.key.sign(attributes, ec.ECDSA(hashes.SHA256()))
    window = cms.signed_data(attributes, value, signer.der, signer.chain_der).hex().encode()
    start = prepared.contents_offset + 1
    forged = pdf[:start] + window + pdf[start + len(window) :]
    found = only(validate_pdf(forged, pki.trust, NOW, isolated))
    assert found.intact
    assert found.sub_indication is SubIndication.FORMAT_FAILURE


# --- the chain -------------------------------------------------------------------------------------


@pytest.mark.requirement("VAL-1")
def test_untrusted_root_is_indeterminate(isolated: Isolated, pki: Pki) -> None:
    pdf = long_term(isolated, pki, *sign(isolated, pki, PDF, pki.one_time(), stamped=NOW))
    for trust in (TrustAnchors((Pki().root.der,)), TrustAnchors(())):
        found = only(validate_pdf(pdf, trust, NOW, isolated))
        assert found.indication is Indication.INDETERMINATE
        assert found.sub_indication is SubIndication.NO_CERTIFICATE_CHAIN_FOUND
        assert found.intact
        assert found.level is Level.B_B
    assert only(validate_pdf(pdf, pki.trust, NOW, isolated)).indication is Indication.TOTAL_PASSED


@pytest.mark.requirement("VAL-1")
def test_an_impostor_of_the_same_name_is_not_the_root(isolated: Isolated, pki: Pki) -> None:
    impostor = Pki()
    pdf = long_term(isolated, impostor, *sign(isolated, impostor, PDF, impostor.one_time(), stamped=NOW))
    assert impostor.root.certificate.subject == pki.root.certificate.subject
    found = only(validate_pdf(pdf, pki.trust, NOW, isolated))
    assert found.indication is Indication.INDETERMINATE
    assert found.sub_indication is SubIndication.NO_CERTIFICATE_CHAIN_FOUND


@pytest.mark.requirement("VAL-1")
def test_wrong_certificate_named_in_the_signature(isolated: Isolated, pki: Pki) -> None:
    prepared = pades.freeze(isolated, PDF, claimed_time=NOW, name="Ana")
    pdf = pades.embed(prepared, signed_cms(prepared, pki.one_time(), certificate=pki.ordinary().der))
    found = only(validate_pdf(pdf, pki.trust, NOW, isolated))
    assert found.indication is Indication.INDETERMINATE
    assert found.sub_indication is SubIndication.NO_SIGNING_CERTIFICATE_FOUND


@pytest.mark.requirement("VAL-1")
def test_missing_status_is_try_later(isolated: Isolated, pki: Pki) -> None:
    pdf = pades.embed(*sign(isolated, pki, PDF, pki.ordinary(), stamped=NOW))
    found = only(validate_pdf(pdf, pki.trust, NOW, isolated))
    assert found.indication is Indication.INDETERMINATE
    assert found.sub_indication is SubIndication.TRY_LATER
    assert [c.status for c in found.chain] == [Status.UNKNOWN, Status.UNKNOWN, Status.TRUST_ANCHOR]


@pytest.mark.requirement("VAL-1")
def test_status_may_come_from_outside_the_document(isolated: Isolated, pki: Pki) -> None:
    signer = pki.ordinary()
    prepared, signature = sign(isolated, pki, PDF, signer, stamped=NOW)
    pdf = pades.embed(prepared, signature)
    answers = (pki.ocsp(signer, NOW), pki.ocsp(pki.unit, NOW))
    trust = replace(pki.trust, ocsps=answers, crls=(pki.crl(pki.root, NOW),))
    found = only(validate_pdf(pdf, trust, NOW + SECOND, isolated))
    assert found.indication is Indication.TOTAL_PASSED
    assert found.level is Level.B_T
    assert found.chain[0].status_source == "ocsp"
    assert not found.chain[0].status_in_document
    both = pades.add_validation_data(
        isolated,
        pdf,
        prepared.byte_range,
        certificates=[pki.issuing.der],
        ocsps=[pki.ocsp(signer, NOW), pki.ocsp(pki.unit, NOW)],
        crls=[pki.crl(pki.root, NOW - DAY)],
    )
    found = only(validate_pdf(both, trust, NOW + SECOND, isolated))
    assert found.level is Level.B_LT
    assert found.chain[1].status_time == NOW  # the newest answer counts, wherever it comes from


@pytest.mark.requirement("VAL-1", "SEC-2")
def test_nothing_is_fetched(isolated: Isolated, pki: Pki) -> None:
    """The certificate says where its status and its issuer could be asked; nobody asks."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        methods = (AuthorityInformationAccessOID.OCSP, AuthorityInformationAccessOID.CA_ISSUERS)
        places = [x509.AccessDescription(m, x509.UniformResourceIdentifier(address)) for m in methods]
        points = [x509.DistributionPoint([x509.UniformResourceIdentifier(address)], None, None, None)]
        extra = [(x509.AuthorityInformationAccess(places), False), (x509.CRLDistributionPoints(points), False)]
        signer = replace(pki.end_entity("Ana", start=NOW - DAY, end=NOW + DAY, extra=extra), chain=())
        pdf = pades.embed(*sign(isolated, pki, PDF, signer))
        trust = replace(pki.trust, certificates=(pki.issuing.der,))
        assert only(validate_pdf(pdf, trust, NOW, isolated)).sub_indication is SubIndication.TRY_LATER
        assert (
            only(validate_pdf(pdf, pki.trust, NOW, isolated)).sub_indication is SubIndication.NO_CERTIFICATE_CHAIN_FOUND
        )
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.requirement("VAL-1")
@pytest.mark.parametrize(
    ("revoked", "expected"),
    [(NOW - DAY, SubIndication.REVOKED_NO_POE), (NOW, SubIndication.REVOKED_NO_POE), (NOW + DAY, None)],
)
def test_revocation_counts_from_its_own_time(
    isolated: Isolated, pki: Pki, revoked: datetime, expected: SubIndication | None
) -> None:
    signer = pki.ordinary()
    prepared, signature = sign(isolated, pki, PDF, signer, stamped=NOW)
    pdf = pades.finish(
        isolated,
        prepared,
        signature,
        certificates=[pki.issuing.der],
        ocsps=[
            pki.ocsp(signer, NOW - DAY),
            pki.ocsp(signer, NOW + 2 * DAY, revoked_at=revoked, reason=x509.ReasonFlags.key_compromise),
            pki.ocsp(pki.unit, NOW),
        ],
        crls=[pki.crl(pki.root, NOW)],
    )
    found = only(validate_pdf(pdf, pki.trust, NOW + 3 * DAY, isolated))
    assert found.sub_indication is expected
    assert found.chain[0].revoked_at == revoked
    assert found.chain[0].status is (Status.REVOKED if expected else Status.GOOD)


@pytest.mark.requirement("VAL-1")
def test_revoked_authority(isolated: Isolated, pki: Pki) -> None:
    prepared, signature = sign(isolated, pki, PDF, pki.one_time(), stamped=NOW)
    root = replace(
        pki.root, revoked={pki.issuing.certificate.serial_number: (NOW - DAY, x509.ReasonFlags.key_compromise)}
    )
    pdf = pades.finish(
        isolated,
        prepared,
        signature,
        certificates=[pki.issuing.der],
        ocsps=[pki.ocsp(pki.unit, NOW)],
        crls=[pki.crl(root, NOW)],
    )
    found = only(validate_pdf(pdf, pki.trust, NOW + SECOND, isolated))
    assert found.indication is Indication.INDETERMINATE
    assert found.sub_indication is SubIndication.REVOKED_CA_NO_POE


@pytest.mark.requirement("VAL-1")
def test_stale_or_future_status_does_not_count(isolated: Isolated, pki: Pki) -> None:
    signer = pki.ordinary()
    prepared, signature = sign(isolated, pki, PDF, signer, stamped=NOW)
    for made in (NOW - 2 * DAY, NOW + 2 * DAY):
        pdf = pades.finish(
            isolated,
            prepared,
            signature,
            certificates=[pki.issuing.der],
            ocsps=[pki.ocsp(signer, made), pki.ocsp(pki.unit, NOW)],
            crls=[pki.crl(pki.root, NOW)],
        )
        found = only(validate_pdf(pdf, pki.trust, NOW + HOUR, isolated))
        assert found.sub_indication is SubIndication.TRY_LATER


@pytest.mark.requirement("VAL-1")
def test_status_of_a_stranger_does_not_count(isolated: Isolated, pki: Pki) -> None:
    signer, stranger = pki.ordinary(), Pki().responder
    prepared, signature = sign(isolated, pki, PDF, signer, stamped=NOW)
    pdf = pades.finish(
        isolated,
        prepared,
        signature,
        certificates=[pki.issuing.der],
        ocsps=[
            pki.ocsp(signer, NOW, responder=stranger),
            pki.ocsp(signer, NOW, responder=pki.unit),
            pki.ocsp(pki.unit, NOW),
        ],
        crls=[pki.crl(pki.root, NOW)],
    )
    found = only(validate_pdf(pdf, pki.trust, NOW + SECOND, isolated))
    assert found.sub_indication is SubIndication.TRY_LATER


@pytest.mark.requirement("VAL-1")
def test_certificate_for_another_purpose(isolated: Isolated, pki: Pki) -> None:
    short = (x509.UnrecognizedExtension(x509.ObjectIdentifier("0.4.0.194121.2.1"), b"\x05\x00"), False)
    trust = replace(pki.trust, crls=(pki.crl(pki.root, NOW),))
    for purposes in ([ExtendedKeyUsageOID.SERVER_AUTH], [ExtendedKeyUsageOID.TIME_STAMPING]):
        server = pki.end_entity("strežnik", start=NOW - SECOND, end=NOW + HOUR, purposes=purposes, extra=[short])
        pdf = pades.embed(*sign(isolated, pki, PDF, server))
        found = only(validate_pdf(pdf, trust, NOW, isolated))
        assert found.indication is Indication.INDETERMINATE
        assert found.sub_indication is SubIndication.CHAIN_CONSTRAINTS_FAILURE
    mail = pki.end_entity(
        "Ana", start=NOW - SECOND, end=NOW + HOUR, purposes=[ExtendedKeyUsageOID.EMAIL_PROTECTION], extra=[short]
    )
    found = only(validate_pdf(pades.embed(*sign(isolated, pki, PDF, mail)), trust, NOW, isolated))
    assert found.indication is Indication.TOTAL_PASSED


@pytest.mark.requirement("VAL-1")
def test_an_end_entity_issues_nothing(isolated: Isolated, pki: Pki) -> None:
    middle = pki.ordinary()
    forged = pki.end_entity("Ana", start=NOW - SECOND, end=NOW + HOUR, issuer=middle)
    pdf = pades.embed(*sign(isolated, pki, PDF, forged))
    found = only(validate_pdf(pdf, pki.trust, NOW, isolated))
    assert found.sub_indication is SubIndication.CERTIFICATE_CHAIN_GENERAL_FAILURE


@pytest.mark.requirement("VAL-1")
def test_digests_that_are_no_longer_secure(isolated: Isolated, pki: Pki) -> None:
    trust = replace(pki.trust, crls=(pki.crl(pki.root, NOW),))
    pdf = sign_foreign(PDF, pki.one_time(), digest="sha1")
    found = only(validate_pdf(pdf, trust, NOW, isolated))
    assert found.indication is Indication.INDETERMINATE
    assert found.sub_indication is SubIndication.CRYPTO_CONSTRAINTS_FAILURE_NO_POE


# --- the document ----------------------------------------------------------------------------------


@pytest.mark.requirement("VAL-1")
def test_a_document_without_signatures(isolated: Isolated, pki: Pki) -> None:
    report = validate_pdf(PDF, pki.trust, NOW, isolated)
    assert report.signatures == ()
    assert report.indication is None


@pytest.mark.requirement("VAL-1")
@pytest.mark.parametrize(
    ("pdf", "code"),
    [(b"not a PDF", "document-not-pdf"), (b"%PDF-1.7\n", "document-damaged"), (PDF[:300], "document-damaged")],
)
def test_what_is_no_document_is_refused(isolated: Isolated, pki: Pki, pdf: bytes, code: str) -> None:
    with pytest.raises(Invalid) as refusal:
        validate_pdf(pdf, pki.trust, NOW, isolated)
    assert refusal.value.code == code


@pytest.mark.requirement("VAL-1")
def test_a_document_over_the_limit_is_refused(isolated: Isolated, pki: Pki) -> None:
    with pytest.raises(Invalid) as refusal:
        validate_pdf(PDF, pki.trust, NOW, isolated, max_bytes=len(PDF) - 1)
    assert refusal.value.code == "document-too-large"


@pytest.mark.requirement("VAL-1")
def test_a_field_that_holds_no_signature_fails(isolated: Isolated, pki: Pki) -> None:
    prepared = pades.freeze(isolated, PDF, claimed_time=NOW, name="Ana")
    for pdf in (prepared.pdf, prepared.pdf.replace(b"/ETSI.CAdES.detached", b"/adbe.x509.rsa.sha1")):
        found = only(validate_pdf(pdf, pki.trust, NOW, isolated))
        assert found.indication is Indication.TOTAL_FAILED
        assert found.sub_indication is SubIndication.FORMAT_FAILURE
        assert found.field_name == "Signature1"


@pytest.mark.requirement("VAL-1", "FMT-2")
def test_the_weakest_signature_decides_for_the_document(isolated: Isolated, pki: Pki) -> None:
    trust = replace(pki.trust, crls=(pki.crl(pki.root, NOW),))
    one = pades.embed(*sign(isolated, pki, PDF, pki.one_time()))
    two = pades.embed(*sign(isolated, pki, one, Pki().one_time()))
    three = pades.embed(*sign(isolated, pki, two, pki.one_time()))
    report = validate_pdf(three, trust, NOW, isolated)
    assert [s.indication for s in report.signatures] == [
        Indication.TOTAL_PASSED,
        Indication.INDETERMINATE,
        Indication.TOTAL_PASSED,
    ]
    assert [s.whole_file for s in report.signatures] == [False, False, True]
    assert report.signatures[0].later_changes is Changes.FORM_AND_SIGNATURES
    assert report.indication is Indication.INDETERMINATE
