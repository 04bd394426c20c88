"""An authority with soft keys, and the outside linter, for the tests of the CA."""

import functools
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asn1crypto import keys
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkilint import etsi, loader, pkix
from pkilint.etsi.etsi_constants import CertificateType
from pkilint.pkix import certificate, crl, extension, name
from pkilint.validation import ValidationFindingSeverity

from tsp.ca.authority import Authority, IssuingKey
from tsp.ca.certificate import IssuerFacts, key_identifier
from tsp.ca.names import PersonName, ServiceName
from tsp.ca.plan import ISSUERS
from tsp.ca.profiles import Profile, load_profiles
from tsp.ca.urls import RepositoryUrls
from tsp.core.clock import Clock, SettableClock
from tsp.core.randomness import Randomness, SystemRandomness
from tsp.core.settings import Profiles as ProfilesSection

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
#: RFC 5612: the arc for examples. pkilint cannot read OIDs with arcs beyond 32 bits, as 2.25 has them.
ARC = "1.3.6.1.4.1.32473.1"
DEFAULT_ARC = str(ProfilesSection.model_fields["oid_arc"].default)
#: Addresses as a public installation has them: the linter refuses localhost.
URLS = RepositoryUrls(
    "http://repository.example.si",
    "http://ocsp.example.si",
    {"en": "https://www.example.si/pds-en.pdf", "sl": "https://www.example.si/pds-sl.pdf"},
)
PERSON = PersonName("Ančka", "Žnidaršič", "SI", "TINSI-12345678")
#: The three forms of a person beside the plain one: behind a pseudonym, of an organisation, and both.
PSEUDONYM = PersonName(None, None, "SI", "17", pseudonym="Sova")
EMPLOYEE = PersonName(
    "Ančka",
    "Žnidaršič",
    "SI",
    "TINSI-12345678",
    organisation="Podjetje d.o.o.",
    organisation_identifier="VATSI-12345679",
)
HIDDEN_EMPLOYEE = PersonName(
    None,
    None,
    "SI",
    "18",
    pseudonym="Varuh",
    organisation="Podjetje d.o.o.",
    organisation_identifier="NTRSI-1234567000",
)
CREATOR = ServiceName("SI", "Podjetje d.o.o.", "VATSI-12345679", "Podjetje d.o.o. TEST")
SERVICE = ServiceName("SI", "Enkrat TEST d.o.o.", "VATSI-10000003", "Enkrat TEST TSU 1")


class SoftKey:
    """A key outside of any token."""

    def __init__(self, curve: ec.EllipticCurve | None = None) -> None:
        self._key = ec.generate_private_key(curve or ec.SECP256R1())
        self.public_spki = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.signed = 0

    def sign_digest(self, digest: bytes) -> bytes:
        self.signed += 1
        algorithm: hashes.HashAlgorithm = hashes.SHA256() if len(digest) == 32 else hashes.SHA384()
        return self._key.sign(digest, ec.ECDSA(utils.Prehashed(algorithm)))


@functools.cache
def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    """An RSA key, made once in a process."""
    return rsa.generate_private_key(65537, bits)


def rsa_spki(bits: int = 3072, *, pss: str | None = None) -> bytes:
    """The public half of `rsa_key`, plain or bound to RSASSA-PSS with this hash."""
    plain = rsa_key(bits).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if pss is None:
        return plain
    info = keys.PublicKeyInfo.load(plain)
    length = {"sha256": 32, "sha384": 48, "sha512": 64}[pss]
    parameters = {
        "hash_algorithm": {"algorithm": pss},
        "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": {"algorithm": pss}},
        "salt_length": length,
    }
    info["algorithm"] = {"algorithm": "rsassa_pss", "parameters": parameters}
    return bytes(info.dump(force=True))


def profiles(arc: str = ARC) -> dict[str, Profile]:
    """The profiles as they are shipped."""
    return load_profiles(ROOT / "conf" / "profiles", arc)


def issuer(
    role: str = "qualified", key: Any = None, *, since: datetime = NOW, until: datetime | None = None
) -> IssuingKey:
    """An issuer that is not certified itself."""
    key = key or SoftKey()
    title = f"Enkrat TEST {role} CA"
    subject = ServiceName("SI", "Enkrat TEST d.o.o.", "VATSI-10000003", title).der()
    until = until or datetime(2056, 1, 1, tzinfo=UTC)
    return IssuingKey(IssuerFacts(role, subject, key_identifier(key.public_spki), key.public_spki, since, until), key)


def authority(
    issuers: Mapping[str, IssuingKey] | None = None,
    *,
    known: Mapping[str, Profile] | None = None,
    urls: RepositoryUrls = URLS,
    clock: Clock | None = None,
    randomness: Randomness | None = None,
    qscd: bool = True,
) -> Authority:
    """An authority with soft keys and the shipped profiles, unless told otherwise."""
    return Authority(
        known or profiles(),
        issuers or {role: issuer(role) for role in ISSUERS},
        urls,
        clock or SettableClock(NOW),
        randomness or SystemRandomness(),
        qscd=qscd,
    )


def _codes(results: Iterable[Any]) -> set[str]:
    return {
        description.finding.code
        for result in results
        for description in result.finding_descriptions
        if description.finding.severity <= ValidationFindingSeverity.NOTICE
    }


def etsi_findings(der: bytes, kind: CertificateType | None = None) -> set[str]:
    """What pkilint's ETSI profile finds in an end certificate, of the detected or the given type."""
    document = loader.load_certificate(der, "certificate")
    kind = kind or etsi.determine_certificate_type(document)
    container = certificate.create_pkix_certificate_validator_container(
        etsi.create_decoding_validators(kind), etsi.create_validators(kind)
    )
    return _codes(container.validate(document.root))


def pkix_findings(der: bytes) -> set[str]:
    """What pkilint's RFC 5280 profile finds in any certificate."""
    container = certificate.create_pkix_certificate_validator_container(
        certificate.create_decoding_validators(name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS),
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )
    return _codes(container.validate(loader.load_certificate(der, "certificate").root))


def crl_findings(der: bytes) -> set[str]:
    """What pkilint's RFC 5280 profile finds in a CRL."""
    container = crl.create_pkix_crl_validator_container(
        [
            pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
            pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
        ],
        [
            crl.create_issuer_validator_container([]),
            crl.create_validity_validator_container([]),
            crl.create_extensions_validator_container([]),
        ],
    )
    return _codes(container.validate(loader.load_crl(der, "crl").root))
