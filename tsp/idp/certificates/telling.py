"""Tells people of every certificate in their name (EVD-6): one mail for what was issued in a day.

A certificate for a single signature comes with every signature, so each person gets one list instead of a mail for
each: when the oldest certificate of which they were not told is a day old (`idp.certificate_notice_seconds`; 0 tells
at once). The mark that they were told is set in the transaction that puts the mail into the outbox.
"""

from datetime import timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from tsp.ca.tables import Certificate
from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.idp.accounts.notices import Notices
from tsp.idp.accounts.texts import MailText, Texts
from tsp.idp.certificates.words import KINDS, OTHER_KIND
from tsp.idp.oidc.tables import account_of

#: Certificates that one mail lists; of more it tells the number, and the page shows them all.
MOST_LISTED: Final = 40
_PEOPLE: Final = 500
#: Certificates that one mail tells of, at most: what is left is told by the next.
_TOLD_TOGETHER: Final = 2000


class CertificateNotices:
    """Writes the mails that are due. Any number of processes may do so: each certificate is told of once."""

    def __init__(
        self, database: Database, clock: Clock, notices: Notices, texts: Texts, *, after: timedelta, page: str
    ) -> None:
        """`after` is how long the oldest may wait, `page` the address where the person sees all of them."""
        self._database = database
        self._clock = clock
        self._notices = notices
        self._texts = texts
        self._after = after
        self._page = page

    def tell_due(self) -> int:
        """Tells those for whom it is time, some hundred at once; of how many certificates that was.

        Raises `Unavailable` where the database does not answer; who was told by then stays told.
        """
        told = 0
        for holder in self._due():
            with self._database.write() as session:
                told += self._tell(session, holder)
        return told

    def _due(self) -> list[str]:
        oldest = self._clock.now() - self._after
        waiting = (
            select(Certificate.subject_ref)
            .where(Certificate.told_at.is_(None), Certificate.subject_ref.is_not(None), Certificate.issued_at <= oldest)
            .order_by(Certificate.issued_at)
            .limit(_PEOPLE)
        )
        with self._database.read() as session:
            return [holder for holder in dict.fromkeys(session.scalars(waiting)) if holder is not None]

    def _tell(self, session: Session, holder: str) -> int:
        untold = (
            select(Certificate)
            .where(Certificate.subject_ref == holder, Certificate.told_at.is_(None))
            .order_by(Certificate.issued_at)
            .limit(_TOLD_TOGETHER)
            .with_for_update(skip_locked=True)
        )
        rows = list(session.scalars(untold))
        now = self._clock.now()
        for row in rows:
            row.told_at = now
        account_id = account_of(session, holder)
        if rows and self._notices.reachable(session, account_id):
            self._notices.tell(
                session, account_id, lambda language: self._words(language, rows), purpose="certificates"
            )
        return len(rows)

    def _words(self, language: str, rows: list[Certificate]) -> MailText:
        lines = [(f"{row.issued_at:%Y-%m-%d %H:%M}", KINDS.get(row.profile, OTHER_KIND), row.serial) for row in rows]
        return self._texts.certificates_issued(language, lines[:MOST_LISTED], len(lines), self._page)
