"""Every rule that a revocation list is held against, its signature included (RFC 5280, 5).

Reads with `crl_reading`, so a list of millions of entries is looked at whole and never held in memory.
"""

import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from asn1crypto import core
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from tsp.ca import oids
from tsp.ca.certificate import IssuerFacts, SignatureAlgorithm, algorithm_of
from tsp.ca.crl import MAX_NUMBER, NEVER
from tsp.ca.crl_reading import CrlReading, Octets
from tsp.ca.lint_reading import Finding
from tsp.core.errors import Invalid

_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384()}
#: EN 319 411-1 CSS-6.3.9-12: a list of revoked authorities is renewed at least yearly.
MAX_CRL_AGE: Final = timedelta(days=366)
_CRITICAL: Final = {
    oids.CE_AUTHORITY_KEY_IDENTIFIER: False,
    oids.CE_CRL_NUMBER: False,
    oids.CE_DELTA_CRL_INDICATOR: True,
    oids.CE_ISSUING_DISTRIBUTION_POINT: True,
    oids.CE_FRESHEST_CRL: False,
    oids.CE_EXPIRED_CERTS_ON_CRL: False,
}
_CHUNK: Final = 1 << 20


def lint_crl(data: Octets, issuer: IssuerFacts, issuer_key: ec.EllipticCurvePublicKey) -> list[Finding]:
    """Everything that is wrong with a list of this issuer."""
    try:
        reading = CrlReading.of(data)
        rules = _rules(reading, issuer, issuer_key)
        return [Finding(name, clause, "does not hold") for name, clause, holds in rules if not holds()]
    except Invalid as error:
        return [Finding("crl-parse", "RFC 5280, 5.1", str(error.facts.get("why")))]


def _rules(
    read: CrlReading, issuer: IssuerFacts, key: ec.EllipticCurvePublicKey
) -> tuple[tuple[str, str, Callable[[], bool]], ...]:
    algorithm = algorithm_of(issuer.spki)
    found = read.extensions
    number = read.number
    key_id = found.get(oids.CE_AUTHORITY_KEY_IDENTIFIER)
    return (
        ("crl-version", "RFC 5280, 5.1.2.1", lambda: read.version == b"\x02\x01\x01"),
        ("crl-issuer", "RFC 5280, 5.1.2.3", lambda: read.issuer == issuer.name),
        ("crl-algorithm", "RFC 5280, 5.1.1.2", lambda: read.algorithm == read.outer_algorithm == algorithm.der),
        ("crl-times", "EN 319 411-1 CSS-6.3.9-12", lambda: _times(read)),
        ("crl-number", "RFC 5280, 5.2.3", lambda: number is not None),
        ("crl-number-range", "RFC 5280, 5.2.3", lambda: number is None or 0 <= number <= MAX_NUMBER),
        (
            "crl-authority-key",
            "RFC 5280, 5.2.1",
            lambda: key_id is not None and key_id[1] == b"\x30\x16\x80\x14" + issuer.key_id,
        ),
        ("crl-extensions", "RFC 5280, 5.2", lambda: _extensions(read)),
        ("crl-delta", "RFC 5280, 5.2.4", lambda: _delta(read)),
        ("crl-point", "RFC 5280, 5.2.5", lambda: _point(read)),
        ("crl-expired", "X.509, 9.5.2.8", lambda: _expired(read, issuer)),
        ("crl-empty", "RFC 5280, 5.1.2.6", lambda: read.entries is None or read.count() > 0),
        ("crl-signature", "RFC 5280, 5.1.1.3", lambda: _signed(read, algorithm, key)),
    )


def _times(read: CrlReading) -> bool:
    if read.next_update == NEVER:
        return True
    return read.next_update is not None and timedelta() < read.next_update - read.this_update <= MAX_CRL_AGE


def _extensions(read: CrlReading) -> bool:
    """Only those that are known here, each once, and critical as the standards say."""
    fits = all(_CRITICAL.get(dotted) is critical for dotted, (critical, _) in read.extensions.items())
    return fits and read.extension_count == len(read.extensions)


def _delta(read: CrlReading) -> bool:
    base = read.integer(oids.CE_DELTA_CRL_INDICATOR)
    if base is None:
        return True
    return oids.CE_FRESHEST_CRL not in read.extensions and read.number is not None and 0 <= base < read.number


def _point(read: CrlReading) -> bool:
    """A full name with one http address, and nothing of what is not used here: reasons, indirect lists, attributes."""
    point = read.extensions.get(oids.CE_ISSUING_DISTRIBUTION_POINT)
    if point is None:
        return True
    value = point[1].removesuffix(b"\x81\x01\xff")
    address = value[8:]
    shape = bytes((0x30, len(point[1]) - 2, 0xA0, len(address) + 4, 0xA0, len(address) + 2, 0x86, len(address)))
    return value[:8] == shape and address.startswith((b"http://", b"https://"))


def _expired(read: CrlReading, issuer: IssuerFacts) -> bool:
    """Expired certificates stay since the authority began (EN 319 411-2 CSS-6.3.10-05)."""
    stated = read.extensions.get(oids.CE_EXPIRED_CERTS_ON_CRL)
    try:
        return stated is None or core.GeneralizedTime.load(stated[1], strict=True).native == issuer.not_before
    except (ValueError, TypeError):
        return False


def _signed(read: CrlReading, algorithm: SignatureAlgorithm, key: ec.EllipticCurvePublicKey) -> bool:
    digest = hashlib.new(algorithm.hash_name)
    for begin in range(read.tbs.begin, read.tbs.end, _CHUNK):
        digest.update(read.data[begin : min(begin + _CHUNK, read.tbs.end)])
    try:
        key.verify(read.signature, digest.digest(), ec.ECDSA(utils.Prehashed(_HASHES[algorithm.hash_name])))
    except InvalidSignature:
        return False
    return True
