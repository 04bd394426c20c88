"""What a person may do with their own certificates."""

from collections.abc import Callable, Collection
from typing import Final

from sqlalchemy.orm import Session

from tsp.ca.inventory import Page, Question, find, search
from tsp.ca.revocation import Requester, Revocation, Revocations, check_reason, revocable, typed_serial
from tsp.ca.tables import Certificate
from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.core.errors import NotFound, Refused
from tsp.idp.accounts.notices import Notices
from tsp.idp.accounts.service import Accounts, AccountSession
from tsp.idp.accounts.texts import Texts
from tsp.idp.certificates.words import REASONS_TOLD
from tsp.idp.credentials.gate import Factor
from tsp.idp.oidc.tables import account_of

#: Certificates on one page.
PAGE: Final = 20
#: The references under which an account's certificates are known.
Subjects = Callable[[str], Collection[str]]


class OwnCertificates:
    """Shows a person's certificates, and revokes one on the password, typed again."""

    def __init__(
        self, database: Database, clock: Clock, accounts: Accounts, revocations: Revocations, subjects: Subjects
    ) -> None:
        self._database = database
        self._clock = clock
        self._accounts = accounts
        self._revocations = revocations
        self._subjects = subjects

    def list(self, account: AccountSession) -> list[Certificate]:
        """The valid certificates of the account that can be revoked, newest first."""
        with self._database.read() as session:
            return revocable(session, self._subjects(account.account_id), self._clock.now())

    def all(self, account: AccountSession, after: str) -> Page:
        """Every certificate of the account, the newest first, a page at a time; `Invalid` (cursor-malformed)."""
        with self._database.read() as session:
            asked = Question(holders=self._subjects(account.account_id))
            return search(session, asked, self._clock.now(), after=after, limit=PAGE)

    def one(self, account: AccountSession, serial: str) -> Certificate:
        """One certificate of the account; `NotFound` (certificate-unknown), also for somebody else's."""
        with self._database.read() as session:
            found = find(session, serial)
        if found.subject_ref not in self._subjects(account.account_id):
            raise NotFound("certificate-unknown", "There is no such certificate.")
        return found

    def revoke(self, account: AccountSession, serial: str, reason: str, password: str) -> Revocation:
        """Revokes one of them, for good. Opens its own transactions.

        The password is asked for again, whatever the session has proven: a revocation cannot be taken back.
        Raises `Refused` (password-wrong, revocation-reason-refused, certificate-not-revocable), `Invalid`
        (revocation-reason-unknown, serial-malformed), `NotFound` (certificate-unknown, also for somebody else's),
        `Conflict` (certificate-expired), `TooMany` (too-many-attempts).
        """
        check_reason(reason, "subject")
        number = typed_serial(serial)
        accounts = self._accounts
        attempt = accounts.gate.attempt((Factor.PASSWORD, account.account_id))
        with self._database.read() as session:
            right = accounts.passwords.check(session, account.account_id, password)
        if not right:
            raise Refused("password-wrong", "The password is not right.")
        requester, subjects = Requester("subject", account.account_id), self._subjects(account.account_id)
        with self._database.write() as session:
            accounts.gate.passed(session, attempt)
            return self._revocations.revoke(session, number, reason, requester, subjects=subjects)


def teller(notices: Notices, texts: Texts) -> Callable[[Session, Revocation], None]:
    """Tells the holder of a revoked certificate by e-mail, in the transaction of the revocation (REV-6.2.4-03)."""

    def tell(session: Session, done: Revocation) -> None:
        account_id = account_of(session, done.subject_ref or "")
        if not notices.reachable(session, account_id):
            return  # an account that was erased since: there is nobody to tell
        notices.tell(
            session,
            account_id,
            lambda language: texts.certificate_revoked(
                language, done.serial, done.revoked_at, REASONS_TOLD.get(done.reason, REASONS_TOLD["unspecified"])
            ),
            purpose="certificate-revoked",
        )

    return tell
