"""Erases what has run out, so that nothing personal stays longer than it is needed."""

from datetime import datetime, timedelta

from sqlalchemy import delete
from sqlalchemy.orm import Session

from tsp.idp.accounts import tables
from tsp.idp.credentials.codes import Codes
from tsp.idp.credentials.gate import Gate

#: An identification key nobody used goes this long after its end; a used one stays with the evidence.
_KEY_GRACE = timedelta(days=30)


def sweep(session: Session, now: datetime, gate: Gate, codes: Codes) -> int:
    """How many rows were erased, in the caller's transaction."""
    gone = gate.sweep(session) + codes.sweep(session)
    for statement in (
        delete(tables.Registration).where(tables.Registration.expires <= now),
        delete(tables.FormPermission).where(tables.FormPermission.until <= now),
        delete(tables.IdentificationKey).where(
            tables.IdentificationKey.expires < now - _KEY_GRACE, tables.IdentificationKey.used.is_(None)
        ),
    ):
        gone += session.execute(statement).rowcount  # type: ignore[attr-defined]  # a DELETE's result has it
    return gone
