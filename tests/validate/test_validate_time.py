"""Time-stamps: what they prove, what undoes them, archive time-stamps, and other people's producers."""

import io
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign.fields import MDPPerm, SigSeedSubFilter
from pyhanko.sign.validation.dss import DocumentSecurityStore

from tests.formats import pdf_samples
from tests.validate.pki import NOW, Party, Pki, sign, sign_foreign, stamp_document
from tsp.core import der
from tsp.core.isolated import Isolated
from tsp.formats import cms, pades
from tsp.validate.report import Changes, Indication, Level, Signature, SubIndication, ValidationReport
from tsp.validate.service import validate_pdf
from tsp.validate.statements import claims_qualified_time_stamp

SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
YEAR = 365 * DAY
PDF = pdf_samples.classic()


def only(report: ValidationReport) -> Signature:
    (signature,) = report.signatures
    return signature


def long_term(isolated: Isolated, pki: Pki, unit: Party, ocsps: list[bytes]) -> bytes:
    """B-LT by a one-time certificate, stamped by `unit`."""
    prepared, signature = sign(isolated, pki, PDF, pki.one_time(), stamped=NOW, unit=unit)
    crls = [pki.crl(pki.root, NOW, valid=10 * YEAR)]
    return pades.finish(isolated, prepared, signature, certificates=[pki.issuing.der], ocsps=ocsps, crls=crls)


@pytest.mark.requirement("VAL-1", "TSA-1")
def test_a_stamp_whose_unit_has_expired_needs_an_archive_stamp(isolated: Isolated, pki: Pki) -> None:
    old = pki.time_stamping_unit(NOW - DAY, NOW + YEAR)
    new = pki.time_stamping_unit(NOW, NOW + 5 * YEAR)
    pdf = long_term(isolated, pki, old, [pki.ocsp(old, NOW + SECOND), pki.ocsp(new, NOW + 100 * DAY)])
    assert only(validate_pdf(pdf, pki.trust, NOW + 300 * DAY, isolated)).indication is Indication.TOTAL_PASSED
    late = only(validate_pdf(pdf, pki.trust, NOW + 2 * YEAR, isolated))
    assert late.time_stamps[0].sub_indication is SubIndication.OUT_OF_BOUNDS_NO_POE
    assert late.sub_indication is SubIndication.OUT_OF_BOUNDS_NO_POE
    archived = stamp_document(pdf, pki.stamper(NOW + 100 * DAY, new))
    report = validate_pdf(archived, pki.trust, NOW + 2 * YEAR, isolated)
    (stamp,) = report.document_time_stamps
    assert stamp.passed
    assert (stamp.field_name, stamp.time) == ("Arhiv", NOW + 100 * DAY)
    found = only(report)
    assert found.indication is Indication.TOTAL_PASSED
    assert found.level is Level.B_LTA
    assert found.best_signature_time == NOW


@pytest.mark.requirement("VAL-1")
def test_a_chain_of_archive_stamps(isolated: Isolated, pki: Pki) -> None:
    units = [pki.time_stamping_unit(NOW + n * YEAR - DAY, NOW + (n + 2) * YEAR) for n in range(4)]
    pdf = long_term(isolated, pki, units[0], [pki.ocsp(u, NOW + n * YEAR + HOUR) for n, u in enumerate(units)])
    for number in (1, 2, 3):
        pdf = stamp_document(pdf, pki.stamper(NOW + number * YEAR, units[number]), field_name=f"Arhiv{number}")
    report = validate_pdf(pdf, pki.trust, NOW + 4 * YEAR, isolated)
    assert [s.passed for s in report.document_time_stamps] == [True, True, True]
    assert only(report).indication is Indication.TOTAL_PASSED
    gap = validate_pdf(pdf, pki.trust, NOW + 6 * YEAR, isolated)
    assert [s.passed for s in gap.document_time_stamps] == [False, False, False]
    assert only(gap).sub_indication is SubIndication.OUT_OF_BOUNDS_NO_POE


@pytest.mark.requirement("VAL-1")
@pytest.mark.parametrize(
    ("revoked", "reason", "passed"),
    [
        (NOW + DAY, x509.ReasonFlags.key_compromise, False),
        (NOW + DAY, x509.ReasonFlags.superseded, True),
        (NOW - DAY, x509.ReasonFlags.superseded, False),
    ],
)
def test_a_unit_that_was_revoked(
    isolated: Isolated, pki: Pki, revoked: datetime, reason: x509.ReasonFlags, passed: bool
) -> None:
    answers = [pki.ocsp(pki.unit, NOW), pki.ocsp(pki.unit, NOW + 2 * DAY, revoked_at=revoked, reason=reason)]
    pdf = long_term(isolated, pki, pki.unit, answers)
    found = only(validate_pdf(pdf, pki.trust, NOW + 3 * DAY, isolated))
    assert found.time_stamps[0].passed is passed
    assert found.sub_indication is (None if passed else SubIndication.OUT_OF_BOUNDS_NO_POE)


@pytest.mark.requirement("VAL-1")
def test_a_unit_whose_key_has_become_too_short(isolated: Isolated, pki: Pki) -> None:
    weak = pki.time_stamping_unit(NOW - DAY, NOW + 5 * YEAR, key=rsa.generate_private_key(65537, 2048))
    pdf = long_term(isolated, pki, weak, [pki.ocsp(weak, NOW)])
    assert only(validate_pdf(pdf, pki.trust, NOW + YEAR, isolated)).time_stamps[0].passed
    found = only(validate_pdf(pdf, pki.trust, NOW + 3 * YEAR, isolated))
    assert found.time_stamps[0].sub_indication is SubIndication.CRYPTO_CONSTRAINTS_FAILURE_NO_POE
    assert found.sub_indication is SubIndication.OUT_OF_BOUNDS_NO_POE


@pytest.mark.requirement("VAL-1")
def test_a_stamp_over_something_else_proves_nothing(isolated: Isolated, pki: Pki) -> None:
    trust = replace(pki.trust, crls=(pki.crl(pki.root, NOW),), ocsps=(pki.ocsp(pki.unit, NOW),))
    prepared, signature = sign(isolated, pki, PDF, pki.one_time())
    foreign = cms.add_signature_timestamp(signature, pki.stamp(b"another signature", NOW))
    found = only(validate_pdf(pades.embed(prepared, foreign), trust, NOW + SECOND, isolated))
    assert found.time_stamps[0].sub_indication is SubIndication.HASH_FAILURE
    assert found.indication is Indication.TOTAL_PASSED  # the certificate is still valid at this time
    assert found.level is Level.B_B
    assert found.best_signature_time == NOW + SECOND


@pytest.mark.requirement("VAL-1")
def test_a_stamp_with_changed_octets_proves_nothing(isolated: Isolated, pki: Pki) -> None:
    trust = replace(pki.trust, crls=(pki.crl(pki.root, NOW),), ocsps=(pki.ocsp(pki.unit, NOW),))
    prepared, signature = sign(isolated, pki, PDF, pki.one_time())
    token = pki.stamp(cms.signature_value(signature), NOW)
    earlier = token.replace(b"20261123100000Z", b"20261123090000Z")
    assert earlier != token
    damaged = token[:-3] + bytes((token[-3] ^ 1,)) + token[-2:]
    for broken, expected in (
        (earlier, SubIndication.HASH_FAILURE),
        (damaged, SubIndication.SIG_CRYPTO_FAILURE),
        (der.seq(der.oid("1.2.840.113549.1.7.2"), der.explicit(0, der.NULL)), SubIndication.FORMAT_FAILURE),
    ):
        pdf = pades.embed(prepared, cms.add_signature_timestamp(signature, broken))
        found = only(validate_pdf(pdf, trust, NOW + SECOND, isolated))
        assert found.time_stamps[0].sub_indication is expected
        assert not found.time_stamps[0].passed


@pytest.mark.requirement("VAL-1")
def test_a_stamp_from_the_future_is_not_believed(isolated: Isolated, pki: Pki) -> None:
    pdf = long_term(isolated, pki, pki.unit, [pki.ocsp(pki.unit, NOW)])
    found = only(validate_pdf(pdf, pki.trust, NOW - timedelta(seconds=45), isolated))
    assert found.time_stamps[0].passed  # clocks may differ by a minute
    found = only(validate_pdf(pdf, pki.trust, NOW - timedelta(minutes=2), isolated))
    assert found.time_stamps[0].sub_indication is SubIndication.TIMESTAMP_ORDER_FAILURE


@pytest.mark.requirement("VAL-1")
def test_a_stamp_by_somebody_who_may_not_stamp(isolated: Isolated, pki: Pki) -> None:
    no_unit = pki.end_entity("Ni žig", start=NOW - DAY, end=NOW + YEAR, key=pki.unit.key)
    pdf = long_term(isolated, pki, no_unit, [pki.ocsp(no_unit, NOW)])
    found = only(validate_pdf(pdf, pki.trust, NOW + DAY, isolated))
    assert found.time_stamps[0].sub_indication is SubIndication.CHAIN_CONSTRAINTS_FAILURE
    assert found.sub_indication is SubIndication.OUT_OF_BOUNDS_NO_POE


@pytest.mark.requirement("VAL-1")
def test_a_single_unit_may_be_the_trust_anchor(isolated: Isolated, pki: Pki) -> None:
    pdf = long_term(isolated, pki, pki.unit, [])
    assert not only(validate_pdf(pdf, pki.trust, NOW + DAY, isolated)).time_stamps[0].passed
    trust = replace(pki.trust, certificates=(pki.root.der, pki.unit.der))
    found = only(validate_pdf(pdf, trust, NOW + DAY, isolated))
    assert found.time_stamps[0].passed
    assert found.indication is Indication.TOTAL_PASSED


@pytest.mark.requirement("VAL-1")
def test_the_claim_of_a_qualified_stamp_is_read() -> None:
    assert claims_qualified_time_stamp(der.seq(der.seq(der.oid("0.4.0.19422.1.1"))))
    assert not claims_qualified_time_stamp(der.seq(der.seq(der.oid("0.4.0.1862.1.1"))))
    assert not claims_qualified_time_stamp(b"\x30\x05nope")


# --- other people's producers ----------------------------------------------------------------------


@pytest.mark.requirement("VAL-1", "FMT-1")
def test_a_foreign_long_term_signature(isolated: Isolated, pki: Pki) -> None:
    signer = pki.ordinary()
    signed = sign_foreign(PDF, signer, stamper=pki.stamper(NOW))
    writer = IncrementalPdfFileWriter(io.BytesIO(signed))
    from asn1crypto import crl, ocsp

    DocumentSecurityStore.supply_dss_in_writer(
        writer,
        None,
        certs=[pki.issuing.asn1()],
        ocsps=[ocsp.OCSPResponse.load(pki.ocsp(p, NOW + SECOND)) for p in (signer, pki.unit)],
        crls=[crl.CertificateList.load(pki.crl(pki.root, NOW))],
    )
    output = io.BytesIO()
    writer.write(output)
    found = only(validate_pdf(output.getvalue(), pki.trust, NOW + 3 * YEAR, isolated))
    assert found.indication is Indication.TOTAL_PASSED
    assert found.level is Level.B_LT
    assert found.signer is not None
    assert found.signer.common_name == "Bojan Črnič"
    assert not found.signer.statements.qualified


@pytest.mark.requirement("VAL-1")
def test_a_foreign_signature_that_is_not_baseline_is_still_judged(isolated: Isolated, pki: Pki) -> None:
    trust = replace(pki.trust, crls=(pki.crl(pki.root, NOW),))
    pdf = sign_foreign(PDF, pki.one_time(), subfilter=SigSeedSubFilter.ADOBE_PKCS7_DETACHED)
    found = only(validate_pdf(pdf, trust, NOW, isolated))
    assert found.indication is Indication.TOTAL_PASSED
    assert found.level is Level.NOT_BASELINE


@pytest.mark.requirement("VAL-1", "FMT-2")
def test_changes_that_cannot_be_compared_stay_open(isolated: Isolated, pki: Pki) -> None:
    """Annotations without object numbers, signed as they are by somebody else, then signed again."""
    trust = replace(pki.trust, crls=(pki.crl(pki.root, NOW),))
    note = b"/Annots[<</Type/Annot/Subtype/Text/Rect[9 9 19 19]/Contents(Opomba)>>]"
    first = sign_foreign(pdf_samples.classic(pdf_samples.objects(page=note)), pki.one_time())
    both = pades.embed(*sign(isolated, pki, first, pki.one_time()))
    found, _ = validate_pdf(both, trust, NOW, isolated).signatures
    assert found.indication is Indication.INDETERMINATE
    assert found.sub_indication is SubIndication.SIG_CONSTRAINTS_FAILURE
    assert found.later_changes is Changes.UNCLEAR
    assert found.intact


@pytest.mark.requirement("VAL-1", "FMT-2")
def test_a_change_that_the_author_forbade(isolated: Isolated, pki: Pki) -> None:
    trust = replace(pki.trust, crls=(pki.crl(pki.root, NOW),))
    for permission, expected in (
        (MDPPerm.FILL_FORMS, (None, Changes.FORM_AND_SIGNATURES)),
        (MDPPerm.NO_CHANGES, (SubIndication.FORMAT_FAILURE, Changes.NOT_ALLOWED)),
    ):
        certified = sign_foreign(PDF, pki.one_time(), certify=permission)
        both = sign_foreign_again(certified, pki)
        first, second = validate_pdf(both, trust, NOW, isolated).signatures
        assert (first.sub_indication, first.later_changes) == expected
        assert first.intact
        assert second.indication is Indication.TOTAL_PASSED


def sign_foreign_again(pdf: bytes, pki: Pki) -> bytes:
    """A second signature by a tool that does not care what the first allows: appended by our own update."""
    from tests.validate.pki import signed_cms
    from tsp.formats.pdf_file import open_pdf
    from tsp.formats.pdf_update import add_signature_field

    name, update, byte_range = add_signature_field(
        open_pdf(pdf), field_name=None, claimed_time=NOW, name="Bojan", reason=None
    )
    prepared = pades.Prepared(pdf + update, name, byte_range)
    return pades.embed(prepared, signed_cms(prepared, pki.one_time()))
