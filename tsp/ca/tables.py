"""Every certificate that was issued, and what is known of its status."""

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from asn1crypto import x509
from sqlalchemy import BigInteger, Index, Integer, LargeBinary, String, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from tsp.core.database import Base


def _digest_of_der(context: Any) -> str:
    return subject_digest(subject_of(context.get_current_parameters()["der"]))


class Certificate(Base):
    """One issued certificate. Rows are kept (CA-5, CA-6); `revoked_at` is set once and never cleared."""

    __tablename__ = "certificate"
    # Few of many certificates are ever revoked: the list of them must not read all, and finds here what it says.
    __table_args__ = (
        Index(
            "ix_certificate_revoked",
            *("issuer", "shard", "serial", "revoked_at", "reason"),
            sqlite_where=text("revoked_at IS NOT NULL"),
            postgresql_where=text("revoked_at IS NOT NULL"),
        ),
        # What the inventory asks for (`inventory`): by time, by kind, by exact subject; each in the order of time.
        Index("ix_certificate_issued", "issued_at", "serial"),
        Index("ix_certificate_profile", "profile", "issued_at", "serial"),
        Index("ix_certificate_subject", "subject_digest", "issued_at", "serial"),
        # Of which their holders were not told yet: few, and those of the last day.
        Index(
            "ix_certificate_untold",
            "issued_at",
            "subject_ref",
            sqlite_where=text("told_at IS NULL AND subject_ref IS NOT NULL"),
            postgresql_where=text("told_at IS NULL AND subject_ref IS NOT NULL"),
        ),
    )

    #: 16 octets as 32 lower-case hexadecimal digits: unique over all issuers.
    serial: Mapped[str] = mapped_column(String(32), primary_key=True)
    #: Role of the issuer: root or one of `plan.ISSUERS`.
    issuer: Mapped[str] = mapped_column(String(16))
    profile: Mapped[str] = mapped_column(String(64))
    #: Opaque account id of the person, none for the provider's own certificates.
    subject_ref: Mapped[str | None] = mapped_column(String(64), index=True)
    #: SHA-256 (hex) of the subject's Name, so that exactly this subject is found by an index.
    subject_digest: Mapped[str] = mapped_column(String(64), default=_digest_of_der)
    not_before: Mapped[datetime]
    not_after: Mapped[datetime]
    der: Mapped[bytes] = mapped_column(LargeBinary)
    issued_at: Mapped[datetime]
    #: When the holder was told of it (EVD-6).
    told_at: Mapped[datetime | None]
    #: The part of the issuer's revocation list that the certificate names; 0 for the whole list.
    shard: Mapped[int] = mapped_column(Integer, default=0, server_default=text("0"))
    revoked_at: Mapped[datetime | None]
    #: A name of `crl.REASONS`.
    reason: Mapped[str | None] = mapped_column(String(32))


class RevocationList(Base):
    """Where the list of an issuer, or a part of it, has come to. Numbers are given out here and nowhere else."""

    __tablename__ = "revocation_list"

    issuer: Mapped[str] = mapped_column(String(16), primary_key=True)
    #: 0 is the list of all certificates of the issuer.
    shard: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    #: The highest number that was given out (RFC 5280, 5.2.3); a list may still be in the making, or have failed.
    number: Mapped[int] = mapped_column(BigInteger, default=0)
    #: How many revocations there were, and how many of them the published list knows.
    revocations: Mapped[int] = mapped_column(BigInteger, default=0)
    listed: Mapped[int] = mapped_column(BigInteger, default=0)
    #: The list that is published now.
    published: Mapped[int | None] = mapped_column(BigInteger)
    this_update: Mapped[datetime | None]
    next_update: Mapped[datetime | None]
    #: The complete list that delta lists go on from.
    base: Mapped[int | None] = mapped_column(BigInteger)
    base_update: Mapped[datetime | None]
    #: Whether the published list is the last one (EN 319 411-1 CSS-6.3.9-06).
    ended: Mapped[bool] = mapped_column(default=False)


@dataclass(frozen=True, slots=True)
class CertificateStatus:
    """What a responder may say of a certificate. Good is one that was issued and not revoked."""

    serial: str
    issuer: str
    profile: str
    not_before: datetime
    not_after: datetime
    issued_at: datetime
    revoked_at: datetime | None
    reason: str | None

    @property
    def revoked(self) -> bool:
        """Whether it was revoked, for good (EN 319 411-1 REV-6.3.9-04)."""
        return self.revoked_at is not None


def serial_text(serial: int) -> str:
    """A serial number as the table's key."""
    return f"{serial:032x}"


def subject_of(certificate: bytes) -> bytes:
    """The subject's Name (DER) of a certificate (DER)."""
    return bytes(x509.Certificate.load(certificate).subject.dump())


def subject_digest(name: bytes) -> str:
    """How the table knows a Name (DER)."""
    return sha256(name).hexdigest()


def status(session: Session, issuer: str, serial: str) -> CertificateStatus | None:
    """The status of the certificate with this serial number under this issuer; None was never issued."""
    row = session.get(Certificate, serial)
    if row is None or row.issuer != issuer:
        return None
    return CertificateStatus(
        serial=row.serial,
        issuer=row.issuer,
        profile=row.profile,
        not_before=row.not_before,
        not_after=row.not_after,
        issued_at=row.issued_at,
        revoked_at=row.revoked_at,
        reason=row.reason,
    )


class CertificateIntent(Base):
    """A certificate that was prepared and is issued once, or never; durable before the issuer's key is touched.

    `state` goes from prepared to redeemed, in one step for one contender, and from there to issued or failed; or to
    lapsed, where nobody came in time, or withdrawn by an operator. One that stays redeemed tells that a process ended
    between the two: the key may have signed, and nobody has the result.
    """

    __tablename__ = "certificate_intent"
    __table_args__ = (Index("ix_certificate_intent_state", "state", "prepared_at"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    profile: Mapped[str] = mapped_column(String(64))
    issuer: Mapped[str] = mapped_column(String(16))
    serial: Mapped[str] = mapped_column(String(32), unique=True)
    subject_ref: Mapped[str | None] = mapped_column(String(64))
    #: TBSCertificate as it will be signed; gone when the intent has ended, because the names in it are a person's.
    tbs: Mapped[bytes | None] = mapped_column(LargeBinary)
    #: SHA-256 (hex) of `tbs`.
    digest: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16))
    prepared_at: Mapped[datetime]
    #: Until when it can be redeemed.
    until: Mapped[datetime]
    ended_at: Mapped[datetime | None]


def open_intents(session: Session, limit: int = 1000) -> list[CertificateIntent]:
    """What was prepared or redeemed and has not ended, the oldest first."""
    found = (
        select(CertificateIntent)
        .where(CertificateIntent.state.in_(("prepared", "redeemed")))
        .order_by(CertificateIntent.prepared_at)
        .limit(limit)
    )
    return list(session.scalars(found))


def left_intents(session: Session, before: datetime, limit: int = 1000) -> list[CertificateIntent]:
    """What was prepared before that moment and redeemed by a process that came to no end."""
    found = select(CertificateIntent).where(
        CertificateIntent.state == "redeemed", CertificateIntent.prepared_at < before
    )
    return list(session.scalars(found.order_by(CertificateIntent.prepared_at).limit(limit)))
