"""What an OpenID provider publishes of itself: metadata and keys, fetched when needed and kept a while."""

import json
import threading
from dataclasses import dataclass
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from tsp.core.clock import Clock
from tsp.core.errors import Unavailable
from tsp.core.outbound import Outbound, OutboundResponse

#: How long metadata and keys are relied on before they are fetched again.
METADATA_SECONDS = 3600
#: An unknown key makes us look again, but not more often than this: a stranger must not steer our requests.
FRESH_KEYS_SECONDS = 30
_MAX = 256 * 1024


@dataclass(frozen=True)
class Metadata:
    """The provider's addresses (OpenID Connect Discovery 1.0, 3; RFC 8414; RFC 9126, 5)."""

    authorization_endpoint: str
    token_endpoint: str
    pushed_authorization_request_endpoint: str
    jwks_uri: str
    end_session_endpoint: str | None


class ProviderDocuments:
    """Fetches and keeps both documents of one provider; safe to use from several threads."""

    def __init__(self, issuer: str, outbound: Outbound, clock: Clock) -> None:
        self._issuer = issuer
        self._outbound = outbound
        self._clock = clock
        self._lock = threading.Lock()
        self._metadata: tuple[float, Metadata] | None = None
        self._keys: tuple[float, KeySet] | None = None

    def metadata(self) -> Metadata:
        """Raises `Unavailable` where they cannot be had or are not those of this issuer."""
        with self._lock:
            now = self._clock.monotonic()
            if self._metadata is None or now - self._metadata[0] > METADATA_SECONDS:
                self._metadata = now, self._fetch_metadata()
            return self._metadata[1]

    def keys(self, metadata: Metadata, *, fresh: bool) -> KeySet:
        """The provider's public keys; `fresh` asks again, unless that was done just now."""
        with self._lock:
            now = self._clock.monotonic()
            age = METADATA_SECONDS + 1.0 if self._keys is None else now - self._keys[0]
            if self._keys is None or age > (FRESH_KEYS_SECONDS if fresh else METADATA_SECONDS):
                self._keys = now, self._fetch_keys(metadata.jwks_uri)
            return self._keys[1]

    def _fetch_metadata(self) -> Metadata:
        document = self._get(f"{self._issuer}/.well-known/openid-configuration")
        if document.get("issuer") != self._issuer:
            raise _unusable("issuer")
        read: dict[str, Any] = {name: document.get(name) for name in Metadata.__dataclass_fields__}
        for name, value in read.items():
            # An address elsewhere could be anybody's: all of a provider's endpoints are under its issuer here.
            well = isinstance(value, str) and value.startswith(f"{self._issuer}/")
            if not well and not (name == "end_session_endpoint" and value is None):
                raise _unusable(name)
        return Metadata(**read)

    def _fetch_keys(self, url: str) -> KeySet:
        document = self._get(url)
        try:
            listed = [k for k in document["keys"] if k.get("kty") == "EC" and k.get("use", "sig") == "sig"]
            if any("d" in key for key in listed):
                raise _unusable("private-key")
            return KeySet.import_key_set({"keys": listed})
        except (JoseError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise _unusable("keys") from error

    def _get(self, url: str) -> dict[str, Any]:
        answer = self._outbound.request("GET", url, headers={"accept": "application/json"}, max_bytes=_MAX)
        if answer.status != 200:
            raise _unusable("status")
        return json_object(answer)


def json_object(answer: OutboundResponse) -> dict[str, Any]:
    """The JSON object of an answer; `Unavailable` for anything else."""
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise _unusable("json") from error
    if not isinstance(document, dict):
        raise _unusable("json")
    return document


def _unusable(what: str) -> Unavailable:
    return Unavailable(
        "peer-unavailable",
        "A service that is needed here does not answer. Nothing was lost; please try again in a moment.",
        cause=what,
    )
