"""Tables of the signing site, and the queries on them.

`owner` is the pairwise subject of the person at this site: who it is, only the identity provider knows.
What a person would recognise (file names, names, approvals, results) is sealed.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, Index, LargeBinary, Select, String, delete, func, or_, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from tsp.core.database import Base


class State(StrEnum):
    """Where a signing session stands. Each step is one compare-and-swap (`move`)."""

    UPLOADED = "uploaded"  # the document is here and can be signed
    CHOSEN = "chosen"  # the kind of signature is chosen
    FROZEN = "frozen"  # the file is exactly as it will be signed
    REQUESTED = "requested"  # the person was sent to the identity provider
    APPROVED = "approved"  # the approval (SAD) is here; the engine may sign
    SIGNED = "signed"  # the signature exists; time-stamp and status are still missing
    FINISHED = "finished"  # validated; the person has it
    FAILED = "failed"  # the engine refused; the person may approve anew
    CANCELLED = "cancelled"  # the person gave it up


class SigningSession(Base):
    """One document of one person on its way to a signature. `version` guards every change."""

    __tablename__ = "signing_session"

    id: Mapped[str] = mapped_column(String(22), primary_key=True)
    version: Mapped[int] = mapped_column(default=1)
    owner: Mapped[str] = mapped_column(String(255))
    state: Mapped[str] = mapped_column(String(12))
    label_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    size: Mapped[int]
    page_sizes: Mapped[list[list[float]]] = mapped_column(JSON)
    findings: Mapped[list[str]] = mapped_column(JSON)
    earlier_signatures: Mapped[int]
    digest_shown: Mapped[str] = mapped_column(String(64))

    kind: Mapped[str | None] = mapped_column(String(24))
    attempt: Mapped[str | None] = mapped_column(String(22))
    digest_signed: Mapped[str | None] = mapped_column(String(64))
    field_name: Mapped[str | None] = mapped_column(String(127))
    byte_range: Mapped[list[int] | None] = mapped_column(JSON)
    approval_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    approved_at: Mapped[datetime | None]
    result_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    evidence_id: Mapped[str | None] = mapped_column(String(64))
    problem: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[datetime | None]

    created: Mapped[datetime]
    changed: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    erase_after: Mapped[datetime]
    erased_at: Mapped[datetime | None]

    __table_args__ = (
        Index("ix_signing_session_owner_created", "owner", "created"),
        Index("ix_signing_session_erase_after", "erase_after"),
        Index("ix_signing_session_waiting", "state", "changed"),
    )

    @property
    def pages(self) -> int:
        return len(self.page_sizes)


class SiteLogin(Base):
    """A person who is logged in in one browser; the cookie holds the token, the table its digest."""

    __tablename__ = "site_login"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    owner: Mapped[str] = mapped_column(String(255))
    name_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    acr: Mapped[str] = mapped_column(String(60))
    last_seen: Mapped[datetime]
    ends_at: Mapped[datetime] = mapped_column(index=True)


class PendingAuthorization(Base):
    """A request that was pushed to the identity provider and whose answer a browser will bring, once."""

    __tablename__ = "site_authorization"

    state_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    browser_hash: Mapped[str] = mapped_column(String(64))
    nonce: Mapped[str] = mapped_column(String(43))
    verifier_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    back: Mapped[str] = mapped_column(String(2000))
    session_id: Mapped[str | None] = mapped_column(String(22))
    attempt: Mapped[str | None] = mapped_column(String(22))
    ends_at: Mapped[datetime] = mapped_column(index=True)


def move(session: Session, row: SigningSession, now: datetime, **values: Any) -> bool:
    """Changes the row if nobody changed it since `row` was read; False where somebody did."""
    statement = (
        update(SigningSession)
        .where(SigningSession.id == row.id, SigningSession.version == row.version)
        .values(version=row.version + 1, changed=now, **values)
        .execution_options(synchronize_session=False)
    )
    return bool(session.execute(statement).rowcount == 1)  # type: ignore[attr-defined]


def _rows(session: Session, statement: Select[SigningSession]) -> list[SigningSession]:
    """The rows, free of the session: what was read stays readable after it, and nothing writes it back."""
    rows = list(session.scalars(statement))
    for row in rows:
        session.expunge(row)
    return rows


def find(session: Session, owner: str, session_id: str) -> SigningSession | None:
    """The session if it is this owner's: to anybody else it does not exist."""
    statement = select(SigningSession).where(SigningSession.id == session_id, SigningSession.owner == owner)
    return next(iter(_rows(session, statement)), None)


def fetch(session: Session, session_id: str) -> SigningSession:
    """A session that is known to be there."""
    return _rows(session, select(SigningSession).where(SigningSession.id == session_id))[0]


def find_login(session: Session, token_hash: str) -> SiteLogin | None:
    """The login of a browser's token."""
    row = session.get(SiteLogin, token_hash)
    if row is not None:
        session.expunge(row)
    return row


def _listed(owner: str) -> tuple[Any, ...]:
    return SigningSession.owner == owner, SigningSession.state != State.CANCELLED


def listing(session: Session, owner: str, *, offset: int, limit: int) -> Sequence[SigningSession]:
    """The owner's sessions that were not given up, newest first."""
    statement = (
        select(SigningSession)
        .where(*_listed(owner))
        .order_by(SigningSession.created.desc(), SigningSession.id)
        .offset(offset)
        .limit(limit)
    )
    return _rows(session, statement)


def count(session: Session, owner: str) -> int:
    """How many sessions `listing` has in all."""
    return session.scalar(select(func.count()).select_from(SigningSession).where(*_listed(owner))) or 0


def count_open(session: Session, owner: str) -> int:
    """How many of them hold a document that is not signed yet."""
    statement = (
        select(func.count())
        .select_from(SigningSession)
        .where(*_listed(owner), SigningSession.state != State.FINISHED, SigningSession.erased_at.is_(None))
    )
    return session.scalar(statement) or 0


def due_for_erasure(session: Session, now: datetime, limit: int) -> Sequence[SigningSession]:
    """Sessions whose document has reached the end of its time, also those given up."""
    statement = (
        select(SigningSession)
        .where(SigningSession.erase_after <= now, SigningSession.erased_at.is_(None))
        .order_by(SigningSession.erase_after)
        .limit(limit)
    )
    return _rows(session, statement)


def waiting(session: Session, now: datetime, limit: int) -> Sequence[SigningSession]:
    """Sessions that have their signature, wait for the rest, and are in nobody's hands."""
    statement = (
        select(SigningSession)
        .where(SigningSession.state == State.SIGNED, SigningSession.erased_at.is_(None))
        .where(or_(SigningSession.lease_until.is_(None), SigningSession.lease_until <= now))
        .order_by(SigningSession.changed)
        .limit(limit)
    )
    return _rows(session, statement)


def stuck(session: Session, before: datetime) -> dict[str, int]:
    """Sessions that were approved and have not moved since `before`: how many, by what was missing."""
    statement = (
        select(SigningSession.problem, func.count())
        .where(SigningSession.state.in_((State.APPROVED, State.SIGNED)), SigningSession.erased_at.is_(None))
        .where(SigningSession.changed < before)
        .group_by(SigningSession.problem)
        .order_by(SigningSession.problem)
    )
    return {problem or "nobody came back": int(count) for problem, count in session.execute(statement)}


def forget_expired(session: Session, now: datetime) -> None:
    """Removes logins and requests that have ended."""
    session.execute(delete(SiteLogin).where(SiteLogin.ends_at <= now))
    session.execute(delete(PendingAuthorization).where(PendingAuthorization.ends_at <= now))
