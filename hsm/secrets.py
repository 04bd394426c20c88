"""Secret keys inside a token: HMAC-SHA-256 and AES-256-GCM, computed in the token itself."""

from typing import Any

from pkcs11 import GCMParams, Mechanism, ObjectClass, exceptions

from hsm.errors import DecryptionFailed
from hsm.keys import with_key
from hsm.pool import SessionPool

NONCE_LENGTH = 12
TAG_LENGTH = 16
# What tokens answer to a wrong tag; SoftHSM 2.6 gives CKR_GENERAL_ERROR.
_REFUSED = (
    exceptions.EncryptedDataInvalid,
    exceptions.EncryptedDataLenRange,
    exceptions.DataInvalid,
    exceptions.DataLenRange,
    exceptions.FunctionFailed,
    exceptions.GeneralError,
)


class HmacKey:
    """A 256-bit key for HMAC-SHA-256 (FIPS 198-1), safe to use from several threads."""

    def __init__(self, label: str, pool: SessionPool) -> None:
        self.label = label
        self._pool = pool

    def mac(self, data: bytes) -> bytes:
        """The 32 bytes of HMAC-SHA-256 over `data`, computed in the token."""
        return with_key(
            self._pool,
            self.label,
            ObjectClass.SECRET_KEY,
            lambda key: bytes(key.sign(data, mechanism=Mechanism.SHA256_HMAC)),
        )


class AeadKey:
    """A 256-bit key for AES-GCM (SP 800-38D), safe to use from several threads.

    A nonce must never be used twice under one key: the caller draws it at random and keeps the
    number of encryptions below 2^32.
    """

    def __init__(self, label: str, pool: SessionPool) -> None:
        self.label = label
        self._pool = pool

    def encrypt(self, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
        """Ciphertext with its 16-byte tag behind it."""
        return self._crypt("encrypt", nonce, plaintext, aad)

    def decrypt(self, nonce: bytes, ciphertext: bytes, aad: bytes) -> bytes:
        """The plaintext. Raises `DecryptionFailed` where anything differs from what was encrypted."""
        if len(ciphertext) < TAG_LENGTH:
            raise _refusal(self.label)
        return self._crypt("decrypt", nonce, ciphertext, aad)

    def _crypt(self, operation: str, nonce: bytes, data: bytes, aad: bytes) -> bytes:
        if len(nonce) != NONCE_LENGTH:
            raise ValueError("a nonce has 12 bytes")
        parameters = GCMParams(nonce, aad, TAG_LENGTH * 8)

        def use(key: Any) -> bytes:
            try:
                return bytes(getattr(key, operation)(data, mechanism=Mechanism.AES_GCM, mechanism_param=parameters))
            except _REFUSED as error:
                if operation == "encrypt":
                    raise
                # A token that has died also gives a general error: the pool asks before it believes in a wrong tag.
                self._pool.require_present()
                raise _refusal(self.label) from error

        return with_key(self._pool, self.label, ObjectClass.SECRET_KEY, use)


def _refusal(label: str) -> DecryptionFailed:
    return DecryptionFailed(
        f"A stored secret does not open under key '{label}': it was altered, moved, or sealed under another key. "
        "Restore the record and the token from the same backup."
    )
