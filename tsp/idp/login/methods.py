"""The means that a person can add to the password: a table with one row per means.

Another means is another class with the same four methods in the table of `app.py`; flow and pages
know only this interface. One channel never counts twice: what a login reached is the set of means
that were proven (OID-2).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy.orm import Session

from tsp.core.errors import NotFound
from tsp.idp.accounts.assurance import Means
from tsp.idp.accounts.service import Accounts, TextBuilder
from tsp.idp.credentials.codes import SentCode

#: What a second means is asked for.
LOGIN = "login"
APPROVAL = "approval"


@dataclass(frozen=True)
class Choice:
    """One button of the page that offers the means; `title` and `detail` are msgids."""

    value: str
    title: str
    detail: str
    icon: str
    values: dict[str, str] = field(default_factory=dict)


class SecondMeans(Protocol):
    """One kind of second means. `purpose` is LOGIN or APPROVAL, `reference` the login's id."""

    name: str
    means: Means

    def choices(self, session: Session, account_id: str) -> Sequence[Choice]:
        """What this account can use; empty where it has nothing of the kind."""
        ...

    def send(
        self,
        session: Session,
        account_id: str,
        choice: str,
        *,
        purpose: str,
        reference: str,
        context: bytes,
        text: TextBuilder,
    ) -> None:
        """Asks the person, in the caller's transaction. Raises `TooMany`, `NotFound`."""
        ...

    def sent(self, session: Session, purpose: str, reference: str) -> SentCode | None:
        """The request that still waits for an answer; None for none."""
        ...

    def check(
        self, answer: str, then: Callable[[Session], None], *, purpose: str, reference: str, context: bytes
    ) -> None:
        """Runs `then` in the transaction that accepts the answer; opens its own transactions.

        Raises `Refused`, `TooMany`, and whatever `then` raises.
        """
        ...


class SmsMeans:
    """A one-time code by SMS to one of the account's numbers. The first number's choice is `sms`."""

    name = "sms"
    means = Means.SMS_CODE

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def choices(self, session: Session, account_id: str) -> list[Choice]:
        return [
            Choice(
                value=self.name if position == 0 else f"{self.name}:{phone.id}",
                title="Send SMS",
                detail="To the number %(number)s",
                icon="sms",
                values={"number": phone.masked},
            )
            for position, phone in enumerate(self._accounts.phones(session, account_id))
        ]

    def send(
        self,
        session: Session,
        account_id: str,
        choice: str,
        *,
        purpose: str,
        reference: str,
        context: bytes,
        text: TextBuilder,
    ) -> None:
        phone_id = choice.partition(":")[2] or None
        if phone_id is None:
            phone_id = next((p.id for p in self._accounts.phones(session, account_id)), None)
        self._accounts.send_login_code(
            session, account_id, reference, context, text, purpose=purpose, phone_id=phone_id
        )

    def sent(self, session: Session, purpose: str, reference: str) -> SentCode | None:
        return self._accounts.codes.state(session, purpose, reference)

    def check(
        self, answer: str, then: Callable[[Session], None], *, purpose: str, reference: str, context: bytes
    ) -> None:
        self._accounts.check_login_code(reference, context, answer, then, purpose=purpose)


class Methods:
    """The table: what is offered comes in its order."""

    def __init__(self, table: Sequence[SecondMeans]) -> None:
        self._table = {means.name: means for means in table}

    def choices(self, session: Session, account_id: str) -> list[Choice]:
        """Everything that this account can use."""
        return [choice for means in self._table.values() for choice in means.choices(session, account_id)]

    def chosen(self, session: Session, account_id: str, value: str) -> tuple[SecondMeans, Choice]:
        """The means and choice behind a button. `NotFound` (method-unknown) for what was not offered."""
        means = self._table.get(value.partition(":")[0])
        for choice in means.choices(session, account_id) if means else ():
            if means is not None and choice.value == value:
                return means, choice
        raise NotFound("method-unknown", "This way of signing in is not available for your account.")

    def named(self, value: str) -> SecondMeans:
        """The means of a choice that was offered before."""
        return self._table[value.partition(":")[0]]
