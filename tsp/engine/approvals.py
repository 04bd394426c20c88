"""That an approval signs once: granted -> reserved -> signed | released, each move a compare-and-swap.

Granted is what the provider's signature says; the row begins when the first attempt reserves it.

Every function works in the caller's transaction and is a no-op or an error where the row is not in
the state that the move starts from. What may happen once is thereby decided by the database.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import CursorResult, Update, bindparam, insert, select, update
from sqlalchemy.orm import Session

from tsp.core.database import insert_if_free, table_of
from tsp.core.errors import Conflict, Refused
from tsp.engine.activation import Activation, Activator
from tsp.engine.tables import (
    ABANDONED,
    DONE,
    PENDING,
    RELEASED,
    RESERVED,
    SIGNED,
    Approval,
    SignatureIntent,
)

_INTENT = table_of(SignatureIntent)
_INTEND = insert(_INTENT)
_PLAN = update(_INTENT).where(
    _INTENT.c.jti == bindparam("_jti"),
    _INTENT.c.attempt == bindparam("_attempt"),
    _INTENT.c.ordinal == bindparam("_ordinal"),
    _INTENT.c.outcome == PENDING,
)


@dataclass(frozen=True)
class Reservation:
    """One worker's turn on one approval."""

    jti: str
    attempt: int
    worker: str


@dataclass(frozen=True)
class Terms:
    """How long a turn is believed in (`lease`), and how long after the first one may follow (`finish`)."""

    lease: timedelta = timedelta(seconds=30)
    finish: timedelta = timedelta(hours=1)


def is_signed(session: Session, activation: Activation) -> bool:
    """Whether this very approval was used up. `Conflict` (approval-spent) where its id stands for another."""
    row = session.get(Approval, activation.jti)
    if row is not None and row.sad_sha256 != activation.sad_sha256:
        raise _spent()
    return row is not None and row.state == SIGNED


def reserve(
    session: Session, activation: Activation, *, activator: Activator, worker: str, now: datetime, terms: Terms
) -> Reservation | None:
    """Takes the approval for one attempt and writes down what the attempt intends; None where it is signed.

    Raises `Refused` (approval-expired) at the first sight of a stale approval, or when the time to
    finish an interrupted one is over; `Conflict`: approval-in-use, approval-spent.
    """
    if _first_sight(session, activation, worker, now, terms):
        activator.require_fresh(activation)
        attempt = 1
    else:
        row = session.get_one(Approval, activation.jti, with_for_update=True)
        if row.sad_sha256 != activation.sad_sha256:
            raise _spent()
        if row.state == SIGNED:
            return None
        attempt = _next_attempt(session, row, worker, now, terms)
    session.connection().execute(
        _INTEND,
        [
            {
                "jti": activation.jti,
                "attempt": attempt,
                "ordinal": ordinal,
                "digest": document.digest_signed,
                "intended_at": now,
                "outcome": PENDING,
            }
            for ordinal, document in enumerate(activation.documents)
        ],
    )
    return Reservation(activation.jti, attempt, worker)


def _first_sight(session: Session, activation: Activation, worker: str, now: datetime, terms: Terms) -> bool:
    """Reserves an approval that nobody has seen: granted and reserved in one statement. False where there is a row."""
    values = {
        "jti": activation.jti,
        "sad_sha256": activation.sad_sha256,
        "kind": activation.kind,
        "client": activation.client,
        "subject_ref": activation.subject_ref,
        "session": activation.session,
        "expires_at": activation.expires_at,
        "state": RESERVED,
        "attempt": 1,
        "worker": worker,
        "lease_until": now + terms.lease,
        "first_reserved_at": now,
    }
    return insert_if_free(session, Approval, values)


def _next_attempt(session: Session, row: Approval, worker: str, now: datetime, terms: Terms) -> int:
    """released -> reserved, for one more attempt; its number."""
    if row.state == RESERVED or row.first_reserved_at is None:
        raise _in_use()
    if now > row.first_reserved_at + terms.finish:
        raise Refused("approval-expired", "The time for this approval is over. Approve the signature again.")
    move = (
        update(Approval)
        .where(Approval.jti == row.jti, Approval.state == RELEASED, Approval.attempt == row.attempt)
        .values(state=RESERVED, attempt=row.attempt + 1, worker=worker, lease_until=now + terms.lease)
    )
    if not _moved(session, move):
        raise _in_use()
    return row.attempt + 1


@dataclass(frozen=True)
class Plan:
    """What is decided of one document's certificate before the authority signs it."""

    ordinal: int
    serial: str
    public_key_sha256: str


def plan(session: Session, held: Reservation, plans: Sequence[Plan]) -> None:
    """Adds planned certificates to their intents. `Conflict` (approval-in-use) where the turn was lost."""
    found = session.connection().execute(
        _PLAN,
        [
            {
                "_jti": held.jti,
                "_attempt": held.attempt,
                "_ordinal": one.ordinal,
                "serial": one.serial,
                "public_key_sha256": one.public_key_sha256,
            }
            for one in plans
        ],
    )
    if found.rowcount != len(plans):
        raise _in_use()


def finish(session: Session, held: Reservation, *, now: datetime) -> None:
    """reserved -> signed, by the holder of the turn alone; `Conflict` (approval-in-use) where it was lost."""
    move = _held(held).values(state=SIGNED, worker=None, lease_until=None, signed_at=now)
    if not _moved(session, move):
        raise _in_use()
    _settle(session, held, DONE)


def release(session: Session, held: Reservation) -> list[str] | None:
    """reserved -> released; the serial numbers that were planned in vain, None where nothing was to release."""
    if not _moved(session, _held(held).values(state=RELEASED, worker=None, lease_until=None)):
        return None
    _settle(session, held, ABANDONED)
    planned = select(SignatureIntent.serial).where(
        SignatureIntent.jti == held.jti,
        SignatureIntent.attempt == held.attempt,
        SignatureIntent.serial.is_not(None),
    )
    return [serial for serial in session.scalars(planned) if serial]


def overdue(session: Session, now: datetime) -> Sequence[Reservation]:
    """Reservations whose lease has passed: candidates for release, if their workers are dead."""
    found = select(Approval).where(Approval.state == RESERVED, Approval.lease_until < now)
    return [Reservation(row.jti, row.attempt, row.worker or "") for row in session.scalars(found)]


def close_open(session: Session, before: datetime) -> int:
    """Ends the time of every approval that is not signed (to `finish` it, `before` must be long past); how many.

    For a database that was put back from an earlier day: what it calls open may have been signed since.
    """
    move = update(Approval).where(Approval.state != SIGNED).values(first_reserved_at=before)
    result = session.execute(move, execution_options={"synchronize_session": False})
    assert isinstance(result, CursorResult)
    return result.rowcount


def _held(held: Reservation) -> Update:
    return update(Approval).where(
        Approval.jti == held.jti,
        Approval.state == RESERVED,
        Approval.attempt == held.attempt,
        Approval.worker == held.worker,
    )


def _moved(session: Session, move: Update) -> bool:
    result = session.execute(move, execution_options={"synchronize_session": False})
    assert isinstance(result, CursorResult)
    return result.rowcount == 1


def _settle(session: Session, held: Reservation, outcome: str) -> None:
    session.execute(
        update(SignatureIntent)
        .where(SignatureIntent.jti == held.jti, SignatureIntent.attempt == held.attempt)
        .values(outcome=outcome),
        execution_options={"synchronize_session": False},
    )


def _in_use() -> Conflict:
    return Conflict("approval-in-use", "This approval is being used right now. Ask again in a moment.")


def _spent() -> Conflict:
    return Conflict("approval-spent", "This approval was used already. Approve the signature again.")
