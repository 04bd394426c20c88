"""Empties the outbox: claims a message with a lease, sends it, writes down how it went.

Any number of runners may work at one outbox. A claim is a row update in a transaction of its own,
so each message is with one runner at a time and goes once; only where a runner dies between
sending and writing that down does the message go again, after its lease, with the same id.
"""

import enum
import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from hsm.errors import HsmError
from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.core.errors import Invalid, Unavailable
from tsp.core.randomness import Randomness, new_id
from tsp.core.sealing import Sealer
from tsp.core.steps import OnStep, unwatched
from tsp.notify.outbox import context
from tsp.notify.sending import Letter, Sender, SendFailed
from tsp.notify.tables import Message, MessageState

log = logging.getLogger("tsp.notify")

_SWEEP_SECONDS = 3600.0


class RunnerStep(enum.StrEnum):
    """What happens to a message, and to ended ones at last. A fault may strike after any of them."""

    EXPIRED = "expired"  # a message that came too late is ended, the transaction open
    CLAIMED = "claimed"  # attempt counted, lease written, open
    LEASED = "leased"  # durable
    OPENED = "opened"  # address and words are in memory
    SENT = "sent"  # the other side has it, nothing durable says so until ENDED: only now it may go twice
    MARKED = "marked"  # its end is written, open
    ENDED = "ended"  # durable
    PUT_BACK = "put-back"  # after a failure: due again later, open
    POSTPONED = "postponed"  # durable
    ERASED = "erased"  # old messages, open
    SWEPT = "swept"  # durable


@dataclass(frozen=True)
class RunnerRules:
    """`lease` and `pauses` in seconds: the pause after each failed attempt; after the last it has failed.

    A lease must be longer than one sending can take. Ended messages are erased after `keep` days.
    """

    lease: int = 120
    #: Quarters of an hour for six hours, then every hour: four days and a half, as mail does (RFC 5321, 4.5.4.1).
    pauses: tuple[int, ...] = (5, 15, 60, 300, *(900,) * 24, *(3600,) * 102)
    keep: int = 30


class Runner:
    """One sender of messages; `senders` by channel (`mail`, `sms`).

    With `only` it leaves the messages of other channels to other runners: a relay that is slow to answer
    then holds up nothing but its own channel. `on_step` is called after each step (fault tests).
    """

    def __init__(
        self,
        database: Database,
        sealer: Sealer,
        clock: Clock,
        randomness: Randomness,
        senders: Mapping[str, Sender],
        rules: RunnerRules | None = None,
        *,
        only: str | None = None,
        on_step: OnStep[RunnerStep] = unwatched,
    ) -> None:
        self._database = database
        self._sealer = sealer
        self._clock = clock
        self._senders = senders
        self._only = only
        self._rules = rules or RunnerRules()
        self._name = new_id(randomness)
        self._on_step = on_step

    def run(self, stop: threading.Event, *, idle: float = 0.25) -> None:
        """Works until `stop` is set, looking again every `idle` seconds when there is nothing to do.

        Where the database is away it waits longer and goes on. Old messages are erased every hour.
        """
        swept = -_SWEEP_SECONDS
        while not stop.is_set():
            try:
                busy = self.run_once()
                if not busy and self._clock.monotonic() - swept >= _SWEEP_SECONDS:
                    self.sweep()
                    swept = self._clock.monotonic()
            except Unavailable as error:
                log.warning("outbox waits: %s %s", error.code, error.facts)
                stop.wait(max(idle, 1.0))
                continue
            if not busy:
                stop.wait(idle)

    def run_once(self) -> bool:
        """Deals with one due message; False when there was none."""
        message = self._claim()
        if message is None:
            return False
        self._on_step(RunnerStep.LEASED)
        try:
            sender = self._senders.get(message.channel)
            if sender is None:
                raise SendFailed("channel-unknown", permanent=True)
            letter = self._open(message)
            self._on_step(RunnerStep.OPENED)
            sender.send(letter)
            self._on_step(RunnerStep.SENT)
        except SendFailed as failure:
            self._failed(message, failure)
        else:
            self._settle(message, MessageState.SENT, None)
        return True

    def sweep(self) -> int:
        """Erases messages that ended long ago; how many."""
        before = self._clock.now() - timedelta(days=self._rules.keep)
        with self._database.write() as session:
            result = session.execute(delete(Message).where(Message.ended < before))
            self._on_step(RunnerStep.ERASED)
        self._on_step(RunnerStep.SWEPT)
        return int(result.rowcount)  # type: ignore[attr-defined]  # a DELETE's result has it

    def _claim(self) -> Message | None:
        """The next due message, now leased to this runner; messages that have expired end here."""
        now = self._clock.now()
        due = select(Message).where(
            Message.state == MessageState.WAITING,
            Message.due <= now,
            or_(Message.lease_until.is_(None), Message.lease_until <= now),
        )
        if self._only is not None:
            due = due.where(Message.channel == self._only)
        due = due.order_by(Message.due, Message.created).limit(1).with_for_update(skip_locked=True)
        with self._database.write() as session:
            while True:
                message = session.scalar(due)
                if message is None:
                    return None
                if message.expires is not None and message.expires <= now:
                    _end(message, MessageState.EXPIRED, "expired", now)
                elif message.attempts > len(self._rules.pauses):
                    _end(message, MessageState.FAILED, message.cause or "runner-died", now)
                else:
                    break
                log.info("message %s %s %s", message.id, message.purpose, message.state)
                session.flush()
                self._on_step(RunnerStep.EXPIRED)
            message.attempts += 1
            message.worker = self._name
            message.lease_until = now + timedelta(seconds=self._rules.lease)
            session.flush()
            self._on_step(RunnerStep.CLAIMED)
            return message

    def _open(self, message: Message) -> Letter:
        try:
            content = json.loads(self._sealer.open(message.sealed, context(message.id)))
        except Invalid:
            raise SendFailed("sealed-damaged", permanent=True) from None
        except HsmError as error:
            raise SendFailed(error.code, permanent=False) from None
        return Letter(message.id, content["to"], content["text"], content.get("subject", ""))

    def _failed(self, message: Message, failure: SendFailed) -> None:
        if failure.permanent or message.attempts > len(self._rules.pauses):
            self._settle(message, MessageState.FAILED, failure.cause)
            return
        pause = timedelta(seconds=self._rules.pauses[message.attempts - 1])
        log.info("message %s %s again in %s: %s", message.id, message.purpose, pause, failure.cause)
        with self._database.write() as session:
            row = self._mine(session, message)
            if row is not None:
                row.due = self._clock.now() + pause
                row.worker = row.lease_until = None
                row.cause = failure.cause[:60]
                session.flush()
                self._on_step(RunnerStep.PUT_BACK)
        self._on_step(RunnerStep.POSTPONED)

    def _settle(self, message: Message, state: MessageState, cause: str | None) -> None:
        log.info("message %s %s %s %s", message.id, message.purpose, state, cause or "")
        with self._database.write() as session:
            row = self._mine(session, message)
            if row is not None:
                _end(row, state, cause, self._clock.now())
                session.flush()
                self._on_step(RunnerStep.MARKED)
        self._on_step(RunnerStep.ENDED)

    def _mine(self, session: Session, message: Message) -> Message | None:
        """The row, if the lease is still this runner's: whoever took it over settles it."""
        row = session.get(Message, message.id, with_for_update=True)
        if row is None or row.worker != self._name or row.attempts != message.attempts:
            log.warning("message %s was taken over", message.id)
            return None
        return row


def _end(message: Message, state: MessageState, cause: str | None, now: datetime) -> None:
    message.state = state
    message.cause = cause[:60] if cause else None
    message.ended = now
    message.sealed = b""
    message.worker = message.lease_until = None


def backlog(session: Session) -> dict[str, int]:
    """How many messages are in each state: for metrics and `tsp doctor`."""
    rows = session.execute(select(Message.state, func.count()).group_by(Message.state))
    return {str(state): int(count) for state, count in rows}
