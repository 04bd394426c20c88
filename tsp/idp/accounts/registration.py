"""The registration wizard (REG-1): what each step asks, proves and leads to.

    form -> code by e-mail -> code by SMS -> PUK, acknowledged -> account

Nothing exists as an account until all of it is proven. Whoever begins with an address that has an
account sees the same pages as everybody; only the owner of the address learns of it, by e-mail.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.core.errors import Conflict, Invalid
from tsp.core.randomness import Randomness, new_id
from tsp.core.sealing import Sealer
from tsp.core.steps import OnStep, unwatched
from tsp.idp.accounts import tables
from tsp.idp.accounts.contacts import normal_email, read_email, read_phone
from tsp.idp.accounts.journal import Journal
from tsp.idp.accounts.notices import email_context, phone_context
from tsp.idp.accounts.registering import Held, Parked, ParkedPassword, Parking, Step
from tsp.idp.accounts.steps import RegistrationStep
from tsp.idp.accounts.texts import MailText, Texts
from tsp.idp.credentials.codes import Codes, SentCode
from tsp.idp.credentials.gate import Factor, Gate
from tsp.idp.credentials.keys import Index
from tsp.idp.credentials.password import Passwords, judge
from tsp.idp.credentials.puk import Puks
from tsp.notify.outbox import Outbox

EMAIL_CODE = "registration-email"
SMS_CODE = "registration-sms"


@dataclass(frozen=True)
class Typed:
    """The first page as it was typed."""

    email: str
    password: str
    password_again: str
    phone_country: str
    phone: str
    terms: bool


@dataclass(frozen=True)
class Submitted:
    """Where the registration stands now; `errors` by field (sentences) where it cannot go on."""

    token: str
    step: Step
    errors: dict[str, str]


@dataclass(frozen=True)
class View:
    """What a page may show; `sent` is the code that is waited for."""

    step: Step
    parked: Parked
    sent: SentCode | None


class Registrations:
    """One public method for each use case; each opens its own transactions.

    `on_step` is called after each step (fault tests).
    """

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        randomness: Randomness,
        index: Index,
        sealer: Sealer,
        gate: Gate,
        codes: Codes,
        passwords: Passwords,
        puks: Puks,
        outbox: Outbox,
        texts: Texts,
        journal: Journal,
        keep: int = 3600,
        on_step: OnStep[RegistrationStep] = unwatched,
    ) -> None:
        self.parking = Parking(sealer, clock, randomness, keep)
        self._database = database
        self._clock = clock
        self._randomness = randomness
        self._index = index
        self._sealer = sealer
        self._gate = gate
        self._codes = codes
        self._passwords = passwords
        self._puks = puks
        self._outbox = outbox
        self._texts = texts
        self._journal = journal
        self._on_step = on_step

    def view(self, token: str | None) -> View | None:
        """The registration of this browser, None where there is none (any more)."""
        with self._database.read() as session:
            held = self.parking.find(session, token)
            if held is None:
                return None
            purpose, reference = _awaited(held)
            sent = self._codes.state(session, purpose, reference) if purpose else None
            return View(held.step, held.parked, sent)

    def submit(self, token: str | None, typed: Typed, *, language: str, resume: str, source: str) -> Submitted:
        """The first page: keeps what is right, says what is not, and sends the e-mailed code.

        A registration that goes back and submits again keeps what was proven, unless it changed;
        empty password fields keep the password typed before. `source` is the client's address.
        Raises `TooMany` (too-many-attempts, too-many-messages).
        """
        if source:
            self._gate.attempt((Factor.REGISTRATION, self._index.of("source", source)))
            self._on_step(RegistrationStep.COUNTED)
        with self._database.read() as session:
            held = self.parking.find(session, token)
        if held is None or held.step in (Step.PUK, Step.DONE):
            held = self.parking.new()
        parked = held.parked.model_copy(update={"language": language, "resume": resume, "terms": typed.terms})
        parked, errors = self._read(parked, typed)
        self._on_step(RegistrationStep.READ)
        with self._database.write() as session:
            self.parking.sweep(session)
            step = Step.FORM
            if not errors:
                step, parked = self._next(session, held, parked)
            self.parking.save(session, Held(held.token, step, parked))
        self._on_step(RegistrationStep.SUBMITTED)
        return Submitted(held.token, step, errors)

    def confirm_email(self, token: str | None, code: str) -> None:
        """The e-mailed code: proves the address and sends the one-time password to the phone.

        Raises what `Codes.attempt` and `Codes.check` raise, `NotFound` (registration-expired),
        `Conflict` (registration-moved-on), `TooMany` (too-many-messages).
        """
        with self._database.read() as session:
            held = self.parking.at(session, token, Step.EMAIL)
        attempt = self._codes.attempt(EMAIL_CODE, held.parked.email_reference)
        self._on_step(RegistrationStep.EMAIL_TRY_COUNTED)
        with self._database.write() as session:
            held = self.parking.at(session, token, Step.EMAIL)
            self._codes.check(session, attempt, held.parked.email.encode(), code)
            self._on_step(RegistrationStep.EMAIL_PROVEN)
            parked = self._send_sms(session, held.parked.model_copy(update={"email_proven": True}))
            self.parking.save(session, Held(held.token, Step.SMS, parked))
        self._on_step(RegistrationStep.EMAIL_CONFIRMED)

    def confirm_phone(self, token: str | None, code: str) -> None:
        """The one-time password: proves the number; the PUK is ready to be shown. Raises like `confirm_email`."""
        with self._database.read() as session:
            held = self.parking.at(session, token, Step.SMS)
        attempt = self._codes.attempt(SMS_CODE, held.parked.sms_reference)
        self._on_step(RegistrationStep.SMS_TRY_COUNTED)
        with self._database.write() as session:
            held = self.parking.at(session, token, Step.SMS)
            self._codes.check(session, attempt, held.parked.phone.encode(), code)
            self._on_step(RegistrationStep.PHONE_PROVEN)
            parked = held.parked.model_copy(update={"puk": self._puks.new()})
            self.parking.save(session, Held(held.token, Step.PUK, parked))
        self._on_step(RegistrationStep.PHONE_CONFIRMED)

    def resend(self, token: str | None) -> None:
        """Sends the code of the present step anew; the one before it dies. Raises `TooMany` (code-cooldown)."""
        with self._database.write() as session:
            held = self.parking.find(session, token)
            if held is None or held.step not in (Step.EMAIL, Step.SMS):
                raise Conflict("registration-moved-on", "This step of the registration is already done.")
            send = self._send_email if held.step is Step.EMAIL else self._send_sms
            self.parking.save(session, Held(held.token, held.step, send(session, held.parked)))

    def acknowledge(self, token: str | None) -> str:
        """The tick below the PUK: makes the account and returns its id.

        Raises `Conflict` (registration-moved-on; email-taken where another registration with the
        same proven address was faster), `NotFound` (registration-expired).
        """
        with self._database.write() as session:
            held = self.parking.at(session, token, Step.PUK)
            self.parking.take(session, held, Step.DONE)
            self._on_step(RegistrationStep.TAKEN)
            parked = held.parked
            self._create(session, parked)
            rest = Parked(account_id=parked.account_id, language=parked.language, resume=parked.resume)
            self.parking.save(session, Held(held.token, Step.DONE, rest))
        self._on_step(RegistrationStep.CREATED)
        return parked.account_id

    def cancel(self, token: str | None) -> str:
        """Forgets the registration and returns the parked request it began from ("" for none)."""
        with self._database.write() as session:
            held = self.parking.find(session, token)
            if held is None:
                return ""
            self._codes.drop(session, EMAIL_CODE, held.parked.email_reference)
            self._codes.drop(session, SMS_CODE, held.parked.sms_reference)
            self.parking.drop(session, held.token)
            return held.parked.resume

    # --- the first page -------------------------------------------------------------------------

    def _read(self, parked: Parked, typed: Typed) -> tuple[Parked, dict[str, str]]:
        errors: dict[str, str] = {}
        changes: dict[str, object] = {"phone_country": typed.phone_country[:8], "phone_typed": typed.phone.strip()[:40]}
        try:
            email = read_email(typed.email)
            if email != parked.email:
                changes |= {"email": email, "email_proven": False, "email_reference": new_id(self._randomness)}
        except Invalid as error:
            errors["email"] = error.sentence
            changes |= {"email": typed.email.strip()[:254], "email_proven": False, "email_reference": ""}
        try:
            phone = read_phone(typed.phone_country, typed.phone)
            if phone != parked.phone:
                changes |= {"phone": phone, "sms_reference": new_id(self._randomness)}
        except Invalid as error:
            errors["phone"] = error.sentence
        if typed.password or typed.password_again or parked.password is None:
            errors |= self._password_errors(typed)
            if not {"password", "password_again"} & set(errors):
                record = self._passwords.derive(parked.account_id, typed.password)
                strength = judge(typed.password, _own_words(typed)).strength
                changes |= {"password": ParkedPassword.of(record), "strength": strength}
        if not typed.terms:
            errors["terms"] = "To create an account you have to agree with the terms of use."
        return parked.model_copy(update=changes), errors

    def _password_errors(self, typed: Typed) -> dict[str, str]:
        try:
            self._passwords.require_good(typed.password, _own_words(typed))
        except Invalid as error:
            return {"password": error.sentence}
        if typed.password != typed.password_again:
            return {"password_again": "The two passwords are not the same."}
        return {}

    def _next(self, session: Session, held: Held, parked: Parked) -> tuple[Step, Parked]:
        """Sends the code that is due now; one that is on its way is left in peace."""
        if not parked.email_proven:
            parked = parked.model_copy(update={"taken": self._taken(session, parked.email)})
            return Step.EMAIL, self._send_if_due(session, EMAIL_CODE, parked)
        return Step.SMS, self._send_if_due(session, SMS_CODE, parked)

    def _send_if_due(self, session: Session, purpose: str, parked: Parked) -> Parked:
        email = purpose == EMAIL_CODE
        waiting = self._codes.state(session, purpose, parked.email_reference if email else parked.sms_reference)
        if waiting is not None and self._clock.now() < waiting.resend_at:
            return parked
        return self._send_email(session, parked) if email else self._send_sms(session, parked)

    def _taken(self, session: Session, email: str) -> bool:
        return tables.account_by_email(session, self._email_index(email)) is not None

    # --- messages -------------------------------------------------------------------------------

    def _send_email(self, session: Session, parked: Parked) -> Parked:
        owner = self._email_index(parked.email)
        sent, code = self._codes.issue(
            session,
            EMAIL_CODE,
            parked.email_reference,
            _email_context(parked),
            owner=f"email:{owner}",
            sent_to=(Factor.MAIL_SENT, _by_strangers(owner)),
        )
        minutes = self._codes.rules.minutes
        if parked.taken:
            mail = self._texts.already_registered(parked.language)
        else:
            mail = self._texts.registration_code(parked.language, code, minutes)
        self._mail(session, parked.email, mail, EMAIL_CODE, sent.expires_at)
        self._on_step(RegistrationStep.EMAIL_CODE_WRITTEN)
        return parked

    def _send_sms(self, session: Session, parked: Parked) -> Parked:
        number = self._index.of("phone", parked.phone)
        sent, code = self._codes.issue(
            session,
            SMS_CODE,
            parked.sms_reference,
            parked.phone.encode(),
            owner=f"phone:{number}",
            sent_to=(Factor.SMS_SENT, _by_strangers(number)),
        )
        text = self._texts.registration_sms(parked.language, code, self._codes.rules.minutes)
        self._outbox.sms(session, parked.phone, text, purpose=SMS_CODE, expires_at=sent.expires_at)
        self._on_step(RegistrationStep.SMS_CODE_WRITTEN)
        return parked

    def _mail(self, session: Session, to: str, mail: MailText, purpose: str, expires_at: datetime | None) -> None:
        self._outbox.mail(session, to, mail.subject, mail.text, purpose=purpose, expires_at=expires_at)

    # --- the account ----------------------------------------------------------------------------

    def _create(self, session: Session, parked: Parked) -> None:
        now = self._clock.now()
        account_id = parked.account_id
        assert parked.password is not None
        session.add(
            tables.Account(
                id=account_id,
                state=tables.AccountState.ACTIVE,
                language=parked.language,
                terms_accepted=now,
                created=now,
                ended=None,
            )
        )
        session.flush()
        email_id, phone_id = new_id(self._randomness), new_id(self._randomness)
        session.add(
            tables.AccountEmail(
                id=email_id,
                account_id=account_id,
                address_index=self._email_index(parked.email),
                sealed=self._sealer.seal(parked.email.encode(), email_context(email_id)),
                notification=True,
                added=now,
            )
        )
        try:
            session.flush()
        except IntegrityError:
            raise Conflict(
                "email-taken", "There is an account with this e-mail address already. Sign in with it."
            ) from None
        session.add(
            tables.AccountPhone(
                id=phone_id,
                account_id=account_id,
                number_index=self._index.of("phone", parked.phone),
                sealed=self._sealer.seal(parked.phone.encode(), phone_context(phone_id)),
                login=True,
                added=now,
            )
        )
        session.flush()
        self._on_step(RegistrationStep.ACCOUNT_WRITTEN)
        self._passwords.store(session, account_id, parked.password.record())
        self._puks.set(session, account_id, parked.puk)
        session.flush()
        self._on_step(RegistrationStep.CREDENTIALS_WRITTEN)
        self._mail(session, parked.email, self._texts.account_created(parked.language), "account-created", None)
        self._journal(session, "account-created", {"account": account_id})
        self._on_step(RegistrationStep.TOLD)

    def _email_index(self, email: str) -> str:
        return self._index.of("email", normal_email(email))


def _email_context(parked: Parked) -> bytes:
    """What the e-mailed code proves; for an address with an account, nothing: no code is ever right."""
    return b"" if parked.taken else parked.email.encode()


def _by_strangers(address: str) -> str:
    """Whose messages are counted: anybody can have these sent, so they are apart from those to account holders."""
    return f"{address}|registration"


def _own_words(typed: Typed) -> tuple[str, ...]:
    """What everybody who knows the address would try first."""
    return (typed.email, *typed.email.replace("@", ".").split("."))


def _awaited(held: Held) -> tuple[str, str]:
    """Purpose and reference of the code that this step waits for; empty for steps without."""
    if held.step is Step.EMAIL:
        return EMAIL_CODE, held.parked.email_reference
    if held.step is Step.SMS:
        return SMS_CODE, held.parked.sms_reference
    return "", ""
