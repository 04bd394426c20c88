"""Messages to the holder of an account, at its notification address and in its language."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from tsp.core.errors import NotFound
from tsp.core.sealing import Sealer
from tsp.idp.accounts import tables
from tsp.idp.accounts.texts import MailText
from tsp.notify.outbox import Outbox


@dataclass(frozen=True)
class Recipient:
    """Where an account's notices go."""

    address: str
    address_index: str
    language: str


class Notices:
    """Writes to account holders, in the caller's transaction."""

    def __init__(self, sealer: Sealer, outbox: Outbox) -> None:
        self._sealer = sealer
        self._outbox = outbox

    def recipient(self, session: Session, account_id: str) -> Recipient:
        """The notification address and language of an account. `NotFound` (account-unknown)."""
        row = tables.notification_email(session, account_id)
        if row is None:
            raise NotFound("account-unknown", "There is no such account.")
        address = self._sealer.open(row.sealed, email_context(row.id)).decode()
        language = session.get_one(tables.Account, account_id).language
        return Recipient(address, row.address_index or row.id, language)

    def reachable(self, session: Session, account_id: str) -> bool:
        """Whether there is such an account, with an address for notices."""
        return tables.notification_email(session, account_id) is not None

    def tell(
        self,
        session: Session,
        account_id: str,
        words: Callable[[str], MailText],
        *,
        purpose: str,
        expires_at: datetime | None = None,
    ) -> None:
        """Sends a mail; `words` gets the account's language."""
        to = self.recipient(session, account_id)
        mail = words(to.language)
        self._outbox.mail(session, to.address, mail.subject, mail.text, purpose=purpose, expires_at=expires_at)


def email_context(row_id: str) -> str:
    """The context under which an e-mail address is sealed."""
    return f"account_email.sealed/{row_id}"


def phone_context(row_id: str) -> str:
    """The context under which a phone number is sealed."""
    return f"account_phone.sealed/{row_id}"
