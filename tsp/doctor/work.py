"""What waits in the database longer than it should: messages, entries of the log, approvals, signing sessions."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from tsp.audit.installation import witnesses as configured_witnesses
from tsp.audit.tables import WitnessState, newest_entry_at, oldest_uncovered
from tsp.audit.witnesses import ANSWER, DOWN, REWRITTEN, SHRUNKEN
from tsp.ca.tables import left_intents
from tsp.doctor.diagnosis import Diagnosis
from tsp.engine.approvals import overdue
from tsp.notify.tables import failed_since, oldest_waiting
from tsp.runtime import Runtime
from tsp.sign.tables import stuck

_DAY = timedelta(days=1)
_WITNESS_ADVICE = {
    DOWN: "Look at the witness; until it answers new entries stay pending.",
    ANSWER: "Ask who runs the witness: its key may have changed.",
    REWRITTEN: "The log is not the one that was co-signed. Keep everything, run `tsp audit verify`, call for help.",
    SHRUNKEN: "The log was longer once: an old copy of the database was restored. Call for help.",
}


def clock(runtime: Runtime) -> Iterator[Diagnosis]:
    """The machine's time against the newest entry of the log, which cannot lie in the future."""
    now = runtime.clock.now()
    with _reading(runtime) as session:
        newest = newest_entry_at(session)
    behind = (newest - now).total_seconds() if newest else 0.0
    tolerance = runtime.settings.clock.max_jump_ms / 1000
    yield Diagnosis(
        "clock",
        behind <= tolerance,
        f"{behind:,.0f} s before the log's newest entry" if behind > tolerance else "not before the log's newest entry",
        "Check the time sources of this machine and of every other one of the installation. Then restart the roles; "
        "nothing is signed or time-stamped before what is recorded already.",
    )


def outbox(runtime: Runtime) -> Iterator[Diagnosis]:
    """Messages that nobody could send yet, and those that were given up during the last day."""
    now, limit = runtime.clock.now(), timedelta(seconds=runtime.settings.doctor.waiting_seconds)
    with _reading(runtime) as session:
        waiting, failed = oldest_waiting(session), failed_since(session, now - _DAY)
    yield Diagnosis(
        "outbox",
        waiting is None or now - waiting.created <= limit,
        "nothing waits"
        if waiting is None
        else f"the oldest message waits for {_ago(now, waiting.created)}"
        f" ({waiting.channel}, {waiting.cause or 'not tried'})",
        "Look whether the role notify runs and the mail relay or the SMS gateway answers (mail.host, sms.url). "
        "What is still valid is sent by itself within a quarter of an hour.",
    )
    yield Diagnosis(
        "dead letters",
        not failed,
        ", ".join(f"{count} x {cause}" for cause, count in failed.items()) or "none during the last day",
        "These messages were refused for good or given up. Look at the causes; people ask for codes again by "
        "themselves, notices have to be told another way.",
    )


def log(runtime: Runtime) -> Iterator[Diagnosis]:
    """Whether the newest signed checkpoint covers every entry but those of the last moments."""
    now, limit = runtime.clock.now(), timedelta(seconds=runtime.settings.doctor.checkpoint_seconds)
    with _reading(runtime) as session:
        oldest = oldest_uncovered(session)
    yield Diagnosis(
        "checkpoint",
        oldest is None or now - oldest <= limit,
        "covers every entry" if oldest is None else f"the oldest entry without one is {_ago(now, oldest)} old",
        "Look whether the role log runs and its token answers; it catches up by itself. If its log says log-damaged, "
        "run `tsp audit verify` and call for help.",
    )


def witnesses(runtime: Runtime) -> Iterator[Diagnosis]:
    """What the witnesses of the log say; one that was never asked is no trouble yet."""
    with _reading(runtime) as session:
        for witness in configured_witnesses(runtime.settings):
            state = session.get(WitnessState, witness.key.name)
            problem = state.problem if state else None
            yield Diagnosis(
                f"witness {witness.key.name}",
                problem is None,
                problem or (f"co-signed {state.size} entries" if state else "not asked yet"),
                _WITNESS_ADVICE.get(problem or "", "Look at the log's own messages."),
            )


def approvals(runtime: Runtime) -> Iterator[Diagnosis]:
    """Approvals that a dead engine had in use and nobody released."""
    limit = timedelta(seconds=runtime.settings.doctor.waiting_seconds)
    with _reading(runtime) as session:
        left = overdue(session, runtime.clock.now() - limit)
    yield Diagnosis(
        "approvals in use",
        not left,
        f"{len(left)} that no engine works on" if left else "none left behind",
        "Start the engine: it releases them by itself, and their documents can be signed.",
    )


def sessions(runtime: Runtime) -> Iterator[Diagnosis]:
    """Documents that were approved and wait for a service."""
    limit = timedelta(seconds=runtime.settings.doctor.waiting_seconds)
    with _reading(runtime) as session:
        waiting = stuck(session, runtime.clock.now() - limit)
    yield Diagnosis(
        "signing sessions",
        not waiting,
        ", ".join(f"{count} wait: {problem}" for problem, count in waiting.items()) or "none wait",
        "The code names what was missing: peer-unavailable is time-stamping, status or repository; hsm- and "
        "engine-unavailable the engine. Signed ones go on by themselves within a minute, others when their person "
        "presses Try again.",
    )


def certificates_in_the_making(runtime: Runtime) -> Iterator[Diagnosis]:
    """Prepared certificates that a process claimed and left."""
    limit = timedelta(seconds=runtime.settings.doctor.waiting_seconds)
    with _reading(runtime) as session:
        left = left_intents(session, runtime.clock.now() - limit)
    yield Diagnosis(
        "certificates in the making",
        not left,
        f"{len(left)} that a process left: {', '.join(one.id for one in left[:3])}" if left else "none left behind",
        "Look what ended that process, then `tsp certificate withdraw` each and prepare a new one.",
    )


@contextmanager
def _reading(runtime: Runtime) -> Iterator[Session]:
    database = runtime.database()
    try:
        with database.read() as session:
            yield session
    finally:
        database.close()


def _ago(now: datetime, then: datetime) -> str:
    seconds = max(0, int((now - then).total_seconds()))
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"
