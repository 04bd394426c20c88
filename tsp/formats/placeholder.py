"""The place of a signature in a PDF file (ISO 32000-2, 12.8.1): its byte range and its hexadecimal window.

A prepared file has a window of zeros, `<000…0>`, for the value of /Contents; everything outside the
window is signed. Pure arithmetic on octets: no document is parsed here, so this runs anywhere.
"""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

from tsp.core.errors import Invalid
from tsp.formats import cms

#: Octets of CMS that a window holds: signature, chain, time-stamp with its chain, and room.
CONTENTS_SIZE = 32 * 1024

ByteRange = tuple[int, int, int, int]


@dataclass(frozen=True)
class Prepared:
    """A document frozen exactly as it will be signed, with the empty window for the signature.

    `digest_signed` is the SHA-256 of everything outside the window. Raises `Invalid`
    (placeholder-damaged) where the byte range does not leave out exactly one window of zeros.
    """

    pdf: bytes = field(repr=False)
    field_name: str
    byte_range: ByteRange

    def __post_init__(self) -> None:
        start, end = self.contents_offset, self.contents_offset + self.contents_length
        first, _, _, rest = self.byte_range
        window = self.pdf[start:end]
        well = first == 0 and start >= 0 and rest > 0 and end + rest == len(self.pdf)
        if not well or window != b"<" + b"0" * (len(window) - 2) + b">":
            raise Invalid("placeholder-damaged", "The prepared document was changed. Prepare it again.")

    @property
    def contents_offset(self) -> int:
        """Where the window begins, at its `<`."""
        return self.byte_range[1]

    @property
    def contents_length(self) -> int:
        """Length of the window with its `<` and `>`."""
        return self.byte_range[2] - self.byte_range[1]

    @cached_property
    def digest_signed(self) -> bytes:
        """SHA-256 over the byte range."""
        return signed_digest(self.pdf, self.byte_range)


def signed_digest(pdf: bytes, byte_range: ByteRange) -> bytes:
    """SHA-256 of the octets that a byte range names."""
    view = memoryview(pdf)
    first, first_length, second, second_length = byte_range
    digest = hashlib.sha256(view[first : first + first_length])
    digest.update(view[second : second + second_length])
    return digest.digest()


def fill(prepared: Prepared, signature: bytes) -> bytes:
    """The file with `signature` (CMS, DER) in the window, padded with zeros.

    Raises `Invalid`: signature-too-large where it does not fit, signature-of-other-document where
    its message-digest is not that of this file.
    """
    room = prepared.contents_length // 2 - 1
    if len(signature) > room:
        raise Invalid("signature-too-large", "The signature does not fit into the document.", size=len(signature))
    if cms.message_digest(signature) != prepared.digest_signed:
        raise Invalid("signature-of-other-document", "This signature was made for another document.")
    window = signature.hex().upper().ljust(room * 2, "0").encode()
    start = prepared.contents_offset + 1
    whole = memoryview(prepared.pdf)
    return b"".join((whole[:start], window, whole[start + room * 2 :]))


def contents(pdf: bytes, byte_range: ByteRange) -> bytes:
    """The value of /Contents with its padding: the octets between the two signed parts."""
    return bytes.fromhex(pdf[byte_range[1] + 1 : byte_range[2] - 1].decode("ascii"))
