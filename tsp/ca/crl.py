"""Certificate revocation lists, version 2 (RFC 5280, 5): values in, DER out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tsp.ca import oids
from tsp.ca.certificate import IssuerFacts, algorithm_of
from tsp.ca.extensions import authority_key_identifier, extension
from tsp.core.der import enumerated, integer, seq, tlv, x509_time
from tsp.core.errors import Invalid

#: RFC 5280, 5.3.1. `unspecified` is left out of the list; certificateHold and removeFromCRL are not used.
REASONS: Final[dict[str, int]] = {
    "unspecified": 0,
    "keyCompromise": 1,
    "cACompromise": 2,
    "affiliationChanged": 3,
    "superseded": 4,
    "cessationOfOperation": 5,
    "privilegeWithdrawn": 9,
    "aACompromise": 10,
}
#: RFC 5280, 5.2.3: at most 20 octets, and positive.
MAX_NUMBER: Final = 2**159 - 1
_VERSION_2 = integer(1)


@dataclass(frozen=True, slots=True)
class RevokedCertificate:
    """One entry: the serial number, since when, and why (a name of `REASONS`)."""

    serial: int
    revoked_at: datetime
    reason: str = "unspecified"

    def der(self) -> bytes:
        """The entry; reasonCode only where it says something (RFC 5280, 5.3.1)."""
        code = REASONS[self.reason]
        why = seq(extension(oids.CE_CRL_REASONS, enumerated(code))) if code else b""
        return seq(integer(self.serial), x509_time(self.revoked_at), why)


def build_tbs_crl(
    issuer: IssuerFacts,
    number: int,
    this_update: datetime,
    next_update: datetime,
    revoked: Sequence[RevokedCertificate] = (),
) -> bytes:
    """TBSCertList of a complete list; `certificate.assemble` makes the CertificateList.

    `revoked` is left out when empty (RFC 5280, 5.1.2.6) and ordered by serial number. Raises `Invalid`
    for a number or times that the standard does not allow.
    """
    if not 0 <= number <= MAX_NUMBER:
        raise Invalid("crl-number-unfit", "A CRL number is positive and has at most 20 octets.")
    if next_update <= this_update:
        raise Invalid("crl-times-unfit", "The next update must come after this one.")
    entries = [entry.der() for entry in sorted(revoked, key=lambda entry: entry.serial)]
    extensions = seq(authority_key_identifier(issuer.key_id), extension(oids.CE_CRL_NUMBER, integer(number)))
    return seq(
        _VERSION_2,
        algorithm_of(issuer.spki).der,
        issuer.name,
        x509_time(this_update),
        x509_time(next_update),
        seq(*entries) if entries else b"",
        tlv(0xA0, extensions),
    )
