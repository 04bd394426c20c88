"""The inventory of certificates: found by subject, serial number, kind, issuer, time and status, a page at a time.

Pages follow each other by time of issue, the newest first, each from where the last one ended: what is issued
meanwhile moves nothing. Subject, serial number, kind, holder and time of issue have indexes of their own
(`tables`); issuer, state and validity alone are looked for along the index of time, so bound them by time.
"""

import base64
import enum
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID
from sqlalchemy import ColumnElement, Select, select, tuple_
from sqlalchemy.orm import Session

from tsp.ca.tables import Certificate, subject_digest
from tsp.core.errors import Invalid, NotFound

#: Certificates on one page, at most.
MAX_PAGE: Final = 500
#: The short names of RFC 4519 and X.520 for what stands in subjects and has none in RFC 4514.
ATTRIBUTES: Final = {
    NameOID.GIVEN_NAME: "givenName",
    NameOID.SURNAME: "SN",
    NameOID.SERIAL_NUMBER: "serialNumber",
    NameOID.PSEUDONYM: "pseudonym",
    NameOID.ORGANIZATION_IDENTIFIER: "organizationIdentifier",
}
_SERIAL = re.compile(r"[0-9a-fA-F]{1,32}")
_CURSOR = re.compile(r"(\d{1,20})\.([0-9a-f]{32})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class State(enum.StrEnum):
    """What a certificate is at a moment. Revoked stays revoked, also when it has expired."""

    VALID = "valid"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Question:
    """What is looked for; everything that is given must hold.

    `subject` is a distinguished name as a string (RFC 4514), compared exactly. `holders` are references of people
    (`subject_ref`). `since` and `until` bound the time of issue, `since` included and `until` not;
    `valid_at` lies within the validity, both ends included.
    """

    subject: str | None = None
    serial: str | None = None
    profile: str | None = None
    issuer: str | None = None
    holders: Collection[str] | None = None
    state: State | None = None
    since: datetime | None = None
    until: datetime | None = None
    valid_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Certificates, the newest first, and from where the next page begins; `after` is empty on the last."""

    certificates: list[Certificate]
    after: str


def search(session: Session, question: Question, now: datetime, *, after: str = "", limit: int = 50) -> Page:
    """One page of what is found, of `limit` certificates at most, from where a page before ended.

    Raises `Invalid` (subject-malformed, serial-malformed, cursor-malformed, page-size-unfit).
    """
    if not 1 <= limit <= MAX_PAGE:
        raise Invalid("page-size-unfit", f"A page has 1 to {MAX_PAGE} certificates.")
    wanted = _asked(question, now)
    if after:
        issued_at, serial = _read_cursor(after)
        wanted = wanted.where(tuple_(Certificate.issued_at, Certificate.serial) < tuple_(issued_at, serial))
    ordered = wanted.order_by(Certificate.issued_at.desc(), Certificate.serial.desc()).limit(limit + 1)
    found = list(session.scalars(ordered))
    return Page(found[:limit], _cursor(found[limit - 1]) if len(found) > limit else "")


def find(session: Session, serial: str) -> Certificate:
    """The certificate with this serial number (hexadecimal, as people copy it).

    Raises `Invalid` (serial-malformed), `NotFound` (certificate-unknown).
    """
    found = session.get(Certificate, _serial(serial))
    if found is None:
        raise NotFound("certificate-unknown", "There is no such certificate.")
    return found


def state_of(certificate: Certificate, now: datetime) -> State:
    """What the certificate is now."""
    if certificate.revoked_at is not None:
        return State.REVOKED
    return State.VALID if now <= certificate.not_after else State.EXPIRED


def subject_text(certificate: Certificate) -> str:
    """The subject as a string (RFC 4514) that `search` takes."""
    return x509.load_der_x509_certificate(certificate.der).subject.rfc4514_string(ATTRIBUTES)


def described(row: Certificate, now: datetime) -> dict[str, str | None]:
    """What the inventory says of a certificate. Moments are ISO 8601 in UTC; `state` is that of `now`."""
    return {
        "serial": row.serial,
        "subject": subject_text(row),
        "profile": row.profile,
        "issuer": row.issuer,
        "state": state_of(row, now).value,
        "not_before": _iso(row.not_before),
        "not_after": _iso(row.not_after),
        "issued_at": _iso(row.issued_at),
        "revoked_at": None if row.revoked_at is None else _iso(row.revoked_at),
        "reason": row.reason,
        "holder": row.subject_ref,
    }


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_moment(text: str | None) -> datetime | None:
    """A moment or a day as people type it, UTC where no zone is named; `Invalid` (moment-malformed)."""
    if text is None:
        return None
    try:
        read = datetime.fromisoformat(text)
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Invalid("moment-malformed", "Write a moment as 2026-11-28 or 2026-11-28T10:00:00Z.") from None


def _asked(question: Question, now: datetime) -> Select[Certificate]:
    table = Certificate
    # An upper bound of time is always there, so that the first page searches its index as the others do.
    wanted = select(table).where(table.issued_at < (question.until or now + timedelta(days=1)))
    subject = question.subject if question.subject is None else _subject_digest(question.subject)
    serial = question.serial if question.serial is None else _serial(question.serial)
    exactly = {
        table.subject_digest: subject,
        table.serial: serial,
        table.profile: question.profile,
        table.issuer: question.issuer,
    }
    for column, value in exactly.items():
        if value is not None:
            wanted = wanted.where(column == value)
    if question.since is not None:
        wanted = wanted.where(table.issued_at >= question.since)
    if question.holders is not None:
        wanted = wanted.where(table.subject_ref.in_(question.holders))
    if question.valid_at is not None:
        wanted = wanted.where(table.not_before <= question.valid_at, table.not_after >= question.valid_at)
    return wanted if question.state is None else wanted.where(*_being(question.state, now))


def _being(state: State, now: datetime) -> list[ColumnElement[bool]]:
    if state is State.REVOKED:
        return [Certificate.revoked_at.is_not(None)]
    ended = Certificate.not_after < now
    return [Certificate.revoked_at.is_(None), ended if state is State.EXPIRED else ~ended]


def _subject_digest(text: str) -> str:
    names = {short: oid for oid, short in ATTRIBUTES.items()}
    try:
        return subject_digest(x509.Name.from_rfc4514_string(text, names).public_bytes())
    except ValueError:
        raise Invalid(
            "subject-malformed",
            "Write the subject as a distinguished name (RFC 4514), as `tsp certificate show` prints it.",
        ) from None


def _serial(text: str) -> str:
    digits = re.sub(r"[\s:]", "", text)
    if not _SERIAL.fullmatch(digits):
        raise Invalid("serial-malformed", "A serial number has up to 32 hexadecimal digits.")
    return digits.lower().rjust(32, "0")


def _cursor(certificate: Certificate) -> str:
    microseconds = (certificate.issued_at - _EPOCH) // _MICROSECOND
    return base64.urlsafe_b64encode(f"{microseconds}.{certificate.serial}".encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[datetime, str]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        read = _CURSOR.fullmatch(text)
        if read is not None:
            return _EPOCH + int(read[1]) * _MICROSECOND, read[2]
    except (ValueError, OverflowError):
        pass
    raise Invalid("cursor-malformed", "Take the cursor of the page before as it is.")
