"""Revocation: final, with a reason, and never of a certificate that says it cannot be revoked."""

from datetime import timedelta

import pytest
from asn1crypto import x509

from tests.ca.ca_kit import NOW, PERSON, SERVICE, SoftKey, authority, issuer
from tsp.ca.crl import RevokedCertificate
from tsp.ca.publication import make_crl
from tsp.ca.revocation import is_validity_assured, revoke, revoked_certificates
from tsp.ca.tables import status
from tsp.core.database import Database
from tsp.core.errors import Conflict, Invalid, NotFound, Refused


def stored(database: Database, profile: str = "tsu", role: str | None = None) -> str:
    """The serial number of an issued and stored certificate."""
    whole = authority({role: issuer(role)} if role else None)
    subject = PERSON if profile == "advanced" else SERVICE
    issued = whole.issue(whole.prepare(profile, subject, SoftKey().public_spki, now=NOW))
    with database.write() as session:
        session.add(whole.row(issued, None))
    return issued.serial


@pytest.mark.requirement("OCSP-1")
def test_revoked_certificate_is_told_and_listed(database: Database) -> None:
    serial = stored(database, "subordinate-ca", "root")
    with database.write() as session:
        revoke(session, "root", serial, "cACompromise", NOW)
    with database.read() as session:
        known = status(session, "root", serial)
        listed = revoked_certificates(session, "root")
        assert revoked_certificates(session, "qualified") == []
    assert known is not None
    assert (known.revoked, known.revoked_at, known.reason) == (True, NOW, "cACompromise")
    assert listed == [RevokedCertificate(int(serial, 16), NOW, "cACompromise")]
    crl = make_crl(issuer("root"), number=1, now=NOW, validity=timedelta(days=1), revoked=listed)
    assert int(serial, 16).to_bytes(16, "big") in crl


def test_revocation_is_final(database: Database) -> None:
    serial = stored(database)
    with database.write() as session:
        revoke(session, "infrastructure", serial, "superseded", NOW)
    with pytest.raises(Conflict, match="certificate-revoked-already"), database.write() as session:
        revoke(session, "infrastructure", serial, "keyCompromise", NOW)
    with database.read() as session:
        known = status(session, "infrastructure", serial)
    assert known is not None
    assert known.reason == "superseded"


@pytest.mark.requirement("CA-5")
def test_validity_assured_certificate_cannot_be_revoked(database: Database) -> None:
    serial = stored(database, "advanced")
    with pytest.raises(Refused, match="certificate-not-revocable"), database.write() as session:
        revoke(session, "nonqualified", serial, "keyCompromise", NOW)
    with database.read() as session:
        known = status(session, "nonqualified", serial)
    assert known is not None
    assert not known.revoked


def test_unknown_certificates_and_reasons_are_refused(database: Database) -> None:
    serial = stored(database)
    with database.write() as session:
        for issuer_role, number in (("infrastructure", "00" * 16), ("qualified", serial)):
            with pytest.raises(NotFound, match="certificate-unknown"):
                revoke(session, issuer_role, number, "superseded", NOW)
        with pytest.raises(Invalid, match="revocation-reason-unknown"):
            revoke(session, "infrastructure", serial, "certificateHold", NOW)


def test_validity_assurance_is_read_from_the_certificate() -> None:
    whole = authority()
    for profile, subject, assured in (("advanced", PERSON, True), ("tsu", SERVICE, False)):
        issued = whole.issue(whole.prepare(profile, subject, SoftKey().public_spki, now=NOW))
        assert is_validity_assured(issued.der) is assured
        assert x509.Certificate.load(issued.der).serial_number == int(issued.serial, 16)
