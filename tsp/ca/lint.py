"""The authority looks at its own work: at every certificate, and at every shape of them.

`check_issued` runs on each certificate after signing: another parser than the builder reads it back, and
serial number, validity, key, extensions and signature must be what was prepared. `lint_certificate` holds
a certificate against every rule of `lint_rules`; the authority runs it once for each shape, before its key
signs the first. `lint_crl.lint_crl` does the same for every list.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tsp.ca.certificate import IssuerFacts, SignatureAlgorithm
from tsp.ca.lint_reading import Finding, Reading
from tsp.ca.lint_rules import RULES
from tsp.ca.profiles import Profile
from tsp.core.errors import Unavailable

#: Keys that certificates are issued for.
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
_HASHES: dict[str, hashes.HashAlgorithm] = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384()}


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
        extensions = {extension.oid.dotted_string: extension.critical for extension in read.extensions}
        certified = _certified(read)
        # Read back, an RSA key that is bound to PSS has lost that; its octets stand among those of the TBSCertificate.
        octets = isinstance(certified, ec.EllipticCurvePublicKey)
        found = certified.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) if octets else _rsa_info(der)
        rules = {
            "bytes": read.tbs_certificate_bytes == expected.tbs,
            "serial": read.serial_number == expected.serial,
            "not-before": read.not_valid_before_utc == expected.not_before,
            "not-after": read.not_valid_after_utc == expected.not_after,
            "public-key": found == expected.spki,
            "extensions": extensions == expected.extensions,
            "algorithm": read.signature_algorithm_oid.dotted_string == expected.algorithm.oid,
        }
        failed = next((rule for rule, held in rules.items() if not held), None)
        if failed is None:
            issuer_key.verify(read.signature, expected.tbs, ec.ECDSA(_HASHES[expected.algorithm.hash_name]))
    except InvalidSignature:
        failed = "signature"
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension):
        failed = "parse"
    if failed is not None:
        raise unsound(failed)
    return certified


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
