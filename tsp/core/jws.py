"""Signed tokens (RFC 7515, compact form, ES256) on the hot path: taken apart once, judged by `cryptography` itself.

Stricter than the library that makes them: three parts without padding, a header that demands nothing
which is not understood here. A property test holds the judgement equal to joserfc's.
"""

import binascii
import json
import re
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

_COMPACT = re.compile(rb"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)")
_TO_BASE64 = bytes.maketrans(b"-_", b"+/")
_ES256 = ECDSA(SHA256())
_HALF = 32
#: Headers that change how a token is read (RFC 7515, 4.1.11; RFC 7797, 3; RFC 7516, 4.1.3).
_DEMANDS = ("crit", "b64", "zip")


@dataclass(frozen=True, slots=True)
class SignedToken:
    """A token taken apart; nothing of it is believed yet."""

    header: dict[str, Any]
    signed: bytes
    payload: bytes
    signature: bytes


def take_apart(token: str) -> SignedToken:
    """The parts of a token in compact form. Raises `ValueError` for anything else."""
    octets = token.encode()
    match = _COMPACT.fullmatch(octets)
    if match is None:
        raise ValueError("not a token in compact form")
    header = json.loads(_octets(match[1]))
    if not isinstance(header, dict):
        raise ValueError("a token's header is an object")
    return SignedToken(header, octets[: match.end(2)], match[2], _octets(match[3]))


def claims(token: SignedToken, key: EllipticCurvePublicKey) -> dict[str, Any]:
    """The claims, where `key` (P-256) signed them. Raises `ValueError` for every other token."""
    if token.header.get("alg") != "ES256" or any(demand in token.header for demand in _DEMANDS):
        raise ValueError("the token is signed in another way")
    if len(token.signature) != 2 * _HALF:
        raise ValueError("an ES256 signature has 64 octets")
    r, s = (int.from_bytes(half, "big") for half in (token.signature[:_HALF], token.signature[_HALF:]))
    try:
        key.verify(encode_dss_signature(r, s), token.signed, _ES256)
    except InvalidSignature:
        raise ValueError("the signature does not verify") from None
    found = json.loads(_octets(token.payload))
    if not isinstance(found, dict):
        raise ValueError("a token's claims are an object")
    return found


def _octets(text: bytes) -> bytes:
    """base64url without padding (RFC 7515, 2), in its one spelling: bits that stand for nothing are zero."""
    plain = text.translate(_TO_BASE64) + b"=" * (-len(text) % 4)
    octets = binascii.a2b_base64(plain)
    if binascii.b2a_base64(octets, newline=False) != plain:
        raise ValueError("not base64url in its one spelling")
    return octets
