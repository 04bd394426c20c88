"""Tables of the credentials. None holds a secret in a form that could be used (SEC-1)."""

from datetime import datetime

from sqlalchemy import LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from tsp.core.database import Base


class PasswordRow(Base):
    """HMAC (token key) over the Argon2id hash of a password; salt and cost stand beside it."""

    __tablename__ = "password"

    account_id: Mapped[str] = mapped_column(String(22), primary_key=True)
    parameters: Mapped[str] = mapped_column(String(64))
    salt: Mapped[bytes] = mapped_column(LargeBinary(16))
    mac: Mapped[bytes] = mapped_column(LargeBinary(32))
    changed: Mapped[datetime]


class PukRow(Base):
    """HMAC of the account's active PUK; at most one."""

    __tablename__ = "puk"

    account_id: Mapped[str] = mapped_column(String(22), primary_key=True)
    mac: Mapped[bytes] = mapped_column(LargeBinary(32))
    acknowledged: Mapped[datetime]


class OneTimeCode(Base):
    """The latest one-time code of a purpose and reference; a new one takes the place of the old.

    `id` is new with every code, so that an attempt begun for one code never meets another.
    `owner` is whose attempts the gate counts, `channel` and `address_index` where the message went,
    `context_digest` (SHA-256) what the code approves.
    """

    __tablename__ = "one_time_code"

    purpose: Mapped[str] = mapped_column(String(32), primary_key=True)
    reference: Mapped[str] = mapped_column(String(64), primary_key=True)
    id: Mapped[str] = mapped_column(String(22), unique=True)
    owner: Mapped[str] = mapped_column(String(64))
    channel: Mapped[str] = mapped_column(String(32))
    address_index: Mapped[str] = mapped_column(String(64))
    context_digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    mac: Mapped[bytes] = mapped_column(LargeBinary(32))
    issued: Mapped[datetime]
    resend_after: Mapped[datetime]
    expires: Mapped[datetime] = mapped_column(index=True)
    attempts_left: Mapped[int]
    used: Mapped[datetime | None]


class AttemptLimit(Base):
    """How many attempts of one factor by one subject are not followed by a success."""

    __tablename__ = "attempt_limit"

    factor: Mapped[str] = mapped_column(String(32), primary_key=True)
    subject: Mapped[str] = mapped_column(String(128), primary_key=True)
    count: Mapped[int]
    last_at: Mapped[datetime] = mapped_column(index=True)
    paused_until: Mapped[datetime | None]
