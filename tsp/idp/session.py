"""The session that a browser has with the identity provider after a login.

The cookie holds a random token, the database its SHA-256. Each login makes a new session
(OWASP ASVS 5.0, 7.2.4); it ends after a time without use, at latest after `absolute_seconds`
(7.3.1, 7.3.2), at logout, and with the account.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, update
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.core.randomness import Randomness, new_token
from tsp.idp.accounts.assurance import Means
from tsp.idp.login.tables import IdpSession, take_back
from tsp.web import Pages

#: A session's last use is written down at most this often: not every page load is a write.
_TOUCH_SECONDS = 30
_COOKIE = "session"
#: The cookie that logins under way belong to.
BROWSER_COOKIE = "browser"


@dataclass(frozen=True)
class CurrentSession:
    """Who is logged in, when the login was, and what was proven at it."""

    id: str
    account_id: str
    means: frozenset[Means]
    auth_time: datetime


def hash_token(token: str) -> str:
    """The form in which a 256-bit bearer secret is kept: it cannot be guessed, so a plain SHA-256 does."""
    return hashlib.sha256(token.encode()).hexdigest()


class Sessions:
    """Begins, finds and ends sessions. Times in seconds."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        randomness: Randomness,
        pages: Pages,
        *,
        idle_seconds: int = 900,
        absolute_seconds: int = 12 * 3600,
    ) -> None:
        self._database = database
        self._clock = clock
        self._randomness = randomness
        self._pages = pages
        self._idle = timedelta(seconds=idle_seconds)
        self._absolute = timedelta(seconds=absolute_seconds)

    def current(self, request: Request) -> CurrentSession | None:
        """The live session of this browser, and marks it as used; None where there is none."""
        token = self._pages.cookie(request, _COOKIE)
        if not token:
            return None
        now = self._clock.now()
        digest = hash_token(token)
        with self._database.read() as session:
            row = session.get(IdpSession, digest)
            if row is None or now >= row.ends_at or now - row.last_seen >= self._idle:
                return None
            stale = now - row.last_seen >= timedelta(seconds=_TOUCH_SECONDS)
            found = CurrentSession(digest, row.account_id, frozenset(Means(m) for m in row.means), row.auth_time)
        if stale:
            with self._database.write() as session:
                session.execute(update(IdpSession).where(IdpSession.token_hash == digest).values(last_seen=now))
        return found

    def begin(self, session: Session, account_id: str, means: frozenset[Means]) -> str:
        """Makes a session in the caller's transaction and returns its token, for `attach`.

        `means` is what was proven just now.
        """
        now = self._clock.now()
        session.execute(delete(IdpSession).where(IdpSession.ends_at <= now))
        token = new_token(self._randomness)
        session.add(
            IdpSession(
                token_hash=hash_token(token),
                account_id=account_id,
                means=sorted(means),
                auth_time=now,
                last_seen=now,
                ends_at=now + self._absolute,
            )
        )
        return token

    def attach(self, response: Response, token: str) -> None:
        """Gives the browser its session; call it only when the transaction of `begin` is durable."""
        self._pages.set_cookie(response, _COOKIE, token)

    def end(self, request: Request, response: Response) -> None:
        """Logout: ends this browser's session and what it was logged in for, and takes the cookie back."""
        token, browser = self._pages.cookie(request, _COOKIE), self._pages.cookie(request, BROWSER_COOKIE)
        with self._database.write() as session:
            if token:
                session.execute(delete(IdpSession).where(IdpSession.token_hash == hash_token(token)))
            if browser:
                take_back(session, hash_token(browser), self._clock.now())
        self._pages.clear_cookie(response, _COOKIE)

    def end_all(self, session: Session, account_id: str) -> None:
        """Ends every session of an account: after a password change, a block, or the account's end."""
        session.execute(delete(IdpSession).where(IdpSession.account_id == account_id))
