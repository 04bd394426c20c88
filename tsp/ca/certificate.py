"""Certificates, to be signed and signed (RFC 5280, 4.1): values in, DER out.

A `Template` holds everything that is the same for all certificates of one profile, issuer and form of
subject, already encoded; `Template.tbs` splices serial, validity, subject and key into it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from asn1crypto import x509

from tsp.ca import oids
from tsp.ca.extensions import extensions
from tsp.ca.names import SubjectName
from tsp.ca.profiles import Profile
from tsp.ca.rsa_keys import read_rsa_key
from tsp.ca.urls import RepositoryUrls
from tsp.core.der import bit_string, integer, oid, seq, tlv, x509_time
from tsp.core.errors import Invalid

#: RFC 5280, 4.1.2.2: at most 20 octets, positive. Ours have 16 with the top bit cleared.
SERIAL_OCTETS = 16
KEY_ID_OCTETS = 20
_DIGESTS = {"sha256": hashlib.sha256, "sha384": hashlib.sha384}
_VERSION_3 = tlv(0xA0, integer(2))


class SignatureAlgorithm(NamedTuple):
    """How a key of one kind signs: the digest, and the AlgorithmIdentifier (parameters absent, RFC 5758, 3.2)."""

    hash_name: str
    oid: str
    der: bytes

    def digest(self, message: bytes) -> bytes:
        """What the key signs of `message`."""
        return _DIGESTS[self.hash_name](message).digest()


ECDSA_SHA256 = SignatureAlgorithm("sha256", oids.ECDSA_WITH_SHA256, seq(oid(oids.ECDSA_WITH_SHA256)))
ECDSA_SHA384 = SignatureAlgorithm("sha384", oids.ECDSA_WITH_SHA384, seq(oid(oids.ECDSA_WITH_SHA384)))


class _KeyKind(NamedTuple):
    name: str
    prefix: bytes
    octets: int
    algorithm: SignatureAlgorithm


def _key_kind(name: str, curve: str, coordinate: int, algorithm: SignatureAlgorithm) -> _KeyKind:
    """The octets before an uncompressed point (RFC 5480, 2): same for every key of the curve."""
    point = 2 * coordinate + 1
    whole = seq(seq(oid(oids.EC_PUBLIC_KEY), oid(curve)), bit_string(b"\x04" + bytes(point - 1)))
    return _KeyKind(name, whole[: len(whole) - point + 1], len(whole), algorithm)


_KEY_KINDS = (
    _key_kind("P256", oids.SECP256R1, 32, ECDSA_SHA256),
    _key_kind("P384", oids.SECP384R1, 48, ECDSA_SHA384),
)


def _kind_of(spki: bytes) -> _KeyKind | None:
    for kind in _KEY_KINDS:
        if len(spki) == kind.octets and spki.startswith(kind.prefix):
            return kind
    return None


def key_name(spki: bytes) -> str:
    """P256, P384, RSA3072 or RSA4096, with -PSS where the key is bound to it; `Invalid` (key-unfit) for others."""
    kind = _kind_of(spki)
    return kind.name if kind else read_rsa_key(spki).name


def algorithm_of(issuer_spki: bytes) -> SignatureAlgorithm:
    """The algorithm that an issuer with this key signs with: the digest is as strong as the curve."""
    kind = _kind_of(issuer_spki)
    if kind is None:
        raise Invalid("key-unfit", "The key of an authority must be an uncompressed point on P-256 or P-384.")
    return kind.algorithm


def key_identifier(spki: bytes) -> bytes:
    """The first 160 bits of SHA-256 over the point, or over the RSAPublicKey (RFC 7093, 2, method 1)."""
    kind = _kind_of(spki)
    public_key = spki[len(kind.prefix) - 1 :] if kind else read_rsa_key(spki).public_key
    return hashlib.sha256(public_key).digest()[:KEY_ID_OCTETS]


@dataclass(frozen=True, slots=True)
class IssuerFacts:
    """What of an issuer goes into the certificates that it signs. `role` names it in addresses and tables."""

    role: str
    name: bytes
    key_id: bytes
    spki: bytes
    not_before: datetime
    not_after: datetime

    @classmethod
    def of(cls, role: str, certificate: bytes) -> "IssuerFacts":
        """The facts in an issuer's own certificate (DER)."""
        parsed = x509.Certificate.load(certificate, strict=True)
        return cls(
            role=role,
            name=parsed.subject.dump(),
            key_id=parsed.key_identifier,
            spki=parsed.public_key.dump(),
            not_before=parsed.not_valid_before,
            not_after=parsed.not_valid_after,
        )


def validity(profile: Profile, start: datetime) -> tuple[datetime, datetime]:
    """notBefore and notAfter in whole UTC seconds; both belong to the lifetime (RFC 5280, 4.1.2.5)."""
    not_before = start.astimezone(UTC).replace(microsecond=0)
    return not_before, not_before + timedelta(seconds=profile.lifetime.seconds - 1)


@lru_cache(maxsize=64)
def _validity_der(not_before: datetime, not_after: datetime) -> bytes:
    """Validity (RFC 5280, 4.1.2.5). Many certificates begin in the same second."""
    return seq(x509_time(not_before), x509_time(not_after))


class Template:
    """The constant parts of a certificate, encoded once.

    `semantics`: the subject's identifier has the form that the profile's semantics identifier describes.
    """

    def __init__(self, profile: Profile, issuer: IssuerFacts, urls: RepositoryUrls, *, semantics: bool) -> None:
        self._profile = profile
        self._issuer = issuer
        self._urls = urls
        self._semantics = semantics
        self._algorithm_and_issuer = algorithm_of(issuer.spki).der + issuer.name
        # Where nothing but the key identifier changes, the extensions are two constants around it, for each shard.
        self._constant = profile.private_key_days is None and not profile.host_names
        self._around_key_id: dict[int, tuple[bytes, bytes]] = {}
        if self._constant:
            self._around(urls.shard(issuer.role, 0))

    def _around(self, shard: int) -> tuple[bytes, bytes]:
        if shard not in self._around_key_id:
            marker = b"\xa5" * KEY_ID_OCTETS
            before, _, after = self._extensions(marker, (), self._issuer.not_before, shard).partition(marker)
            self._around_key_id[shard] = before, after
        return self._around_key_id[shard]

    def _extensions(self, key_id: bytes, host_names: Sequence[str], not_before: datetime, shard: int) -> bytes:
        return extensions(
            self._profile,
            self._issuer.role,
            self._issuer.key_id,
            key_id,
            self._urls,
            semantics=self._semantics,
            host_names=host_names,
            not_before=not_before,
            shard=shard,
        )

    def tbs(
        self, subject: bytes, spki: bytes, serial: int, start: datetime, *, host_names: Sequence[str] = ()
    ) -> bytes:
        """TBSCertificate for an encoded subject Name and SubjectPublicKeyInfo."""
        not_before, not_after = validity(self._profile, start)
        key_id, shard = key_identifier(spki), self._urls.shard(self._issuer.role, serial)
        if self._constant:
            before, after = self._around(shard)
            tail = before + key_id + after
        else:
            tail = self._extensions(key_id, host_names, not_before, shard)
        return seq(
            _VERSION_3,
            integer(serial),
            self._algorithm_and_issuer,
            _validity_der(not_before, not_after),
            subject,
            spki,
            tail,
        )


def build_tbs(
    profile: Profile,
    issuer: IssuerFacts,
    subject: SubjectName,
    spki: bytes,
    serial: int,
    not_before: datetime,
    urls: RepositoryUrls,
    *,
    host_names: Sequence[str] = (),
) -> bytes:
    """TBSCertificate of one certificate; `Template` does the same faster for many."""
    template = Template(profile, issuer, urls, semantics=subject.semantic)
    return template.tbs(subject.der(), spki, serial, not_before, host_names=host_names)


def assemble(tbs: bytes, signature: bytes, algorithm: SignatureAlgorithm) -> bytes:
    """SEQUENCE of what was signed, algorithm and signature: Certificate and CertificateList alike."""
    return seq(tbs, algorithm.der, bit_string(signature))
