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
_VERSIONS = {ID_DATA: (b"\x02\x01\x01",), _ID_TST: (b"\x02\x01\x03",)}
_SIGNER = [0x02, 0x30, 0x30, 0xA0, 0x30, 0x04]
_SIGNER_TAGS = {ID_DATA: (_SIGNER, [*_SIGNER, 0xA1]), _ID_TST: (_SIGNER,)}
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


#: What reading hostile octets may raise besides `Wrong`: `cryptography` has many errors of its own for them.
UNREADABLE = Exception


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
    """Takes a SignedData apart and verifies its one signature (RFC 5652, 5.4 and 5.6). Raises `Wrong`.

    What is not signed is held to the one way to write it: the parts are put together again and must
    give the same octets. Unsigned attributes are passed over in a signature and refused in a time-stamp.
    """
    kind, wrapped = _children(_one(data).content)
    version, digests, encapsulated, *rest = _children(_one(wrapped.content).content)
    if _oid(kind) != _ID_SIGNED or [part.tag for part in rest] != [0xA0, 0x31]:
        raise Wrong("not a signature of the expected form")
    content = _content(encapsulated, content_type)
    (info,) = _children(rest[1].content)
    parts = _children(info.content)
    if [part.tag for part in parts] not in _SIGNER_TAGS[content_type] or parts[0].encoded != b"\x02\x01\x01":
        raise Wrong("the signer is not written as expected")
    certificates = tuple(x509.load_der_x509_certificate(part.encoded) for part in _children(rest[0].content))
    signer = _signer(parts[1], certificates)
    digest_name = _algorithm(parts[2])
    if version.encoded not in _VERSIONS[content_type] or digests.content != parts[2].encoded:
        raise Wrong("not a signature of the expected form")
    signed_data = _tlv(
        0x30,
        version.encoded,
        _tlv(0x31, parts[2].encoded),
        encapsulated.encoded,
        _tlv(0xA0, *(one.public_bytes(Encoding.DER) for one in certificates)),
        _tlv(0x31, _tlv(0x30, *(part.encoded for part in parts))),
    )
    if _tlv(0x30, kind.encoded, _tlv(0xA0, signed_data)) != data:
        raise Wrong("the signature is not written in the one way that DER allows")
    attributes = b"\x31" + parts[3].encoded[1:]
    message_digest = _signed_values(parts[3], content_type, digest_name, content, signer)
    _verify_with(signer, parts[4], digest_name, parts[5].content, attributes)
    return Signed(content, certificates, signer, attributes, parts[5].content, message_digest)


def _content(encapsulated: Tlv, content_type: str) -> bytes | None:
    """The content that is inside; None where the signature is detached."""
    kind, *wrapped = _children(encapsulated.content)
    if _oid(kind) != content_type or len(wrapped) > 1:
        raise Wrong("not a signature over the expected content")
    content = _one(wrapped[0].content).content if wrapped else None
    inside = b"" if content is None else _tlv(0xA0, _tlv(0x04, content))
    if encapsulated.encoded != _tlv(0x30, kind.encoded, inside):
        raise Wrong("not a signature over the expected content")
    return content


def _signed_values(
    signed: Tlv, content_type: str, digest_name: str, content: bytes | None, signer: x509.Certificate
) -> bytes:
    """The message digest, where all signed attributes fit content and certificate."""
    values = _attributes(signed)
    if _oid(_one(values[_CONTENT_TYPE])) != content_type:
        raise Wrong("the signature is over another kind of content")
    message_digest = _one(values[_MESSAGE_DIGEST]).content
    if content is not None and _digest(digest_name, content) != message_digest:
        raise Wrong("the content is not what was signed")
    encoded, named = signer.public_bytes(Encoding.DER), values[_SIGNING_CERTIFICATE]
    if _digest(digest_name, encoded) not in named and hashlib.sha256(encoded).digest() not in named:
        raise Wrong("the signature names another certificate")
    return message_digest


def _signer(sid: Tlv, certificates: Sequence[x509.Certificate]) -> x509.Certificate:
    for certificate in certificates:
        number = certificate.serial_number
        written = _tlv(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big"))
        if sid.encoded == _tlv(0x30, certificate.issuer.public_bytes(), written):
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
    name = _algorithm(algorithm)
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
) -> None:
    """That `end` leads over `others` to one of `roots`, all valid at `at`, and nothing is left over.

    Raises `Wrong`. Whether a certificate was revoked is not looked at.
    """
    used, current = [end], end
    while True:
        if not current.not_valid_before_utc <= at <= current.not_valid_after_utc:
            raise Wrong(f"the certificate of {common_name(current)} was not valid then")
        if any(_issued(root, current, len(used) - 1) for root in roots):
            break
        above = [one for one in others if one not in used and _issued(one, current, len(used) - 1)]
        if not above:
            raise Wrong(f"the certificate of {common_name(current)} does not lead to a root that you trust")
        current = above[0]
        used.append(current)
    if any(one not in used and one not in roots for one in others):
        raise Wrong("there are certificates that do not belong here")


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
    try:
        return _time_and_unit(token, data, roots)
    except Wrong:
        raise
    except UNREADABLE as error:
        raise Wrong(f"the time-stamp cannot be read ({type(error).__name__})") from error


def _time_and_unit(token: bytes, data: bytes, roots: Sequence[x509.Certificate]) -> tuple[datetime, str]:
    signed = read_signed(token, _ID_TST)
    if signed.content is None:
        raise Wrong("the time-stamp has no content")
    (outer,) = _children(signed.content)
    version, _policy, imprint, _serial, moment, *_rest = _children(outer.content)
    algorithm, digest = _children(imprint.content)
    if version.content != b"\x01" or moment.tag != 0x18:
        raise Wrong("the time-stamp is not of version 1")
    if _digest(_algorithm(algorithm), data) != digest.content:
        raise Wrong("the time-stamp is not about this checkpoint")
    at = _generalized(moment.content)
    purposes = signed.signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    if not purposes.critical or list(purposes.value) != [ExtendedKeyUsageOID.TIME_STAMPING]:
        raise Wrong("the certificate of the time-stamp is not one for time-stamps")
    chain(signed.signer, signed.certificates, roots, at)
    return at, common_name(signed.signer)


def _tlv(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    octets = b"" if size < 128 else size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets) if octets else size]) + octets + content


def _algorithm(value: Tlv) -> str:
    """The name in an AlgorithmIdentifier without parameters, or with NULL."""
    name = _children(value.content)[0]
    if value.encoded not in (_tlv(0x30, name.encoded), _tlv(0x30, name.encoded, b"\x05\x00")):
        raise Wrong("an algorithm has parameters that are not known")
    return _oid(name)


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
