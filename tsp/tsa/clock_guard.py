"""Watches the wall clock with the one that cannot be set (EN 319 421, TIS-7.7.1-07, TIS-7.7.2-05 and -06)."""

import logging
import threading
from datetime import datetime, timedelta

from tsp.core.clock import Clock
from tsp.core.errors import Unavailable

_log = logging.getLogger(__name__)


class ClockGuard:
    """Gives the time as long as wall clock and monotonic clock agree on how much of it has passed.

    `tolerance` is how far they may differ since the guard was made. Once they differ more, the guard gives no
    time until it is made anew: a clock that jumped back into place has still been wrong. `earliest` is a moment
    that is surely past, such as the last time-stamp of the run before.
    """

    def __init__(self, clock: Clock, tolerance: timedelta, earliest: datetime | None = None) -> None:
        self._clock = clock
        self._tolerance = tolerance.total_seconds()
        self._wall = clock.now()
        self._monotonic = clock.monotonic()
        self._lock = threading.Lock()
        self._off_by: float | None = None
        if earliest is not None and self._wall < earliest - tolerance:
            self._stop((self._wall - earliest).total_seconds())

    @property
    def trusted(self) -> bool:
        """Whether the time has been sound so far; looks at the clocks."""
        try:
            self.now()
        except Unavailable:
            return False
        return True

    def now(self) -> datetime:
        """The wall time. Raises `Unavailable` (time-not-available) once the clocks have disagreed."""
        with self._lock:
            wall, monotonic = self._clock.now(), self._clock.monotonic()
            if self._off_by is None:
                difference = (wall - self._wall).total_seconds() - (monotonic - self._monotonic)
                if abs(difference) > self._tolerance:
                    self._stop(difference)
            if self._off_by is not None:
                raise Unavailable(
                    "time-not-available",
                    "The time source is not sound at present, so no time-stamps are given. Please try again later.",
                    off_by_ms=round(self._off_by * 1000),
                )
            return wall

    def _stop(self, difference: float) -> None:
        self._off_by = difference
        _log.error(
            "the clock is off by %d ms: no more time-stamps; check the time sources, then restart the service",
            round(difference * 1000),
        )
