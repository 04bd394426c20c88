"""Certificate revocation lists, version 2 (RFC 5280, 5): values in, DER out.

A list is a head, its entries and a tail: the entries of a long one never lie in memory at once (`crl_file`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from tsp.ca import oids
from tsp.ca.certificate import IssuerFacts, algorithm_of
from tsp.ca.extensions import authority_key_identifier, crl_distribution_points, extension
from tsp.core.der import TRUE, enumerated, generalized_time, implicit, integer, seq, tlv, x509_time
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
#: The next update of a list that is the last of its authority (EN 319 411-1 CSS-6.3.9-06).
NEVER: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
_VERSION_2 = integer(1)
#: reasonCode in its place behind the date, by reason; only where it says something (RFC 5280, 5.3.1).
_WHY: Final[dict[str, bytes]] = {
    name: seq(extension(oids.CE_CRL_REASONS, enumerated(code))) if code else b"" for name, code in REASONS.items()
}


@dataclass(frozen=True, slots=True)
class RevokedCertificate:
    """One entry: the serial number, since when, and why (a name of `REASONS`)."""

    serial: int
    revoked_at: datetime
    reason: str = "unspecified"

    def der(self) -> bytes:
        """The entry."""
        return seq(integer(self.serial), x509_time(self.revoked_at), _WHY[self.reason])


def entry(serial: str, revoked_at: datetime | str, reason: str | None) -> bytes:
    """The entry of one row of the certificate table: what `RevokedCertificate.der` gives, for lists of millions.

    `revoked_at` may be the text in which a database keeps a moment in UTC (`2026-11-23 10:00:00.000000`).
    """
    number = bytes.fromhex(serial).lstrip(b"\0")
    if not number or number[0] & 0x80:
        number = b"\0" + number
    text = revoked_at if isinstance(revoked_at, str) else f"{revoked_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    if "1950" <= text[:4] < "2050":
        time = f"\x17\x0d{text[2:4]}{text[5:7]}{text[8:10]}{text[11:13]}{text[14:16]}{text[17:19]}Z".encode()
    else:
        time = x509_time(datetime.fromisoformat(text).replace(tzinfo=UTC))
    content = b"\x02%c%b%b%b" % (len(number), number, time, _WHY[reason or "unspecified"])
    return b"\x30%c%b" % (len(content), content)


@dataclass(frozen=True, slots=True)
class CrlForm:
    """Everything of a list but its entries.

    `point` is the address of a list that covers a part of an authority's certificates only, octet for octet the one
    that these name (RFC 5280, 5.2.5); `only_users` says that none of them is an authority's. `base` is the number of
    the complete list that a delta list goes on from, `freshest` the address of the delta list, `expired_since` the
    time from when expired certificates stay on the list.
    """

    number: int
    this_update: datetime
    next_update: datetime
    point: str | None = None
    only_users: bool = False
    base: int | None = None
    freshest: str | None = None
    expired_since: datetime | None = None

    def check(self) -> None:
        """Raises `Invalid` (crl-number-unfit, crl-times-unfit) for what the standard does not allow."""
        if not 0 <= self.number <= MAX_NUMBER or not (self.base is None or 0 <= self.base < self.number):
            raise Invalid("crl-number-unfit", "A CRL number is positive, has at most 20 octets and rises.")
        if self.next_update <= self.this_update:
            raise Invalid("crl-times-unfit", "The next update must come after this one.")

    def extensions(self, key_id: bytes) -> bytes:
        """[0] EXPLICIT crlExtensions."""
        parts = [authority_key_identifier(key_id), extension(oids.CE_CRL_NUMBER, integer(self.number))]
        if self.base is not None:
            parts.append(extension(oids.CE_DELTA_CRL_INDICATOR, integer(self.base), critical=True))
        if self.point is not None:
            parts.append(issuing_distribution_point(self.point, only_users=self.only_users))
        if self.freshest is not None and self.base is None:
            parts.append(crl_distribution_points(self.freshest, oids.CE_FRESHEST_CRL))
        if self.expired_since is not None:
            parts.append(extension(oids.CE_EXPIRED_CERTS_ON_CRL, generalized_time(self.expired_since)))
        return tlv(0xA0, seq(*parts))


def issuing_distribution_point(url: str, *, only_users: bool) -> bytes:
    """Critical (RFC 5280, 5.2.5): the address, and whether only end certificates are covered."""
    name = tlv(0xA0, tlv(0xA0, tlv(0x86, url.encode("ascii"))))
    users = implicit(1, TRUE) if only_users else b""
    return extension(oids.CE_ISSUING_DISTRIBUTION_POINT, seq(name, users), critical=True)


def around_entries(issuer: IssuerFacts, form: CrlForm, octets: int) -> tuple[bytes, bytes]:
    """What of TBSCertList stands before and behind entries of so many octets.

    `revokedCertificates` is left out when empty (RFC 5280, 5.1.2.6). Raises `Invalid` as `CrlForm.check` does.
    """
    form.check()
    fields = (
        _VERSION_2 + algorithm_of(issuer.spki).der + issuer.name,
        x509_time(form.this_update),
        x509_time(form.next_update),
        header(0x30, octets) if octets else b"",
    )
    before, behind = b"".join(fields), form.extensions(issuer.key_id)
    return header(0x30, len(before) + octets + len(behind)) + before, behind


def header(tag: int, octets: int) -> bytes:
    """Tag and length of a value with so many octets, which need not be at hand."""
    if octets < 0x80:
        return bytes((tag, octets))
    length = octets.to_bytes((octets.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length


def build_tbs_crl(issuer: IssuerFacts, form: CrlForm, revoked: Sequence[RevokedCertificate] = ()) -> bytes:
    """TBSCertList of a short list, ordered by serial number; `certificate.assemble` makes the CertificateList.

    Raises `Invalid` for a number or times that the standard does not allow.
    """
    entries = b"".join(one.der() for one in sorted(revoked, key=lambda one: one.serial))
    before, behind = around_entries(issuer, form, len(entries))
    return before + entries + behind
