"""A record of every time-stamp that was given (EN 319 421, 7.12: events of the time-stamping service)."""

from datetime import datetime

from sqlalchemy import LargeBinary, String, UniqueConstraint, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from tsp.core.database import Base


class TimeStamp(Base):
    """One token. `batch` is the SHA-256 over the token digests of its batch, in the order of `position`."""

    __tablename__ = "time_stamp"
    __table_args__ = (UniqueConstraint("batch", "position"),)

    #: 128 random bits as 32 lower-case hexadecimal digits: the database sees to it that none comes twice.
    serial: Mapped[str] = mapped_column(String(32), primary_key=True)
    #: Serial number of the TSU's certificate.
    unit: Mapped[str] = mapped_column(String(40))
    given_at: Mapped[datetime] = mapped_column(index=True)
    hash_name: Mapped[str] = mapped_column(String(8))
    imprint: Mapped[bytes] = mapped_column(LargeBinary(64))
    token_digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    batch: Mapped[bytes] = mapped_column(LargeBinary(32))
    position: Mapped[int]


def last_given(session: Session, unit: str) -> datetime | None:
    """The latest moment in any record of this unit; None before its first time-stamp."""
    return session.scalar(select(func.max(TimeStamp.given_at)).where(TimeStamp.unit == unit))
