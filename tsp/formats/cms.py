"""CMS SignedData of advanced electronic signatures (RFC 5652, EN 319 122-1), built from DER pieces.

Everything here is pure: values in, DER out. A signature is made in three steps, because the key is
somewhere else: `signed_attributes` gives the octets whose digest the key signs, `signed_data` puts
the signature value around them, `add_signature_timestamp` raises the result from B-B to B-T.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Literal, NamedTuple

from tsp.core import der
from tsp.core.errors import Invalid

Digest = Literal["sha256", "sha384", "sha512"]
#: The standard's own names (RFC 5758, 3.2).
SignatureAlgorithm = Literal["ecdsa-with-SHA256", "ecdsa-with-SHA384", "ecdsa-with-SHA512"]

_ID_DATA = der.oid("1.2.840.113549.1.7.1")
_ID_SIGNED_DATA = der.oid("1.2.840.113549.1.7.2")
_CONTENT_TYPE = der.oid("1.2.840.113549.1.9.3")
_MESSAGE_DIGEST = der.oid("1.2.840.113549.1.9.4")
_SIGNING_TIME = der.oid("1.2.840.113549.1.9.5")
_SIGNING_CERTIFICATE_V2 = der.oid("1.2.840.113549.1.9.16.2.47")
_SIGNATURE_TIME_STAMP = der.oid("1.2.840.113549.1.9.16.2.14")
_VERSION_1 = der.integer(1)
_CONTENT_TYPE_IS_DATA = der.seq(_CONTENT_TYPE, der.set_of(_ID_DATA))
_DETACHED = der.seq(_ID_DATA)

#: AlgorithmIdentifiers without parameters (RFC 5754, 2; RFC 5758, 3.2).
_DIGESTS: Mapping[Digest, bytes] = {
    "sha256": der.seq(der.oid("2.16.840.1.101.3.4.2.1")),
    "sha384": der.seq(der.oid("2.16.840.1.101.3.4.2.2")),
    "sha512": der.seq(der.oid("2.16.840.1.101.3.4.2.3")),
}
_DIGEST_SETS: Mapping[Digest, bytes] = {name: der.set_of(encoded) for name, encoded in _DIGESTS.items()}
_SIGNATURES: Mapping[SignatureAlgorithm, tuple[bytes, Digest]] = {
    "ecdsa-with-SHA256": (der.seq(der.oid("1.2.840.10045.4.3.2")), "sha256"),
    "ecdsa-with-SHA384": (der.seq(der.oid("1.2.840.10045.4.3.3")), "sha384"),
    "ecdsa-with-SHA512": (der.seq(der.oid("1.2.840.10045.4.3.4")), "sha512"),
}


def signed_attributes(
    content_digest: bytes,
    certificate_der: bytes,
    *,
    digest: Digest = "sha256",
    signing_time: datetime | None = None,
) -> bytes:
    """The signed attributes as the DER `SET OF` that the key signs (RFC 5652, 5.4).

    content-type is id-data, message-digest is `content_digest` (made with `digest`), and
    signing-certificate-v2 names the certificate by the same digest (RFC 5035, 3). `signing_time`
    stays out for PAdES, where the dictionary's /M holds the claimed time (EN 319 142-1, 6.3);
    CAdES wants it. Raises `Invalid` (der-malformed) for octets that are no certificate.
    """
    serial, issuer = _serial_and_issuer(certificate_der)
    certified = hashlib.new(digest, certificate_der).digest()
    if signing_time is not None or len(content_digest) != len(certified):
        return _attributes(content_digest, certified, serial, issuer, digest, signing_time)
    before, between, behind, end = _around_attributes(issuer, len(serial), digest)
    return b"".join((before, content_digest, between, certified, behind, serial, end))


def _attributes(
    content_digest: bytes, certified: bytes, serial: bytes, issuer: bytes, digest: Digest, signing_time: datetime | None
) -> bytes:
    attributes = [
        _CONTENT_TYPE_IS_DATA,
        _attribute(_MESSAGE_DIGEST, der.octet_string(content_digest)),
        _attribute(_SIGNING_CERTIFICATE_V2, _signing_certificate_v2(certified, serial, issuer, digest)),
    ]
    if signing_time is not None:
        attributes.append(_attribute(_SIGNING_TIME, der.x509_time(signing_time)))
    return der.set_of(*attributes)


@lru_cache(maxsize=64)
def _around_attributes(issuer: bytes, serial_octets: int, digest: Digest) -> tuple[bytes, bytes, bytes, bytes]:
    """The octets before, between and behind the two digests and the serial number: the same for a year's signatures.

    The order of the attributes (X.690, 11.6) is decided by their first two octets, and so by lengths alone.
    """
    octets = hashlib.new(digest).digest_size
    marks = b"\xa5" * octets, b"\x5a" * octets, b"\xa6" * serial_octets
    whole = _attributes(marks[0], marks[1], marks[2], issuer, digest, None)
    before, _, rest = whole.partition(marks[0])
    between, _, rest = rest.partition(marks[1])
    behind, _, end = rest.rpartition(marks[2])
    return before, between, behind, end


def signed_data(
    signed_attrs: bytes,
    signature: bytes,
    certificate: bytes,
    chain: Sequence[bytes] = (),
    *,
    signature_algorithm: SignatureAlgorithm = "ecdsa-with-SHA256",
) -> bytes:
    """The detached signature as ContentInfo: one signer, no content, certificate and chain inside.

    `signed_attrs` are the octets of `signed_attributes`, made with the digest that
    `signature_algorithm` names; `signature` is their signature value (ECDSA: Ecdsa-Sig-Value).
    """
    algorithm, digest = _SIGNATURES[signature_algorithm]
    serial, issuer = _serial_and_issuer(certificate)
    signer_info = der.seq(
        _VERSION_1,
        der.seq(issuer, serial),
        _DIGESTS[digest],
        der.implicit(0, signed_attrs),
        algorithm,
        der.octet_string(signature),
    )
    certificates = der.set_of(*{certificate, *chain})
    content = der.seq(
        _VERSION_1,
        _DIGEST_SETS[digest],
        _DETACHED,
        der.implicit(0, certificates),
        der.tlv(0x31, signer_info),
    )
    return der.seq(_ID_SIGNED_DATA, der.explicit(0, content))


def add_signature_timestamp(cms: bytes, token: bytes) -> bytes:
    """The same signature with `token` (a TimeStampToken) as one more signature-time-stamp attribute.

    Nothing that is signed changes; the stamp covers `signature_value(cms)` (RFC 5652 unsigned
    attribute, EN 319 122-1, 5.3). Raises `Invalid` (cms-malformed, der-malformed).
    """
    der.read_one(token)
    parts = _take_apart(cms)
    unsigned = [a.encoded for a in der.children(parts.unsigned.content)] if parts.unsigned else []
    unsigned.append(_attribute(_SIGNATURE_TIME_STAMP, token))
    signer_info = der.seq(*(p.encoded for p in parts.signer[:_UNSIGNED_AT]), der.implicit(1, der.set_of(*unsigned)))
    content = der.seq(*(p.encoded for p in parts.before), der.set_of(signer_info))
    return der.seq(_ID_SIGNED_DATA, der.explicit(0, content))


def signature_value(cms: bytes) -> bytes:
    """The signature's octets: what a signature time-stamp covers. Raises `Invalid` (cms-malformed)."""
    return _take_apart(cms).signer[_UNSIGNED_AT - 1].content


def message_digest(cms: bytes) -> bytes:
    """The digest of the content that the signer's attributes hold. Raises `Invalid` (cms-malformed)."""
    for attribute in der.children(_take_apart(cms).signer[3].content):
        kind, values = _pair(attribute)
        if kind.encoded == _MESSAGE_DIGEST:
            return der.read_one(values.content).content
    raise _malformed("no message-digest")


_UNSIGNED_AT = 6


class _Parts(NamedTuple):
    """A SignedData with one signer, taken apart: the members before signerInfos, and the signer's own."""

    before: list[der.Tlv]
    signer: list[der.Tlv]
    unsigned: der.Tlv | None


def _take_apart(cms: bytes) -> _Parts:
    kind, wrapped = _pair(der.read_one(cms))
    if kind.encoded != _ID_SIGNED_DATA or wrapped.tag != 0xA0:
        raise _malformed("not SignedData")
    members = list(der.children(der.read_one(wrapped.content).content))
    if len(members) < 4 or members[-1].tag != 0x31:
        raise _malformed("no signerInfos")
    signers = list(der.children(members[-1].content))
    if len(signers) != 1:
        raise _malformed("not exactly one signer")
    signer = list(der.children(signers[0].content))
    tags = [part.tag for part in signer]
    if tags[:_UNSIGNED_AT] != [0x02, 0x30, 0x30, 0xA0, 0x30, 0x04] or tags[_UNSIGNED_AT:] not in ([], [0xA1]):
        raise _malformed("not a signer with signed attributes, named by issuer and serial number")
    return _Parts(members[:-1], signer, signer[_UNSIGNED_AT] if len(signer) > _UNSIGNED_AT else None)


def _pair(value: der.Tlv) -> tuple[der.Tlv, der.Tlv]:
    members = list(der.children(value.content)) if value.tag & 0x20 else []
    if len(members) != 2:
        raise _malformed("not a pair")
    return members[0], members[1]


def _attribute(kind: bytes, value: bytes) -> bytes:
    return der.seq(kind, der.tlv(0x31, value))


def _signing_certificate_v2(certified: bytes, serial: bytes, issuer: bytes, digest: Digest) -> bytes:
    """SigningCertificateV2 with one ESSCertIDv2; SHA-256 is the default and therefore not encoded."""
    algorithm = b"" if digest == "sha256" else _DIGESTS[digest]
    names = der.seq(der.explicit(4, issuer))
    identifier = der.seq(algorithm, der.octet_string(certified), der.seq(names, serial))
    return der.seq(der.seq(identifier))


@lru_cache(maxsize=16)
def _serial_and_issuer(certificate: bytes) -> tuple[bytes, bytes]:
    """serialNumber and issuer of a version 3 certificate, as encoded. A signature asks for them twice."""
    tbs, end = der.span(certificate, 0)
    places: list[int] = []
    if tbs < end == len(certificate):
        place, end = der.span(certificate, tbs)
        while len(places) < 4 and place < end:
            places.append(place)
            place = der.span(certificate, place)[1]
    tags = [certificate[place] for place in (0, tbs, *places)] if len(places) == 4 else []
    if tags != [0x30, 0x30, 0xA0, 0x02, 0x30, 0x30]:
        raise Invalid("der-malformed", "The data are not a certificate.")
    return certificate[places[1] : places[2]], certificate[places[3] : place]


def _malformed(why: str) -> Invalid:
    return Invalid("cms-malformed", "The signature data cannot be read.", why=why)
