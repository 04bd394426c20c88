"""The engine's tables: approvals and their states, intents, signatures, evidence."""

from datetime import datetime

from sqlalchemy import ForeignKey, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from tsp.core.database import Base

#: States of an approval. Granted is what the provider's signature says: the row begins when it is reserved.
GRANTED, RESERVED, SIGNED, RELEASED = "granted", "reserved", "signed", "released"
#: What became of an intent.
PENDING, DONE, ABANDONED = "pending", "done", "abandoned"


class Approval(Base):
    """An approval (SAD) that the engine has seen and found valid. Holds references, no personal data."""

    __tablename__ = "approval"

    jti: Mapped[str] = mapped_column(String(128), primary_key=True)
    sad_sha256: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(32))
    client: Mapped[str] = mapped_column(String(128))
    subject_ref: Mapped[str] = mapped_column(String(64), index=True)
    session: Mapped[str] = mapped_column(String(128))
    expires_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(String(16), index=True)
    attempt: Mapped[int]
    #: Who has it reserved: the name of a worker's lock file.
    worker: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[datetime | None]
    first_reserved_at: Mapped[datetime | None]
    signed_at: Mapped[datetime | None]


class SignatureIntent(Base):
    """What an attempt is about to do, durable before the token is touched.

    `serial` and `public_key_sha256` are added when the certificate is planned, before the authority's
    key signs it: a certificate that a crash lost is known by its serial number.
    """

    __tablename__ = "signature_intent"

    jti: Mapped[str] = mapped_column(ForeignKey("approval.jti"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    ordinal: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    digest: Mapped[str] = mapped_column(String(64))
    serial: Mapped[str | None] = mapped_column(String(32), unique=True)
    public_key_sha256: Mapped[str | None] = mapped_column(String(64))
    intended_at: Mapped[datetime]
    outcome: Mapped[str] = mapped_column(String(16))


class Signature(Base):
    """A signature exists when its row is committed; one for each document of an approval, ever."""

    __tablename__ = "signature"
    __table_args__ = (UniqueConstraint("jti", "digest"), UniqueConstraint("jti", "ordinal"))

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    jti: Mapped[str] = mapped_column(ForeignKey("approval.jti"))
    ordinal: Mapped[int]
    #: SHA-256 (hex) of the octets that the signature covers.
    digest: Mapped[str] = mapped_column(String(64))
    serial: Mapped[str] = mapped_column(ForeignKey("certificate.serial"), unique=True)
    cms: Mapped[bytes] = mapped_column(LargeBinary)
    signed_at: Mapped[datetime]


class Evidence(Base):
    """How one signature came to be (EVD-1): canonical JSON, and the log entry that fixes it."""

    __tablename__ = "evidence"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    signature_id: Mapped[str] = mapped_column(ForeignKey("signature.id"), unique=True)
    record: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))
    entry_id: Mapped[int] = mapped_column(ForeignKey("audit_entry.id"), unique=True)
