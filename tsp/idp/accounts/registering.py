"""What a registration under way holds, and how it is parked: sealed, under the hash of a browser's token."""

import enum
import hashlib
from dataclasses import dataclass
from datetime import timedelta

from pydantic import BaseModel, ConfigDict
from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from tsp.core.clock import Clock
from tsp.core.errors import Conflict, NotFound
from tsp.core.randomness import Randomness, new_id, new_token
from tsp.core.sealing import Sealer
from tsp.idp.accounts.tables import Registration
from tsp.idp.credentials.password import PasswordRecord


class Step(enum.StrEnum):
    """What the person does next."""

    FORM = "form"
    EMAIL = "email"
    SMS = "sms"
    PUK = "puk"
    DONE = "done"


class ParkedPassword(BaseModel):
    """A password's record in hexadecimal: the password itself is kept nowhere."""

    model_config = ConfigDict(frozen=True)

    parameters: str
    salt: str
    mac: str

    @classmethod
    def of(cls, record: PasswordRecord) -> "ParkedPassword":
        return cls(parameters=record.parameters, salt=record.salt.hex(), mac=record.mac.hex())

    def record(self) -> PasswordRecord:
        return PasswordRecord(self.parameters, bytes.fromhex(self.salt), bytes.fromhex(self.mac))


class Parked(BaseModel):
    """Everything that was typed and proven so far.

    `strength` is the password's, 0 to 4. `taken`: the address belongs to an account already; a
    stranger must not notice. `email_reference` and `sms_reference` name the codes; they change with
    the address and the number. `resume` is the opaque reference of a parked request of a service.
    """

    model_config = ConfigDict(frozen=True)

    account_id: str
    language: str = "sl"
    resume: str = ""
    email: str = ""
    phone_country: str = "+386"
    phone_typed: str = ""
    phone: str = ""
    terms: bool = False
    password: ParkedPassword | None = None
    strength: int = 0
    taken: bool = False
    email_reference: str = ""
    email_proven: bool = False
    sms_reference: str = ""
    puk: str = ""


@dataclass(frozen=True)
class Held:
    """A registration as it stands in the table."""

    token: str
    step: Step
    parked: Parked


class Parking:
    """Keeps registrations for `keep` seconds after the last step."""

    def __init__(self, sealer: Sealer, clock: Clock, randomness: Randomness, keep: int = 3600) -> None:
        self.keep = keep
        self._sealer = sealer
        self._clock = clock
        self._randomness = randomness

    def new(self) -> Held:
        """A registration that nobody has saved yet, with the id that its account will have."""
        return Held(new_token(self._randomness), Step.FORM, Parked(account_id=new_id(self._randomness)))

    def find(self, session: Session, token: str | None) -> Held | None:
        """The live registration of this browser."""
        row = session.get(Registration, _hash(token or ""), with_for_update=True, populate_existing=True)
        if row is None or token is None or self._clock.now() >= row.expires:
            return None
        opened = self._sealer.open(row.sealed, _context(row.token_hash))
        return Held(token, Step(row.step), Parked.model_validate_json(opened))

    def at(self, session: Session, token: str | None, step: Step) -> Held:
        """The live registration if it stands at this step.

        `NotFound` (registration-expired), `Conflict` (registration-moved-on).
        """
        held = self.find(session, token)
        if held is None:
            raise NotFound("registration-expired", "The registration took too long. Please begin again.")
        if held.step is not step:
            raise Conflict("registration-moved-on", "This step of the registration is already done.", step=held.step)
        return held

    def save(self, session: Session, held: Held) -> None:
        """Parks the registration anew, in the caller's transaction."""
        now = self._clock.now()
        token_hash = _hash(held.token)
        sealed = self._sealer.seal(held.parked.model_dump_json().encode(), _context(token_hash))
        row = session.get(Registration, token_hash)
        if row is None:
            row = Registration(token_hash=token_hash, created=now)
            session.add(row)
        row.step, row.sealed, row.expires = held.step, sealed, now + timedelta(seconds=self.keep)
        session.flush()

    def take(self, session: Session, held: Held, step: Step) -> None:
        """Moves the row from its step to another for one caller only; `Conflict` for all others."""
        moved = session.execute(
            update(Registration)
            .where(Registration.token_hash == _hash(held.token), Registration.step == held.step)
            .values(step=step)
        )
        if moved.rowcount != 1:  # type: ignore[attr-defined]  # an UPDATE's result has it
            raise Conflict("registration-moved-on", "This step of the registration is already done.", step=held.step)

    def drop(self, session: Session, token: str) -> None:
        """Forgets a registration."""
        session.execute(delete(Registration).where(Registration.token_hash == _hash(token)))

    def sweep(self, session: Session) -> int:
        """Erases the registrations that nobody can go on with; how many."""
        result = session.execute(delete(Registration).where(Registration.expires <= self._clock.now()))
        return int(result.rowcount)  # type: ignore[attr-defined]  # a DELETE's result has it


def _hash(token: str) -> str:
    """A 256-bit random token cannot be guessed: a plain hash keeps it."""
    return hashlib.sha256(token.encode()).hexdigest()


def _context(token_hash: str) -> str:
    return f"registration.sealed/{token_hash}"
