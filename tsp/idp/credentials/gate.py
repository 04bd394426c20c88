"""The one gate before every factor: it counts an attempt before anyone looks at what was typed.

    attempt = gate.attempt((Factor.PUK, account_id))      # counted and durable, or TooMany
    with database.write() as session:
        ...                                               # look; a refusal leaves the count as it is
        gate.passed(session, attempt)                     # success wipes it, in the same transaction

After some free attempts each further one has to wait; the pauses grow, end by themselves and never
lock anyone out for good. A new code does not forget old failures. Where the count cannot be
written, nothing is checked: the gate is closed on failure.
"""

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, or_
from sqlalchemy.orm import Session

from tsp.core.clock import Clock
from tsp.core.database import Database, insert_or_lock
from tsp.core.errors import TooMany
from tsp.idp.credentials.tables import AttemptLimit


class Factor(enum.StrEnum):
    """What can be tried, or sent, too often."""

    PASSWORD = "password"  # noqa: S105  (the name of a factor, not a secret)
    PASSWORD_ANYWHERE = "password-anywhere"  # noqa: S105
    CODE = "code"
    PUK = "puk"
    PERSONAL_DATA = "personal-data"
    IDENTIFICATION_KEY = "identification-key"
    REGISTRATION = "registration"
    MAIL_SENT = "mail-sent"
    SMS_SENT = "sms-sent"


Key = tuple[Factor, str]


@dataclass(frozen=True)
class Limit:
    """`free` attempts in a row, then a pause before each further one; `pauses` and `forget` in seconds.

    The last pause stands for all that follow. A subject that leaves the factor alone for `forget`
    seconds starts anew.
    """

    free: int
    pauses: tuple[int, ...]
    forget: int

    def pause_after(self, count: int) -> int:
        """Seconds to wait after `count` attempts."""
        over = count - self.free
        return 0 if over < 0 else self.pauses[min(over, len(self.pauses) - 1)]


_DAY = 24 * 3600

#: Login.gov's published limits were the starting point; see the requirement ids in the tests.
DEFAULT_LIMITS: Mapping[Factor, Limit] = {
    Factor.PASSWORD: Limit(5, (30, 60, 120, 300, 900), _DAY),
    Factor.PASSWORD_ANYWHERE: Limit(25, (30, 60, 120, 300, 900), _DAY),
    Factor.CODE: Limit(10, (60, 120, 300, 900), _DAY),
    Factor.PUK: Limit(5, (60, 300, 900, 3600), _DAY),
    Factor.PERSONAL_DATA: Limit(5, (300, 900, 3600), _DAY),
    Factor.IDENTIFICATION_KEY: Limit(5, (60, 300, 900, 3600), _DAY),
    Factor.REGISTRATION: Limit(100, (5, 15, 60), 600),
    Factor.MAIL_SENT: Limit(10, (300, 900, 3600), _DAY),
    Factor.SMS_SENT: Limit(10, (300, 900, 3600), _DAY),
}


@dataclass(frozen=True)
class Attempt:
    """The gate's word that an attempt was counted. Only the gate makes it."""

    keys: tuple[Key, ...]


class Gate:
    """Counts attempts by subject and factor. A subject is an opaque reference, never personal data."""

    def __init__(self, database: Database, clock: Clock, limits: Mapping[Factor, Limit] = DEFAULT_LIMITS) -> None:
        self._database = database
        self._clock = clock
        self._limits = {**DEFAULT_LIMITS, **limits}

    def attempt(self, *keys: Key) -> Attempt:
        """Counts one attempt under every key, durably, in a transaction of its own.

        Not to be called while the caller holds a write session. Raises `TooMany`
        (too-many-attempts) where a pause runs under any key: then nothing is counted; and
        `Unavailable` where the count cannot be written.
        """
        with self._database.write() as session:
            for key in sorted(keys):  # one order for everybody: row locks must not cross
                self._count(session, key, "too-many-attempts", "Too many attempts. Please wait a little and try again.")
        return Attempt(keys)

    def count(self, session: Session, key: Key) -> None:
        """Counts something that the caller's transaction does (a message sent).

        Raises `TooMany` (too-many-messages).
        """
        self._count(
            session, key, "too-many-messages", "Too many messages were sent. Please wait a little and try again."
        )

    def passed(self, session: Session, attempt: Attempt) -> None:
        """Wipes the counts after a success, in the caller's transaction."""
        for factor, subject in attempt.keys:
            session.execute(
                delete(AttemptLimit).where(AttemptLimit.factor == factor.value, AttemptLimit.subject == subject)
            )

    def withdraw(self, attempt: Attempt) -> None:
        """Takes an attempt back that could not be judged (a register was silent). Own transaction."""
        with self._database.write() as session:
            for factor, subject in attempt.keys:
                row = session.get(AttemptLimit, (factor.value, subject), with_for_update=True)
                if row is not None and row.count > 0:
                    row.count -= 1
                    row.paused_until = None

    def sweep(self, session: Session) -> int:
        """Erases counts that nobody needs any more; how many."""
        now = self._clock.now()
        gone = 0
        for factor, limit in self._limits.items():
            result = session.execute(
                delete(AttemptLimit).where(
                    AttemptLimit.factor == factor.value,
                    AttemptLimit.last_at < now - timedelta(seconds=limit.forget),
                    or_(AttemptLimit.paused_until.is_(None), AttemptLimit.paused_until < now),
                )
            )
            gone += result.rowcount  # type: ignore[attr-defined]  # a DELETE's result has it
        return gone

    def _count(self, session: Session, key: Key, code: str, sentence: str) -> None:
        factor, subject = key
        limit = self._limits[factor]
        now = self._clock.now()
        row = _locked_row(session, factor, subject, now)
        if row.paused_until is not None and now < row.paused_until:
            wait = math.ceil((row.paused_until - now).total_seconds())
            raise TooMany(code, sentence, retry_after=wait, factor=factor.value)
        if now - row.last_at >= timedelta(seconds=limit.forget):
            row.count = 0
        row.count += 1
        row.last_at = now
        pause = limit.pause_after(row.count)
        row.paused_until = now + timedelta(seconds=pause) if pause else None
        session.flush()


def _locked_row(session: Session, factor: Factor, subject: str, now: datetime) -> AttemptLimit:
    """The row of this key, made if need be, locked until the transaction ends."""
    insert_or_lock(session, AttemptLimit(factor=factor.value, subject=subject, count=0, last_at=now, paused_until=None))
    return session.get_one(AttemptLimit, (factor.value, subject), populate_existing=True)
