"""What the configuration says about time-stamps and time, made into objects."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from sqlalchemy.orm import Session

from tsp.audit.canonical import Json
from tsp.audit.entries import Writer, append, record
from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.core.errors import Invalid
from tsp.core.outbound import Outbound
from tsp.core.randomness import Randomness
from tsp.core.settings import Settings, Time
from tsp.tsa import sntp
from tsp.tsa.journal import Batch
from tsp.tsa.time_guard import GuardTerms, TimeGuard, evidence
from tsp.tsa.time_sources import Comparison, Source, TimeSources

#: A majority of three outvotes one liar.
QUALIFIED_SOURCES: Final = 3


@dataclass(frozen=True, slots=True)
class UnitTerms:
    """What makes one of the two time-stamping services what it is. `unit` names key and certificate."""

    unit: str
    policy: str
    accuracy_ms: int
    max_clock_jump_ms: int
    qualified: bool


def terms_of(settings: Settings, role: Literal["tsa", "qtsa"]) -> UnitTerms:
    """The terms of a role. `Invalid` (time-sources-missing) where production lacks sources for qualified ones."""
    if role == "tsa":
        tsa = settings.tsa
        return UnitTerms("tsu", tsa.policy, tsa.accuracy_ms, tsa.max_clock_jump_ms, qualified=False)
    if not settings.demo and len(settings.time.sources) < QUALIFIED_SOURCES:
        raise Invalid(
            "time-sources-missing",
            "Qualified time-stamps need at least three time sources: name them in time.sources.",
        )
    qtsa = settings.qtsa
    return UnitTerms("qtsu", settings.qtsa_policy, qtsa.accuracy_ms, qtsa.max_clock_jump_ms, qualified=True)


def log_batches(writer: Writer) -> Callable[[Session, Batch], None]:
    """What leaves a trace of each batch of time-stamps in the log, inside the batch's own transaction."""

    def log_batch(session: Session, batch: Batch) -> None:
        facts: dict[str, Json] = {"digest": batch.digest.hex(), "count": batch.count}
        append(session.connection(), writer=writer, facts=[("time-stamps", facts)])

    return log_batch


def time_guard(
    terms: Time,
    *,
    accuracy_ms: int,
    outbound: Outbound,
    clock: Clock,
    randomness: Randomness,
    database: Database,
    writer: Writer,
) -> TimeGuard | None:
    """The guard over the configured sources, which has looked once already; None where none are configured.

    What the sources may find plus what the clock may move until the next check is the accuracy that tokens state.
    """
    if not terms.sources:
        return None

    def log_check(found: Comparison) -> None:
        with database.write() as session:
            record(session, writer=writer, kind="time-checked", payload=evidence(found))

    guard = TimeGuard(
        clock,
        TimeSources(
            [source(text) for text in terms.sources],
            outbound=outbound,
            clock=clock,
            randomness=randomness,
            tolerance=terms.tolerance_ms / 1000,
        ),
        GuardTerms(
            jump=timedelta(milliseconds=accuracy_ms - terms.tolerance_ms),
            interval=timedelta(seconds=terms.check_seconds),
            max_age=timedelta(seconds=terms.hold_seconds),
        ),
        log_check,
    )
    guard.check()
    return guard


def source(text: str) -> Source:
    """`host` or `host:port`."""
    host, _, port = text.partition(":")
    return Source(host, int(port or sntp.PORT))
