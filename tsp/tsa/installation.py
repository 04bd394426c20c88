"""What the configuration says about time, made into objects."""

from datetime import timedelta

from tsp.audit.entries import Writer, record
from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.core.outbound import Outbound
from tsp.core.randomness import Randomness
from tsp.core.settings import Settings
from tsp.tsa import sntp
from tsp.tsa.time_guard import GuardTerms, TimeGuard, evidence
from tsp.tsa.time_sources import Comparison, Source, TimeSources


def time_guard(
    settings: Settings,
    *,
    outbound: Outbound,
    clock: Clock,
    randomness: Randomness,
    database: Database,
    writer: Writer,
) -> TimeGuard | None:
    """The guard over the configured sources, which has looked once already; None where none are configured.

    What the sources may find plus what the clock may move until the next check is the accuracy that tokens state.
    """
    terms = settings.time
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
            jump=timedelta(milliseconds=settings.tsa.accuracy_ms - terms.tolerance_ms),
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
