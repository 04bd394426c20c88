"""The face of the accounts for the login half: who somebody is, and what they can prove.

Every check of a secret counts its attempt in a transaction of its own *before* it looks, so that a
use case that raises cannot undo the count. Methods that take a `session` work in the caller's
transaction; those that take none open their own, and must not be called while the caller holds a
write session (SQLite has one writer).
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from sqlalchemy.orm import Session

from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.core.errors import NotFound, Refused
from tsp.core.sealing import Sealer
from tsp.idp.accounts import housekeeping, tables
from tsp.idp.accounts.assurance import Level
from tsp.idp.accounts.contacts import masked_phone, normal_email
from tsp.idp.accounts.notices import Notices, phone_context
from tsp.idp.accounts.person import stored_person
from tsp.idp.accounts.verification import Verifications
from tsp.idp.credentials.codes import Codes, SentCode
from tsp.idp.credentials.gate import Factor, Gate, Key
from tsp.idp.credentials.keys import Index, Mac, TokenMac
from tsp.idp.credentials.password import Passwords
from tsp.idp.credentials.puk import Puks
from tsp.notify.outbox import Outbox

#: The text of a message: (code, language of the account) -> text.
TextBuilder = Callable[[str, str], str]
#: The mark of a known browser: a token, a full stop, its MAC.
_MARK_LENGTH = 43 + 1 + 43


@dataclass(frozen=True)
class AccountRef:
    """An account without its secrets. `language` is `sl` or `en`."""

    id: str
    state: tables.AccountState
    language: str

    @property
    def active(self) -> bool:
        return self.state is tables.AccountState.ACTIVE


@dataclass(frozen=True)
class AccountSession:
    """Who is logged in at this browser; the login half makes it for the identity pages.

    `session_id` is an opaque reference of the session, `amr` as in RFC 8176, `acr` a level's URI.
    """

    account_id: str
    session_id: str
    authenticated_at: datetime
    amr: tuple[str, ...]
    acr: str


@dataclass(frozen=True)
class MaskedPhone:
    """A phone number as its owner recognises it and nobody else learns it."""

    id: str
    masked: str


@dataclass(frozen=True)
class Proofing:
    """The level of identity proofing, and the verification that gives it (None: no verification)."""

    level: Level
    verification_id: str | None


#: Whose register confirms the persons here.
COUNTRY: Final = "SI"


@dataclass(frozen=True)
class Identity:
    """The confirmed person behind an account.

    `serial_number` is assigned by the provider: opaque, the same for the same person for ever,
    without a way back to the tax number (ETSI EN 319 412-2, 4.2.4; semantics: none stated).
    """

    given_name: str
    family_name: str
    country: str
    serial_number: str
    tax_number: str
    date_of_birth: date


class Accounts:
    """What the login half may ask about accounts."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        index: Index,
        serial_key: Mac,
        sealer: Sealer,
        gate: Gate,
        passwords: Passwords,
        codes: Codes,
        puks: Puks,
        outbox: Outbox,
        notices: Notices,
        verifications: Verifications,
    ) -> None:
        self.gate = gate
        self.codes = codes
        self.passwords = passwords
        self.puks = puks
        self.policy = verifications.policy
        self._database = database
        self._clock = clock
        self._index = index
        self._serial_key = TokenMac(serial_key)
        self._sealer = sealer
        self._outbox = outbox
        self._notices = notices
        self._verifications = verifications

    # --- finding --------------------------------------------------------------------------------

    def find_by_email(self, session: Session, email: str) -> AccountRef | None:
        """The account that has this address as a user name, whatever its state; None for none."""
        row = tables.account_by_email(session, self._index.of("email", normal_email(email)))
        return None if row is None else _ref(row)

    def account(self, session: Session, account_id: str) -> AccountRef:
        """The account with this id. `NotFound` (account-unknown)."""
        row = session.get(tables.Account, account_id)
        if row is None:
            raise NotFound("account-unknown", "There is no such account.")
        return _ref(row)

    # --- proving --------------------------------------------------------------------------------

    def check_password(self, email: str, password: str, *, source: str = "", known: str = "") -> AccountRef:
        """The active account that this e-mail and password belong to. Opens its own transactions.

        Unknown address, wrong password and an account that is not active are one refusal, in the
        same time. `source` (the client's address) keeps a stranger's guesses apart from the owner's, and
        so does `known`, the mark of a browser in which the account logged in before: the guesses of
        others never keep that browser out (OWASP ASVS 5.0, 6.1.1).
        Raises `Refused` (login-wrong), `TooMany` (too-many-attempts).
        """
        name = self._index.of("email", normal_email(email))
        with self._database.read() as session:
            row = tables.account_by_email(session, name)
            account = None if row is None else _ref(row)
        attempt = self.gate.attempt(*self._guesser(name, account, source, known))
        with self._database.read() as session:
            right = self.passwords.check(session, account.id if account else None, password)
        if account is None or not right or not account.active:
            raise Refused("login-wrong", "The e-mail address or the password is not right.")
        with self._database.write() as session:
            self.gate.passed(session, attempt)
            self.passwords.renew(session, account.id, password)
        return account

    def known_mark(self, account_id: str, token: str) -> str:
        """What a browser keeps after a login of this account; `token` is random, its own."""
        return f"{token}.{self._index.of('known-browser', f'{account_id}|{token}')}"

    def _guesser(self, name: str, account: AccountRef | None, source: str, known: str) -> tuple[Key, ...]:
        """Under which keys a try counts; an account that does not exist costs the same work."""
        if known and len(known) <= _MARK_LENGTH:
            expected = self.known_mark(account.id if account else "", known.partition(".")[0])
            if hmac.compare_digest(expected.encode(), known.encode()) and account is not None:
                return ((Factor.PASSWORD, f"{name}|known|{known.partition('.')[2]}"),)
        return (
            (Factor.PASSWORD, f"{name}|{self._index.of('source', source)}"),
            (Factor.PASSWORD_ANYWHERE, name),
        )

    def phones(self, session: Session, account_id: str) -> list[MaskedPhone]:
        """The numbers to which login codes may go, oldest first; empty where SMS login is off."""
        return [
            MaskedPhone(row.id, masked_phone(self._number(row))) for row in tables.login_phones(session, account_id)
        ]

    def send_login_code(
        self,
        session: Session,
        account_id: str,
        reference: str,
        context: bytes,
        text: TextBuilder,
        *,
        purpose: str = "login",
        phone_id: str | None = None,
    ) -> SentCode:
        """Puts a new one-time code for an SMS into the caller's transaction; the code before it dies.

        `reference` is the login or approval transaction, `context` what the code approves (bytes
        of any length, e.g. a digest): only a check with the same three succeeds. `text` gets the
        code and the account's language. Raises `TooMany` (code-cooldown, too-many-messages),
        `NotFound` (phone-unknown).
        """
        account = self.account(session, account_id)
        rows = [r for r in tables.login_phones(session, account_id) if phone_id in (None, r.id)]
        if not rows:
            raise NotFound("phone-unknown", "There is no such phone number at this account.")
        sent_to = (Factor.SMS_SENT, rows[0].number_index)
        sent, code = self.codes.issue(session, purpose, reference, context, owner=account_id, sent_to=sent_to)
        self._outbox.sms(
            session,
            self._number(rows[0]),
            text(code, account.language),
            purpose=f"{purpose}-code",
            expires_at=sent.expires_at,
        )
        return sent

    def check_login_code(
        self,
        reference: str,
        context: bytes,
        code: str,
        then: Callable[[Session], None],
        *,
        purpose: str = "login",
    ) -> None:
        """Spends the code and runs `then` in the same transaction; opens its own transactions.

        Either both are durable or neither is. Raises `Refused` (code-wrong, code-expired,
        code-used), `TooMany` (too-many-attempts), and whatever `then` raises.
        """
        attempt = self.codes.attempt(purpose, reference)
        with self._database.write() as session:
            self.codes.check(session, attempt, context, code)
            then(session)

    def needs_puk(self, session: Session, account_id: str) -> bool:
        """Whether the account has no active PUK, so that the next login has to show a new one (REG-3)."""
        return not self.puks.has(session, account_id)

    # --- knowing --------------------------------------------------------------------------------

    def proofing(self, session: Session, account_id: str) -> Proofing:
        """The best verification of the account and its level; low and None without one."""
        return Proofing(*self._verifications.best(session, account_id))

    def has_personal_data(self, session: Session, account_id: str) -> bool:
        """Whether the account's personal data were entered and agree with the register."""
        return tables.confirmed_data(session, account_id) is not None

    def identity(self, session: Session, account_id: str) -> Identity | None:
        """The confirmed person, None without confirmed personal data. Sees the token."""
        person = stored_person(session, self._sealer, account_id)
        if person is None:
            return None
        return Identity(
            given_name=person.given_name,
            family_name=person.family_name,
            country=COUNTRY,
            serial_number=person.serial_number(self._serial_key),
            tax_number=person.tax_number,
            date_of_birth=person.date_of_birth,
        )

    def notification_address(self, session: Session, account_id: str) -> str:
        """The address that notices go to. `NotFound` (account-unknown)."""
        return self._notices.recipient(session, account_id).address

    # --- keeping --------------------------------------------------------------------------------

    def sweep(self) -> int:
        """Erases what has run out: registrations, codes, counts, form permissions. How many rows went."""
        with self._database.write() as session:
            return housekeeping.sweep(session, self._clock.now(), self.gate, self.codes)

    def _number(self, row: tables.AccountPhone) -> str:
        return self._sealer.open(row.sealed, phone_context(row.id)).decode()


def _ref(row: tables.Account) -> AccountRef:
    return AccountRef(row.id, tables.AccountState(row.state), row.language)
