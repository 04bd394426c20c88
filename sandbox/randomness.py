"""Where the sandbox's randomness comes from: handed in, so that a test may know what comes."""

import base64
import secrets  # noqa: TID251  (this is where it is handed in)
from collections.abc import Sequence
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Randomness(Protocol):
    """Unpredictable bytes."""

    def bytes(self, length: int) -> bytes:
        """`length` unpredictable bytes."""
        ...


class SystemRandomness:
    """The operating system's generator."""

    def bytes(self, length: int) -> bytes:
        return secrets.token_bytes(length)


def below(randomness: Randomness, limit: int) -> int:
    """A whole number from 0 to `limit` - 1; 64 spare bits keep the draw even."""
    return int.from_bytes(randomness.bytes((limit.bit_length() + 7) // 8 + 8), "big") % limit


def choose(randomness: Randomness, items: Sequence[Item]) -> Item:
    """One of `items`."""
    return items[below(randomness, len(items))]


def letters(randomness: Randomness, length: int, alphabet: str) -> str:
    """`length` characters of `alphabet`."""
    return "".join(choose(randomness, alphabet) for _ in range(length))


def token(randomness: Randomness) -> str:
    """A 256-bit bearer secret as 43 URL-safe characters."""
    return base64.urlsafe_b64encode(randomness.bytes(32)).rstrip(b"=").decode()
