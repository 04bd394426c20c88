"""Who is in front of a page: logins at this site, and the requests that are out at the identity provider.

Browser and database share only random tokens; the database keeps their SHA-256 (they cannot be
guessed, so a plain digest does). An answer of the identity provider is taken once, and only in the
browser that the request left from (RFC 9700, 4.7; OpenID Connect Core, 15.5.2).
"""

import hashlib
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, update
from starlette.requests import Request
from starlette.responses import Response

from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.core.errors import Refused
from tsp.core.randomness import Randomness, new_token
from tsp.sign.documents import Documents
from tsp.sign.oidc_client import Authorization, Tokens
from tsp.sign.tables import PendingAuthorization, SiteLogin, find_login, forget_expired
from tsp.web import Pages

#: OWASP ASVS 5.0, 7.3: an end without use, and an end in any case.
IDLE = timedelta(minutes=30)
ABSOLUTE = timedelta(hours=12)
#: A login may wait for a registration that begins in its middle.
REQUEST_LIFETIME = timedelta(hours=1)
_TOUCH = timedelta(seconds=60)
_SESSION, _BROWSER = "session", "browser"


@dataclass(frozen=True)
class Visitor:
    """A person who is logged in: subject at this site, name for the page, level of the login."""

    owner: str
    name: str
    acr: str


@dataclass(frozen=True)
class Returned:
    """A request whose answer the browser brought: its secrets, and what it was for."""

    nonce: str
    verifier: str
    back: str
    session_id: str | None
    attempt: str | None


class Visitors:
    """Begins, finds and ends logins; remembers requests."""

    def __init__(
        self, database: Database, documents: Documents, clock: Clock, randomness: Randomness, pages: Pages
    ) -> None:
        self._database = database
        self._documents = documents
        self._clock = clock
        self._randomness = randomness
        self._pages = pages

    # --- logins ---------------------------------------------------------------------------------

    def current(self, request: Request) -> Visitor | None:
        """The person of this request, if anybody."""
        token = self._pages.cookie(request, _SESSION)
        if not token:
            return None
        digest, now = _digest(token), self._clock.now()
        with self._database.read() as session:
            row = find_login(session, digest)
        if row is None or row.ends_at <= now or row.last_seen + IDLE <= now:
            return None
        if row.last_seen + _TOUCH <= now:
            with self._database.write() as session:
                session.execute(update(SiteLogin).where(SiteLogin.token_hash == digest).values(last_seen=now))
        return Visitor(row.owner, self._documents.open_text(row.name_sealed, _name_context(digest)), row.acr)

    def begin(self, response: Response, tokens: Tokens) -> None:
        """A new login with a new token, whatever cookie the browser had (ASVS 7.2.4)."""
        token, now = new_token(self._randomness), self._clock.now()
        digest = _digest(token)
        claims = tokens.id_claims
        name = f"{claims['given_name']} {claims['family_name']}"
        with self._database.write() as session:
            forget_expired(session, now)
            session.add(
                SiteLogin(
                    token_hash=digest,
                    owner=claims["sub"],
                    name_sealed=self._documents.seal_text(name, _name_context(digest)),
                    acr=claims["acr"],
                    last_seen=now,
                    ends_at=now + ABSOLUTE,
                )
            )
        self._pages.set_cookie(response, _SESSION, token)

    def end(self, request: Request, response: Response) -> None:
        """Ends the login on both sides."""
        token = self._pages.cookie(request, _SESSION)
        if token:
            with self._database.write() as session:
                session.execute(delete(SiteLogin).where(SiteLogin.token_hash == _digest(token)))
        self._pages.clear_cookie(response, _SESSION)

    # --- requests -------------------------------------------------------------------------------

    def remember(
        self,
        request: Request,
        response: Response,
        authorization: Authorization,
        *,
        back: str,
        session_id: str | None = None,
        attempt: str | None = None,
    ) -> None:
        """Keeps what an answer will be checked against, bound to this browser."""
        browser = self._pages.cookie(request, _BROWSER) or new_token(self._randomness)
        now, state = self._clock.now(), _digest(authorization.state)
        with self._database.write() as session:
            forget_expired(session, now)
            session.add(
                PendingAuthorization(
                    state_hash=state,
                    browser_hash=_digest(browser),
                    nonce=authorization.nonce,
                    verifier_sealed=self._documents.seal_text(authorization.verifier, _verifier_context(state)),
                    back=back,
                    session_id=session_id,
                    attempt=attempt,
                    ends_at=now + REQUEST_LIFETIME,
                )
            )
        self._pages.set_cookie(response, _BROWSER, browser, max_age=int(REQUEST_LIFETIME.total_seconds()))

    def take(self, request: Request, state: str) -> Returned:
        """The request that this answer belongs to, once. Raises `Refused` (login-unknown)."""
        browser, digest = self._pages.cookie(request, _BROWSER), _digest(state)
        with self._database.write() as session:
            row = session.get(PendingAuthorization, digest, with_for_update=True)
            if row is None or not browser or row.browser_hash != _digest(browser) or row.ends_at <= self._clock.now():
                raise Refused(
                    "login-unknown",
                    "This sign-in was begun in another browser, is too old or was already used. Please begin again.",
                )
            session.delete(row)
            verifier = self._documents.open_text(row.verifier_sealed, _verifier_context(digest))
            return Returned(row.nonce, verifier, row.back, row.session_id, row.attempt)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _name_context(digest: str) -> str:
    return f"site_login/name/{digest}"


def _verifier_context(digest: str) -> str:
    return f"site_authorization/verifier/{digest}"
