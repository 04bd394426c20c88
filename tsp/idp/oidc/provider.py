"""The endpoints that relying parties call, one method each; errors are those of the family.

Who proves what is written down before an answer leaves: a client assertion is spent, a code is
spent and an access token is kept, all durable, before a token is signed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from tsp.core.clock import Clock
from tsp.core.database import Database, insert_if_free, table_of
from tsp.core.errors import Invalid, NotFound, Refused
from tsp.core.randomness import Randomness
from tsp.core.sealing import Sealer
from tsp.idp.accounts.service import Accounts
from tsp.idp.credentials.keys import Mac
from tsp.idp.oidc import tokens
from tsp.idp.oidc.claims import person_claims
from tsp.idp.oidc.client_authentication import AuthenticatedClient, ClientAuthenticator
from tsp.idp.oidc.clients import CLIENT_SCOPES, Client, Clients
from tsp.idp.oidc.errors import invalid_grant, invalid_request, invalid_scope, invalid_token
from tsp.idp.oidc.grants import ACCESS_TOKEN_LIFETIME, Approval, Grants, Redeemed
from tsp.idp.oidc.keys import JwtKey
from tsp.idp.oidc.pushed import LIFETIME, PushedRequests
from tsp.idp.oidc.tables import ApprovalSubject


@dataclass(frozen=True)
class ProviderKeys:
    """The provider's keys in the token `identity`: ID Tokens, approvals, and the MAC for `sub`."""

    id_token: JwtKey
    approval: JwtKey
    subject: Mac


class OpenIdProvider:
    """An OpenID provider without pages; the login half (tsp/idp/login) has those."""

    def __init__(
        self,
        *,
        issuer: str,
        clients: Clients,
        accounts: Accounts,
        keys: ProviderKeys,
        database: Database,
        clock: Clock,
        randomness: Randomness,
        sealer: Sealer,
        max_documents: int,
    ) -> None:
        self.issuer = issuer
        self.clients = clients
        self.keys = keys
        self.pushed = PushedRequests(database, clock, randomness, sealer, max_documents=max_documents)
        self.grants = Grants(database, clock, randomness, sealer)
        self._authenticator = ClientAuthenticator(clients, database, clock, issuer)
        self._accounts = accounts
        self._database = database
        self._clock = clock

    def subject(self, sector: str, account_id: str) -> str:
        """The `sub` of an account for the clients of a sector."""
        return tokens.pairwise_subject(self.keys.subject, sector, account_id)

    def is_active(self, session: Session, account_id: str) -> bool:
        """Whether the account exists and is neither blocked nor ended."""
        try:
            return self._accounts.account(session, account_id).active
        except NotFound:
            return False

    # --- /par -----------------------------------------------------------------------------------

    def push(self, form: Mapping[str, str]) -> dict[str, Any]:
        """RFC 9126: authenticates the client, checks the request, answers with its reference.

        Raises `Refused` (invalid-client) and what `parse_request` raises.
        """
        authenticated = self._authenticator.authenticate(form)
        request_uri = self.pushed.push(authenticated.client, form)
        return {"request_uri": request_uri, "expires_in": int(LIFETIME.total_seconds())}

    # --- /token ---------------------------------------------------------------------------------

    def token(self, form: Mapping[str, str]) -> dict[str, Any]:
        """RFC 6749, 4.1.3 and 4.4.2. Raises `Refused` and `Invalid` with OAuth's codes."""
        authenticated = self._authenticator.authenticate(form)
        grant_type = form.get("grant_type")
        if grant_type not in ("authorization_code", "client_credentials"):
            raise Invalid("unsupported-grant-type", "grant_type must be authorization_code or client_credentials.")
        if grant_type not in authenticated.client.grants:
            raise Refused("unauthorized-client", "This client may not use this grant_type.")
        if grant_type == "client_credentials":
            return self._client_token(authenticated.client, form)
        return self._redeem(authenticated, form)

    def _client_token(self, client: Client, form: Mapping[str, str]) -> dict[str, Any]:
        scope = form.get("scope", "")
        if scope not in CLIENT_SCOPES or scope not in client.scopes:
            raise invalid_scope("scope must be one that this client is registered for.")
        return {
            "access_token": self.grants.client_token(client.client_id, scope),
            "token_type": "Bearer",
            "expires_in": int(ACCESS_TOKEN_LIFETIME.total_seconds()),
            "scope": scope,
        }

    def _redeem(self, authenticated: AuthenticatedClient, form: Mapping[str, str]) -> dict[str, Any]:
        missing = [name for name in ("code", "redirect_uri", "code_verifier") if not form.get(name)]
        if missing:
            raise invalid_request(f"{missing[0]} is missing.")
        client = authenticated.client
        redeemed = self.grants.redeem(client.client_id, form["code"], form["redirect_uri"], form["code_verifier"])
        answer = {"id_token": self._id_token(client, redeemed), "scope": " ".join(redeemed.grant.scopes)}
        if redeemed.grant.approval is not None:
            return answer | self._approval(authenticated, redeemed, redeemed.grant.approval)
        return answer | {
            "access_token": redeemed.access_token,
            "token_type": "Bearer",
            "expires_in": int(ACCESS_TOKEN_LIFETIME.total_seconds()),
        }

    def _id_token(self, client: Client, redeemed: Redeemed) -> str:
        grant = redeemed.grant
        with self._database.read() as session:
            if not self.is_active(session, grant.account_id):
                raise invalid_grant("account-not-active", client=client.client_id)
            released = person_claims(self._accounts, session, grant.account_id, grant.id_token_claims)
        claims = tokens.id_token(
            grant,
            issuer=self.issuer,
            client_id=client.client_id,
            subject=self.subject(client.sector, grant.account_id),
            claims=released,
            now=self._clock.now(),
        )
        return self.keys.id_token.sign(tokens.ID_TOKEN_TYPE, claims)

    def _approval(self, authenticated: AuthenticatedClient, redeemed: Redeemed, approval: Approval) -> dict[str, Any]:
        """The approval (SAD) as access token of the type `sad`, bound to the key that the client used."""
        now = self._clock.now()
        left = int((tokens.approval_expiry(approval) - now).total_seconds())
        subject = self._approval_subject(redeemed.grant.account_id)
        claims = tokens.signature_activation_data(
            redeemed.grant,
            approval,
            issuer=self.issuer,
            client_id=authenticated.client.client_id,
            key_thumbprint=authenticated.key_thumbprint,
            subject=subject,
            now=now,
        )
        return {
            "access_token": self.keys.approval.sign(tokens.APPROVAL_TYPE, claims),
            "token_type": "sad",
            "expires_in": left,
            "authorization_details": approval.details.as_authorization_details(),
        }

    def certificate_subjects(self, account_id: str) -> tuple[str, str]:
        """The references under which certificates of an account are known: of its approvals, and its own id."""
        return self.subject(tokens.APPROVAL_AUDIENCE, account_id), account_id

    def _approval_subject(self, account_id: str) -> str:
        """The `sub` of approvals, written down before the engine learns it: the way back to the account."""
        subject, _ = self.certificate_subjects(account_id)
        with self._database.read() as session:
            known = session.get(ApprovalSubject, subject) is not None
        if not known:
            with self._database.transaction() as connection:
                row = {"subject": subject, "account_id": account_id}
                insert_if_free(connection, table_of(ApprovalSubject), row)
        return subject

    # --- /userinfo and other resources -----------------------------------------------------------

    def userinfo(self, token: str) -> dict[str, Any]:
        """The claims that the person allowed (OpenID Connect Core, 5.3). Raises `Refused` (invalid-token)."""
        with self._database.read() as session:
            row = self.grants.find_token(session, token)
            if row is None or row.account_id is None:
                raise invalid_token("unknown")
            client = self.clients.get(row.client_id)
            if client is None or not self.is_active(session, row.account_id):
                raise invalid_token("ended")
            released = person_claims(self._accounts, session, row.account_id, set(row.claims) & client.claims)
            return {**released, "sub": self.subject(client.sector, row.account_id)}

    def client_of_token(self, token: str, scope: str) -> Client:
        """The client that speaks for itself with this token and scope: for the branch interface.

        Raises `Refused` (invalid-token, insufficient-scope).
        """
        with self._database.read() as session:
            row = self.grants.find_token(session, token)
            client = self.clients.get(row.client_id) if row is not None and row.account_id is None else None
            if row is None or client is None:
                raise invalid_token("unknown")
            if scope not in row.scopes or scope not in client.scopes:
                raise Refused("insufficient-scope", "This access token is not good for this.", scope=scope)
            return client
