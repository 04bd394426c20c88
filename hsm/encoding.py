"""The few DER forms at a token's edge: named curves, public keys, ECDSA signatures."""

from hsm.errors import TokenFailure
from hsm.spec import KeySpec

_OID_EC_PUBLIC_KEY = bytes.fromhex("06072a8648ce3d0201")

#: CKA_EC_PARAMS of each kind of key: the DER object identifier of its curve.
CURVE: dict[KeySpec, bytes] = {
    KeySpec.P256: bytes.fromhex("06082a8648ce3d030107"),
    KeySpec.P384: bytes.fromhex("06052b81040022"),
    KeySpec.ED25519: bytes.fromhex("06032b6570"),
}
_POINT_LENGTH = {KeySpec.P256: 65, KeySpec.P384: 97, KeySpec.ED25519: 32}
_ALGORITHM: dict[KeySpec, bytes] = {
    KeySpec.P256: _OID_EC_PUBLIC_KEY + CURVE[KeySpec.P256],
    KeySpec.P384: _OID_EC_PUBLIC_KEY + CURVE[KeySpec.P384],
    KeySpec.ED25519: CURVE[KeySpec.ED25519],
}


def _tlv(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    if length < 0x100:
        return bytes((tag, 0x81, length)) + content
    return bytes((tag, 0x82, length >> 8, length & 0xFF)) + content


def public_key_info(spec: KeySpec, ec_point: bytes) -> bytes:
    """DER SubjectPublicKeyInfo (RFC 5480, RFC 8410) from CKA_EC_POINT.

    The point comes as a DER OCTET STRING (PKCS #11 v2.40 section 2.3.3) or, from some tokens, bare.
    Raises `TokenFailure` where it is neither.
    """
    length = _POINT_LENGTH[spec]
    point = ec_point[-length:]
    bare = len(ec_point) == length
    if not (bare or ec_point == _tlv(0x04, point)) or (spec is not KeySpec.ED25519 and point[:1] != b"\x04"):
        raise TokenFailure("The token gave a public key in a form that is not known. Check the token's firmware.")
    return _tlv(0x30, _tlv(0x30, _ALGORITHM[spec]) + _tlv(0x03, b"\x00" + point))


def ecdsa_signature(raw: bytes) -> bytes:
    """DER Ecdsa-Sig-Value (RFC 3279 section 2.2.3) from the token's r || s."""
    half = len(raw) // 2
    return _tlv(0x30, _unsigned(raw[:half]) + _unsigned(raw[half:]))


def _unsigned(value: bytes) -> bytes:
    stripped = value.lstrip(b"\x00") or b"\x00"
    return _tlv(0x02, b"\x00" + stripped if stripped[0] & 0x80 else stripped)
