"""Signed tokens (RFC 7515, compact form, ES256) on the hot path: taken apart once, judged by `cryptography` itself.

Stricter than the library that makes them: three parts without padding, a header that demands nothing
which is not understood here. A property test holds the judgement equal to joserfc's.
"""

import binascii
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

#: base64url to base64; what has no place in base64url becomes what has none in base64 either.
_TO_BASE64 = bytes.maketrans(b"-_+/=", b"+/...")
#: By the letters of the last, incomplete group: the padding, and the letters that end it in its one spelling.
_GROUPS = {0: (b"", None), 2: (b"==", frozenset(b"AQgw")), 3: (b"=", frozenset(b"AEIMQUYcgkosw048"))}
_ES256 = ECDSA(SHA256())
_HALF = 32
#: Headers that change how a token is read (RFC 7515, 4.1.11; RFC 7797, 3; RFC 7516, 4.1.3).
_DEMANDS = ("crit", "b64", "zip")


#: Headers are the same for many tokens. A longer one is read each time, so that what is kept has a bound.
LONGEST_KEPT = 1024


class SignedToken(NamedTuple):
    """A token taken apart; nothing of it is believed yet. `encoded_header` is the header as the token has it."""

    header: Mapping[str, Any]
    encoded_header: bytes
    signed: bytes
    payload: bytes
    signature: bytes


def take_apart(token: str) -> SignedToken:
    """The parts of a token in compact form. Raises `ValueError` for anything else."""
    octets = token.encode()
    signed, dot, signature = octets.rpartition(b".")
    header, second, payload = signed.partition(b".")
    if not (dot and second and header and payload):
        raise ValueError("not a token in compact form")
    return SignedToken(read_header(header), header, signed, payload, _octets(signature))


def read_header(encoded: bytes) -> Mapping[str, Any]:
    """A header in the encoding that a token has it in; not to be changed. Raises `ValueError` for no header."""
    return _known_header(encoded) if len(encoded) <= LONGEST_KEPT else _header(encoded)


def _header(encoded: bytes) -> Mapping[str, Any]:
    header = json.loads(_octets(encoded).decode())
    if not isinstance(header, dict):
        raise ValueError("a token's header is an object")
    return header


_known_header = lru_cache(maxsize=256)(_header)


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
    found = json.loads(_octets(token.payload).decode())
    if not isinstance(found, dict):
        raise ValueError("a token's claims are an object")
    return found


def _octets(text: bytes) -> bytes:
    """base64url without padding (RFC 7515, 2), in its one spelling: bits that stand for nothing are zero."""
    padding, last = _GROUPS.get(len(text) % 4, (b"", frozenset()))
    if last is not None and text[-1] not in last:
        raise ValueError("not base64url in its one spelling")
    return binascii.a2b_base64(text.translate(_TO_BASE64) + padding, strict_mode=True)
