"""The outbox table: what is to be sent, sealed, and how far it has come."""

import enum
from datetime import datetime

from sqlalchemy import Index, LargeBinary, String, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from tsp.core.database import Base


class MessageState(enum.StrEnum):
    """Waiting (also while a runner holds it), sent, failed for good, or expired before it could go."""

    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"
    EXPIRED = "expired"


class Message(Base):
    """One message. `sealed` (address, subject, text) is emptied when the message has come to an end.

    `attempts` counts claims, so that a message that kills its runner also comes to an end.
    """

    __tablename__ = "outbox_message"
    __table_args__ = (Index("ix_outbox_message_due", "state", "due"),)

    id: Mapped[str] = mapped_column(String(22), primary_key=True)
    channel: Mapped[str] = mapped_column(String(8))
    purpose: Mapped[str] = mapped_column(String(40))
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    state: Mapped[str] = mapped_column(String(8))
    created: Mapped[datetime]
    due: Mapped[datetime]
    expires: Mapped[datetime | None]
    attempts: Mapped[int]
    worker: Mapped[str | None] = mapped_column(String(22))
    lease_until: Mapped[datetime | None]
    ended: Mapped[datetime | None] = mapped_column(index=True)
    cause: Mapped[str | None] = mapped_column(String(60))


def oldest_waiting(session: Session) -> Message | None:
    """The message that has waited longest to be sent."""
    found = select(Message).where(Message.state == MessageState.WAITING).order_by(Message.created).limit(1)
    return session.scalar(found)


def failed_since(session: Session, moment: datetime) -> dict[str, int]:
    """How many messages were given up since then, by cause."""
    failed = (
        select(Message.cause, func.count())
        .where(Message.state == MessageState.FAILED, Message.ended >= moment)
        .group_by(Message.cause)
        .order_by(Message.cause)
    )
    return {cause or "unknown": int(count) for cause, count in session.execute(failed)}
