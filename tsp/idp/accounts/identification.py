"""The identification key (ACC-4): given at a branch to a person whose document was checked there,
typed in by the holder of the account, spent once."""

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.core.errors import Refused
from tsp.core.sealing import Sealer
from tsp.core.steps import OnStep, unwatched
from tsp.idp.accounts import tables
from tsp.idp.accounts.assurance import Level, Proof
from tsp.idp.accounts.branch import key_index, key_person
from tsp.idp.accounts.notices import Notices
from tsp.idp.accounts.person import Person, stored_person
from tsp.idp.accounts.service import AccountSession
from tsp.idp.accounts.steps import IdentityStep
from tsp.idp.accounts.texts import Texts
from tsp.idp.accounts.verification import Verifications
from tsp.idp.credentials.gate import Factor, Gate
from tsp.idp.credentials.keys import Index


class Identification:
    """Raises the level of assurance by a key from a branch. `on_step` is called after each step (fault tests)."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        index: Index,
        sealer: Sealer,
        gate: Gate,
        notices: Notices,
        texts: Texts,
        verifications: Verifications,
        on_step: OnStep[IdentityStep] = unwatched,
    ) -> None:
        self._database = database
        self._clock = clock
        self._index = index
        self._sealer = sealer
        self._gate = gate
        self._notices = notices
        self._texts = texts
        self._verifications = verifications
        self._on_step = on_step

    def level(self, account: AccountSession) -> Level:
        """The level of identity proofing that the account has."""
        with self._database.read() as session:
            return self._verifications.best(session, account.account_id)[0]

    def redeem(self, account: AccountSession, typed: str) -> Level:
        """Spends the key for this account; the level that it has now. Opens its own transactions.

        Raises `Refused`: personal-data-missing (nothing to compare with), identification-key-wrong
        (unknown, spent or expired: one sentence for all), identification-key-mismatch (another
        person's; the key stays good); `TooMany` (too-many-attempts).
        """
        attempt = self._gate.attempt((Factor.IDENTIFICATION_KEY, account.account_id))
        self._on_step(IdentityStep.KEY_TRY_COUNTED)
        with self._database.write() as session:
            person = stored_person(session, self._sealer, account.account_id)
            if person is None:
                raise Refused("personal-data-missing", "Add your personal data first: the key is compared with them.")
            row = self._spend(session, typed, person)
            self._on_step(IdentityStep.KEY_SPENT)
            level = self._verifications.add(session, account.account_id, Proof.IDENTIFICATION_KEY, row.id)
            self._gate.passed(session, attempt)
            self._notices.tell(
                session,
                account.account_id,
                lambda language: self._texts.level_raised(language, level),
                purpose="level-raised",
            )
            self._on_step(IdentityStep.LEVEL_WRITTEN)
        self._on_step(IdentityStep.LEVEL_RAISED)
        return level

    def _spend(self, session: Session, typed: str, person: Person) -> tables.IdentificationKey:
        now = self._clock.now()
        row = session.scalar(
            select(tables.IdentificationKey)
            .where(tables.IdentificationKey.mac == key_index(self._index, typed))
            .with_for_update()
        )
        if row is None or row.used is not None or now >= row.expires:
            raise Refused(
                "identification-key-wrong",
                "This identification key is not valid. Check it, or ask for a new one at the branch.",
            )
        if not key_person(self._sealer, row).same_as(person):
            raise Refused(
                "identification-key-mismatch",
                "The data that the branch confirmed do not agree with the personal data of your account. "
                "Ask at the branch.",
            )
        spent = session.execute(
            update(tables.IdentificationKey)
            .where(tables.IdentificationKey.id == row.id, tables.IdentificationKey.used.is_(None))
            .values(used=now)
        )
        if spent.rowcount != 1:  # type: ignore[attr-defined]  # an UPDATE's result has it
            raise Refused(
                "identification-key-wrong",
                "This identification key is not valid. Check it, or ask for a new one at the branch.",
            )
        return row
