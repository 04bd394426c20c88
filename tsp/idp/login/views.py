"""What the pages show: where a login stands, read in one transaction."""

from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from tsp.idp.credentials.codes import SentCode
from tsp.idp.login.approvals import PASSWORD_KINDS
from tsp.idp.login.book import LoginBook, Open, Standing, seconds_left
from tsp.idp.login.methods import APPROVAL, LOGIN, Choice, Methods
from tsp.idp.login.steps import Step
from tsp.idp.login.texts import list_digest
from tsp.idp.oidc.claims import ClaimValues, person_claims
from tsp.idp.oidc.clients import Client
from tsp.idp.oidc.requests import AuthorizationRequest


@dataclass(frozen=True)
class View:
    """A login as its page needs it; what belongs to other steps is empty."""

    login_id: str
    step: Step
    client: Client
    request: AuthorizationRequest
    seconds_left: int
    #: Whether the clock is that of an approval.
    approving: bool
    #: Choice of means (also of those for an approval), the one that was asked by, and until when it waits.
    choices: tuple[Choice, ...] = ()
    chosen: Choice | None = None
    sent: SentCode | None = None
    resend_seconds: int = 0
    standing: Standing | None = None
    #: Claims that go to the service, with their values.
    released: ClaimValues | None = None
    signatory: str = ""
    list_digest: str = ""
    needs_password: bool = False


class Views:
    """Reads a login for its page."""

    def __init__(self, book: LoginBook, methods: Methods) -> None:
        self._book = book
        self._methods = methods

    def view(self, login_id: str, browser: str | None) -> View:
        """Where the login stands. Raises `Refused` (login-unknown)."""
        book = self._book
        with book.database.read() as session:
            login = book.open(session, login_id, browser)
            step = book.step(session, login)
            left = seconds_left(login.row, step, book.clock.now())
            approving = login.row.approval_deadline is not None
            view = View(login_id, step, login.client, login.request, left, approving)
            return view if login.row.account_id is None else self._of_step(session, login, view)

    def _of_step(self, session: Session, login: Open, view: View) -> View:
        if view.step in (Step.METHOD, Step.CODE):
            return self._asked(session, login, view, LOGIN, login.row.method)
        if view.step is Step.LEVEL:
            return replace(view, standing=self._book.standing(session, login))
        if view.step is Step.CONSENT:
            released = person_claims(self._book.accounts, session, login.account_id, login.request.released_claims)
            return replace(view, released=released)
        if view.step is Step.APPROVE:
            return self._approval(session, login, view)
        return view

    def _asked(self, session: Session, login: Open, view: View, purpose: str, method: str | None) -> View:
        choices = tuple(self._methods.choices(session, login.account_id))
        chosen = next((choice for choice in choices if choice.value == method), None)
        sent = self._methods.named(method).sent(session, purpose, login.row.id) if method else None
        wait = (sent.resend_at - self._book.clock.now()).total_seconds() if sent else 0
        return replace(view, choices=choices, chosen=chosen, sent=sent, resend_seconds=max(0, round(wait)))

    def _approval(self, session: Session, login: Open, view: View) -> View:
        details = login.request.signature
        identity = self._book.accounts.identity(session, login.account_id)
        if details is None or identity is None:
            return view
        return replace(
            self._asked(session, login, view, APPROVAL, login.row.approval_method),
            signatory=f"{identity.given_name} {identity.family_name}",
            list_digest=list_digest(details),
            needs_password=details.kind in PASSWORD_KINDS,
        )
