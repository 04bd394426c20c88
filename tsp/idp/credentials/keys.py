"""The keyed hash that credentials are kept under: HMAC-SHA-256 made inside the token (SEC-1)."""

import base64
from typing import Protocol

from hsm.errors import HsmError
from tsp.core.errors import Unavailable


class Mac(Protocol):
    """HMAC-SHA-256 with a 256-bit key that stays in the token (`hsm.HmacKey`)."""

    def mac(self, data: bytes) -> bytes: ...


class TokenMac:
    """A token's key whose failures are errors of the house."""

    def __init__(self, key: Mac) -> None:
        self._key = key

    def mac(self, data: bytes) -> bytes:
        """32 octets. `Unavailable` (token-unavailable) where the token does not answer."""
        try:
            return self._key.mac(data)
        except HsmError as error:
            raise Unavailable(
                "token-unavailable",
                "The service is briefly unavailable. Nothing was lost; please try again in a moment.",
                cause=error.code,
            ) from error


def framed(*parts: str | bytes) -> bytes:
    """The parts as one message that only these parts give: each with its length in front."""
    raw = [part.encode() if isinstance(part, str) else part for part in parts]
    return b"".join(len(part).to_bytes(4, "big") + part for part in raw)


class Index:
    """Exact-match search on sealed values: the HMAC of a normalised value, apart for each kind."""

    def __init__(self, key: Mac) -> None:
        self._key = TokenMac(key)

    def of(self, kind: str, value: str) -> str:
        """43 URL-safe characters, the same for the same kind and value."""
        digest = self._key.mac(framed("index", kind, value))
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
