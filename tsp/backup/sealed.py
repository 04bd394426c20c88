"""Secrets of an installation in one sealed file: scrypt (RFC 7914) over a passphrase, then AES-256-GCM.

file = "enkrat-secrets-1\\n" || salt (16) || nonce (12) || ciphertext + tag
"""

import base64
import json
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from tsp.core.errors import Invalid, Refused
from tsp.core.randomness import Randomness

#: Characters. Whoever gets hold of the file can try for ever: the passphrase is all that stands before the PINs.
MIN_PASSPHRASE = 16
_MAGIC = b"enkrat-secrets-1\n"
_SALT, _NONCE = 16, 12
#: 128 MiB and some tenths of a second for each guess.
_COST, _BLOCK, _PARALLEL = 2**17, 8, 1


def seal(files: Mapping[str, bytes], passphrase: str, randomness: Randomness) -> bytes:
    """Seals files by name. Raises `Invalid` (passphrase-short)."""
    if len(passphrase) < MIN_PASSPHRASE:
        raise Invalid("passphrase-short", f"The passphrase needs {MIN_PASSPHRASE} characters or more.")
    salt, nonce = randomness.bytes(_SALT), randomness.bytes(_NONCE)
    content = json.dumps({name: base64.b64encode(data).decode() for name, data in files.items()}).encode()
    return _MAGIC + salt + nonce + AESGCM(_key(passphrase, salt)).encrypt(nonce, content, _MAGIC)


def unseal(sealed: bytes, passphrase: str) -> dict[str, bytes]:
    """The files by name. Raises `Refused` (passphrase-wrong), `Invalid` (backup-damaged)."""
    body = sealed.removeprefix(_MAGIC)
    if len(body) == len(sealed) or len(body) < _SALT + _NONCE + 16:
        raise Invalid("backup-damaged", "The sealed secrets of this backup cannot be read.")
    salt, nonce, rest = body[:_SALT], body[_SALT : _SALT + _NONCE], body[_SALT + _NONCE :]
    try:
        content = AESGCM(_key(passphrase, salt)).decrypt(nonce, rest, _MAGIC)
    except InvalidTag:
        raise Refused("passphrase-wrong", "The passphrase does not open the secrets of this backup.") from None
    return {name: base64.b64decode(text) for name, text in json.loads(content).items()}


def _key(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=_COST, r=_BLOCK, p=_PARALLEL).derive(passphrase.encode())
