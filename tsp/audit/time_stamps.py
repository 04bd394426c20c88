"""Time-stamps on checkpoints, by an authority that need not be ours (EVD-2).

Not every checkpoint is stamped: one stamp proves the time of everything before it. The first
published checkpoint is stamped at once, later ones when the last stamp is older than the interval
and something besides time-stamps has come into the log since.
"""

import logging
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session

from tsp.audit import tables
from tsp.audit.checkpoint import read_note
from tsp.audit.stepping import keep_stepping
from tsp.audit.tables import CheckpointStamp, Entry, TreeHead
from tsp.core.clock import Clock
from tsp.core.database import Database

log = logging.getLogger("tsp.audit")

#: What the stamping itself leaves in the log, where the authority is our own; no reason to stamp again soon.
_OWN_TRACE = "time-stamps"
_QUIET_INTERVAL = timedelta(hours=1)


class StampingPort(Protocol):
    """A time-stamping authority (RFC 3161) whose tokens are verified before they are handed over."""

    def stamp(self, data: bytes) -> tuple[bytes, datetime]:
        """A token (DER) over the SHA-256 of `data`, and its time. Raises the error family."""
        ...


@dataclass(frozen=True)
class StampLimits:
    """Seconds: between time-stamps, between looks, and the longest pause while the authority fails."""

    interval: float = 60.0
    look: float = 0.5
    longest_pause: float = 60.0


class CheckpointStamper:
    """Has published checkpoints time-stamped by `authority`."""

    def __init__(
        self, database: Database, authority: StampingPort, clock: Clock, limits: StampLimits | None = None
    ) -> None:
        self._database = database
        self._authority = authority
        self._clock = clock
        self.limits = limits or StampLimits()

    def run(self, stop: threading.Event) -> None:
        """Steps until `stop`, with pauses that grow while the authority does not answer."""
        limits = self.limits
        keep_stepping(
            stop,
            self.step,
            what="time-stamp on the checkpoint",
            interval=limits.look,
            longest_pause=limits.longest_pause,
        )

    def step(self) -> int | None:
        """The size of the checkpoint that was stamped; None where none is due. Raises what the authority raises."""
        with self._database.read() as session:
            head = tables.latest_published(session)
            if head is None or head.note is None or not self._due(session, head):
                return None
            size, text = head.size, read_note(head.note).text.encode()
        token, at = self._authority.stamp(text)
        with self._database.write() as session:
            # Two processes of the role may have asked for the same: one token is enough.
            session.get(TreeHead, size, with_for_update=True)
            if session.get(CheckpointStamp, size) is None:
                session.add(CheckpointStamp(size=size, token=token, stamped_at=at))
        return size

    def _due(self, session: Session, head: TreeHead) -> bool:
        last = tables.latest_stamp(session)
        if last is None:
            return True
        age = self._clock.now() - last.stamped_at
        if head.size <= last.size or age < timedelta(seconds=self.limits.interval):
            return False
        others = (
            select(Entry.id)
            .where(Entry.position >= last.size, Entry.position < head.size, Entry.kind != _OWN_TRACE)
            .limit(1)
        )
        return age >= _QUIET_INTERVAL or session.scalar(others) is not None
