"""Personal data (ACC-3): behind an e-mailed PIN, checked against the register, once for each person.

Agreement alone raises no level: it proves knowledge, not the person.
"""

from datetime import timedelta

from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.core.errors import Conflict, Refused, Unavailable
from tsp.core.sealing import Sealer
from tsp.core.steps import OnStep, unwatched
from tsp.idp.accounts import tables
from tsp.idp.accounts.assurance import Proof
from tsp.idp.accounts.notices import Notices
from tsp.idp.accounts.person import Person, data_context, stored_person
from tsp.idp.accounts.register import Register
from tsp.idp.accounts.service import AccountSession
from tsp.idp.accounts.steps import IdentityStep
from tsp.idp.accounts.texts import Texts
from tsp.idp.accounts.verification import Verifications
from tsp.idp.credentials.codes import Codes, SentCode
from tsp.idp.credentials.gate import Attempt, Factor, Gate
from tsp.idp.credentials.keys import Index

PIN = "personal-data-pin"


class PersonalDataEntry:
    """One public method for each use case; each opens its own transactions.

    `form_minutes`: how long the form stays open after the right PIN. `on_step` is called after each
    step (fault tests).
    """

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        index: Index,
        sealer: Sealer,
        gate: Gate,
        codes: Codes,
        register: Register,
        notices: Notices,
        texts: Texts,
        verifications: Verifications,
        form_minutes: int = 15,
        on_step: OnStep[IdentityStep] = unwatched,
    ) -> None:
        self._database = database
        self._clock = clock
        self._index = index
        self._sealer = sealer
        self._gate = gate
        self._codes = codes
        self._register = register
        self._notices = notices
        self._texts = texts
        self._verifications = verifications
        self._open_for = timedelta(minutes=form_minutes)
        self._on_step = on_step

    def confirmed(self, account: AccountSession) -> Person | None:
        """The account's confirmed person, None without."""
        with self._database.read() as session:
            return stored_person(session, self._sealer, account.account_id)

    def address(self, account: AccountSession) -> str:
        """The notification address that the PIN goes to."""
        with self._database.read() as session:
            return self._notices.recipient(session, account.account_id).address

    def pin_state(self, account: AccountSession) -> SentCode | None:
        """The PIN that is waited for; None where none was sent."""
        with self._database.read() as session:
            return self._codes.state(session, PIN, account.session_id)

    def send_pin(self, account: AccountSession) -> None:
        """Sends a PIN to the notification address. Raises `TooMany` (code-cooldown, too-many-messages)."""
        with self._database.write() as session:
            to = self._notices.recipient(session, account.account_id)
            sent, pin = self._codes.issue(
                session,
                PIN,
                account.session_id,
                account.account_id.encode(),
                owner=account.account_id,
                sent_to=(Factor.MAIL_SENT, to.address_index),
            )
            self._notices.tell(
                session,
                account.account_id,
                lambda language: self._texts.personal_data_pin(language, pin, self._codes.rules.minutes),
                purpose=PIN,
                expires_at=sent.expires_at,
            )
            self._on_step(IdentityStep.PIN_WRITTEN)
        self._on_step(IdentityStep.PIN_SENT)

    def open_form(self, account: AccountSession, pin: str) -> None:
        """The right PIN opens the form for this session. Raises what `Codes.attempt` and `check` raise."""
        attempt = self._codes.attempt(PIN, account.session_id)
        self._on_step(IdentityStep.PIN_TRY_COUNTED)
        with self._database.write() as session:
            self._codes.check(session, attempt, account.account_id.encode(), pin)
            self._on_step(IdentityStep.PIN_SPENT)
            session.merge(
                tables.FormPermission(
                    session_id=account.session_id,
                    account_id=account.account_id,
                    until=self._clock.now() + self._open_for,
                )
            )
        self._on_step(IdentityStep.FORM_OPENED)

    def form_open(self, account: AccountSession) -> bool:
        """Whether this session may fill in the form."""
        with self._database.read() as session:
            return self._permitted(session, account)

    def enter(self, account: AccountSession, person: Person) -> None:
        """Asks the register and keeps the data where they agree.

        Raises `Refused`: form-closed, personal-data-mismatch; `Conflict`: personal-data-confirmed,
        person-has-account; `TooMany` (too-many-attempts); `Unavailable` where the register is
        silent: then the attempt is taken back.
        """
        with self._database.read() as session:
            self._require_open(session, account)
        attempt = self._gate.attempt((Factor.PERSONAL_DATA, account.account_id))
        self._on_step(IdentityStep.DATA_TRY_COUNTED)
        try:
            agrees = self._register.agrees(person)
        except Unavailable:
            self._gate.withdraw(attempt)
            raise
        if not agrees:
            raise Refused(
                "personal-data-mismatch",
                "The data do not agree with the register. Check all four and confirm them again.",
            )
        self._on_step(IdentityStep.REGISTER_AGREED)
        with self._database.write() as session:
            self._require_open(session, account)
            self._keep(session, account.account_id, person)
            self._on_step(IdentityStep.DATA_WRITTEN)
            self._finish(session, account, attempt)
            self._on_step(IdentityStep.DATA_VERIFIED)
        self._on_step(IdentityStep.DATA_CONFIRMED)

    def _keep(self, session: Session, account_id: str, person: Person) -> None:
        index = self._index.of("tax-number", person.tax_number)
        session.add(
            tables.PersonalData(
                account_id=account_id,
                tax_index=index,
                verified_index=index,
                sealed=self._sealer.seal(person.to_json(), data_context(account_id)),
                verified=True,
                entered=self._clock.now(),
            )
        )
        try:
            session.flush()
        except IntegrityError:
            raise Conflict(
                "person-has-account",
                "These data already belong to a verified account, and each person can have only one. "
                "Sign in with that account, or write to support if you can no longer use it.",
            ) from None

    def _finish(self, session: Session, account: AccountSession, attempt: Attempt) -> None:
        self._verifications.add(session, account.account_id, Proof.REGISTER)
        session.execute(delete(tables.FormPermission).where(tables.FormPermission.session_id == account.session_id))
        self._gate.passed(session, attempt)
        self._notices.tell(
            session, account.account_id, self._texts.personal_data_confirmed, purpose="personal-data-confirmed"
        )

    def _require_open(self, session: Session, account: AccountSession) -> None:
        if tables.confirmed_data(session, account.account_id) is not None:
            raise Conflict("personal-data-confirmed", "The personal data of this account are confirmed already.")
        if not self._permitted(session, account):
            raise Refused("form-closed", "The form was open for too long. Ask for a new PIN.")

    def _permitted(self, session: Session, account: AccountSession) -> bool:
        row = session.get(tables.FormPermission, account.session_id)
        return row is not None and row.account_id == account.account_id and self._clock.now() < row.until
