"""The branch office as an OAuth client of the platform: client_credentials with private_key_jwt.

RFC 6749, 4.4 for the grant; RFC 7523, 2.2 and OpenID Connect Core, 9 for the client's assertion;
RFC 8414 and OpenID Connect Discovery for the endpoints.
"""

from dataclasses import dataclass
from typing import Any

import httpx2
from joserfc import jwt
from joserfc.jwk import ECKey

from sandbox.clock import Clock
from sandbox.randomness import Randomness, token
from sandbox.web import Problem

_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ASSERTION_SECONDS = 60


@dataclass(frozen=True)
class BranchClient:
    """Speaks to the platform's branch interface under the branch's own key."""

    http: httpx2.AsyncClient
    idp: str
    client_id: str
    key: ECKey
    clock: Clock
    randomness: Randomness
    scope: str = "identification-keys"

    async def identification_key(self, person: dict[str, Any]) -> dict[str, Any]:
        """The platform's answer `{key, expires_at}` for a person whose document was checked.

        `Problem` 502 says what the platform answered instead, 503 that it did not answer.
        """
        access = await self._access_token()
        headers = {"Authorization": f"Bearer {access}"}
        answer = await self._send("POST", f"{self.idp}/branch/identification-keys", json=person, headers=headers)
        if not isinstance(answer.get("key"), str):
            raise Problem(502, "platform-answer", "The platform's answer holds no identification key.")
        return answer

    async def _access_token(self) -> str:
        metadata = await self._send("GET", f"{self.idp}/.well-known/openid-configuration")
        issuer, endpoint = str(metadata.get("issuer", "")), str(metadata.get("token_endpoint", ""))
        if issuer != self.idp or not endpoint.startswith(f"{self.idp}/"):
            raise Problem(502, "platform-metadata", "The platform's metadata name another issuer.")
        form = {
            "grant_type": "client_credentials",
            "scope": self.scope,
            "client_id": self.client_id,
            "client_assertion_type": _ASSERTION_TYPE,
            "client_assertion": self._assertion(issuer),
        }
        answer = await self._send("POST", endpoint, data=form)
        if not isinstance(answer.get("access_token"), str) or str(answer.get("token_type")).lower() != "bearer":
            raise Problem(502, "platform-answer", "The platform's token endpoint gave no bearer token.")
        return str(answer["access_token"])

    def _assertion(self, issuer: str) -> str:
        now = int(self.clock.now().timestamp())
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": issuer,
            "jti": token(self.randomness),
            "iat": now,
            "exp": now + _ASSERTION_SECONDS,
        }
        return jwt.encode({"alg": "ES256", "kid": self.key.thumbprint()}, claims, self.key)

    async def _send(self, method: str, url: str, **request: Any) -> dict[str, Any]:
        try:
            response = await self.http.request(method, url, **request)
            answer = response.json()
        except httpx2.TransportError as error:
            raise Problem(503, "platform-silent", f"The platform does not answer ({type(error).__name__}).") from None
        except ValueError:
            raise Problem(
                502, "platform-answer", f"The platform answered {response.status_code} without JSON."
            ) from None
        if not isinstance(answer, dict) or response.status_code >= 400:
            raise Problem(502, "platform-refused", f"The platform refused ({response.status_code}): {_reason(answer)}")
        return answer


def _reason(answer: Any) -> str:
    if not isinstance(answer, dict):
        return "no reason given"
    return " - ".join(str(answer[name]) for name in ("error", "error_description", "message") if name in answer)
