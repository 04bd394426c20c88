"""Every certificate that was issued, and what is known of its status."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Index, LargeBinary, String, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from tsp.core.database import Base


class Certificate(Base):
    """One issued certificate. Rows are kept (CA-5, CA-6); `revoked_at` is set once and never cleared."""

    __tablename__ = "certificate"
    # Few of many certificates are ever revoked: the list of them must not read all.
    __table_args__ = (
        Index(
            "ix_certificate_revoked",
            "issuer",
            sqlite_where=text("revoked_at IS NOT NULL"),
            postgresql_where=text("revoked_at IS NOT NULL"),
        ),
    )

    #: 16 octets as 32 lower-case hexadecimal digits: unique over all issuers.
    serial: Mapped[str] = mapped_column(String(32), primary_key=True)
    #: Role of the issuer: root or one of `plan.ISSUERS`.
    issuer: Mapped[str] = mapped_column(String(16))
    profile: Mapped[str] = mapped_column(String(64))
    #: Opaque account id of the person, none for the provider's own certificates.
    subject_ref: Mapped[str | None] = mapped_column(String(64), index=True)
    not_before: Mapped[datetime]
    not_after: Mapped[datetime]
    der: Mapped[bytes] = mapped_column(LargeBinary)
    issued_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    #: A name of `crl.REASONS`.
    reason: Mapped[str | None] = mapped_column(String(32))


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
    lapsed, where nobody came in time. One that stays redeemed tells that a process ended between the two: the key may
    have signed, and nobody has the result.
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
