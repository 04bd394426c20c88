"""Client authentication by private_key_jwt, the only kind (RFC 7523; FAPI 2.0 Security Profile, 5.3.2.1)."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.exc import IntegrityError

from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.core.errors import Refused
from tsp.idp.oidc.clients import Client, Clients
from tsp.idp.oidc.errors import invalid_client
from tsp.idp.oidc.keys import verify_jwt
from tsp.idp.oidc.tables import ClientAssertion

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
#: An assertion that lives longer than this is refused: its jti would have to be remembered as long.
MAX_LIFETIME = timedelta(minutes=10)
#: How far a client's clock may be off (FAPI 2.0, 5.3.2.1: 10 s for iat and nbf in the future).
SKEW = timedelta(seconds=10)
_MAX_ASSERTION = 8000
#: No typ, the general one, and the one of the revised RFC 7523.
_TYPES = (None, "jwt", "client-authentication+jwt")


@dataclass(frozen=True)
class AuthenticatedClient:
    """A client that proved itself, and the RFC 7638 thumbprint of the key it did it with."""

    client: Client
    key_thumbprint: str


class ClientAuthenticator:
    """Checks client assertions; each is good once.

    `issuer` is the only accepted audience, as a string: an assertion made for another server's
    endpoint cannot be used here (FAPI 2.0, 5.3.2.1).
    """

    def __init__(self, clients: Clients, database: Database, clock: Clock, issuer: str) -> None:
        self._clients = clients
        self._database = database
        self._clock = clock
        self._issuer = issuer

    def authenticate(self, form: Mapping[str, str]) -> AuthenticatedClient:
        """The client that sent this form. Raises `Refused` (invalid-client)."""
        if "client_secret" in form or form.get("client_assertion_type") != ASSERTION_TYPE:
            raise invalid_client("method")
        assertion = form.get("client_assertion", "")
        if not assertion or len(assertion) > _MAX_ASSERTION:
            raise invalid_client("assertion-missing")
        client = self._claimed_client(assertion, form)
        try:
            verified = verify_jwt(assertion, client.keys, _TYPES)
        except Refused as error:
            raise invalid_client("signature", client=client.client_id) from error
        claims = verified.claims
        expires = self._check_claims(client, claims)
        self._spend(client, claims["jti"], expires)
        return AuthenticatedClient(client, verified.thumbprint)

    def _claimed_client(self, assertion: str, form: Mapping[str, str]) -> Client:
        """The client that the assertion names; believed only once the signature is checked."""
        claimed = _unverified_issuer(assertion)
        client = self._clients.get(claimed)
        if client is None or form.get("client_id", claimed) != claimed:
            raise invalid_client("client-unknown")
        return client

    def _check_claims(self, client: Client, claims: Mapping[str, Any]) -> datetime:
        """When the assertion ends, in good order; `Refused` otherwise."""
        name = client.client_id
        now = self._clock.now()
        if claims.get("iss") != name or claims.get("sub") != name:
            raise invalid_client("subject", client=name)
        if claims.get("aud") != self._issuer:
            raise invalid_client("audience", client=name)
        expires, issued, begins = (_moment(claims.get(c)) for c in ("exp", "iat", "nbf"))
        if expires is None or expires <= now - SKEW:
            raise invalid_client("expired", client=name)
        if expires > now + MAX_LIFETIME + SKEW:
            raise invalid_client("lifetime", client=name)
        if any(moment is not None and moment > now + SKEW for moment in (issued, begins)):
            raise invalid_client("not-yet", client=name)
        jti = claims.get("jti")
        if not isinstance(jti, str) or not 8 <= len(jti) <= 200:
            raise invalid_client("jti", client=name)
        return expires

    def _spend(self, client: Client, jti: str, expires: datetime) -> None:
        """Writes the jti down, durably, before anything is done for the client."""
        digest = hashlib.sha256(f"{client.client_id}\x00{jti}".encode("utf-8", "surrogatepass")).hexdigest()
        try:
            with self._database.write() as session:
                session.add(ClientAssertion(jti_hash=digest, expires_at=expires + SKEW))
                session.flush()
        except IntegrityError:
            raise invalid_client("replayed", client=client.client_id) from None


def _unverified_issuer(assertion: str) -> str:
    """`iss` of a JWT that nobody has checked yet: only good to look up whose key has to fit."""
    import base64
    import json

    parts = assertion.split(".")
    try:
        payload = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        issuer = payload["iss"]
    except (IndexError, KeyError, TypeError, ValueError, RecursionError):
        raise invalid_client("assertion-malformed") from None
    if not isinstance(issuer, str):
        raise invalid_client("assertion-malformed")
    return issuer


def _moment(value: Any) -> datetime | None:
    """A NumericDate (RFC 7519, 2); None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1 << 37:
        return None
    return datetime.fromtimestamp(value, UTC)
