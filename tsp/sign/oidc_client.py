"""A small OpenID Connect relying party: what it takes to sign in people and to ask for their approval.

OpenID Connect Core 1.0, Discovery 1.0, RFC 9126 (PAR), RFC 7636 (PKCE), RFC 7523 (private_key_jwt),
RFC 9207 (iss), RFC 9396 (authorization_details). Every connection goes through `Outbound`; nothing
that comes back is believed before it is checked.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from tsp.core.clock import Clock
from tsp.core.errors import Refused, TspError, Unavailable
from tsp.core.outbound import Outbound, OutboundResponse
from tsp.core.randomness import Randomness, new_token
from tsp.sign.client_key import ClientKey, base64url
from tsp.sign.metadata import METADATA_SECONDS, Metadata, ProviderDocuments, json_object

__all__ = ["METADATA_SECONDS", "Authorization", "OidcClient", "Tokens"]

_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
#: How far the provider's clock may be off, in seconds (OpenID Connect Core, 3.1.3.7).
_SKEW = 10
#: An ID Token that was made longer ago than this is not from this login.
_MAX_AGE = 600


@dataclass(frozen=True)
class Authorization:
    """A pushed request: where the browser goes, and what the site keeps until it comes back."""

    url: str
    state: str
    nonce: str
    verifier: str


@dataclass(frozen=True)
class Tokens:
    """What the token endpoint gave, the ID Token checked."""

    id_claims: Mapping[str, Any]
    access_token: str
    token_type: str
    expires_in: int
    authorization_details: list[dict[str, Any]]


class OidcClient:
    """This site as a client of one provider.

    `issuer` and `redirect_uri` are exact strings; the provider's metadata and keys are fetched when
    first needed and again after a while.
    """

    def __init__(
        self,
        *,
        issuer: str,
        redirect_uri: str,
        key: ClientKey,
        outbound: Outbound,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        self.issuer = issuer
        self.redirect_uri = redirect_uri
        self._key = key
        self._outbound = outbound
        self._clock = clock
        self._randomness = randomness
        self._provider = ProviderDocuments(issuer, outbound, clock)

    def begin(self, parameters: Mapping[str, str]) -> Authorization:
        """Pushes a request for a login or an approval (RFC 9126).

        `parameters` are those of the purpose (scope, claims, authorization_details, …). Raises
        `Unavailable` where the provider does not answer, `Refused` (login-refused) where it refuses.
        """
        metadata = self._provider.metadata()
        state, nonce, verifier = (new_token(self._randomness) for _ in range(3))
        challenge = base64url(hashlib.sha256(verifier.encode()).digest())
        pushed = self._post(
            metadata.pushed_authorization_request_endpoint,
            {
                "response_type": "code",
                "redirect_uri": self.redirect_uri,
                "state": state,
                "nonce": nonce,
                "code_challenge": challenge,
                "code_challenge_method": "S256",
                **parameters,
            },
        )
        request_uri = pushed.get("request_uri")
        if not isinstance(request_uri, str) or not 1 <= len(request_uri) <= 500:
            raise _strange("request-uri")
        query = urlencode({"client_id": self._key.client_id, "request_uri": request_uri})
        return Authorization(f"{metadata.authorization_endpoint}?{query}", state, nonce, verifier)

    def finish(self, *, code: str, iss: str | None, nonce: str, verifier: str) -> Tokens:
        """Turns the code that the browser brought into tokens.

        Raises `Refused` (login-refused) for anything that is not exactly as it must be, `Unavailable`
        where the provider does not answer: the code may then be spent, so the person begins again.
        """
        metadata = self._provider.metadata()
        self.check_issuer(iss)
        answer = self._post(
            metadata.token_endpoint,
            {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": self.redirect_uri,
                "code_verifier": verifier,
            },
        )
        token, kind, expires = (answer.get(name) for name in ("access_token", "token_type", "expires_in"))
        details = answer.get("authorization_details", [])
        well = isinstance(token, str) and isinstance(kind, str) and type(expires) is int and isinstance(details, list)
        if not well or not all(isinstance(detail, dict) for detail in details):
            raise _strange("token-answer")
        claims = self._id_claims(answer.get("id_token"), nonce, metadata)
        return Tokens(claims, str(token), str(kind).lower(), int(expires or 0), details)

    def check_issuer(self, iss: str | None) -> None:
        """The answer must name our provider, also when it is an error (RFC 9207, 2.4)."""
        if iss != self.issuer:
            raise _refused("issuer")

    def logout_url(self, back: str) -> str | None:
        """Where the browser ends the session with the provider too; None where there is no such place."""
        endpoint = self._provider.metadata().end_session_endpoint
        query = urlencode({"client_id": self._key.client_id, "post_logout_redirect_uri": back})
        return f"{endpoint}?{query}" if endpoint else None

    def _post(self, url: str, form: Mapping[str, str]) -> dict[str, Any]:
        """An authenticated form post to the provider, and its JSON answer."""
        body = {
            **form,
            "client_id": self._key.client_id,
            "client_assertion_type": _ASSERTION_TYPE,
            "client_assertion": self._key.assertion(self.issuer, self._clock.now()),
        }
        answer = self._outbound.request(
            "POST",
            url,
            headers={"content-type": "application/x-www-form-urlencoded", "accept": "application/json"},
            content=urlencode(body).encode(),
            max_bytes=256 * 1024,
        )
        if answer.status in (200, 201):
            return json_object(answer)
        raise _error_answer(answer)

    def _id_claims(self, token: object, nonce: str, metadata: Metadata) -> dict[str, Any]:
        """The claims of an ID Token that passed every check of OpenID Connect Core 3.1.3.7."""
        if not isinstance(token, str) or len(token) > 20_000:
            raise _refused("id-token-missing")
        claims = self._verified(token, metadata)
        now = int(self._clock.now().timestamp())
        issued, expires = claims.get("iat"), claims.get("exp")
        if type(issued) is not int or type(expires) is not int:
            raise _refused("id-token-times")
        checks = {
            "iss": claims.get("iss") == self.issuer,
            "aud": claims.get("aud") in (self._key.client_id, [self._key.client_id]),
            "azp": claims.get("azp", self._key.client_id) == self._key.client_id,
            "exp": now < expires + _SKEW,
            "iat": now - _MAX_AGE <= issued <= now + _SKEW,
            "nonce": hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()),
            "sub": isinstance(claims.get("sub"), str) and 1 <= len(claims["sub"]) <= 255,
        }
        for name, well in checks.items():
            if not well:
                raise _refused(f"id-token-{name}")
        return claims

    def _verified(self, token: str, metadata: Metadata) -> dict[str, Any]:
        """The claims under a key that the provider publishes; its keys are fetched anew once for an unknown one."""
        for fresh in (False, True):
            keys: KeySet = self._provider.keys(metadata, fresh=fresh)
            try:
                return dict(jwt.decode(token, keys, algorithms=["ES256"]).claims)
            except (JoseError, ValueError, RecursionError):
                continue
        raise _refused("id-token-signature")


def _error_answer(answer: OutboundResponse) -> TspError:
    """The provider's refusal (RFC 6749, 5.2) in the words of the family; its description stays in no log."""
    try:
        code = json.loads(answer.body).get("error")
    except (ValueError, AttributeError, RecursionError):
        code = None
    named = code if isinstance(code, str) and code.isascii() and len(code) <= 60 else None
    if answer.status >= 500 or answer.status == 429 or named == "temporarily_unavailable":
        return Unavailable(
            "peer-unavailable",
            "A service that is needed here does not answer. Nothing was lost; please try again in a moment.",
            status=answer.status,
        )
    return _refused(named or "unnamed")


def _refused(reason: str) -> Refused:
    return Refused("login-refused", "Signing in did not succeed. Please begin again.", reason=reason)


def _strange(reason: str) -> Unavailable:
    return Unavailable(
        "peer-unavailable",
        "A service that is needed here does not answer. Nothing was lost; please try again in a moment.",
        cause=reason,
    )
