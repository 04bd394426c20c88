"""Signatures, time-stamps and certificate chains as a verifier reads them, with `cryptography` and nothing of ours.

CMS SignedData of one signer (RFC 5652), time-stamp tokens (RFC 3161), chains up to a root (RFC 5280).
Strict: what is written in another way than DER, or stands in a signature without being signed and
without need, is refused.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

ID_DATA, _ID_SIGNED, _ID_TST = "1.2.840.113549.1.7.1", "1.2.840.113549.1.7.2", "1.2.840.113549.1.9.16.1.4"
_CONTENT_TYPE, _MESSAGE_DIGEST = "1.2.840.113549.1.9.3", "1.2.840.113549.1.9.4"
_SIGNING_CERTIFICATE = "1.2.840.113549.1.9.16.2.47"
_DIGESTS: dict[str, hashes.HashAlgorithm] = {
    "2.16.840.1.101.3.4.2.1": hashes.SHA256(),
    "2.16.840.1.101.3.4.2.2": hashes.SHA384(),
    "2.16.840.1.101.3.4.2.3": hashes.SHA512(),
}
#: signatureAlgorithm -> digest that it must go with; None for RSA's own name.
_ALGORITHMS = {
    "1.2.840.10045.4.3.2": "sha256",
    "1.2.840.10045.4.3.3": "sha384",
    "1.2.840.10045.4.3.4": "sha512",
    "1.2.840.113549.1.1.11": "sha256",
    "1.2.840.113549.1.1.12": "sha384",
    "1.2.840.113549.1.1.13": "sha512",
    "1.2.840.113549.1.1.1": None,
}


class Wrong(Exception):
    """A step that does not hold, with the reason."""


@dataclass(frozen=True)
class Tlv:
    """One DER value."""

    tag: int
    content: bytes
    encoded: bytes


@dataclass(frozen=True)
class Signed:
    """A CMS SignedData with one signer whose signature verifies."""

    content: bytes | None
    certificates: tuple[x509.Certificate, ...]
    signer: x509.Certificate
    attributes: bytes
    signature: bytes
    message_digest: bytes


def read_signed(data: bytes, content_type: str) -> Signed:
    """Takes a SignedData apart and verifies its one signature (RFC 5652, 5.4 and 5.6). Raises `Wrong`."""
    kind, wrapped = _children(_one(data).content)
    version, digests, encapsulated, *rest = _children(_one(wrapped.content).content)
    inner = _children(encapsulated.content)
    tags = [part.tag for part in rest]
    right = (b"\x01",) if content_type == ID_DATA else (b"\x03",)
    if _oid(kind) != _ID_SIGNED or tags != [0xA0, 0x31] or version.content not in right:
        raise Wrong("not a signature of the expected form")
    if wrapped.tag != 0xA0 or _oid(inner[0]) != content_type:
        raise Wrong("not a signature over the expected content")
    content = _one(inner[1].content).content if len(inner) > 1 else None
    certificates = tuple(x509.load_der_x509_certificate(part.encoded) for part in _children(rest[0].content))
    (info,) = _children(rest[1].content)
    parts = _children(info.content)
    if [part.tag for part in parts[:6]] != [2, 0x30, 0x30, 0xA0, 0x30, 4] or parts[0].content != b"\x01":
        raise Wrong("the signer is not written as expected")
    signer = _signer(parts[1], certificates)
    attributes = b"\x31" + parts[3].encoded[1:]
    values = _attributes(parts[3])
    digest_name = _oid(_children(parts[2].content)[0])
    if [_oid(_children(one.content)[0]) for one in _children(digests.content)] != [digest_name]:
        raise Wrong("the signature names several digests")
    if _oid(_one(values[_CONTENT_TYPE])) != content_type:
        raise Wrong("the signature is over another kind of content")
    message_digest = _one(values[_MESSAGE_DIGEST]).content
    if content is not None and _digest(digest_name, content) != message_digest:
        raise Wrong("the content is not what was signed")
    encoded = signer.public_bytes(Encoding.DER)
    named = values[_SIGNING_CERTIFICATE]
    if _digest(digest_name, encoded) not in named and hashlib.sha256(encoded).digest() not in named:
        raise Wrong("the signature names another certificate")
    _verify_with(signer, parts[4], digest_name, parts[5].content, attributes)
    return Signed(content, certificates, signer, attributes, parts[5].content, message_digest)


def _signer(sid: Tlv, certificates: Sequence[x509.Certificate]) -> x509.Certificate:
    issuer, serial = _children(sid.content)
    for certificate in certificates:
        same = certificate.serial_number == int.from_bytes(serial.content, "big", signed=True)
        if same and certificate.issuer.public_bytes() == issuer.encoded:
            return certificate
    raise Wrong("the signer's certificate is missing")


def _attributes(signed: Tlv) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for attribute in _children(signed.content):
        kind, values = _children(attribute.content)
        if _oid(kind) in found:
            raise Wrong("an attribute stands twice")
        found[_oid(kind)] = values.content
    return found


def _verify_with(
    signer: x509.Certificate, algorithm: Tlv, digest_name: str, signature: bytes, attributes: bytes
) -> None:
    key, digest = signer.public_key(), _DIGESTS[digest_name]
    name = _oid(_children(algorithm.content)[0])
    if name not in _ALGORITHMS or _ALGORITHMS[name] not in (None, digest.name):
        raise Wrong("the signature's algorithm is not known")
    try:
        if isinstance(key, ec.EllipticCurvePublicKey) and name.startswith("1.2.840.10045."):
            key.verify(signature, attributes, ec.ECDSA(digest))
        elif isinstance(key, rsa.RSAPublicKey) and name.startswith("1.2.840.113549."):
            key.verify(signature, attributes, padding.PKCS1v15(), digest)
        else:
            raise Wrong("the signature's algorithm does not go with the key")
    except InvalidSignature:
        raise Wrong("the signature does not verify") from None


def chain(
    end: x509.Certificate, others: Sequence[x509.Certificate], roots: Sequence[x509.Certificate], at: datetime
) -> list[x509.Certificate]:
    """The certificates of `others` that lead from `end` to a root, all valid at `at`. Raises `Wrong`."""
    used, current = [end], end
    while True:
        if not current.not_valid_before_utc <= at <= current.not_valid_after_utc:
            raise Wrong(f"the certificate of {common_name(current)} was not valid then")
        if any(_issued(root, current, len(used) - 1) for root in roots):
            return used
        above = [one for one in others if one not in used and _issued(one, current, len(used) - 1)]
        if not above:
            raise Wrong(f"the certificate of {common_name(current)} does not lead to a root that you trust")
        current = above[0]
        used.append(current)


def _issued(authority: x509.Certificate, certificate: x509.Certificate, below: int) -> bool:
    """Whether this authority issued the certificate (RFC 5280, 6.1); `below` authorities may stand under it."""
    try:
        certificate.verify_directly_issued_by(authority)
        constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = authority.extensions.get_extension_for_class(x509.KeyUsage).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    deep = constraints.path_length is None or below <= constraints.path_length
    return constraints.ca and usage.key_cert_sign and deep


def check_time_stamp(token: bytes, data: bytes, roots: Sequence[x509.Certificate]) -> tuple[datetime, str]:
    """Time and unit of a token (RFC 3161) that covers `data`, its chain checked up to `roots`. Raises `Wrong`.

    Whether the unit's certificate was revoked is not looked at.
    """
    signed = read_signed(token, _ID_TST)
    if signed.content is None:
        raise Wrong("the time-stamp has no content")
    (outer,) = _children(signed.content)
    version, _policy, imprint, _serial, moment, *_rest = _children(outer.content)
    algorithm, digest = _children(imprint.content)
    if version.content != b"\x01" or moment.tag != 0x18:
        raise Wrong("the time-stamp is not of version 1")
    if _digest(_oid(_children(algorithm.content)[0]), data) != digest.content:
        raise Wrong("the time-stamp is not about this checkpoint")
    at = _generalized(moment.content)
    purposes = signed.signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    if not purposes.critical or list(purposes.value) != [ExtendedKeyUsageOID.TIME_STAMPING]:
        raise Wrong("the certificate of the time-stamp is not one for time-stamps")
    used = chain(signed.signer, signed.certificates, roots, at)
    if len(used) != len(signed.certificates):
        raise Wrong("the time-stamp holds certificates that do not belong to it")
    return at, common_name(signed.signer)


def _children(data: bytes) -> list[Tlv]:
    found = []
    while data:
        one = _first(data)
        found.append(one)
        data = data[len(one.encoded) :]
    return found


def _one(data: bytes) -> Tlv:
    found = _first(data)
    if len(found.encoded) != len(data):
        raise Wrong("octets stand behind a value")
    return found


def first_value(data: bytes) -> bytes:
    """The first value: the space for a signature in a PDF is filled up with zeros."""
    return _first(data).encoded


def _first(data: bytes) -> Tlv:
    if len(data) < 2 or data[0] & 0x1F == 0x1F:
        raise Wrong("not DER")
    length, start = data[1], 2
    if length & 0x80:
        octets = length & 0x7F
        start = 2 + octets
        length = int.from_bytes(data[2:start], "big")
        if not 1 <= octets <= 4 or length < 128 or data[2] == 0:
            raise Wrong("not DER")
    if start + length > len(data):
        raise Wrong("DER that is cut off")
    return Tlv(data[0], data[start : start + length], data[: start + length])


def _oid(value: Tlv) -> str:
    if value.tag != 6 or not value.content or value.content[-1] & 0x80:
        raise Wrong("not an object identifier")
    arcs, number = [], 0
    for octet in value.content:
        number = number << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(number)
            number = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, [first, arcs[0] - 40 * first, *arcs[1:]]))


def _digest(name: str, data: bytes) -> bytes:
    hashing = hashes.Hash(_DIGESTS[name])
    hashing.update(data)
    return hashing.finalize()


def spki_of(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def common_name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[0].value) if names else certificate.subject.rfc4514_string()


def _generalized(content: bytes) -> datetime:
    text = content.decode("ascii")
    if not re.fullmatch(r"\d{14}(\.\d{1,6})?Z", text):
        raise Wrong("the time of the time-stamp cannot be read")
    form = "%Y%m%d%H%M%S.%fZ" if "." in text else "%Y%m%d%H%M%SZ"
    return datetime.strptime(text, form).replace(tzinfo=UTC)
