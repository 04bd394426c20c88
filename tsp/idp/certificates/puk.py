"""Revocation by PUK: for who has lost phone and password, or fears that others have them.

An address, an e-mailed code and the PUK together revoke every certificate of the account that can be revoked. Who
does not have the account learns nothing of it: a code is made and asked for whatever the address is.
"""

import hashlib

from sqlalchemy.orm import Session

from tsp.ca.revocation import Requester, Revocation, Revocations, check_reason, revocable
from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.core.errors import NotFound, Refused
from tsp.idp.accounts.contacts import normal_email
from tsp.idp.accounts.notices import Notices
from tsp.idp.accounts.service import AccountRef, Accounts
from tsp.idp.accounts.texts import Texts
from tsp.idp.certificates.service import Subjects
from tsp.idp.credentials.codes import SentCode
from tsp.idp.credentials.gate import Factor
from tsp.idp.credentials.keys import Index

_PURPOSE = "revocation"


class PukRevocation:
    """Sends the code, and takes it back together with the PUK."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        index: Index,
        accounts: Accounts,
        notices: Notices,
        texts: Texts,
        revocations: Revocations,
        subjects: Subjects,
    ) -> None:
        self._database = database
        self._clock = clock
        self._index = index
        self._accounts = accounts
        self._notices = notices
        self._texts = texts
        self._revocations = revocations
        self._subjects = subjects

    def send(self, email: str, token: str) -> SentCode:
        """Sends a code to the account's notification address, where there is such an account.

        `token` is the browser's own random one: the code is good there alone. Raises `TooMany` (code-cooldown,
        too-many-messages), for any address alike.
        """
        name = self._name(email)
        codes = self._accounts.codes
        with self._database.write() as session:
            sent, code = codes.issue(
                session, _PURPOSE, _reference(token), name.encode(), owner=name, sent_to=(Factor.MAIL_SENT, name)
            )
            account = self._account(session, email)
            if account is not None:
                minutes = codes.rules.minutes
                self._notices.tell(
                    session,
                    account.id,
                    lambda language: self._texts.revocation_code(language, code, minutes),
                    purpose="revocation-code",
                    expires_at=sent.expires_at,
                )
        return sent

    def state(self, token: str) -> SentCode | None:
        """The code that this browser waits for."""
        with self._database.read() as session:
            return self._accounts.codes.state(session, _PURPOSE, _reference(token))

    def revoke(self, email: str, token: str, code: str, puk: str, reason: str) -> list[Revocation]:
        """Revokes every certificate of the account that can be revoked; what they were. Opens its own transactions.

        The PUK is used up with it, the next login shows a new one. Raises `Refused` (revocation-wrong: code, PUK or
        address, not saying which; code-expired, code-used, code-spent), `NotFound` (certificates-none: code and PUK
        stay good), `TooMany` (too-many-attempts), and what `check_reason` raises.
        """
        check_reason(reason, "subject")
        name = self._name(email)
        codes, puks = self._accounts.codes, self._accounts.puks
        by_code = codes.attempt(_PURPOSE, _reference(token))
        with self._database.read() as session:
            known = self._account(session, email)
        # One count for one PUK, wherever it is tried; who has no account is counted all the same.
        by_puk = self._accounts.gate.attempt((Factor.PUK, known.id if known is not None else name))
        with self._database.write() as session:
            account = self._account(session, email)
            try:
                codes.check(session, by_code, name.encode(), code)
            except Refused as error:
                raise _wrong() if error.code == "code-wrong" else error from None
            if account is None or not puks.check(session, by_puk, account.id, puk):
                raise _wrong()
            found = revocable(session, self._subjects(account.id), self._clock.now())
            if not found:
                raise NotFound("certificates-none", "There is no certificate that could be revoked.")
            requester = Requester("subject", account.id, evidence="puk")
            done = [self._revocations.revoke(session, row.serial, reason, requester) for row in found]
            puks.forget(session, account.id)
        return done

    def _account(self, session: Session, email: str) -> AccountRef | None:
        account = self._accounts.find_by_email(session, email)
        return account if account is not None and account.active else None

    def _name(self, email: str) -> str:
        return self._index.of("email", normal_email(email))


def _reference(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _wrong() -> Refused:
    return Refused("revocation-wrong", "The code or the PUK is not right. Check both and try again.")
