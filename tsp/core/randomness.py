"""The one source of randomness: handed in, so that a test may know what comes."""

import base64
import secrets
from typing import Protocol

#: Letters and digits that people do not mix up (no 0/O, 1/I/L).
READABLE = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"


class Randomness(Protocol):
    """Unpredictable bytes, and the forms of them that the platform needs."""

    def bytes(self, length: int) -> bytes:
        """`length` unpredictable bytes."""
        ...


class SystemRandomness:
    """The operating system's generator."""

    def bytes(self, length: int) -> bytes:
        return secrets.token_bytes(length)


def new_id(randomness: Randomness) -> str:
    """A 128-bit identifier as 22 URL-safe characters: unguessable, without meaning."""
    return base64.urlsafe_b64encode(randomness.bytes(16)).rstrip(b"=").decode()


def new_token(randomness: Randomness) -> str:
    """A 256-bit bearer secret as 43 URL-safe characters."""
    return base64.urlsafe_b64encode(randomness.bytes(32)).rstrip(b"=").decode()


def new_code(randomness: Randomness, length: int, alphabet: str = READABLE) -> str:
    """`length` characters drawn evenly from `alphabet` (rejection sampling, no modulo bias)."""
    if not 2 <= len(alphabet) <= 256:
        raise ValueError("an alphabet has 2 to 256 characters")
    fair = 256 - 256 % len(alphabet)
    drawn: list[str] = []
    while len(drawn) < length:
        drawn += [alphabet[b % len(alphabet)] for b in randomness.bytes(length) if b < fair]
    return "".join(drawn[:length])


def new_digits(randomness: Randomness, length: int) -> str:
    """A numeric one-time code."""
    return new_code(randomness, length, "0123456789")
