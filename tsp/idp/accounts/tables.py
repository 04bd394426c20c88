"""Tables of the accounts and the queries on them. Personal data are sealed; search is by HMAC index."""

import enum
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ForeignKey, LargeBinary, String, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from tsp.core.database import Base


class AccountState(enum.StrEnum):
    """Active; locked by its owner; blocked by support; ended by its owner (a tombstone)."""

    ACTIVE = "active"
    LOCKED = "locked"
    BLOCKED = "blocked"
    ENDED = "ended"


class Account(Base):
    """One account. The row stays for ever: an id that named a person never names another (CA-6)."""

    __tablename__ = "account"

    id: Mapped[str] = mapped_column(String(22), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    language: Mapped[str] = mapped_column(String(2))
    terms_accepted: Mapped[datetime]
    created: Mapped[datetime]
    ended: Mapped[datetime | None]


class AccountEmail(Base):
    """An address of an account: each is a user name, one of them gets the notices.

    `address_index` is unique among addresses in use; a blocked account's is taken away.
    """

    __tablename__ = "account_email"

    id: Mapped[str] = mapped_column(String(22), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"), index=True)
    address_index: Mapped[str | None] = mapped_column(String(43), unique=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    notification: Mapped[bool]
    added: Mapped[datetime]


class AccountPhone(Base):
    """A proven mobile number. Several accounts may share one (REG-5)."""

    __tablename__ = "account_phone"

    id: Mapped[str] = mapped_column(String(22), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"), index=True)
    number_index: Mapped[str] = mapped_column(String(43), index=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    login: Mapped[bool]
    added: Mapped[datetime]


class Registration(Base):
    """A registration under way: nothing of it is an account yet.

    `step` is what is asked for next; `sealed` holds what was typed and proven so far (the password
    only as its record).
    """

    __tablename__ = "registration"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    step: Mapped[str] = mapped_column(String(8))
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created: Mapped[datetime]
    expires: Mapped[datetime] = mapped_column(index=True)


class PersonalData(Base):
    """The personal data of an account, once they agreed with the register (ACC-3).

    `verified_index` is the HMAC of the tax number while this is the person's verified account:
    unique, so that there is only one (REG-5). It is taken away when the account ends or is blocked.
    """

    __tablename__ = "personal_data"

    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"), primary_key=True)
    tax_index: Mapped[str] = mapped_column(String(43), index=True)
    verified_index: Mapped[str | None] = mapped_column(String(43), unique=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    verified: Mapped[bool]
    entered: Mapped[datetime]


class FormPermission(Base):
    """A session that proved access to the notification address and may fill in the form for a while."""

    __tablename__ = "form_permission"

    session_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"))
    until: Mapped[datetime] = mapped_column(index=True)


class IdentificationKey(Base):
    """A key that a branch gave a person whose document an officer had checked (ACC-4)."""

    __tablename__ = "identification_key"

    id: Mapped[str] = mapped_column(String(22), primary_key=True)
    mac: Mapped[str] = mapped_column(String(43), unique=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    organisation: Mapped[str] = mapped_column(String(64), index=True)
    officer: Mapped[str] = mapped_column(String(100))
    issued: Mapped[datetime]
    expires: Mapped[datetime] = mapped_column(index=True)
    used: Mapped[datetime | None]


class IdentityVerification(Base):
    """How and when it was found out who the holder of an account is. Kept with the evidence (CA-6)."""

    __tablename__ = "identity_verification"

    id: Mapped[str] = mapped_column(String(22), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"), index=True)
    method: Mapped[str] = mapped_column(String(32))
    level: Mapped[str] = mapped_column(String(16))
    reference: Mapped[str | None] = mapped_column(String(64))
    at: Mapped[datetime]


def account_by_email(session: Session, address_index: str) -> Account | None:
    """The account with this user name."""
    query = select(Account).join(AccountEmail).where(AccountEmail.address_index == address_index)
    return session.scalar(query)


def notification_email(session: Session, account_id: str) -> AccountEmail | None:
    """The address that notices go to."""
    query = select(AccountEmail).where(AccountEmail.account_id == account_id, AccountEmail.notification)
    return session.scalar(query)


def login_phones(session: Session, account_id: str) -> Sequence[AccountPhone]:
    """The numbers that login codes may go to, oldest first."""
    query = select(AccountPhone).where(AccountPhone.account_id == account_id, AccountPhone.login)
    return session.scalars(query.order_by(AccountPhone.added, AccountPhone.id)).all()


def confirmed_data(session: Session, account_id: str) -> PersonalData | None:
    """The account's personal data if they agree with the register."""
    query = select(PersonalData).where(PersonalData.account_id == account_id, PersonalData.verified)
    return session.scalar(query)


def verifications(session: Session, account_id: str) -> Sequence[IdentityVerification]:
    """The account's verifications, oldest first."""
    query = select(IdentityVerification).where(IdentityVerification.account_id == account_id)
    return session.scalars(query.order_by(IdentityVerification.at, IdentityVerification.id)).all()
