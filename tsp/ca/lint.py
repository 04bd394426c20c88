"""The authority looks at its own work: at every certificate, at every shape of them, at every CRL.

`check_issued` runs on each certificate after signing: another parser than the builder reads it back, and
serial number, validity, key, extensions and signature must be what was prepared. `lint_certificate` holds
a certificate against every rule of `lint_rules`; the authority runs it once for each shape, before its key
signs the first. `lint_crl` does the same for a CRL.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from asn1crypto import crl as asn1_crl
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tsp.ca import oids
from tsp.ca.certificate import IssuerFacts, SignatureAlgorithm, algorithm_of
from tsp.ca.crl import MAX_NUMBER
from tsp.ca.lint_reading import Finding, Reading
from tsp.ca.lint_rules import RULES
from tsp.ca.profiles import Profile
from tsp.core.errors import Unavailable

#: Keys that certificates are issued for.
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
_HASHES: dict[str, hashes.HashAlgorithm] = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384()}
#: EN 319 411-1 CSS-6.3.9-12: a list of revoked authorities is renewed at least yearly.
MAX_CRL_AGE = timedelta(days=366)


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


def lint_crl(der: bytes, issuer: IssuerFacts, issuer_key: ec.EllipticCurvePublicKey) -> list[Finding]:
    """Everything that is wrong with a CRL of this issuer, its signature included (RFC 5280, 5)."""
    try:
        parsed = asn1_crl.CertificateList.load(der, strict=True)
        return _crl_findings(parsed, issuer, issuer_key)
    except (ValueError, TypeError, KeyError) as error:
        return [Finding("crl-parse", "RFC 5280, 5.1", type(error).__name__)]


def _crl_findings(
    parsed: asn1_crl.CertificateList, issuer: IssuerFacts, issuer_key: ec.EllipticCurvePublicKey
) -> list[Finding]:
    tbs = parsed["tbs_cert_list"]
    algorithm = algorithm_of(issuer.spki)
    this_update, next_update = tbs["this_update"].native, tbs["next_update"].native
    extensions = {e["extn_id"].dotted: e for e in tbs["crl_extensions"]}
    number = extensions.get(oids.CE_CRL_NUMBER)
    key_id = parsed.authority_key_identifier_value
    rules = (
        ("crl-version", "RFC 5280, 5.1.2.1", tbs["version"].native == "v2"),
        ("crl-issuer", "RFC 5280, 5.1.2.3", tbs["issuer"].dump() == issuer.name),
        (
            "crl-algorithm",
            "RFC 5280, 5.1.1.2",
            tbs["signature"].dump() == parsed["signature_algorithm"].dump() == algorithm.der,
        ),
        (
            "crl-times",
            "EN 319 411-1 CSS-6.3.9-12",
            next_update is not None and timedelta() < next_update - this_update <= MAX_CRL_AGE,
        ),
        ("crl-number", "RFC 5280, 5.2.3", number is not None and not number["critical"].native),
        (
            "crl-number-range",
            "RFC 5280, 5.2.3",
            number is None or 0 <= number["extn_value"].parsed.native <= MAX_NUMBER,
        ),
        (
            "crl-authority-key",
            "RFC 5280, 5.2.1",
            key_id is not None and key_id["key_identifier"].native == issuer.key_id,
        ),
        ("crl-empty", "RFC 5280, 5.1.2.6", tbs["revoked_certificates"].native != []),
        ("crl-signature", "RFC 5280, 5.1.1.3", _signed(parsed, algorithm, issuer_key)),
    )
    return [Finding(name, clause, "does not hold") for name, clause, held in rules if not held]


def _signed(
    parsed: asn1_crl.CertificateList, algorithm: SignatureAlgorithm, issuer_key: ec.EllipticCurvePublicKey
) -> bool:
    try:
        issuer_key.verify(
            parsed["signature"].native, parsed["tbs_cert_list"].dump(), ec.ECDSA(_HASHES[algorithm.hash_name])
        )
    except InvalidSignature:
        return False
    return True
