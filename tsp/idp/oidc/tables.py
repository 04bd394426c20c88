"""What the provider remembers between two requests of a client. Bearer values are kept as SHA-256 only."""

from datetime import datetime

from sqlalchemy import JSON, LargeBinary, String, delete
from sqlalchemy.orm import Mapped, Session, mapped_column

from tsp.core.database import Base


class PushedRequest(Base):
    """An authorization request that a client pushed (RFC 9126); good for one login."""

    __tablename__ = "idp_pushed_request"

    reference_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    client_id: Mapped[str] = mapped_column(String(64))
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    expires_at: Mapped[datetime] = mapped_column(index=True)
    #: The login transaction that it became.
    transaction_id: Mapped[str | None] = mapped_column(String(64))


class AuthorizationCode(Base):
    """A code and what it stands for. It stays after its use, so that a second use is recognised."""

    __tablename__ = "idp_authorization_code"

    code_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    client_id: Mapped[str] = mapped_column(String(64))
    account_id: Mapped[str] = mapped_column(String(64), index=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    expires_at: Mapped[datetime]
    forget_at: Mapped[datetime] = mapped_column(index=True)
    used_at: Mapped[datetime | None]


class AccessToken(Base):
    """An opaque access token: of a person for /userinfo, or of a client for itself (account_id is None)."""

    __tablename__ = "idp_access_token"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    client_id: Mapped[str] = mapped_column(String(64))
    account_id: Mapped[str | None] = mapped_column(String(64), index=True)
    code_hash: Mapped[str | None] = mapped_column(String(64), index=True)
    scopes: Mapped[list[str]] = mapped_column(JSON)
    claims: Mapped[list[str]] = mapped_column(JSON)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class ClientAssertion(Base):
    """A client assertion that was used (RFC 7523, 3: jti); kept until it would have expired."""

    __tablename__ = "idp_client_assertion"

    jti_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class ApprovalSubject(Base):
    """Under which reference the authority knows an account: the `sub` of its approvals, which nobody can turn back.

    Kept with the account, so that its holder can be told of what becomes of a certificate.
    """

    __tablename__ = "idp_approval_subject"

    subject: Mapped[str] = mapped_column(String(64), primary_key=True)
    account_id: Mapped[str] = mapped_column(String(64), index=True)


def account_of(session: Session, subject_ref: str) -> str:
    """The account behind the reference of a certificate: itself, where the account's own id stands there."""
    row = session.get(ApprovalSubject, subject_ref)
    return subject_ref if row is None else row.account_id


def forget_expired(session: Session, now: datetime) -> None:
    """Erases what can no longer be used; each pushed request pays for the ones before it."""
    session.execute(delete(PushedRequest).where(PushedRequest.expires_at <= now))
    session.execute(delete(AuthorizationCode).where(AuthorizationCode.forget_at <= now))
    session.execute(delete(AccessToken).where(AccessToken.expires_at <= now))
    session.execute(delete(ClientAssertion).where(ClientAssertion.expires_at <= now))
