"""Pushed authorization requests (RFC 9126): the only way to ask for a login."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.orm import Session

from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.core.errors import Refused
from tsp.core.randomness import Randomness, new_token
from tsp.core.sealing import Sealer
from tsp.idp.oidc.clients import Client
from tsp.idp.oidc.requests import AuthorizationRequest, parse_request
from tsp.idp.oidc.tables import PushedRequest, forget_expired
from tsp.idp.session import hash_token

PREFIX = "urn:ietf:params:oauth:request_uri:"
#: From the push to the browser's arrival (RFC 9126, 2.2: between 5 and 600 seconds).
LIFETIME = timedelta(seconds=90)


@dataclass(frozen=True)
class Taken:
    """A pushed request that a browser brought. `transaction_id` is set where it was brought before."""

    request: AuthorizationRequest
    transaction_id: str | None


class PushedRequests:
    """Keeps requests from the push until a browser brings their reference."""

    def __init__(
        self, database: Database, clock: Clock, randomness: Randomness, sealer: Sealer, *, max_documents: int
    ) -> None:
        self._database = database
        self._clock = clock
        self._randomness = randomness
        self._sealer = sealer
        self._max_documents = max_documents

    def push(self, client: Client, form: Mapping[str, str]) -> str:
        """Checks and keeps the request of an authenticated client; its `request_uri`.

        Raises what `parse_request` raises.
        """
        request = parse_request(form, client, max_documents=self._max_documents)
        reference = new_token(self._randomness)
        digest = hash_token(reference)
        now = self._clock.now()
        with self._database.write() as session:
            forget_expired(session, now)
            session.add(
                PushedRequest(
                    reference_hash=digest,
                    client_id=client.client_id,
                    sealed=self._sealer.seal(request.model_dump_json().encode(), _context(digest)),
                    expires_at=now + LIFETIME,
                    transaction_id=None,
                )
            )
        return PREFIX + reference

    def take(self, session: Session, request_uri: str, client_id: str, transaction_id: str) -> Taken:
        """Turns the reference into a login transaction, once; in the caller's write transaction.

        A second time the first transaction's id comes back, and the caller decides what that means
        (the same browser that loads the page again, or somebody else). Raises `Refused`
        (request-unknown) where the reference is unknown, expired or another client's: then no
        address is known that an error could be sent to.
        """
        digest = hash_token(request_uri.removeprefix(PREFIX))
        row = session.get(PushedRequest, digest, with_for_update=True)
        if row is None or row.client_id != client_id or not request_uri.startswith(PREFIX):
            raise _unknown("unknown")
        if self._clock.now() >= row.expires_at:
            raise _unknown("expired")
        before = row.transaction_id
        if before is None:
            row.transaction_id = transaction_id
        opened = self._sealer.open(row.sealed, _context(digest))
        return Taken(AuthorizationRequest.model_validate_json(opened), before)


def _unknown(reason: str) -> Refused:
    return Refused(
        "request-unknown",
        "This sign-in link is no longer valid. Go back to the service and start again there.",
        reason=reason,
    )


def _context(digest: str) -> str:
    return f"idp_pushed_request.sealed/{digest}"
