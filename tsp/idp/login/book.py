"""The book of logins under way: finding one by its id and browser, telling where it stands, ending it.

`Logins` (flow.py) and `Approvals` (approvals.py) take the steps; everything that both need is here.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from tsp.audit.canonical import Json
from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.core.errors import Conflict, Refused
from tsp.core.sealing import Sealer
from tsp.idp.accounts.assurance import Level, Means
from tsp.idp.accounts.service import Accounts
from tsp.idp.login.steps import Facts, Step, next_step
from tsp.idp.login.tables import LoginTransaction, has_consented
from tsp.idp.oidc.clients import Client
from tsp.idp.oidc.grants import Approval, Grant
from tsp.idp.oidc.provider import OpenIdProvider
from tsp.idp.oidc.redirects import with_query
from tsp.idp.oidc.requests import AuthorizationRequest
from tsp.idp.session import hash_token

_ID = re.compile(r"[A-Za-z0-9_-]{22}")
#: Writes an entry of the audit log in the caller's transaction: (session, kind, facts).
Record = Callable[[Session, str, Mapping[str, Json]], None]


@dataclass(frozen=True)
class LoginLimits:
    """Times in seconds.

    `login`: from reaching the page to the end (LOG-3). `approval`: from seeing what is approved to
    the code. `parked`: how long a request can be taken up again. `signature_max_age`: how old the
    login may be when an approval is asked for; with the approval's own time and that of its token
    the signature stays within 30 minutes of it (ETSI TS 119 431-1 EUSPv2, SIG-A.5-09).
    """

    login: int = 180
    approval: int = 300
    parked: int = 3600
    signature_max_age: int = 1200


@dataclass(frozen=True)
class Open:
    """A login under way with what was asked and by whom."""

    row: LoginTransaction
    request: AuthorizationRequest
    client: Client

    @property
    def account_id(self) -> str:
        """The account, once the password was right."""
        if self.row.account_id is None:
            raise not_due()
        return self.row.account_id


@dataclass(frozen=True)
class Standing:
    """How far the account reaches what is asked: for the page that shows the way up."""

    acr: Level
    required: Level
    proofing: Level
    needs_data: bool
    has_data: bool

    @property
    def met(self) -> bool:
        return self.acr >= self.required and (self.has_data or not self.needs_data)


@dataclass(frozen=True)
class Outcome:
    """What a step led to: the answer's address at the service, or the next step of this login."""

    login_id: str
    step: Step
    redirect: str | None = None


class LoginBook:
    """Rows of `idp_login_transaction` and what follows from them."""

    def __init__(
        self,
        *,
        provider: OpenIdProvider,
        accounts: Accounts,
        database: Database,
        clock: Clock,
        sealer: Sealer,
        record: Record,
        limits: LoginLimits,
    ) -> None:
        self.provider = provider
        self.accounts = accounts
        self.database = database
        self.clock = clock
        self.record = record
        self.limits = limits
        self._sealer = sealer

    # --- finding --------------------------------------------------------------------------------

    def open(self, session: Session, login_id: str, browser: str | None, *, lock: bool = False) -> Open:
        """The login with this id in this browser; `lock` keeps others off it until the transaction ends.

        Raises `Refused` (login-unknown) where there is none: forgotten, another browser's, invented.
        """
        row = session.get(LoginTransaction, login_id, with_for_update=lock) if _ID.fullmatch(login_id) else None
        if row is None or browser is None or row.browser_hash != hash_token(browser):
            raise _unknown()
        client = self.provider.clients.get(row.client_id)
        if client is None or self.clock.now() >= row.forget_at:
            raise _unknown()
        opened = self._sealer.open(row.sealed, _context(row.id))
        return Open(row, AuthorizationRequest.model_validate_json(opened), client)

    def seal(self, login_id: str, request: AuthorizationRequest) -> bytes:
        """The request in the form that its row keeps."""
        return self._sealer.seal(request.model_dump_json().encode(), _context(login_id))

    # --- where it stands ------------------------------------------------------------------------

    def step(self, session: Session, login: Open) -> Step:
        """The step that is due."""
        row = login.row
        authenticated = row.auth_time is not None
        met = authenticated and self.standing(session, login).met
        return next_step(
            Facts(
                now=self.clock.now(),
                deadline=row.deadline,
                finished=row.finished_at is not None,
                password=row.account_id is not None,
                code_sent=row.method is not None,
                authenticated=authenticated,
                level_met=met,
                consented=met and self._consented(session, login),
                approval_asked=login.request.signature is not None,
                approval_deadline=row.approval_deadline,
            )
        )

    def standing(self, session: Session, login: Open) -> Standing:
        """The level that this login reaches, computed from what really happened (OID-2)."""
        account_id = login.account_id
        proofing = self.accounts.proofing(session, account_id).level
        acr = self.accounts.policy.acr(proofing, means_of(login.row))
        return Standing(
            acr=acr or Level.LOW,
            required=login.request.required_level,
            proofing=proofing,
            needs_data=login.client.required_data or login.request.signature is not None,
            has_data=self.accounts.has_personal_data(session, account_id),
        )

    def _consented(self, session: Session, login: Open) -> bool:
        if login.row.consented_at is not None:
            return True
        remembered = has_consented(session, login.account_id, login.client.client_id, login.request.released_claims)
        return remembered and "consent" not in login.request.prompts

    def proceed(self, session: Session, login: Open) -> Outcome:
        """After a step, in the caller's write transaction: the next one, or the answer to the service."""
        step = self.step(session, login)
        if step is Step.DONE:
            return self.finish(session, login)
        if "none" in login.request.prompts:
            return self.fail(session, login, _WITHOUT_PAGES.get(step, "interaction_required"))
        if step is Step.APPROVE and login.row.approval_deadline is None:
            login.row.approval_deadline = self.clock.now() + timedelta(seconds=self.limits.approval)
        return Outcome(login.row.id, step)

    # --- ending ---------------------------------------------------------------------------------

    def finish(
        self, session: Session, login: Open, approval: Approval | None = None, means: frozenset[Means] = frozenset()
    ) -> Outcome:
        """Issues the code and answers the service. `means` were proven for the approval besides."""
        row, request = login.row, login.request
        standing = self.standing(session, login)
        if not standing.met or row.auth_time is None or (request.signature is None) != (approval is None):
            raise not_due()
        # An approval for which the password was asked again is an authentication of its own.
        fresh = approval is not None and Means.PASSWORD in means
        grant = Grant(
            account_id=login.account_id,
            redirect_uri=request.redirect_uri,
            nonce=request.nonce,
            code_challenge=request.code_challenge,
            scopes=request.scopes,
            id_token_claims=request.id_token_claims,
            userinfo_claims=request.userinfo_claims,
            acr=standing.acr,
            means=means_of(row) | means,
            auth_time=approval.approved_at if approval is not None and fresh else row.auth_time,
            approval=approval,
        )
        code = self.provider.grants.issue(session, login.client.client_id, grant)
        row.finished_at = self.clock.now()
        self.record(session, "approval-granted" if approval else "login-finished", self._facts(login, grant))
        return Outcome(row.id, Step.FINISHED, self._answer(request, {"code": code}))

    def fail(self, session: Session, login: Open, error: str) -> Outcome:
        """Answers the service with an error (RFC 6749, 4.1.2.1; OpenID Connect Core, 3.1.2.6)."""
        login.row.finished_at = self.clock.now()
        return Outcome(login.row.id, Step.FINISHED, self._answer(login.request, {"error": error}))

    def _answer(self, request: AuthorizationRequest, values: dict[str, str]) -> str:
        """The redirect with `iss` (RFC 9207) and `state`."""
        state = [] if request.state is None else [("state", request.state)]
        return with_query(request.redirect_uri, [*values.items(), ("iss", self.provider.issuer), *state])

    def _facts(self, login: Open, grant: Grant) -> dict[str, Json]:
        facts: dict[str, Json] = {
            "account": grant.account_id,
            "acr": grant.acr.uri,
            "auth_time": int(grant.auth_time.timestamp()),
            "claims": list(login.request.released_claims),
            "client": login.client.client_id,
            "means": sorted(grant.means),
        }
        if grant.approval is not None:
            details = grant.approval.details
            facts |= {
                "digests": [document.digest_signed for document in details.documents],
                "jti": grant.approval.jti,
                "kind": details.kind,
                "session": details.session,
                "verification": grant.approval.verification_id,
            }
        return facts


#: prompt=none: what a service is told where a page would be needed.
_WITHOUT_PAGES = {
    Step.PASSWORD: "login_required",
    Step.METHOD: "login_required",
    Step.CODE: "login_required",
    Step.CONSENT: "consent_required",
}


def means_of(row: LoginTransaction) -> frozenset[Means]:
    """What was proven so far."""
    return frozenset(Means(name) for name in row.means)


def seconds_left(row: LoginTransaction, step: Step, now: datetime) -> int:
    """Until the clock of this step runs out, never less than nothing."""
    end = row.approval_deadline if step is Step.APPROVE and row.approval_deadline else row.deadline
    return max(0, int((end - now).total_seconds()))


def not_due() -> Conflict:
    """Somebody was faster: another tab, a double click."""
    return Conflict("login-step", "This step is not due. Please go on with the page that is shown now.")


def finished() -> Conflict:
    return Conflict("login-finished", "This sign-in is finished. Go back to the service; you can start again there.")


def _unknown() -> Refused:
    return Refused(
        "login-unknown",
        "This sign-in is not known in this browser. Go back to the service and start again there.",
    )


def _context(login_id: str) -> str:
    return f"idp_login_transaction.sealed/{login_id}"
