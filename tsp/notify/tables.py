"""The outbox table: what is to be sent, sealed, and how far it has come."""

import enum
from datetime import datetime

from sqlalchemy import Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

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
