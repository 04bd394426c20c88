"""Issuing in two steps that survive the process: an intent that is durable, then its redemption, once.

For certificates that the engine does not issue (its approvals are its intents): logins, seals, operators, servers,
responders. `prepare` lets the authority decide and look at everything, and writes the TBSCertificate down. `issue`
claims the intent for itself in one transaction, signs exactly those octets, and stores the certificate in another.
Each step writes its entry of the log in the same transaction (EVD-2); the entries hold serial numbers and digests.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final, cast

from sqlalchemy import CursorResult, update
from sqlalchemy.orm import Session

from tsp.audit.canonical import Json
from tsp.audit.entries import Writer, record
from tsp.ca.authority import Authority, IssuedCertificate
from tsp.ca.names import SubjectName
from tsp.ca.profiles import Profile
from tsp.ca.tables import CertificateIntent
from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.core.errors import Conflict, NotFound, Refused, TspError, Unavailable
from tsp.core.randomness import Randomness

#: Who writes in the log what operators issue.
OPERATORS: Final = "certification"
#: How long an intent stands at most, and at least: its certificate begins when it was prepared.
LONGEST: Final = timedelta(days=1)
SHORTEST: Final = timedelta(seconds=30)
#: And which part of the certificate's own life.
_SHARE: Final = 10


@dataclass(frozen=True, slots=True)
class Intent:
    """What was prepared: which certificate it will be, and until when it can be redeemed."""

    id: str
    serial: str
    profile: str
    issuer: str
    digest: str
    not_before: datetime
    not_after: datetime
    until: datetime


class Issuance:
    """Prepares and issues with one authority, in the name of one writer of the log.

    `one_time`: whether kinds for signatures of natural persons can be had, which is for test certificates alone.
    There is no operator's way to a signature: their keys are made by the engine, for an approval.
    """

    def __init__(
        self,
        authority: Authority,
        database: Database,
        clock: Clock,
        randomness: Randomness,
        writer: Writer,
        *,
        one_time: bool = False,
    ) -> None:
        self._one_time = one_time
        self._authority = authority
        self._database = database
        self._clock = clock
        self._randomness = randomness
        self._writer = writer

    def prepare(
        self,
        profile: str,
        subject: SubjectName,
        spki: bytes,
        *,
        issuer: str | None = None,
        subject_ref: str | None = None,
        host_names: Sequence[str] = (),
        in_device: bool = False,
    ) -> Intent:
        """Decides a certificate, beginning now, and makes the intent durable.

        `in_device` says that the key is in a token of this installation; `Refused` (key-not-in-device) where the
        profile asks for that and it is not, and for kinds of one-time keys (kind-for-one-time-keys). Otherwise
        raises what `Authority.prepare` raises.
        """
        chosen = self.profile(profile)
        if chosen.one_time and not self._one_time:
            raise Refused(
                "kind-for-one-time-keys",
                "Certificates for signatures of persons are issued by the signing engine alone, for an approval.",
                profile=profile,
            )
        if chosen.key_in_token and not in_device:
            raise Refused(
                "key-not-in-device",
                "The key of this kind of certificate must be in a token of this installation.",
                profile=profile,
            )
        now = self._clock.now()
        prepared = self._authority.prepare(profile, subject, spki, now=now, issuer=issuer, host_names=host_names)
        intent = Intent(
            id=self._randomness.bytes(16).hex(),  # also typed on command lines, where none may begin with a hyphen
            serial=prepared.serial,
            profile=profile,
            issuer=prepared.issuer,
            digest=sha256(prepared.tbs).hexdigest(),
            not_before=prepared.not_before,
            not_after=prepared.not_after,
            until=now + max(SHORTEST, min(LONGEST, (prepared.not_after - prepared.not_before) / _SHARE)),
        )
        with self._database.write() as session:
            _forget_lapsed(session, now)
            session.add(
                CertificateIntent(
                    id=intent.id,
                    profile=profile,
                    issuer=intent.issuer,
                    serial=intent.serial,
                    subject_ref=subject_ref,
                    tbs=prepared.tbs,
                    digest=intent.digest,
                    state="prepared",
                    prepared_at=now,
                    until=intent.until,
                    ended_at=None,
                )
            )
            facts: dict[str, Json] = {"intent": intent.id, "certificate": intent.serial, "sha256": intent.digest}
            record(session, writer=self._writer, kind="certificate-prepared", payload=facts)
        return intent

    def profile(self, name: str) -> Profile:
        """The profile of this name; `Invalid` (profile-unknown), `Refused` (kind-not-available)."""
        return self._authority.profile(name)

    def issue(self, intent_id: str) -> IssuedCertificate:
        """Redeems an intent: signs what was prepared, compares, and stores the certificate.

        Raises `NotFound` (intent-unknown), `Conflict` (certificate-issued-already) for every contender but one and
        also after a failure, `Refused` (prepared-too-old), `Unavailable` where the token does not answer or the
        result is not what was prepared, `Conflict` (intent-withdrawn). Whatever is raised after the claim, the intent
        has failed for good.
        """
        claimed = self._claim(intent_id)
        try:
            if claimed.tbs is None or sha256(claimed.tbs).hexdigest() != claimed.digest:
                raise _damaged(intent_id)
            issued = self._authority.issue_stored(claimed.profile, claimed.issuer, claimed.tbs)
        except TspError as error:
            self._failed(claimed, error.code)
            raise
        with self._database.write() as session:
            session.add(self._authority.row(issued, claimed.subject_ref))
            if not _move(session, claimed.id, "redeemed", "issued", self._clock.now()):
                raise Conflict(
                    "intent-withdrawn", "The prepared certificate was withdrawn meanwhile.", intent=claimed.id
                )
            facts: dict[str, Json] = {
                "intent": claimed.id,
                "certificate": issued.serial,
                "sha256": sha256(issued.der).hexdigest(),
            }
            record(session, writer=self._writer, kind="certificate-issued", payload=facts)
        return issued

    def issue_now(self, profile: str, subject: SubjectName, spki: bytes, **options: Any) -> IssuedCertificate:
        """Both steps, one after the other; options as of `prepare`."""
        return self.issue(self.prepare(profile, subject, spki, **options).id)

    def withdraw(self, intent_id: str) -> str:
        """Ends an intent that has not ended, whatever became of it; the serial number that it had.

        What a process is signing at this moment is not stored then, and not handed out. Raises `NotFound`
        (intent-unknown), `Conflict` (intent-ended).
        """
        with self._database.write() as session:
            row = session.get(CertificateIntent, intent_id)
            if row is None:
                raise _unknown(intent_id)
            now = self._clock.now()
            if not any(_move(session, intent_id, state, "withdrawn", now) for state in ("prepared", "redeemed")):
                raise Conflict("intent-ended", "The prepared certificate has come to its end.", state=row.state)
            facts: dict[str, Json] = {"intent": intent_id, "certificate": row.serial}
            record(session, writer=self._writer, kind="certificate-withdrawn", payload=facts)
            return row.serial

    def _claim(self, intent_id: str) -> CertificateIntent:
        """The intent, now redeemed by this contender and by no other."""
        now = self._clock.now()
        with self._database.write() as session:
            won = _move(session, intent_id, "prepared", "redeemed", None, not_after=now)
            row = session.get(CertificateIntent, intent_id)
            if row is None:
                raise _unknown(intent_id)
            if won:
                return row
            if row.state in ("prepared", "lapsed"):
                raise Refused(
                    "prepared-too-old", "The certificate was prepared too long ago. Start again.", serial=row.serial
                )
            raise Conflict("certificate-issued-already", "This certificate was issued already.", serial=row.serial)

    def _failed(self, claimed: CertificateIntent, code: str) -> None:
        """Ends an intent whose certificate could not be made. It stays redeemed where that cannot be written."""
        facts: dict[str, Json] = {"intent": claimed.id, "certificate": claimed.serial, "cause": code}
        with suppress(Unavailable), self._database.write() as session:
            _move(session, claimed.id, "redeemed", "failed", self._clock.now())
            record(session, writer=self._writer, kind="certificate-failed", payload=facts)


def _move(
    session: Session,
    intent_id: str,
    before: str,
    after: str,
    ended: datetime | None,
    *,
    not_after: datetime | None = None,
) -> bool:
    """Compare-and-swap of the state; whether it was ours to move. Who has ended forgets the names."""
    values: dict[str, Any] = {"state": after} if ended is None else {"state": after, "ended_at": ended, "tbs": None}
    found = update(CertificateIntent).where(CertificateIntent.id == intent_id, CertificateIntent.state == before)
    if not_after is not None:
        found = found.where(CertificateIntent.until >= not_after)
    outcome = cast("CursorResult[Any]", session.execute(found.values(values)))
    return outcome.rowcount == 1


def _forget_lapsed(session: Session, now: datetime) -> None:
    """The names in what nobody redeemed in time have no purpose any more."""
    lapsed = update(CertificateIntent).where(CertificateIntent.state == "prepared", CertificateIntent.until < now)
    session.execute(lapsed.values({"state": "lapsed", "ended_at": now, "tbs": None}))


def _unknown(intent_id: str) -> NotFound:
    return NotFound("intent-unknown", "There is no such prepared certificate.", intent=intent_id)


def _damaged(intent_id: str) -> Unavailable:
    return Unavailable(
        "intent-damaged", "The prepared certificate is not what was stored. Prepare it anew.", intent=intent_id
    )
