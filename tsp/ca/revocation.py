"""Revocation: final, with a reason and somebody who answers for it, and never of a validity-assured certificate.

A revocation, its entry in the log and the message to the person are one transaction, the caller's. It counts at
once for the OCSP responders, which read the table for every answer, and makes the lists that cover the certificate
due: whoever has the authority's key publishes them at its next look.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final, Literal, Protocol

from asn1crypto import x509
from sqlalchemy import select
from sqlalchemy.orm import Session

from tsp.ca import oids
from tsp.ca.crl import REASONS, RevokedCertificate
from tsp.ca.lists import count_revocation, lock_lists
from tsp.ca.tables import Certificate, serial_text
from tsp.core.clock import Clock
from tsp.core.errors import Conflict, Invalid, NotFound, Refused

By = Literal["subject", "officer", "provider"]
#: Who may give which reason (RFC 5280, 5.3.1). Nobody may suspend (certificateHold): a revocation is final (EN 319
#: 411-1 REV-6.3.9-04); aACompromise is for authorities over attributes, which there are none of.
REASONS_OF: Final[Mapping[By, tuple[str, ...]]] = {
    "subject": ("keyCompromise", "affiliationChanged", "superseded", "cessationOfOperation", "unspecified"),
    "officer": (
        *("keyCompromise", "affiliationChanged", "superseded", "cessationOfOperation", "privilegeWithdrawn"),
        "unspecified",
    ),
    "provider": tuple(reason for reason in REASONS if reason != "aACompromise"),
}


@dataclass(frozen=True, slots=True)
class Requester:
    """Who asked and was found entitled to: `name` is a reference (an account's id, an officer, an operator), never a
    person's name. `evidence` says where the proof of the request is kept: a file number, a ticket."""

    by: By
    name: str
    organisation: str = ""
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Revocation:
    """A certificate that is revoked. `already`: it was so before this request, which changed nothing."""

    serial: str
    issuer: str
    profile: str
    subject_ref: str | None
    not_after: datetime
    revoked_at: datetime
    reason: str
    already: bool = False


#: A reference to somebody or to something that is kept elsewhere; a sentence, and with it a name, does not fit.
_REFERENCE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/#@-]{0,99}")


def reference(text: str, field: str) -> str:
    """What was given as a reference; `Invalid` (`<field>-invalid`) for anything else."""
    found = text.strip()
    if not _REFERENCE.fullmatch(found):
        raise Invalid(
            f"{field}-invalid",
            "Give a reference of letters, digits and . _ : / # @ - without spaces, at most 100 of them.",
        )
    return found


def typed_serial(text: str) -> str:
    """A serial number as people copy it, as the table's key; `Invalid` (serial-malformed) for anything else."""
    digits = "".join(c for c in text if c not in " :\t").removeprefix("0x")
    if not re.fullmatch(r"[0-9A-Fa-f]{1,40}", digits):
        raise Invalid("serial-malformed", "A serial number has hexadecimal digits, at most 40 of them.")
    return serial_text(int(digits, 16))


class Journal(Protocol):
    """Takes an event in the caller's transaction. Payloads hold references, never personal data."""

    def __call__(self, session: Session, kind: str, payload: Mapping[str, str]) -> None: ...


#: Tells the person of a revocation, in the caller's transaction.
Tell = Callable[[Session, Revocation], None]


class Revocations:
    """Revokes certificates on the word of who may."""

    def __init__(self, clock: Clock, journal: Journal, tell: Tell) -> None:
        self._clock = clock
        self._journal = journal
        self._tell = tell

    def revoke(
        self,
        session: Session,
        serial: str,
        reason: str,
        requester: Requester,
        *,
        subjects: Collection[str] | None = None,
        persons_only: bool = False,
    ) -> Revocation:
        """Revokes one certificate, or says that it is revoked already: then nothing is changed and nobody told again.

        With `subjects` only a certificate of one of them, with `persons_only` none of the provider's own. Raises
        `Invalid` (revocation-reason-unknown), `Refused` (revocation-reason-refused, certificate-suspension-refused,
        certificate-not-revocable), `NotFound` (certificate-unknown), `Conflict` (certificate-expired).
        """
        check_reason(reason, requester.by)
        row = _locked(session, serial)
        if row is None or not _may(row.subject_ref, subjects, persons_only=persons_only):
            raise NotFound("certificate-unknown", "There is no such certificate.")
        if row.revoked_at is not None:
            return _revocation(row, already=True)
        now = self._clock.now()
        if row.not_after < now:
            raise Conflict("certificate-expired", "This certificate has expired. There is nothing to revoke.")
        revoke(session, row.issuer, serial, reason, now)
        done = _revocation(row)
        self._journal(session, "certificate-revoked", _facts(done, requester))
        if done.subject_ref is not None:
            self._tell(session, done)
        return done

    def revoke_some(
        self, session: Session, issuer: str, reason: str, requester: Requester, *, after: str = "", most: int = 500
    ) -> tuple[list[Revocation], str | None]:
        """Revokes the next certificates of an issuer in the order of their serial numbers, behind `after`.

        Looks at `most` of those that are neither expired nor revoked; returns what was revoked, and behind what to
        go on (None: that was all). Validity-assured ones stay as they are. Raises as `revoke` does for the reason.
        """
        check_reason(reason, requester.by)
        now = self._clock.now()
        query = (
            select(Certificate.serial, Certificate.shard, Certificate.der)
            .where(Certificate.serial > after, Certificate.issuer == issuer)
            .where(Certificate.revoked_at.is_(None), Certificate.not_after >= now)
            .order_by(Certificate.serial)
            .limit(most)
        )
        found = session.execute(query).all()
        lock_lists(session, issuer, {one.shard for one in found})
        able = [one.serial for one in found if not is_validity_assured(one.der)]
        done = [self.revoke(session, serial, reason, requester) for serial in able]
        return [one for one in done if not one.already], found[-1].serial if len(found) == most else None


def _locked(session: Session, serial: str) -> Certificate | None:
    """The row of a certificate, locked behind the lists that cover it; an issuer and a part never change."""
    place = session.execute(select(Certificate.issuer, Certificate.shard).where(Certificate.serial == serial)).first()
    if place is None:
        return None
    lock_lists(session, place.issuer, {place.shard})
    query = select(Certificate).where(Certificate.serial == serial).with_for_update()
    return session.scalar(query.execution_options(populate_existing=True))


def _may(subject: str | None, subjects: Collection[str] | None, *, persons_only: bool) -> bool:
    if subjects is not None:
        return subject in subjects
    return subject is not None or not persons_only


def check_reason(reason: str, by: By) -> None:
    """Raises `Refused` (certificate-suspension-refused, revocation-reason-refused) and `Invalid`
    (revocation-reason-unknown) for a reason that this requester may not give."""
    if reason in ("certificateHold", "removeFromCRL"):
        raise Refused(
            "certificate-suspension-refused",
            "Certificates are not suspended here: a revocation is final. Give the reason why it shall be revoked.",
        )
    if reason not in REASONS:
        raise Invalid("revocation-reason-unknown", "This reason for a revocation is not known.")
    if reason not in REASONS_OF[by]:
        raise Refused("revocation-reason-refused", "You cannot give this reason for a revocation. Choose another one.")


def is_validity_assured(certificate: bytes) -> bool:
    """Whether the certificate says of itself that it cannot be revoked (EN 319 412-1, 5.2)."""
    found = x509.Certificate.load(certificate)["tbs_certificate"]["extensions"]
    return any(extension["extn_id"].dotted == oids.EXT_VALASSURED_ST_CERTS for extension in found)


def revoke(session: Session, issuer: str, serial: str, reason: str, now: datetime) -> Certificate:
    """Revokes one certificate in the caller's transaction, and makes its lists due.

    Raises `Invalid` for an unknown reason, `NotFound`, `Conflict` where it is revoked already (EN 319 411-1
    REV-6.3.9-04: that is final), and `Refused` for a validity-assured
    certificate (GEN-6.6.1-04).
    """
    if reason not in REASONS:
        raise Invalid("revocation-reason-unknown", "This reason for a revocation is not known.", reason=reason)
    row = _locked(session, serial)
    if row is None or row.issuer != issuer:
        raise NotFound("certificate-unknown", "There is no such certificate.", serial=serial)
    if row.revoked_at is not None:
        raise Conflict("certificate-revoked-already", "The certificate is revoked already.", serial=serial)
    if is_validity_assured(row.der):
        raise Refused(
            "certificate-not-revocable",
            "This certificate lives so briefly that it cannot be revoked: it ends by itself within a day.",
            serial=serial,
        )
    row.revoked_at, row.reason = now, reason
    count_revocation(session, row.issuer, row.shard)
    return row


def revocable(session: Session, subjects: Collection[str], now: datetime, most: int = 200) -> list[Certificate]:
    """The certificates of a person that are valid and can be revoked, newest first."""
    query = select(Certificate).where(
        Certificate.subject_ref.in_(subjects), Certificate.not_after >= now, Certificate.revoked_at.is_(None)
    )
    rows = session.scalars(query.order_by(Certificate.issued_at.desc(), Certificate.serial))
    return list(islice((row for row in rows if not is_validity_assured(row.der)), most))


def revoked_certificates(session: Session, issuer: str) -> list[RevokedCertificate]:
    """What the CRL of this issuer lists, for short lists; `lists.entries` does the same for any."""
    rows = session.execute(
        select(Certificate.serial, Certificate.revoked_at, Certificate.reason).where(
            Certificate.issuer == issuer, Certificate.revoked_at.is_not(None)
        )
    )
    return [
        RevokedCertificate(int(serial, 16), since, reason or "unspecified")
        for serial, since, reason in rows
        if since is not None
    ]


def _facts(done: Revocation, requester: Requester) -> dict[str, str]:
    facts = {
        "serial": done.serial,
        "issuer": done.issuer,
        "profile": done.profile,
        "reason": done.reason,
        "by": requester.by,
        "requester": requester.name,
    }
    return facts | {
        name: value
        for name, value in (("organisation", requester.organisation), ("evidence", requester.evidence))
        if value
    }


def _revocation(row: Certificate, *, already: bool = False) -> Revocation:
    assert row.revoked_at is not None
    return Revocation(
        row.serial,
        row.issuer,
        row.profile,
        row.subject_ref,
        row.not_after,
        row.revoked_at,
        row.reason or "unspecified",
        already,
    )
