"""Authorization codes: what a login gave to a client, redeemable once.

A code is spent by its first presentation, right or wrong: whoever presents it with another client,
address or verifier has come by it in a way that it was not meant for. A second presentation takes
back the access token that the first one gave (RFC 6749, 4.1.2; OWASP ASVS 5.0, 10.4.2).
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict
from sqlalchemy import delete
from sqlalchemy.orm import Session

from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.core.randomness import Randomness, new_token
from tsp.core.sealing import Sealer
from tsp.idp.accounts.assurance import Level, Means
from tsp.idp.oidc.details import SignatureDetails
from tsp.idp.oidc.errors import invalid_grant
from tsp.idp.oidc.tables import AccessToken, AuthorizationCode
from tsp.idp.session import hash_token

#: FAPI 2.0, 5.3.2.2: at most 60 seconds.
CODE_LIFETIME = timedelta(seconds=60)
#: How long a spent code is remembered, so that its second use is recognised.
CODE_MEMORY = timedelta(days=1)
ACCESS_TOKEN_LIFETIME = timedelta(minutes=5)

_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


class _Value(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Signatory(_Value):
    """The person whose name will stand in the certificate, as the approval page showed it."""

    given_name: str
    family_name: str
    country: str
    serial_number: str


class Approval(_Value):
    """What a person approved, when, and who they are proven to be. `jti` names it everywhere."""

    jti: str
    details: SignatureDetails
    signatory: Signatory
    verification_id: str
    approved_at: datetime


class Grant(_Value):
    """What a login gave: facts of the login, and what may be released."""

    account_id: str
    redirect_uri: str
    nonce: str | None
    code_challenge: str
    scopes: tuple[str, ...]
    id_token_claims: tuple[str, ...]
    userinfo_claims: tuple[str, ...]
    acr: Level
    means: frozenset[Means]
    auth_time: datetime
    approval: Approval | None


@dataclass(frozen=True)
class Redeemed:
    """A grant that was just redeemed, and the access token that goes with it (None beside an approval)."""

    grant: Grant
    access_token: str | None


class Grants:
    """Issues and redeems codes."""

    def __init__(self, database: Database, clock: Clock, randomness: Randomness, sealer: Sealer) -> None:
        self._database = database
        self._clock = clock
        self._randomness = randomness
        self._sealer = sealer

    def issue(self, session: Session, client_id: str, grant: Grant) -> str:
        """A code for the redirect, in the caller's transaction."""
        now = self._clock.now()
        code = new_token(self._randomness)
        session.add(
            AuthorizationCode(
                code_hash=hash_token(code),
                client_id=client_id,
                account_id=grant.account_id,
                sealed=self._sealer.seal(grant.model_dump_json().encode(), _context(hash_token(code))),
                expires_at=now + CODE_LIFETIME,
                forget_at=now + CODE_MEMORY,
                used_at=None,
            )
        )
        return code

    def redeem(self, client_id: str, code: str, redirect_uri: str, verifier: str) -> Redeemed:
        """Spends the code; of several contenders one succeeds. Opens its own write transaction.

        Raises `Refused` (invalid-grant), after what a second use takes back is durable.
        """
        with self._database.write() as session:
            outcome = self._spend(session, client_id, code, redirect_uri, verifier)
        if isinstance(outcome, str):
            raise invalid_grant(outcome, client=client_id)
        return outcome

    def _spend(self, session: Session, client_id: str, code: str, redirect_uri: str, verifier: str) -> Redeemed | str:
        """The grant, or why there is none. It returns in both cases, so that what it wrote stays."""
        row = session.get(AuthorizationCode, hash_token(code), with_for_update=True)
        if row is None:
            return "unknown"
        if row.used_at is not None:
            session.execute(delete(AccessToken).where(AccessToken.code_hash == row.code_hash))
            return "reused"
        row.used_at = self._clock.now()
        if row.client_id != client_id:
            return "other-client"
        if row.used_at >= row.expires_at:
            return "expired"
        grant = Grant.model_validate_json(self._sealer.open(row.sealed, _context(row.code_hash)))
        if grant.redirect_uri != redirect_uri:
            return "other-redirect-uri"
        if not _fits(verifier, grant.code_challenge):
            return "verifier"
        return Redeemed(grant, None if grant.approval else self._access_token(session, row, grant))

    def _access_token(self, session: Session, row: AuthorizationCode, grant: Grant) -> str:
        token = new_token(self._randomness)
        session.add(
            AccessToken(
                token_hash=hash_token(token),
                client_id=row.client_id,
                account_id=grant.account_id,
                code_hash=row.code_hash,
                scopes=list(grant.scopes),
                claims=list(grant.userinfo_claims),
                expires_at=self._clock.now() + ACCESS_TOKEN_LIFETIME,
            )
        )
        return token

    def client_token(self, client_id: str, scope: str) -> str:
        """An access token for the client itself (RFC 6749, 4.4). Opens its own write transaction."""
        token = new_token(self._randomness)
        with self._database.write() as session:
            session.add(
                AccessToken(
                    token_hash=hash_token(token),
                    client_id=client_id,
                    account_id=None,
                    code_hash=None,
                    scopes=[scope],
                    claims=[],
                    expires_at=self._clock.now() + ACCESS_TOKEN_LIFETIME,
                )
            )
        return token

    def find_token(self, session: Session, token: str) -> AccessToken | None:
        """The live access token; None for one that is unknown, expired or revoked."""
        row = session.get(AccessToken, hash_token(token))
        return row if row is not None and self._clock.now() < row.expires_at else None


def _fits(verifier: str, challenge: str) -> bool:
    """RFC 7636, 4.6 for S256."""
    if not _VERIFIER.fullmatch(verifier):
        return False
    computed = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    return hmac.compare_digest(computed, challenge)


def _context(code_hash: str) -> str:
    return f"idp_authorization_code.sealed/{code_hash}"
