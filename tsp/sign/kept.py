"""Which files a signing session needs, as its row says: for backups and for those who check them."""

from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from tsp.sign.documents import FINAL, ORIGINAL, prepared
from tsp.sign.tables import SigningSession, State

_WITH_FROZEN = (State.FROZEN, State.REQUESTED, State.APPROVED, State.SIGNED)
_CHUNK = 1000


def kept_parts(row: SigningSession) -> tuple[str, ...]:
    """The parts of the document that must be there."""
    if row.erased_at is not None or row.state == State.CANCELLED:
        return ()
    if row.state == State.FINISHED:
        return (FINAL,)
    if row.state in _WITH_FROZEN and row.attempt is not None:
        return (ORIGINAL, prepared(row.attempt))
    return (ORIGINAL,)


def kept_documents(session: Session) -> Iterator[tuple[str, str]]:
    """Every document's id and part that must be there."""
    last = ""
    while rows := session.scalars(
        select(SigningSession)
        .where(SigningSession.id > last, SigningSession.erased_at.is_(None))
        .order_by(SigningSession.id)
        .limit(_CHUNK)
    ).all():
        for row in rows:
            for part in kept_parts(row):
                yield row.id, part
        last = rows[-1].id
        session.expunge_all()
