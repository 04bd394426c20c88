"""The log before its witnesses: each checkpoint is brought to them, and published when enough have co-signed.

One `WitnessLine` a witness, in a thread of its own, so that a witness that is slow or down delays
nobody but the entries that wait for its word, and never the sequencer. What a witness says against
the log is an alarm: it stays on the log's page and becomes an entry of the log itself.
"""

import base64
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tsp.audit import public, tables, tree
from tsp.audit.cosignature import CosignerKey, SeenBy, read_answer
from tsp.audit.entries import Writer, record
from tsp.audit.stepping import keep_stepping
from tsp.audit.tables import Cosignature, Publication, TreeHead, WitnessState
from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.core.errors import Conflict, Invalid, TspError, Unavailable
from tsp.core.outbound import Outbound

log = logging.getLogger("tsp.audit")

#: What is wrong with a witness that does not answer as it should; the log itself is not in doubt.
DOWN, ANSWER = "witness-down", "witness-answer"
#: What a witness says against the log: it does not contain what was co-signed, or was longer once.
REWRITTEN, SHRUNKEN = "log-rewritten", "log-shrunken"
ALARMS = frozenset({REWRITTEN, SHRUNKEN})
_MAX_ANSWER = 64 * 1024
#: How often a witness may name another size within one step before it is taken for confused.
_CORRECTIONS = 3


@dataclass(frozen=True)
class Witness:
    """A configured witness: the address below which it serves the protocol, and its key."""

    url: str
    key: CosignerKey


@dataclass(frozen=True)
class WitnessLimits:
    """Seconds: between looks for a new checkpoint, for one answer, and between tries while it is down."""

    interval: float = 0.25
    timeout: float = 5.0
    longest_pause: float = 60.0


class WitnessLine:
    """The line to one witness. `all_names` are all configured witnesses, of which `needed` must co-sign.

    A new line shows the newest checkpoint even where it was co-signed before: a log that was put back from
    an older backup is found out at its start, not when it next grows.
    """

    def __init__(
        self,
        witness: Witness,
        *,
        all_names: Sequence[str],
        needed: int,
        database: Database,
        outbound: Outbound,
        writer: Writer,
        clock: Clock,
        limits: WitnessLimits | None = None,
    ) -> None:
        self._witness = witness
        self._all_names = tuple(all_names)
        self._needed = needed
        self._database = database
        self._outbound = outbound
        self._writer = writer
        self._clock = clock
        self._shown = False
        self.limits = limits or WitnessLimits()

    @property
    def name(self) -> str:
        return self._witness.key.name

    def run(self, stop: threading.Event) -> None:
        """Steps until `stop`, with pauses that grow while the witness does not co-sign."""
        limits = self.limits
        keep_stepping(
            stop,
            self.step,
            what=f"witness {self.name}",
            interval=limits.interval,
            longest_pause=limits.longest_pause,
        )

    def step(self) -> bool:
        """One round: True where the witness has co-signed a checkpoint.

        Raises `Unavailable` (witness-down) and `Invalid` (witness-answer) where it gives no
        cosignature, `Conflict` (log-rewritten, log-shrunken) where it speaks against the log. Each is
        kept in the witness's state first.
        """
        try:
            return self._step()
        except (Conflict, Invalid, Unavailable) as error:
            if error.code in (*ALARMS, DOWN, ANSWER):
                self._keep_problem(error)
            raise

    def _step(self) -> bool:
        old = self._known_size()
        for _ in range(_CORRECTIONS):
            asked = self._next(old)
            if asked is None:
                return False
            size, body, note = asked
            answer = self._ask(body)
            if isinstance(answer, int):
                old = self._corrected(answer)
                continue
            self._keep(size, self._read(answer, note))
            self._shown = True
            return True
        raise Invalid(ANSWER, "The witness names another size each time.", witness=self.name)

    def _known_size(self) -> int:
        with self._database.read() as session:
            state = session.get(WitnessState, self.name)
            return state.size if state else 0

    def _next(self, old: int) -> tuple[int, bytes, str] | None:
        """Size, body and note of what this witness is asked to co-sign; None where it has done so."""
        with self._database.read() as session:
            head = self._target(session)
            if head is None or head.note is None or head.size < old:
                return None
            if self._shown and session.get(Cosignature, (head.size, self.name)) is not None:
                return None
            proof = tree.consistency_proof(old, head.size, public.nodes(session))
            lines = "".join(base64.b64encode(node).decode() + "\n" for node in proof)
            return head.size, f"old {old}\n{lines}\n{head.note}".encode(), head.note

    def _ask(self, body: bytes) -> str | int:
        """The witness's answer: its cosignature lines, or the size that it knows."""
        try:
            answer = self._outbound.request(
                "POST",
                f"{self._witness.url}/add-checkpoint",
                content=body,
                timeout=self.limits.timeout,
                max_bytes=_MAX_ANSWER,
            )
        except TspError as error:
            raise Unavailable(DOWN, "The witness does not answer.", witness=self.name, cause=error.code) from error
        text = answer.body.decode("utf-8", "replace")
        if answer.status == 200:
            return text
        if answer.status == 409 and text.strip().isascii() and text.strip().isdigit() and len(text) < 20:
            return int(text)
        if answer.status == 422:
            raise Conflict(
                REWRITTEN,
                "A witness says that this log does not contain what it has co-signed. Run tsp audit verify.",
                witness=self.name,
            )
        raise Unavailable(DOWN, "The witness does not co-sign.", witness=self.name, status=answer.status)

    def _corrected(self, size: int) -> int:
        """The size that the witness starts from, where this log was ever so long."""
        with self._database.read() as session:
            newest = tables.latest_signed(session)
            length = newest.size if newest else 0
        if size > length:
            raise Conflict(
                SHRUNKEN,
                "A witness has co-signed a longer log than this one. Was an old copy restored? Call for help.",
                witness=self.name,
                known=size,
                size=length,
            )
        return size

    def _read(self, answer: str, note: str) -> SeenBy:
        try:
            return read_answer(answer, note, self._witness.key)
        except Invalid as error:
            raise Invalid(ANSWER, error.sentence, witness=self.name) from error

    def _keep(self, size: int, seen: SeenBy) -> None:
        """Stores the cosignature, and publishes the checkpoint where it was the last that was missing."""
        with self._database.write() as session:
            # Locked first: two processes of the role may bring the same answer.
            session.get(TreeHead, size, with_for_update=True)
            session.merge(Cosignature(size=size, witness=seen.witness, line=seen.line, cosigned_at=seen.at))
            state = self._state(session)
            state.size, state.cosigned_at = max(state.size, size), seen.at
            state.problem = state.problem_at = None
            session.flush()
            if self._count(session, size) >= self._needed and session.get(Publication, size) is None:
                session.add(Publication(size=size, published_at=self._clock.now()))

    def _target(self, session: Session) -> TreeHead | None:
        """What all witnesses are asked for: a head that some of them know and not enough, else the newest.

        While the log grows the witnesses would else co-sign different sizes, and none of them enough.
        """
        configured = Cosignature.witness.in_(self._all_names)
        begun = session.scalar(select(func.max(Cosignature.size)).where(configured))
        if begun is not None and session.get(Publication, begun) is None and self._count(session, begun) < self._needed:
            return session.get(TreeHead, begun)
        return tables.latest_signed(session)

    def _count(self, session: Session, size: int) -> int:
        """How many of the configured witnesses have co-signed the checkpoint of this size."""
        found = select(func.count()).select_from(Cosignature)
        found = found.where(Cosignature.size == size, Cosignature.witness.in_(self._all_names))
        return session.scalar(found) or 0

    def _keep_problem(self, error: TspError) -> None:
        """What is wrong, in the state; an alarm also in the log, once."""
        try:
            with self._database.write() as session:
                state = self._state(session)
                if state.problem == error.code or (state.problem in ALARMS and error.code not in ALARMS):
                    return
                state.problem, state.problem_at = error.code, self._clock.now()
                if error.code in ALARMS:
                    log.critical("witness %s speaks against the log: %s %s", self.name, error.code, error.facts)
                    facts = {"code": error.code, "witness": self.name}
                    record(session, writer=self._writer, kind="witness-alarm", payload=facts)
        except Unavailable as second:
            log.error("witness %s: state not kept: %s", self.name, second.code)

    def _state(self, session: Session) -> WitnessState:
        state = session.get(WitnessState, self.name, with_for_update=True)
        if state is None:
            state = WitnessState(name=self.name, size=0, cosigned_at=None, problem=None, problem_at=None)
            session.add(state)
        return state
