"""One-time codes: six digits for one purpose, one reference and one context, spent once.

A code is kept as HMAC (token key) over itself and all that it is bound to. `attempt` counts the try
durably, `check` spends the code in the caller's write transaction:

    attempt = codes.attempt("login", transaction_id)
    with database.write() as session:
        codes.check(session, attempt, context, typed)
        ...
"""

import hashlib
import hmac
import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.core.errors import Refused, TooMany
from tsp.core.randomness import Randomness, new_digits, new_id
from tsp.idp.credentials.gate import Attempt, Factor, Gate, Key
from tsp.idp.credentials.keys import Mac, TokenMac, framed
from tsp.idp.credentials.tables import OneTimeCode

DIGITS = 6


@dataclass(frozen=True)
class CodeRules:
    """`ttl` and `resend` in seconds; `attempts` for one code."""

    ttl: int = 300
    attempts: int = 5
    resend: int = 30

    @property
    def minutes(self) -> int:
        """The validity as messages name it, in whole minutes."""
        return max(1, self.ttl // 60)


@dataclass(frozen=True)
class SentCode:
    """When the code dies, from when on another one may be asked for, and when it was issued."""

    expires_at: datetime
    resend_at: datetime
    issued_at: datetime


@dataclass(frozen=True)
class CodeAttempt:
    """A counted try at one particular code."""

    code_id: str
    purpose: str
    reference: str
    counted: Attempt


def typed_code(text: str) -> str:
    """What was typed, without the spaces and hyphens that people and phones put in."""
    return "".join(c for c in text if not c.isspace() and c not in "-\u2010\u2011\u2012\u2013\u2014\u2212\u200b\ufeff")


class Codes:
    """Issues and spends one-time codes."""

    def __init__(
        self,
        database: Database,
        hmac_key: Mac,
        gate: Gate,
        clock: Clock,
        randomness: Randomness,
        rules: CodeRules | None = None,
    ) -> None:
        self.rules = rules or CodeRules()
        self._database = database
        self._key = TokenMac(hmac_key)
        self._gate = gate
        self._clock = clock
        self._randomness = randomness

    def issue(
        self,
        session: Session,
        purpose: str,
        reference: str,
        context: bytes,
        *,
        owner: str,
        sent_to: Key,
        ttl: int | None = None,
    ) -> tuple[SentCode, str]:
        """A new code, in the caller's transaction; the one before it dies. The caller sends it.

        `owner` is the account or address whose failures are counted across codes; `sent_to` is the
        channel and the index of the address, whose messages are counted until one of their codes
        comes back. `ttl` in seconds. Raises `TooMany`: code-cooldown while the last code is too
        young, too-many-messages.
        """
        now = self._clock.now()
        row = session.get(OneTimeCode, (purpose, reference), with_for_update=True)
        if row is not None and row.used is None and now < row.resend_after:
            raise _cooldown(math.ceil((row.resend_after - now).total_seconds()))
        if row is not None:
            session.delete(row)
            session.flush()
        self._gate.count(session, sent_to)
        code = new_digits(self._randomness, DIGITS)
        code_id = new_id(self._randomness)
        digest = hashlib.sha256(context).digest()
        fresh = OneTimeCode(
            purpose=purpose,
            reference=reference,
            id=code_id,
            owner=owner,
            channel=sent_to[0],
            address_index=sent_to[1],
            context_digest=digest,
            mac=self._mac(code_id, purpose, reference, digest, code),
            issued=now,
            resend_after=now + timedelta(seconds=self.rules.resend),
            expires=now + timedelta(seconds=ttl or self.rules.ttl),
            attempts_left=self.rules.attempts,
            used=None,
        )
        try:
            with session.begin_nested():
                session.add(fresh)
        except IntegrityError:
            raise _cooldown(self.rules.resend) from None  # asked for twice in the same moment
        return SentCode(fresh.expires, fresh.resend_after, fresh.issued), code

    def state(self, session: Session, purpose: str, reference: str) -> SentCode | None:
        """When the latest unused code dies and may be sent anew; None where there is none."""
        row = session.get(OneTimeCode, (purpose, reference))
        if row is None or row.used is not None:
            return None
        return SentCode(row.expires, row.resend_after, row.issued)

    def attempt(self, purpose: str, reference: str) -> CodeAttempt:
        """Counts one try at the latest code, durably, in transactions of its own.

        Not to be called while the caller holds a write session. Raises `Refused` (code-expired,
        code-used, code-spent) and `TooMany` (too-many-attempts).
        """
        with self._database.read() as session:
            owner = self._usable(session, purpose, reference).owner
        counted = self._gate.attempt((Factor.CODE, owner))
        with self._database.write() as session:
            row = self._usable(session, purpose, reference)
            taken = session.execute(
                update(OneTimeCode)
                .where(OneTimeCode.id == row.id, OneTimeCode.attempts_left > 0)
                .values(attempts_left=OneTimeCode.attempts_left - 1)
            )
            if taken.rowcount != 1:  # type: ignore[attr-defined]  # an UPDATE's result has it
                raise _spent()
            return CodeAttempt(row.id, purpose, reference, counted)

    def check(self, session: Session, attempt: CodeAttempt, context: bytes, code: str) -> None:
        """Spends the code in the caller's write transaction; of several contenders one succeeds.

        Raises `Refused` (code-wrong, code-expired, code-used). A code for another context is wrong.
        """
        row = session.get(OneTimeCode, (attempt.purpose, attempt.reference), populate_existing=True)
        if row is None or row.id != attempt.code_id or self._clock.now() >= row.expires:
            raise _expired()
        digest = hashlib.sha256(context).digest()
        expected = self._mac(row.id, row.purpose, row.reference, digest, typed_code(code))
        if not hmac.compare_digest(expected, row.mac) or not hmac.compare_digest(digest, row.context_digest):
            raise Refused("code-wrong", "This code is not right. Check it and type it again.", left=row.attempts_left)
        spent = session.execute(
            update(OneTimeCode)
            .where(OneTimeCode.id == row.id, OneTimeCode.used.is_(None))
            .values(used=self._clock.now())
        )
        if spent.rowcount != 1:  # type: ignore[attr-defined]
            raise _used()
        self._gate.passed(session, attempt.counted)
        self._gate.passed(session, Attempt(((Factor(row.channel), row.address_index),)))

    def drop(self, session: Session, purpose: str, reference: str) -> None:
        """Forgets the code of a cancelled use case."""
        session.execute(delete(OneTimeCode).where(OneTimeCode.purpose == purpose, OneTimeCode.reference == reference))

    def sweep(self, session: Session) -> int:
        """Erases codes that died an hour ago or earlier; how many."""
        result = session.execute(
            delete(OneTimeCode).where(OneTimeCode.expires < self._clock.now() - timedelta(hours=1))
        )
        return int(result.rowcount)  # type: ignore[attr-defined]

    def _usable(self, session: Session, purpose: str, reference: str) -> OneTimeCode:
        row = session.get(OneTimeCode, (purpose, reference))
        if row is None or self._clock.now() >= row.expires:
            raise _expired()
        if row.used is not None:
            raise _used()
        if row.attempts_left <= 0:
            raise _spent()
        return row

    def _mac(self, code_id: str, purpose: str, reference: str, digest: bytes, code: str) -> bytes:
        return self._key.mac(framed("code", code_id, purpose, reference, digest, code))


def _cooldown(seconds: int) -> TooMany:
    return TooMany(
        "code-cooldown",
        "A code was sent a moment ago. Please wait until you ask for another.",
        retry_after=seconds,
    )


def _expired() -> Refused:
    return Refused("code-expired", "This code is no longer valid. Ask for a new one.")


def _used() -> Refused:
    return Refused("code-used", "This code was already used. Ask for a new one.")


def _spent() -> Refused:
    return Refused("code-spent", "This code was typed wrong too often. Ask for a new one.")
