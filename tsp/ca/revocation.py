"""Revocation: final, with a reason, and never of a validity-assured certificate."""

from datetime import datetime

from asn1crypto import x509
from sqlalchemy import select
from sqlalchemy.orm import Session

from tsp.ca import oids
from tsp.ca.crl import REASONS, RevokedCertificate
from tsp.ca.tables import Certificate
from tsp.core.errors import Conflict, Invalid, NotFound, Refused


def is_validity_assured(certificate: bytes) -> bool:
    """Whether the certificate says of itself that it cannot be revoked (EN 319 412-1, 5.2)."""
    found = x509.Certificate.load(certificate)["tbs_certificate"]["extensions"]
    return any(extension["extn_id"].dotted == oids.EXT_VALASSURED_ST_CERTS for extension in found)


def revoke(session: Session, issuer: str, serial: str, reason: str, now: datetime) -> Certificate:
    """Revokes one certificate in the caller's transaction.

    Raises `Invalid` for an unknown reason, `NotFound`, `Conflict` where it is revoked already (EN 319 411-1
    REV-6.3.9-04: that is final) and `Refused` for a validity-assured certificate (GEN-6.6.1-04).
    """
    if reason not in REASONS:
        raise Invalid("revocation-reason-unknown", "This reason for a revocation is not known.", reason=reason)
    row = session.scalar(select(Certificate).where(Certificate.serial == serial).with_for_update())
    if row is None or row.issuer != issuer:
        raise NotFound("certificate-unknown", "There is no such certificate.", serial=serial)
    if row.revoked_at is not None:
        raise Conflict("certificate-revoked-already", "The certificate is revoked already.", serial=serial)
    if is_validity_assured(row.der):
        raise Refused(
            "certificate-not-revocable",
            "This certificate is valid for an hour only and cannot be revoked.",
            serial=serial,
        )
    row.revoked_at, row.reason = now, reason
    return row


def revoked_certificates(session: Session, issuer: str) -> list[RevokedCertificate]:
    """What the CRL of this issuer lists: expired ones too, they stay on it (EN 319 411-2 CSS-6.3.10-05)."""
    rows = session.scalars(select(Certificate).where(Certificate.issuer == issuer, Certificate.revoked_at.is_not(None)))
    return [
        RevokedCertificate(int(row.serial, 16), row.revoked_at, row.reason or "unspecified")
        for row in rows
        if row.revoked_at is not None
    ]
