"""Certificate requests of strangers (PKCS#10, RFC 2986): read strictly, believed in nothing but the key.

What a request may decide is the public key alone, and only when its signature proves that the requester has the
private one. The name in it is ignored: names come from a verified account or from an operator's file. Of the
extensions that it asks for the profile decides, so they are ignored too, with two exceptions: who asks to become an
authority, and who calls an extension critical that is not known here, is refused and not given something else.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from asn1crypto import core
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from tsp.ca import oids
from tsp.ca.certificate import key_name
from tsp.ca.rsa_keys import KEY_SENTENCE, PSS_ALGORITHMS, read_rsa_key, weakness
from tsp.core.der import NULL, TRUE, Tlv, children, integer, oid, read_one, seq
from tsp.core.errors import Invalid

#: A request with an RSA key of 4096 bits and a long name has two thousand octets.
MAX_OCTETS: Final = 16 * 1024
_MAX_EXTENSIONS: Final = 32
_SEQUENCE, _SET, _OID, _BOOLEAN, _OCTETS, _BITS, _ATTRIBUTES = 0x30, 0x31, 0x06, 0x01, 0x04, 0x03, 0xA0
_PEM = re.compile(
    rb"(?:^|\n)-----BEGIN (NEW )?CERTIFICATE REQUEST-----\r?\n([A-Za-z0-9+/=\r\n]+)"
    rb"-----END (NEW )?CERTIFICATE REQUEST-----\s*$"
)
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_ECDSA = {
    seq(oid(oids.ECDSA_WITH_SHA256)): "sha256",
    seq(oid(oids.ECDSA_WITH_SHA384)): "sha384",
    seq(oid(oids.ECDSA_WITH_SHA512)): "sha512",
}
_PKCS1 = {
    seq(oid(oids.SHA256_WITH_RSA), NULL): "sha256",
    seq(oid(oids.SHA384_WITH_RSA), NULL): "sha384",
    seq(oid(oids.SHA512_WITH_RSA), NULL): "sha512",
}
#: Extensions that the profile decides about, whatever a request says of them.
_DECIDED_HERE = frozenset(
    {
        oids.CE_SUBJECT_KEY_IDENTIFIER,
        oids.CE_KEY_USAGE,
        oids.CE_SUBJECT_ALT_NAME,
        oids.CE_BASIC_CONSTRAINTS,
        oids.CE_CERTIFICATE_POLICIES,
        oids.CE_EXT_KEY_USAGE,
    }
)
#: keyCertSign (5) and cRLSign (6) in the first octet of the bits.
_AUTHORITY_BITS = 0b0000_0110


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """What of a request counts: the key (DER SubjectPublicKeyInfo and its name in profiles), proven to be the
    requester's. `digest` is the SHA-256 of the DER request, `ignored` the extensions that were asked for.
    """

    spki: bytes
    key: str
    digest: str
    ignored: tuple[str, ...]


def read_request(data: bytes) -> CertificateRequest:
    """Reads a request in DER or PEM, strictly, and checks the proof of possession (RFC 2986, 4.2).

    Raises `Invalid`: request-too-large, request-malformed, key-unfit, key-weak, request-algorithm-unfit,
    request-proof-wrong, request-for-authority, request-extension-unsupported.
    """
    if len(data) > MAX_OCTETS:
        raise Invalid("request-too-large", "A certificate request has at most 16 kB. Send the request alone.")
    der = data if data[:1] == bytes((_SEQUENCE,)) else _from_pem(data)
    try:
        info, algorithm, signature = _parts(read_one(der), (_SEQUENCE, _SEQUENCE, _BITS))
        version, subject, key, attributes = _parts(info, (0x02, _SEQUENCE, _SEQUENCE, _ATTRIBUTES))
        if version.encoded != integer(0) or any(rdn.tag != _SET for rdn in children(subject.content)):
            raise _malformed("version or subject")
        if signature.content[:1] != b"\x00":
            raise _malformed("signature")
        wanted = list(_extensions(attributes))
    except Invalid as error:
        raise error if error.code == "request-malformed" else _malformed(error.facts.get("why")) from None
    name = key_name(key.encoded)
    _check_proof(_public_key(key.encoded), key.encoded, algorithm.encoded, info.encoded, signature.content[1:])
    ignored = tuple(_looked_at(dotted, value, critical=critical) for dotted, critical, value in wanted)
    return CertificateRequest(key.encoded, name, hashlib.sha256(der).hexdigest(), ignored)


def _from_pem(data: bytes) -> bytes:
    # Text before the block is allowed (RFC 7468, 2), a second block is not.
    found = _PEM.search(data)
    if found is None or found[1] != found[3] or data.count(b"-----BEGIN") != 1:
        raise _malformed("neither DER nor one PEM block")
    try:
        return base64.b64decode(b"".join(found[2].split()), validate=True)
    except binascii.Error:
        raise _malformed("base64") from None


def _parts(outer: Tlv, tags: tuple[int, ...]) -> list[Tlv]:
    """The values inside a SEQUENCE, which must be exactly of these kinds."""
    found = list(children(outer.content))
    if outer.tag != _SEQUENCE or tuple(part.tag for part in found) != tags:
        raise _malformed("structure")
    return found


def _extensions(attributes: Tlv) -> Iterator[tuple[str, bool, bytes]]:
    """Identifier, critical and value of each extension that the request asks for; other attributes say nothing."""
    seen: set[str] = set()
    for attribute in children(attributes.content):
        kind, values = _parts(attribute, (_OID, _SET))
        inner = list(children(values.content))
        if _dotted(kind) in seen:
            raise _malformed("attribute twice")
        seen.add(_dotted(kind))
        if _dotted(kind) != oids.PKCS9_EXTENSION_REQUEST:
            continue
        if len(inner) != 1 or inner[0].tag != _SEQUENCE:
            raise _malformed("extension request")
        yield from _each_extension(inner[0])


def _each_extension(extensions: Tlv) -> Iterator[tuple[str, bool, bytes]]:
    seen: set[str] = set()
    for extension in children(extensions.content):
        parts = list(children(extension.content))
        tags = tuple(part.tag for part in parts)
        if extension.tag != _SEQUENCE or tags not in ((_OID, _OCTETS), (_OID, _BOOLEAN, _OCTETS)):
            raise _malformed("extension")
        if len(parts) == 3 and parts[1].encoded != TRUE:  # DER leaves FALSE out
            raise _malformed("extension")
        dotted = _dotted(parts[0])
        if dotted in seen or len(seen) == _MAX_EXTENSIONS:
            raise _malformed("extension twice, or too many")
        seen.add(dotted)
        yield dotted, len(parts) == 3, parts[-1].content


def _dotted(value: Tlv) -> str:
    try:
        dotted = str(core.ObjectIdentifier.load(value.encoded, strict=True).dotted)
        canonical = oid(dotted) == value.encoded
    except (ValueError, IndexError):
        canonical = False
    if not canonical:
        raise _malformed("object identifier")
    return dotted


def _looked_at(dotted: str, value: bytes, *, critical: bool) -> str:
    """The identifier of an extension that is ignored; `Invalid` where ignoring it would deceive."""
    if critical and dotted not in _DECIDED_HERE:
        raise Invalid(
            "request-extension-unsupported",
            "The request calls an extension critical that is not known here. Make it without.",
            extension=dotted,
        )
    if _asks_for_authority(dotted, value):
        raise Invalid(
            "request-for-authority", "The request asks for the certificate of an authority. None is issued here."
        )
    return dotted


def _asks_for_authority(dotted: str, value: bytes) -> bool:
    if dotted == oids.CE_BASIC_CONSTRAINTS:
        return value != seq()  # cA is FALSE by default: any other value is TRUE, or broken
    if dotted == oids.CE_KEY_USAGE:
        try:
            bits = read_one(value)
        except Invalid:
            raise _malformed("key usage") from None
        return bool(bits.content[1:2] and bits.content[1] & _AUTHORITY_BITS)
    return False


def _public_key(spki: bytes) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
    """The key for use; `Invalid` (key-unfit, key-weak) for a point off its curve and for weak RSA."""
    try:
        key = load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm):
        raise Invalid("key-unfit", KEY_SENTENCE) from None
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key
    assert isinstance(key, rsa.RSAPublicKey), "key_name knows no other kinds"
    numbers = read_rsa_key(spki)
    why = weakness(numbers.modulus, numbers.exponent)
    if why is not None:
        raise Invalid("key-weak", "The key is known to be weak. Make a new one with current software.", why=why)
    return key


def _check_proof(
    key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey, spki: bytes, algorithm: bytes, signed: bytes, signature: bytes
) -> None:
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, signed, ec.ECDSA(_HASHES[_ECDSA[algorithm]]))
        elif algorithm in _PKCS1 and not read_rsa_key(spki).name.endswith("-PSS"):
            key.verify(signature, signed, padding.PKCS1v15(), _HASHES[_PKCS1[algorithm]])
        else:
            _verify_pss(key, spki, algorithm, signed, signature)
    except KeyError:
        raise Invalid(
            "request-algorithm-unfit", "The request must be signed with SHA-256, SHA-384 or SHA-512 (ECDSA or RSA)."
        ) from None
    except InvalidSignature:
        raise Invalid(
            "request-proof-wrong", "The request's signature does not belong to its key. Make the request anew."
        ) from None


def _verify_pss(key: rsa.RSAPublicKey, spki: bytes, algorithm: bytes, signed: bytes, signature: bytes) -> None:
    """With the parameters of the algorithm, which must be the key's own where it has some (RFC 4055, 3.3)."""
    digest = _HASHES[PSS_ALGORITHMS[algorithm]]
    bound = next(children(read_one(spki).content)).encoded
    if bound in PSS_ALGORITHMS and bound != algorithm:
        raise InvalidSignature
    key.verify(signature, signed, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)


def _malformed(why: object) -> Invalid:
    return Invalid(
        "request-malformed",
        "This is not a certificate request (PKCS#10) in DER or PEM. Make one, for example with openssl req -new.",
        why=str(why or "der"),
    )
