"""That an approval signs once: granted -> reserved -> signed | released, each move a compare-and-swap.

Granted is what the provider's signature says; the row begins when the first attempt reserves it.

Every function works in the caller's transaction and is a no-op or an error where the row is not in
the state that the move starts from. What may happen once is thereby decided by the database.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, CursorResult, Row, bindparam, insert, select, update
from sqlalchemy.orm import Session

from tsp.core.database import insert_if_free, table_of
from tsp.core.errors import Conflict, Refused
from tsp.core.statements import Prepared
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

# Core statements, made once: making one anew takes longer than the database takes to execute it.
_APPROVAL, _INTENT = table_of(Approval), table_of(SignatureIntent)
_SEEN = (
    select(_APPROVAL.c.sad_sha256, _APPROVAL.c.state, _APPROVAL.c.attempt, _APPROVAL.c.first_reserved_at)
    .where(_APPROVAL.c.jti == bindparam("_jti"))
    .with_for_update()
)
_RESERVE_AGAIN = Prepared(
    update(_APPROVAL)
    .where(
        _APPROVAL.c.jti == bindparam("_jti"),
        _APPROVAL.c.state == RELEASED,
        _APPROVAL.c.attempt == bindparam("_attempt"),
    )
    .values(state=RESERVED),
    *("state", "attempt", "worker", "lease_until"),
)
#: By the holder of the turn alone.
_HELD = update(_APPROVAL).where(
    _APPROVAL.c.jti == bindparam("_jti"),
    _APPROVAL.c.state == RESERVED,
    _APPROVAL.c.attempt == bindparam("_attempt"),
    _APPROVAL.c.worker == bindparam("_worker"),
)
_FINISH = Prepared(_HELD.values(state=SIGNED, worker=None, lease_until=None, signed_at=bindparam("_now")))
_RELEASE = Prepared(_HELD.values(state=RELEASED, worker=None, lease_until=None))
_INTEND = Prepared(insert(_INTENT), "jti", "attempt", "ordinal", "digest", "intended_at", "outcome")
_INTENDED = (_INTENT.c.jti == bindparam("_jti"), _INTENT.c.attempt == bindparam("_attempt"))
_PLAN = Prepared(
    update(_INTENT).where(*_INTENDED, _INTENT.c.ordinal == bindparam("_ordinal"), _INTENT.c.outcome == PENDING),
    *("serial", "public_key_sha256"),
)
_SETTLE = Prepared(update(_INTENT).where(*_INTENDED), "outcome")
_PLANNED = select(_INTENT.c.serial).where(*_INTENDED, _INTENT.c.serial.is_not(None))


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
    connection: Connection, activation: Activation, *, activator: Activator, worker: str, now: datetime, terms: Terms
) -> Reservation | None:
    """Takes the approval for one attempt and writes down what the attempt intends; None where it is signed.

    Raises `Refused` (approval-expired) at the first sight of a stale approval, or when the time to
    finish an interrupted one is over; `Conflict`: approval-in-use, approval-spent.
    """
    if _first_sight(connection, activation, worker, now, terms):
        activator.require_fresh(activation)
        attempt = 1
    else:
        row = connection.execute(_SEEN, {"_jti": activation.jti}).one()
        if row.sad_sha256 != activation.sad_sha256:
            raise _spent()
        if row.state == SIGNED:
            return None
        attempt = _next_attempt(connection, activation.jti, row, worker, now, terms)
    intents = (
        {
            "jti": activation.jti,
            "attempt": attempt,
            "ordinal": ordinal,
            "digest": document.digest_signed,
            "intended_at": now,
            "outcome": PENDING,
        }
        for ordinal, document in enumerate(activation.documents)
    )
    _INTEND.execute(connection, *intents)
    return Reservation(activation.jti, attempt, worker)


def _first_sight(connection: Connection, activation: Activation, worker: str, now: datetime, terms: Terms) -> bool:
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
    return insert_if_free(connection, _APPROVAL, values)


def _next_attempt(
    connection: Connection, jti: str, row: Row[Any, Any, Any, Any], worker: str, now: datetime, terms: Terms
) -> int:
    """released -> reserved, for one more attempt; its number."""
    if row.state == RESERVED or row.first_reserved_at is None:
        raise _in_use()
    if now > row.first_reserved_at + terms.finish:
        raise Refused("approval-expired", "The time for this approval is over. Approve the signature again.")
    move = {"_jti": jti, "_attempt": row.attempt}
    values = {"attempt": row.attempt + 1, "worker": worker, "lease_until": now + terms.lease}
    if not _moved(connection, _RESERVE_AGAIN, move | values):
        raise _in_use()
    return int(row.attempt) + 1


@dataclass(frozen=True)
class Plan:
    """What is decided of one document's certificate before the authority signs it."""

    ordinal: int
    serial: str
    public_key_sha256: str


def plan(connection: Connection, held: Reservation, plans: Sequence[Plan]) -> None:
    """Adds planned certificates to their intents. `Conflict` (approval-in-use) where the turn was lost."""
    rows = (
        {
            "_jti": held.jti,
            "_attempt": held.attempt,
            "_ordinal": one.ordinal,
            "serial": one.serial,
            "public_key_sha256": one.public_key_sha256,
        }
        for one in plans
    )
    found = _PLAN.execute(connection, *rows)
    if found.rowcount != len(plans):
        raise _in_use()


def finish(connection: Connection, held: Reservation, *, now: datetime) -> None:
    """reserved -> signed, by the holder of the turn alone; `Conflict` (approval-in-use) where it was lost."""
    if not _moved(connection, _FINISH, {**_turn(held), "_now": now}):
        raise _in_use()
    _settle(connection, held, DONE)


def release(connection: Connection, held: Reservation) -> list[str] | None:
    """reserved -> released; the serial numbers that were planned in vain, None where nothing was to release."""
    if not _moved(connection, _RELEASE, _turn(held)):
        return None
    _settle(connection, held, ABANDONED)
    return list(connection.scalars(_PLANNED, {"_jti": held.jti, "_attempt": held.attempt}))


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


def _turn(held: Reservation) -> dict[str, Any]:
    return {"_jti": held.jti, "_attempt": held.attempt, "_worker": held.worker}


def _moved(connection: Connection, move: Prepared, values: Mapping[str, Any]) -> bool:
    return move.execute(connection, values).rowcount == 1


def _settle(connection: Connection, held: Reservation, outcome: str) -> None:
    _SETTLE.execute(connection, {"_jti": held.jti, "_attempt": held.attempt, "outcome": outcome})


def _in_use() -> Conflict:
    return Conflict("approval-in-use", "This approval is being used right now. Ask again in a moment.")


def _spent() -> Conflict:
    return Conflict("approval-spent", "This approval was used already. Approve the signature again.")
