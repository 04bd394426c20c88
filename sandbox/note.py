"""What a witness has to read and verify of a transparency log. Pure, and the witness's own.

Signed notes and their keys (C2SP signed-note), checkpoints (tlog-checkpoint), cosignatures of version 1
(tlog-cosignature), consistency proofs (RFC 9162, 2.1.4.2). It shares no code with the logs that it
watches: what both got wrong the same way nobody would see.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

#: Signature types of signed-note: a log's Ed25519 key, and an Ed25519 key that cosigns.
LOG_KEY, COSIGNING_KEY = 0x01, 0x04
#: The most that a proof can need for a log of up to 2^63 entries.
MAX_PROOF = 63
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,17}")
_NAME = re.compile(r"[^\s+]+")
_EMPTY = sha256(b"").digest()


class Unreadable(Exception):
    """The octets are not what the format asks for."""


@dataclass(frozen=True)
class Key:
    """A public key with its name and signature type."""

    name: str
    kind: int
    public: bytes

    @property
    def key_id(self) -> bytes:
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    def encode(self) -> str:
        """The key as one word, `name+id+key` (signed-note, verifier keys)."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(bytes([self.kind]) + self.public).decode()}"

    def accepts(self, message: bytes, signature: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True)
class Note:
    """A checkpoint with its signature lines; `text` is what is signed."""

    text: str
    origin: str
    size: int
    root: bytes
    signatures: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True)
class Submission:
    """The body of an add-checkpoint call."""

    old: int
    proof: tuple[bytes, ...]
    note: Note


def read_key(word: str) -> Key:
    """Reads a verifier key. Raises `Unreadable`, also where name, id and key do not belong together."""
    parts = word.strip().split("+", 2)
    if len(parts) != 3:
        raise Unreadable("a key is written name+id+key")
    encoded = _base64(parts[2])
    if not _NAME.fullmatch(parts[0]) or len(encoded) != 33:
        raise Unreadable("a key has a name and 32 octets")
    key = Key(parts[0], encoded[0], encoded[1:])
    if key.key_id.hex() != parts[1]:
        raise Unreadable("the key's id is another")
    return key


def read_submission(body: bytes) -> Submission:
    """Takes a request apart: `old N`, proof lines, an empty line, the checkpoint. Raises `Unreadable`."""
    try:
        head, separator, rest = body.decode("utf-8").partition("\n\n")
    except UnicodeDecodeError:
        raise Unreadable("not UTF-8") from None
    first, *lines = head.split("\n")
    word, _, number = first.partition(" ")
    if not separator or word != "old" or not _DECIMAL.fullmatch(number):
        raise Unreadable("the first line is not `old` and a size")
    if len(lines) > MAX_PROOF:
        raise Unreadable("the proof is too long")
    proof = tuple(_base64(line) for line in lines)
    if any(len(node) != 32 for node in proof):
        raise Unreadable("a line of the proof is no hash")
    return Submission(int(number), proof, read_note(rest))


def read_note(note: str) -> Note:
    """A checkpoint with at least one signature line. Raises `Unreadable`."""
    text, separator, tail = note.rpartition("\n\n")
    lines = (text + "\n").split("\n")
    if not separator or not tail.endswith("\n") or len(lines) < 4 or not all(lines[:-1]):
        raise Unreadable("not a signed checkpoint")
    if not _DECIMAL.fullmatch(lines[1]):
        raise Unreadable("the checkpoint's size is no number")
    root = _base64(lines[2])
    if len(root) != 32:
        raise Unreadable("the checkpoint's root is no hash")
    signatures = tuple(_signature(line) for line in tail[:-1].split("\n"))
    return Note(text + "\n", lines[0], int(lines[1]), root, signatures)


def signed_by(note: Note, key: Key) -> bool:
    """Whether `key` signed the note; a line that claims to be its and does not verify spoils the note."""
    own = [raw[4:] for name, raw in note.signatures if name == key.name and raw[:4] == key.key_id]
    return bool(own) and all(key.accepts(note.text.encode(), signature) for signature in own)


def lines_of(note: Note, key: Key) -> str:
    """The signature lines of this key, as they stand in the note."""
    own = [raw for name, raw in note.signatures if name == key.name and raw[:4] == key.key_id]
    return "".join(f"— {key.name} {base64.b64encode(raw).decode()}\n" for raw in own)


def cosign(note: Note, name: str, key: Ed25519PrivateKey, seconds: int) -> str:
    """The line that says: at this time this was the largest tree that I have seen of this log."""
    message = f"cosignature/v1\ntime {seconds}\n{note.text}".encode()
    public = Key(name, COSIGNING_KEY, key.public_key().public_bytes_raw())
    stamped = public.key_id + seconds.to_bytes(8, "big") + key.sign(message)
    return f"— {name} {base64.b64encode(stamped).decode()}\n"


def grew(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the tree of `new` leaves begins with that of `old` leaves, as the proof shows."""
    if old == 0:
        return not proof and (new > 0 or new_root == _EMPTY)
    if old == new:
        return not proof and old_root == new_root
    if old > new or not proof:
        return False
    nodes = list(proof)
    if old & (old - 1) == 0:
        nodes.insert(0, old_root)
    left, right = old - 1, new - 1
    while left & 1:
        left, right = left >> 1, right >> 1
    before = after = nodes[0]
    for node in nodes[1:]:
        if right == 0:
            return False
        if left & 1 or left == right:
            before, after = _node(node, before), _node(node, after)
            while left and not left & 1:
                left, right = left >> 1, right >> 1
        else:
            after = _node(after, node)
        left, right = left >> 1, right >> 1
    return right == 0 and before == old_root and after == new_root


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def _signature(line: str) -> tuple[str, bytes]:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    if dash != "—" or not _NAME.fullmatch(name):
        raise Unreadable("not a signature line")
    raw = _base64(encoded)
    if len(raw) < 5:
        raise Unreadable("not a signature line")
    return name, raw


def _base64(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Unreadable("not base64") from None
    if base64.b64encode(raw).decode() != text:
        raise Unreadable("not the one spelling of this base64")
    return raw
