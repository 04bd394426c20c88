"""The signing session: from the upload to the approval, one durable step after the other.

    uploaded -> chosen -> frozen -> requested -> approved -> signed -> finished
                  ^________________________________| (approved anew: expired, cancelled, refused)

Whoever loses the compare-and-swap of a step gets `Conflict` and looks again. Nothing is half done:
files are written before the row that names them, and what a crash leaves is swept up. What follows
the approval (engine, time-stamp, status, validation) is in `finishing.py`.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, get_args

from sqlalchemy import select

from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.core.errors import Conflict, Invalid, NotFound, TooMany
from tsp.core.isolated import Isolated
from tsp.core.randomness import Randomness, new_id
from tsp.formats import pades
from tsp.formats.findings import Finding
from tsp.sign import tables
from tsp.sign.documents import FINAL, ORIGINAL, REMARKS, Documents, clean_label, one_line, prepared
from tsp.sign.tables import SigningSession, State, move

Kind = Literal["advanced", "advanced-qualified", "qualified"]
KINDS: tuple[Kind, ...] = get_args(Kind)
#: From these a person may choose a kind and go to approve; also anew, after an approval that led nowhere.
BEFORE_APPROVAL = (State.UPLOADED, State.CHOSEN, State.FROZEN, State.REQUESTED, State.FAILED)
#: Between them the engine and the finishing work.
AFTER_APPROVAL = (State.APPROVED, State.SIGNED)
#: How many unsigned documents one person may keep here.
MAX_OPEN = 50
PAGE_WIDTH = 1240
_SWEEP_BATCH = 100
_ORPHAN_AGE = timedelta(hours=1)


@dataclass(frozen=True)
class Policy:
    """What this installation accepts and how long it keeps it; `kinds` are those it can make."""

    limits: pades.DocumentLimits = field(default_factory=pades.DocumentLimits)
    keep: timedelta = timedelta(days=30)
    kinds: tuple[Kind, ...] = KINDS


@dataclass(frozen=True)
class Remarks:
    """What a document has inside besides its pages: names and sizes of attached files, addresses of links."""

    files: tuple[tuple[str, int | None], ...] = ()
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Frozen:
    """A document as it will be signed, and what the person is asked to approve."""

    session_id: str
    attempt: str
    kind: str
    label: str
    pages: int
    digest_shown: str
    digest_signed: str

    def authorization_details(self) -> list[dict[str, Any]]:
        """RFC 9396: exactly what the identity provider shows and puts into the approval."""
        document = {
            "label": self.label,
            "pages": self.pages,
            "digest_shown": self.digest_shown,
            "digest_signed": self.digest_signed,
        }
        return [{"type": "signature", "kind": self.kind, "session": self.session_id, "documents": [document]}]


class SigningRequests:
    """The rules of signing sessions; one public method a use case, one transaction each."""

    def __init__(
        self,
        *,
        database: Database,
        documents: Documents,
        isolated: Isolated,
        clock: Clock,
        randomness: Randomness,
        policy: Policy | None = None,
    ) -> None:
        self.policy = policy or Policy()
        self.documents = documents
        self._database = database
        self._isolated = isolated
        self._clock = clock
        self._randomness = randomness

    def accept(self, owner: str, filename: str, pdf: bytes) -> str:
        """Takes in a document; the new session's id.

        Raises `Invalid` (document-missing and what `pades.inspect` raises), `TooMany` (too-many-documents).
        """
        if not pdf:
            raise Invalid("document-missing", "Choose a document first.")
        with self._database.read() as session:
            if tables.count_open(session, owner) >= MAX_OPEN:
                raise TooMany(
                    "too-many-documents",
                    "You have many documents here that are not signed. Sign or delete some of them first.",
                    retry_after=60,
                )
        seen = pades.inspect(self._isolated, pdf, self.policy.limits)
        now = self._clock.now()
        session_id = new_id(self._randomness)
        self.documents.put(session_id, ORIGINAL, pdf)
        if seen.attachments or seen.addresses:
            found = {"files": attached(seen.attachments), "addresses": [one_line(a) for a in seen.addresses]}
            self.documents.put(session_id, REMARKS, json.dumps(found).encode())
        row = SigningSession(
            id=session_id,
            version=1,
            owner=owner,
            state=State.UPLOADED,
            label_sealed=self.documents.seal_text(clean_label(filename), _label_context(session_id)),
            size=len(pdf),
            page_sizes=[list(size) for size in seen.page_sizes],
            findings=[str(finding) for finding in seen.findings],
            earlier_signatures=sum(s.kind == "signature" for s in seen.signatures),
            digest_shown=hashlib.sha256(pdf).hexdigest(),
            created=now,
            changed=now,
            erase_after=now + self.policy.keep,
        )
        with self._database.write() as session:
            session.add(row)
        return session_id

    def get(self, owner: str, session_id: str) -> SigningSession:
        """The session as it stands. Raises `NotFound` (document-unknown), also for what is another's."""
        with self._database.read() as session:
            row = tables.find(session, owner, session_id)
        if row is None or row.state == State.CANCELLED:
            raise NotFound("document-unknown", "There is no such document.")
        return row

    def label(self, row: SigningSession) -> str:
        """The document's name."""
        return self.documents.open_text(row.label_sealed, _label_context(row.id))

    def remarks(self, row: SigningSession) -> Remarks:
        """What its findings are about, by name. Nothing where the document is erased."""
        if not {Finding.EMBEDDED_FILES, Finding.LINKS} & set(row.findings):
            return Remarks()
        try:
            found = json.loads(self.documents.get(row.id, REMARKS))
        except NotFound:
            return Remarks()
        return Remarks(tuple((name, size) for name, size in found["files"]), tuple(found["addresses"]))

    def listing(self, owner: str, page: int, per_page: int) -> tuple[Sequence[SigningSession], int]:
        """One page (from 1) of the owner's sessions, newest first, and how many pages there are."""
        with self._database.read() as session:
            total = tables.count(session, owner)
            rows = tables.listing(session, owner, offset=(page - 1) * per_page, limit=per_page)
        return rows, max(1, -(-total // per_page))

    def picture(self, owner: str, session_id: str, number: int) -> bytes:
        """Page `number` (from 1) as PNG, of the file as it is now. Raises `NotFound` (page-not-found)."""
        row = self.get(owner, session_id)
        if not 1 <= number <= row.pages:
            raise NotFound("page-not-found", "There is no such page.")
        part = FINAL if row.state == State.FINISHED else ORIGINAL
        return pades.render(self._isolated, self.documents.get(row.id, part), number - 1, PAGE_WIDTH)

    def freeze(self, owner: str, session_id: str, kind: str, signer: str) -> Frozen:
        """Chooses the kind and makes the file exactly as it will be signed, in a new attempt.

        An earlier attempt that was not approved yet ends with this. `signer` is the name for the
        signature's dictionary. Raises `Invalid` (kind-unknown), `Conflict` (already-approved, moved-on).
        """
        if kind not in self.policy.kinds:
            raise Invalid("kind-unknown", "Choose one of the kinds of signature.")
        row = self.get(owner, session_id)
        if row.state not in BEFORE_APPROVAL:
            raise Conflict("already-approved", "This document is already approved or signed.", state=row.state)
        attempt = new_id(self._randomness)
        row = self._step(row, state=State.CHOSEN, kind=kind, attempt=attempt, problem=None, approval_sealed=None)
        frozen = pades.freeze(
            self._isolated, self.documents.get(row.id, ORIGINAL), claimed_time=self._clock.now(), name=signer
        )
        self.documents.put(row.id, prepared(attempt), frozen.pdf)
        digest = frozen.digest_signed.hex()
        row = self._step(
            row,
            state=State.FROZEN,
            digest_signed=digest,
            field_name=frozen.field_name,
            byte_range=list(frozen.byte_range),
        )
        self.documents.erase(row.id, keep={ORIGINAL, REMARKS, prepared(attempt)})
        return self.frozen(row)

    def requested(self, owner: str, frozen: Frozen) -> None:
        """The person goes to the identity provider with this attempt."""
        row = self._of_attempt(owner, frozen.session_id, frozen.attempt, (State.FROZEN,))
        self._step(row, state=State.REQUESTED)

    def frozen(self, row: SigningSession) -> Frozen:
        """What the person was asked to approve in the newest attempt. Raises `Conflict` (moved-on)."""
        if row.attempt is None or row.kind is None or row.digest_signed is None:
            raise moved_on(row.state)
        return Frozen(row.id, row.attempt, row.kind, self.label(row), row.pages, row.digest_shown, row.digest_signed)

    def declined(self, owner: str, session_id: str, attempt: str, problem: str = "approval-declined") -> None:
        """The person came back without an approval: they may choose again."""
        row = self._of_attempt(owner, session_id, attempt, (State.REQUESTED,))
        self._step(row, state=State.CHOSEN, problem=problem)

    def approved(self, owner: str, session_id: str, attempt: str, approval: str) -> None:
        """Keeps the approval (SAD) for the engine. Raises `Conflict` (moved-on) where a newer attempt began."""
        row = self._of_attempt(owner, session_id, attempt, (State.REQUESTED,))
        sealed = self.documents.seal_text(approval, approval_context(session_id))
        self._step(row, state=State.APPROVED, approval_sealed=sealed, approved_at=self._clock.now(), problem=None)

    def in_hands(self, row: SigningSession) -> bool:
        """Whether a worker makes the signature or the file at this moment."""
        leased = row.lease_until is not None and row.lease_until > self._clock.now()
        return leased and row.state in AFTER_APPROVAL

    def delete(self, owner: str, session_id: str) -> None:
        """Erases the document at once. What is signed keeps its evidence in the list; what is not, disappears.

        Raises `Conflict` (signing-in-progress) while the signature is being made.
        """
        row = self.get(owner, session_id)
        now = self._clock.now()
        if self.in_hands(row):
            raise in_progress()
        state = row.state if row.state == State.FINISHED else State.CANCELLED
        self._step(row, state=state, erased_at=now, approval_sealed=None)
        self.documents.erase(row.id)

    def download(self, owner: str, session_id: str) -> tuple[str, bytes]:
        """Name and octets of the signed file. Raises `NotFound` (not-signed, document-erased)."""
        row = self.get(owner, session_id)
        if row.state != State.FINISHED:
            raise NotFound("not-signed", "This document is not signed yet.")
        return self.label(row), self.documents.get(row.id, FINAL)

    def result(self, row: SigningSession) -> dict[str, Any]:
        """What the engine and the finishing gave: certificate, evidence, time-stamp, verdict. Raises `NotFound`."""
        if row.result_sealed is None:
            raise NotFound("not-signed", "This document is not signed yet.")
        read: dict[str, Any] = self.documents.open_json(row.result_sealed, result_context(row.id))
        return read

    def sweep(self) -> int:
        """Erases what has reached the end of its time, and what crashes left behind; how many documents."""
        now = self._clock.now()
        with self._database.write() as session:
            tables.forget_expired(session, now)
        with self._database.read() as session:
            due = tables.due_for_erasure(session, now, _SWEEP_BATCH)
        erased = 0
        for row in due:
            state = row.state if row.state == State.FINISHED else State.CANCELLED
            with self._database.write() as session:
                moved = move(session, row, now, state=state, erased_at=now, approval_sealed=None)
            if moved:
                self.documents.erase(row.id)
                erased += 1
        self.documents.erase_orphans((now - _ORPHAN_AGE).timestamp(), self._known)
        return erased

    def _known(self, ids: list[str]) -> set[str]:
        statement = select(SigningSession.id).where(SigningSession.id.in_(ids), SigningSession.erased_at.is_(None))
        with self._database.read() as session:
            return set(session.scalars(statement))

    def _of_attempt(self, owner: str, session_id: str, attempt: str, states: Sequence[State]) -> SigningSession:
        row = self.get(owner, session_id)
        if row.attempt != attempt or row.state not in states:
            raise moved_on(row.state)
        return row

    def _step(self, row: SigningSession, **values: Any) -> SigningSession:
        """One compare-and-swap; the row as it is now. Raises `Conflict` (moved-on)."""
        with self._database.write() as session:
            if not move(session, row, self._clock.now(), **values):
                raise moved_on(row.state)
        with self._database.read() as session:
            return tables.fetch(session, row.id)


def attached(attachments: Sequence[pades.Attachment]) -> list[tuple[str, int | None]]:
    """Attached files by names that can be shown."""
    return [(clean_label(file.name), file.size) for file in attachments]


def moved_on(state: str) -> Conflict:
    """Somebody else, or the same person in another window, was first."""
    return Conflict("moved-on", "This document has moved on in another window. Look at it again.", state=state)


def in_progress() -> Conflict:
    return Conflict("signing-in-progress", "The signature is being made at this moment. Please wait a little.")


def approval_context(session_id: str) -> str:
    return f"signing_session/approval/{session_id}"


def result_context(session_id: str) -> str:
    return f"signing_session/result/{session_id}"


def _label_context(session_id: str) -> str:
    return f"signing_session/label/{session_id}"
