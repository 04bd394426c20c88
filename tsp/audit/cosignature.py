"""Cosignatures: what a witness says of a checkpoint (C2SP tlog-cosignature, version 1, Ed25519). Pure.

    — <witness> <base64(key id || seconds since 1970 in 8 octets || Ed25519 signature)>

Signed are two lines of the cosigner's own, `cosignature/v1` and `time <seconds>`, and then the whole
text of the checkpoint.
"""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from tsp.audit.checkpoint import Note, VerifierKey, read_note
from tsp.core.errors import Invalid

_TIME = 8
_LENGTH = _TIME + 64
#: The last second that a datetime can hold.
_LAST_SECOND = 253402300799


class CosignerKey(VerifierKey):
    """A witness's public key with its name; the type octet keeps it apart from keys that sign logs."""

    TYPE: ClassVar[bytes] = b"\x04"


@dataclass(frozen=True)
class SeenBy:
    """A verified cosignature: whose, since when, and its line with the newline."""

    witness: str
    at: datetime
    line: str


def cosignature_of(note: Note, key: CosignerKey) -> SeenBy | None:
    """This witness's cosignature under the note; None where it has none that verifies."""
    for signature in note.of(key):
        seconds = int.from_bytes(signature[:_TIME], "big")
        if len(signature) != _LENGTH or seconds > _LAST_SECOND:
            continue
        message = f"cosignature/v1\ntime {seconds}\n{note.text}".encode()
        if key.accepts(message, signature[_TIME:]):
            line = f"— {key.name} {base64.b64encode(key.key_id + signature).decode()}\n"
            return SeenBy(key.name, datetime.fromtimestamp(seconds, UTC), line)
    return None


def cosignatures_of(note: Note, keys: Iterable[CosignerKey]) -> list[SeenBy]:
    """The cosignatures of these witnesses that verify; lines of others are passed over."""
    found = (cosignature_of(note, key) for key in keys)
    return [seen for seen in found if seen is not None]


def read_answer(answer: str, checkpoint: str, key: CosignerKey) -> SeenBy:
    """The cosignature in a witness's answer to a checkpoint (a signed note).

    Raises `Invalid` (cosignature-wrong) where it holds none of this witness over this checkpoint.
    """
    try:
        found = cosignature_of(read_note(checkpoint + answer), key)
    except Invalid:
        found = None
    if found is None:
        raise Invalid("cosignature-wrong", "The witness's answer is not its signature over this statement of the log.")
    return found
