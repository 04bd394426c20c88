"""Logins under way, the sessions that they led to, and the consent that people gave."""

from datetime import datetime

from sqlalchemy import JSON, LargeBinary, String, delete, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from tsp.core.database import Base


class LoginTransaction(Base):
    """One request of a service in one browser, from its arrival to the answer.

    The id stands in the address and in every form; it is good only together with the browser's
    cookie, so that several tabs can have a login each and nobody can pass theirs on.
    """

    __tablename__ = "idp_login_transaction"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    browser_hash: Mapped[str] = mapped_column(String(64), index=True)
    client_id: Mapped[str] = mapped_column(String(64))
    #: The pushed request; it may hold an e-mail address and names of documents.
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]
    #: Until then the request can be taken up again (registration, raising the level of assurance).
    forget_at: Mapped[datetime] = mapped_column(index=True)
    #: The end of this try at the login (LOG-3).
    deadline: Mapped[datetime]
    account_id: Mapped[str | None] = mapped_column(String(64))
    #: What was proven in this try, or at the login whose session is used.
    means: Mapped[list[str]] = mapped_column(JSON)
    #: The chosen second means, once its code was sent.
    method: Mapped[str | None] = mapped_column(String(64))
    auth_time: Mapped[datetime | None]
    consented_at: Mapped[datetime | None]
    #: The end of the time for the approval, from the moment it is first shown.
    approval_deadline: Mapped[datetime | None]
    #: The means whose code was last sent for the approval.
    approval_method: Mapped[str | None] = mapped_column(String(64))
    finished_at: Mapped[datetime | None]


class IdpSession(Base):
    """One browser in which one person is logged in."""

    __tablename__ = "idp_session"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    account_id: Mapped[str] = mapped_column(String(64), index=True)
    means: Mapped[list[str]] = mapped_column(JSON)
    auth_time: Mapped[datetime]
    last_seen: Mapped[datetime]
    ends_at: Mapped[datetime] = mapped_column(index=True)


class Consent(Base):
    """The claims that a person lets a service have; remembered until they are more (LOG-4)."""

    __tablename__ = "idp_consent"

    account_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    client_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    claims: Mapped[list[str]] = mapped_column(JSON)
    given_at: Mapped[datetime]


def has_consented(session: Session, account_id: str, client_id: str, claims: tuple[str, ...]) -> bool:
    """Whether the person already let this service have all of these claims."""
    row = session.get(Consent, (account_id, client_id))
    return row is not None and set(claims) <= set(row.claims)


def remember_consent(session: Session, account_id: str, client_id: str, claims: tuple[str, ...], now: datetime) -> None:
    """Adds the claims to what the person allowed this service before."""
    row = session.get(Consent, (account_id, client_id), with_for_update=True)
    if row is None:
        session.add(Consent(account_id=account_id, client_id=client_id, claims=sorted(claims), given_at=now))
    else:
        row.claims = sorted({*row.claims, *claims})
        row.given_at = now


def forget_old(session: Session, now: datetime) -> None:
    """Erases logins that nobody can take up again."""
    session.execute(delete(LoginTransaction).where(LoginTransaction.forget_at <= now))


def take_back(session: Session, browser_hash: str, now: datetime) -> None:
    """After a logout: what this browser was logged in for and has not finished begins anew."""
    session.execute(
        update(LoginTransaction)
        .where(
            LoginTransaction.browser_hash == browser_hash,
            LoginTransaction.auth_time.is_not(None),
            LoginTransaction.finished_at.is_(None),
        )
        .values(
            account_id=None,
            means=[],
            method=None,
            auth_time=None,
            consented_at=None,
            approval_deadline=None,
            approval_method=None,
            deadline=now,
        )
    )
