"""Envelope encryption at rest (SEC-1): a data key per record, wrapped by a key in the token.

    sealed = version (1) || wrapped data key (12 nonce + 32 + 16 tag) || nonce (12) || ciphertext + tag

The context (table, column, row id) is authenticated with both layers, so a sealed value cannot be
moved to another row. The token sees only the data key: documents of any size stay fast.
"""

from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tsp.core.errors import Invalid
from tsp.core.randomness import Randomness

_VERSION = b"\x01"
_NONCE = 12
_WRAPPED = _NONCE + 32 + 16


class Aead(Protocol):
    """AES-256-GCM with a key that stays in the token (`hsm.AeadKey`)."""

    def encrypt(self, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes: ...

    def decrypt(self, nonce: bytes, ciphertext: bytes, aad: bytes) -> bytes:
        """The plaintext; `ValueError` where nonce, ciphertext or aad are not what was encrypted."""
        ...


class Sealer:
    """Seals and opens records under one wrapping key."""

    def __init__(self, key: Aead, randomness: Randomness, purpose: str) -> None:
        self._key = key
        self._randomness = randomness
        self._purpose = purpose

    def seal(self, plaintext: bytes, context: str) -> bytes:
        """Encrypts `plaintext` for this `context`; two calls never give the same octets."""
        data_key = self._randomness.bytes(32)
        aad = self._aad(context)
        wrap_nonce = self._randomness.bytes(_NONCE)
        wrapped = wrap_nonce + self._key.encrypt(wrap_nonce, data_key, aad)
        nonce = self._randomness.bytes(_NONCE)
        return _VERSION + wrapped + nonce + AESGCM(data_key).encrypt(nonce, plaintext, aad)

    def open(self, sealed: bytes, context: str) -> bytes:
        """The plaintext; `Invalid` (sealed-damaged) where octets or context are not the sealed ones."""
        if sealed[:1] != _VERSION or len(sealed) < 1 + _WRAPPED + _NONCE + 16:
            raise _damaged(self._purpose)
        aad = self._aad(context)
        wrapped, rest = sealed[1 : 1 + _WRAPPED], sealed[1 + _WRAPPED :]
        try:
            data_key = self._key.decrypt(wrapped[:_NONCE], wrapped[_NONCE:], aad)
            return AESGCM(data_key).decrypt(rest[:_NONCE], rest[_NONCE:], aad)
        except (InvalidTag, ValueError):
            raise _damaged(self._purpose) from None

    def _aad(self, context: str) -> bytes:
        return f"{self._purpose}\x00{context}".encode()


def _damaged(purpose: str) -> Invalid:
    return Invalid("sealed-damaged", "A stored record cannot be read.", purpose=purpose)
