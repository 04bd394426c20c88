"""The authority looks at its own work: at every certificate, and at every shape of them.

`check_issued` runs on each certificate after signing: another parser than the builder reads it back, and
serial number, validity, key, extensions and signature must be what was prepared. Extensions that differ from
read ones in the key identifier alone are not read again (decision 0025). `lint_certificate` holds
a certificate against every rule of `lint_rules`; the authority runs it once for each shape, before its key
signs the first. `lint_crl.lint_crl` does the same for every list.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tsp.ca import oids
from tsp.ca.certificate import KEY_ID_OCTETS, IssuerFacts, SignatureAlgorithm, assemble, key_identifier
from tsp.ca.lint_reading import Finding, Reading
from tsp.ca.lint_rules import RULES
from tsp.ca.profiles import Profile
from tsp.core.der import octet_string, oid, read_one
from tsp.core.errors import Invalid, Unavailable

#: Keys that certificates are issued for.
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
_ECDSA = {"sha256": ec.ECDSA(hashes.SHA256()), "sha384": ec.ECDSA(hashes.SHA384())}
_EXTENSIONS = 0xA3
#: Stands before the value of the subject's key identifier: its OID and the heads of two OCTET STRINGs.
_KEY_ID_FOLLOWS = (
    oid(oids.CE_SUBJECT_KEY_IDENTIFIER) + octet_string(octet_string(bytes(KEY_ID_OCTETS)))[:-KEY_ID_OCTETS]
)


@dataclass(frozen=True, slots=True)
class Expected:
    """What was prepared, to hold the finished certificate against. `extensions` maps OID to critical."""

    tbs: bytes = field(repr=False)
    serial: int
    not_before: datetime
    not_after: datetime
    spki: bytes
    extensions: Mapping[str, bool]
    algorithm: SignatureAlgorithm


def expected_of(twin: bytes, algorithm: SignatureAlgorithm) -> Expected:
    """What a certificate that was prepared earlier must become, read from a twin without a real signature."""
    read = asn1_x509.Certificate.load(twin, strict=True)
    tbs = read["tbs_certificate"]
    return Expected(
        tbs=tbs.dump(),
        serial=read.serial_number,
        not_before=read.not_valid_before,
        not_after=read.not_valid_after,
        spki=read.public_key.dump(),
        extensions={e["extn_id"].dotted: e["critical"].native for e in tbs["extensions"]},
        algorithm=algorithm,
    )


def check_issued(der: bytes, expected: Expected, issuer_key: ec.EllipticCurvePublicKey) -> PublicKey:
    """Reads a finished certificate back and compares it with what was prepared; the key that it certifies.

    Raises `Unavailable` (certificate-unsound) naming the rule that failed; such a certificate must not
    leave the authority.
    """
    try:
        read = x509.load_der_x509_certificate(der)
        certified = _certified(read)
        # Read back, an RSA key that is bound to PSS has lost that; its octets stand among those of the TBSCertificate.
        octets = isinstance(certified, ec.EllipticCurvePublicKey)
        found = certified.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) if octets else _rsa_info(der)
        rules = {
            "algorithm": read.signature_algorithm_oid.dotted_string == expected.algorithm.oid,
            "bytes": der == assemble(expected.tbs, read.signature, expected.algorithm),
            "serial": read.serial_number == expected.serial,
            "not-before": read.not_valid_before_utc == expected.not_before,
            "not-after": read.not_valid_after_utc == expected.not_after,
            "public-key": found == expected.spki,
            "extensions": _critical_by_oid(read, expected.tbs, expected.spki) == expected.extensions,
        }
        failed = next((rule for rule, held in rules.items() if not held), None)
        if failed is None:
            issuer_key.verify(read.signature, expected.tbs, _ECDSA[expected.algorithm.hash_name])
    except InvalidSignature:
        failed = "signature"
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion):
        failed = "parse"
    if failed is not None:
        raise unsound(failed)
    return certified


def _critical_by_oid(read: x509.Certificate, tbs: bytes, spki: bytes) -> Mapping[str, bool]:
    """The extensions of a certificate, OID to critical.

    Where all octets behind the public key are those of a certificate that was read before, but for the
    value of the subject's key identifier, reading them again could find nothing else.
    """
    behind = tbs.rpartition(spki)[2]
    before, _, after = behind.partition(key_identifier(spki))
    if not before.endswith(_KEY_ID_FOLLOWS):
        return _read_extensions(read)
    known = _extensions_around(before, after)
    if not known:
        _require_last(behind)
        known.update(_read_extensions(read))
    return known


def _read_extensions(read: x509.Certificate) -> dict[str, bool]:
    return {extension.oid.dotted_string: extension.critical for extension in read.extensions}


@lru_cache(maxsize=256)
def _extensions_around(_before: bytes, _after: bytes) -> dict[str, bool]:
    """What was read of extensions with these octets around the key identifier; empty before the first reading."""
    return {}


def _require_last(behind: bytes) -> None:
    """`ValueError` unless these octets are [3] and nothing else: then the key identifier is where it seems to be."""
    try:
        complete = read_one(behind).tag == _EXTENSIONS
    except Invalid:
        complete = False
    if not complete:
        raise ValueError("no extensions behind the public key")


def _certified(read: x509.Certificate) -> PublicKey:
    key = read.public_key()
    if not isinstance(key, PublicKey):
        raise unsound("public-key")
    return key


def _rsa_info(der: bytes) -> bytes:
    return bytes(asn1_x509.Certificate.load(der, strict=True).public_key.dump())


def unsound(rule: str) -> Unavailable:
    """The error for a certificate that is not what it should be."""
    return Unavailable(
        "certificate-unsound",
        "The certificate could not be made. Nothing was signed; please try again later.",
        rule=rule,
    )


def lint_certificate(der: bytes, profile: Profile, issuer: IssuerFacts) -> list[Finding]:
    """Everything that is wrong with a certificate of this profile; its signature is not looked at."""
    try:
        reading = Reading.of(asn1_x509.Certificate.load(der, strict=True), profile, issuer)
        return [Finding(rule.name, rule.clause, detail) for rule in RULES for detail in [rule.check(reading)] if detail]
    except (ValueError, TypeError, KeyError) as error:
        return [Finding("parse", "RFC 5280, 4.1", type(error).__name__)]
