"""Approving a signature: its own fresh code, bound to everything that the page shows (SIG-3, SIG-5, EVD-4).

A tick is not an approval (ETSI TS 119 431-1, SIG-6.3.1-15 and -16), and the code of the login is
none either. A qualified signature asks for the password again: an authentication for this very
signature. An approval by code says nothing that the provider could not have said itself; a person's
own key (a later means) will.
"""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from tsp.core.errors import Refused
from tsp.core.randomness import Randomness, new_id
from tsp.idp.accounts.assurance import Means
from tsp.idp.credentials.gate import Attempt, Factor
from tsp.idp.login.book import LoginBook, Open, Outcome, not_due
from tsp.idp.login.methods import APPROVAL, Methods, SecondMeans
from tsp.idp.login.steps import Step
from tsp.idp.login.texts import approval_context, approval_text
from tsp.idp.oidc.details import SignatureDetails
from tsp.idp.oidc.grants import Approval, Signatory
from tsp.web.language import Languages

#: Kinds for which the password is asked again.
PASSWORD_KINDS = frozenset({"qualified"})


@dataclass(frozen=True)
class _Due:
    """An approval that is due, with what its code is bound to."""

    account_id: str
    details: SignatureDetails
    context: bytes
    means: SecondMeans | None


@dataclass(frozen=True)
class _Password:
    """A password that was looked at; whether it was right is said only together with the code."""

    attempt: Attempt
    right: bool


class Approvals:
    """Sends the code of an approval and takes it back."""

    def __init__(
        self, book: LoginBook, methods: Methods, randomness: Randomness, languages: Languages, site: str
    ) -> None:
        self._book = book
        self._randomness = randomness
        self._methods = methods
        self._languages = languages
        self._site = site

    def send(self, login_id: str, browser: str | None, choice: str) -> Outcome:
        """Sends a code that names kind, service, document and digest.

        Raises `NotFound` (method-unknown), `TooMany` (code-cooldown, too-many-messages).
        """
        book = self._book
        with book.database.write() as session:
            login = book.open(session, login_id, browser, lock=True)
            if book.step(session, login) is not Step.APPROVE:
                return book.proceed(session, login)
            due = self._due(login)
            means, offered = self._methods.chosen(session, due.account_id, choice)
            means.send(
                session,
                due.account_id,
                offered.value,
                purpose=APPROVAL,
                reference=login_id,
                context=due.context,
                text=lambda code, language: approval_text(
                    self._languages, language, code=code, site=self._site, client=login.client, details=due.details
                ),
            )
            login.row.approval_method = offered.value
            return book.proceed(session, login)

    def approve(self, login_id: str, browser: str | None, code: str, password: str) -> Outcome:
        """The approval itself, and with it the answer to the service.

        Raises `Refused` (approval-wrong: code or password, not saying which; code-expired, code-used,
        code-spent) and `TooMany`. For kinds without password `password` is not looked at.
        """
        book = self._book
        with book.database.read() as session:
            login = book.open(session, login_id, browser)
            step = book.step(session, login)
            if step is not Step.APPROVE:
                return Outcome(login_id, step)
            due = self._due(login)
        if due.means is None:
            raise Refused("code-expired", "This code is no longer valid. Ask for a new one.")
        again = self._look_at_password(due, password) if due.details.kind in PASSWORD_KINDS else None
        answered: list[Outcome] = []

        def then(session: Session) -> None:
            answered.append(self._approved(session, book.open(session, login_id, browser, lock=True), due, again))

        try:
            due.means.check(code, then, purpose=APPROVAL, reference=login_id, context=due.context)
        except Refused as error:
            raise _wrong() if again is not None and error.code == "code-wrong" else error from None
        return answered[0]

    def _look_at_password(self, due: _Due, password: str) -> _Password:
        """Always done before the code, so that time does not tell which of the two was wrong."""
        accounts = self._book.accounts
        attempt = accounts.gate.attempt((Factor.PASSWORD, due.account_id))
        with self._book.database.read() as session:
            return _Password(attempt, accounts.passwords.check(session, due.account_id, password))

    def _approved(self, session: Session, login: Open, due: _Due, again: _Password | None) -> Outcome:
        """In the transaction that spends the code: a refusal here leaves the code unspent, its try counted."""
        book = self._book
        if book.step(session, login) is not Step.APPROVE or due.means is None or self._due(login) != due:
            raise not_due()
        means = {due.means.means}
        if again is not None:
            if not again.right:
                raise _wrong()
            book.accounts.gate.passed(session, again.attempt)
            means.add(Means.PASSWORD)
        return book.finish(session, login, self._approval(session, due), frozenset(means))

    def _approval(self, session: Session, due: _Due) -> Approval:
        accounts = self._book.accounts
        identity = accounts.identity(session, due.account_id)
        verification = accounts.proofing(session, due.account_id).verification_id
        if identity is None or verification is None:
            raise not_due()
        return Approval(
            jti=new_id(self._randomness),
            details=due.details,
            signatory=Signatory(
                given_name=identity.given_name,
                family_name=identity.family_name,
                country=identity.country,
                serial_number=identity.serial_number,
            ),
            verification_id=verification,
            approved_at=self._book.clock.now(),
        )

    def _due(self, login: Open) -> _Due:
        details = login.request.signature
        if details is None:
            raise not_due()
        row = login.row
        context = approval_context(
            details, login_id=row.id, account_id=login.account_id, client_id=login.client.client_id
        )
        method = row.approval_method
        return _Due(login.account_id, details, context, self._methods.named(method) if method else None)


def _wrong() -> Refused:
    return Refused("approval-wrong", "The code or the password is not right. Check both and try again.")
