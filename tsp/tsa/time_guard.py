"""Gives the time only while a majority of outside sources says that it is right (EN 319 421, TIS-7.7.1-04 to -07,
TIS-7.7.2-05 to -09).

Between two checks the `ClockGuard` watches for jumps. What stopped the guard is over as soon as a later check
finds the clock right; nobody needs to restart anything.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from tsp.audit.canonical import Json
from tsp.core.clock import Clock
from tsp.core.errors import TspError, Unavailable
from tsp.tsa.clock_guard import ClockGuard
from tsp.tsa.time_sources import Answer, Comparison, Verdict

#: Around a leap second no moment can be told apart from its neighbour; nothing is stamped this long before and after.
LEAP_MARGIN: Final = timedelta(seconds=1)
#: Verdicts that leave the time as it was known, until it has become too old.
_NOTHING_NEW: Final = (Verdict.UNREACHED, Verdict.VAGUE)
_log = logging.getLogger(__name__)


class Sources(Protocol):
    """What is compared with, as `time_sources.TimeSources` is one."""

    def check(self) -> Comparison: ...


@dataclass(frozen=True, slots=True)
class GuardTerms:
    """How far the clock may move between checks, how often one is due, how often that is looked at, and how long the
    last good one holds when sources cannot be reached."""

    jump: timedelta
    interval: timedelta = timedelta(seconds=64)
    look: timedelta = timedelta(seconds=2)
    max_age: timedelta = timedelta(seconds=600)


class TimeGuard:
    """The time-stamping unit's time. No time is given before the first good check.

    `on_check` leaves the evidence of each check; where it raises, the check does not count.
    """

    def __init__(
        self, clock: Clock, sources: Sources, terms: GuardTerms, on_check: Callable[[Comparison], None]
    ) -> None:
        self._clock = clock
        self._sources = sources
        self._terms = terms
        self._on_check = on_check
        self._lock = threading.Lock()
        #: The watch that began with the last good check; None while the time is not known to be right.
        self._watch: ClockGuard | None = None
        self._checked = self._good = clock.monotonic()
        self._leap_at: datetime | None = None

    @property
    def trusted(self) -> bool:
        """Whether the time is known to be right at this moment."""
        try:
            self.now()
        except Unavailable:
            return False
        return True

    def trouble(self) -> str:
        """`clock-unsound` while no time is given, else nothing: for /health."""
        return "" if self.trusted else "clock-unsound"

    def now(self) -> datetime:
        """The wall time. Raises `Unavailable` (time-not-available) while it is not known to be right."""
        with self._lock:
            watch, good, leap_at = self._watch, self._good, self._leap_at
        if watch is None:
            raise _not_available("not-confirmed")
        if self._clock.monotonic() - good > self._terms.max_age.total_seconds():
            raise _not_available("last-check-too-old")
        wall = watch.now()
        if leap_at is not None and wall >= leap_at - LEAP_MARGIN:
            raise _not_available("leap-second")
        return wall

    def check(self) -> Comparison:
        """Compares with the sources, leaves the evidence, and goes by the verdict."""
        # The watch begins before the sources are asked: a jump while they answer is seen by it.
        watch = ClockGuard(self._clock, self._terms.jump)
        self._checked = self._clock.monotonic()
        found = self._sources.check()
        try:
            self._on_check(found)
        except TspError as error:
            _log.error("check of the time not recorded, so it does not count: %s", error.code)
            return found
        with self._lock:
            if found.verdict is Verdict.SOUND:
                self._confirm(found, watch)
            elif found.verdict not in _NOTHING_NEW:
                self._watch = None
        if found.verdict is not Verdict.SOUND:
            _log.error("time check: %s, off by %d ms", found.verdict, round(found.offset * 1000))
        return found

    def _confirm(self, found: Comparison, watch: ClockGuard) -> None:
        leap_at = self._leap_at
        if not watch.trusted or (leap_at is not None and abs(found.at - leap_at) <= LEAP_MARGIN):
            return
        self._watch, self._good = watch, self._checked
        self._leap_at = _end_of_day(found.at) if found.leap else None

    def run(self, stop: threading.Event) -> None:
        """Checks when it is due, and more often while there is no time to give, until `stop`."""
        while not stop.wait(self._terms.look.total_seconds()):
            age = self._clock.monotonic() - self._checked
            if age >= self._terms.interval.total_seconds() or not self.trusted:
                try:
                    self.check()
                except Exception:  # noqa: BLE001  (the looking must go on; without it the time ends with max_age)
                    _log.exception("check of the time failed")


def evidence(found: Comparison) -> dict[str, Json]:
    """A check for the log, and the moment of a leap second (TIS-7.7.2-08). Microseconds throughout."""
    facts: dict[str, Json] = {
        "verdict": found.verdict.value,
        "offset_us": _micros(found.offset),
        "uncertainty_us": _micros(found.uncertainty),
        "sources": [_answer(answer, answer.source in found.agreeing) for answer in found.answers],
    }
    if found.leap:
        facts |= {"leap": found.leap, "leap_at": _end_of_day(found.at).isoformat()}
    return facts


def _answer(answer: Answer, agrees: bool) -> dict[str, Json]:
    reading = answer.reading
    if reading is None:
        return {"source": str(answer.source), "cause": answer.cause}
    return {
        "source": str(answer.source),
        "agrees": agrees,
        "offset_us": _micros(reading.offset),
        "uncertainty_us": _micros(reading.uncertainty),
        "stratum": reading.stratum,
    }


def _micros(seconds: float) -> int:
    return round(seconds * 1_000_000)


def _end_of_day(moment: datetime) -> datetime:
    """Leap seconds lie at the end of a UTC day."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


def _not_available(cause: str) -> Unavailable:
    return Unavailable(
        "time-not-available",
        "The time source is not sound at present, so no time-stamps are given. Please try again later.",
        cause=cause,
    )
