"""Checkpoints: what the log says about itself, signed (C2SP tlog-checkpoint and signed-note). Pure.

    <origin>
    <size>
    <root, base64>

    — <key name> <base64(key id || Ed25519 signature)>

The signature covers the text up to and with the newline before the empty line. A note may bear
signatures of others (witnesses); lines of unknown keys are passed over, as the format asks.
"""

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import ClassVar, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from tsp.core.errors import Invalid

_NAME = re.compile(r"[^\s+\x00-\x1f]{1,200}")
_SIZE = re.compile(r"0|[1-9][0-9]{0,17}")
_MAX_NOTE = 64 * 1024


@dataclass(frozen=True)
class Checkpoint:
    """The state of the log `origin`: its first `size` leaves have the tree head `root`."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True)
class VerifierKey:
    """A log's public key with its name, as people hand it on: `name+keyid+key`."""

    #: signed-note: the signature type octet of Ed25519.
    TYPE: ClassVar[bytes] = b"\x01"

    name: str
    public: bytes

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or len(self.public) != 32:
            raise _bad_key()

    @property
    def key_id(self) -> bytes:
        """The first four octets of SHA-256(name || LF || type || key)."""
        return sha256(self.name.encode() + b"\n" + self.TYPE + self.public).digest()[:4]

    def encode(self) -> str:
        """The verifier key as one word."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(self.TYPE + self.public).decode()}"

    @classmethod
    def parse(cls, word: str) -> Self:
        """Reads `encode`'s word; `Invalid` (log-key) where name, id and key do not belong together."""
        parts = word.strip().split("+", 2)
        if len(parts) != 3:
            raise _bad_key()
        name, key_id, encoded = parts
        key = _decode(encoded)
        if key is None or key[:1] != cls.TYPE or len(key) != 33:
            raise _bad_key()
        found = cls(name, key[1:])
        if found.key_id.hex() != key_id:
            raise _bad_key()
        return found

    @classmethod
    def from_spki(cls, name: str, spki: bytes) -> Self:
        """The key of a DER SubjectPublicKeyInfo; `Invalid` (log-key) unless it is Ed25519."""
        key = load_der_public_key(spki)
        if not isinstance(key, Ed25519PublicKey):
            raise _bad_key()
        return cls(name, key.public_bytes_raw())

    def accepts(self, message: bytes, signature: bytes) -> bool:
        """Whether `signature` is this key's signature over `message`."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


def sign_checkpoint(checkpoint: Checkpoint, key: VerifierKey, sign: Callable[[bytes], bytes]) -> str:
    """The signed note. `sign` makes the Ed25519 signature; it is checked before it is believed.

    Raises `ValueError` where the signature does not fit the key: a note that nobody could verify
    must not be published.
    """
    text = checkpoint.text()
    signature = sign(text.encode())
    if not key.accepts(text.encode(), signature):
        raise ValueError("the log key's signature does not verify")
    return f"{text}\n— {key.name} {base64.b64encode(key.key_id + signature).decode()}\n"


@dataclass(frozen=True)
class Note:
    """A signed note taken apart: the text that is signed, what it says, and name and octets of each signature."""

    text: str
    checkpoint: Checkpoint
    signatures: tuple[tuple[str, bytes], ...]

    def of(self, key: VerifierKey) -> list[bytes]:
        """What stands behind the key id in the lines that bear this key's name and id."""
        return [raw[4:] for name, raw in self.signatures if name == key.name and raw[:4] == key.key_id]


def read_note(note: str) -> Note:
    """Takes a note apart; nothing is verified. Raises `Invalid` (checkpoint-malformed)."""
    if len(note) > _MAX_NOTE:
        raise _malformed()
    text, separator, signatures = note.rpartition("\n\n")
    if not separator or not signatures.endswith("\n"):
        raise _malformed()
    text += "\n"
    return Note(text, parse_text(text), tuple(_signature_line(line) for line in signatures[:-1].split("\n")))


def open_checkpoint(note: str, key: VerifierKey) -> Checkpoint:
    """The checkpoint in a note that `key` signed.

    Raises `Invalid` (checkpoint-malformed) where it is no checkpoint, and `Invalid`
    (checkpoint-signature) where this key did not sign it.
    """
    read = read_note(note)
    if not any(key.accepts(read.text.encode(), signature) for signature in read.of(key)):
        raise Invalid("checkpoint-signature", "The log's statement does not bear the signature of the expected key.")
    return read.checkpoint


def parse_text(text: str) -> Checkpoint:
    """Reads the unsigned text, extension lines passed over; `Invalid` (checkpoint-malformed)."""
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not all(lines[:-1]) or not _SIZE.fullmatch(lines[1]):
        raise _malformed()
    root = _decode(lines[2])
    if root is None or len(root) != 32:
        raise _malformed()
    return Checkpoint(lines[0], int(lines[1]), root)


def _signature_line(line: str) -> tuple[str, bytes]:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    raw = _decode(encoded)
    if dash != "—" or not _NAME.fullmatch(name) or raw is None or len(raw) < 5:
        raise _malformed()
    return name, raw


def _decode(text: str) -> bytes | None:
    """Base64 in its one canonical spelling, or nothing."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if base64.b64encode(raw).decode() == text else None


def _malformed() -> Invalid:
    return Invalid("checkpoint-malformed", "The log's statement is not a checkpoint.")


def _bad_key() -> Invalid:
    return Invalid("log-key", "The log's key is written as name+id+key; this is something else.")
