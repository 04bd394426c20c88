"""Watches the wall clock with the one that cannot be set: a clock that jumped must not decide what has expired."""

import logging
import threading
from datetime import datetime, timedelta

from tsp.core.clock import Clock
from tsp.core.errors import Unavailable

_log = logging.getLogger(__name__)


class ClockGuard:
    """A `Clock` that gives the wall time as long as it has gone forward as the monotonic clock has.

    `tolerance` is how far the two may differ since the guard was made; they may differ by it only once, small
    steps add up. Where they differ more, `now` raises `Unavailable` (clock-unsound) until they agree again, which a
    time source that is mended brings about by itself. Where the new time is the right one, the guard has to be made
    anew: nothing in a process can tell which of two times is true. `earliest` is a moment that is surely past, such
    as the last record of the run before.
    """

    def __init__(self, clock: Clock, tolerance: timedelta, earliest: datetime | None = None) -> None:
        self._clock = clock
        self._tolerance = tolerance.total_seconds()
        self._earliest = earliest
        self._begun: tuple[datetime, float] | None = None
        self._lock = threading.Lock()
        self._told = False
        self._look()

    def now(self) -> datetime:
        """The wall time. Raises `Unavailable` (clock-unsound) while it is not to be believed."""
        with self._lock:
            wall, off_by = self._look()
            sound = abs(off_by) <= self._tolerance
            if sound == self._told:
                self._tell(off_by, sound=sound)
        if not sound:
            raise self._refusal(off_by)
        return wall

    def monotonic(self) -> float:
        return self._clock.monotonic()

    @property
    def trusted(self) -> bool:
        """Whether `now` would give the time; looks at the clocks."""
        try:
            self.now()
        except Unavailable:
            return False
        return True

    def trouble(self) -> str:
        """`clock-unsound` while no time is given, else nothing: for /health."""
        return "" if self.trusted else "clock-unsound"

    def _look(self) -> tuple[datetime, float]:
        """The wall time, and by how many seconds it is off."""
        wall, monotonic = self._clock.now(), self._clock.monotonic()
        if self._earliest is not None and (behind := (wall - self._earliest).total_seconds()) < -self._tolerance:
            return wall, behind
        if self._begun is None:
            self._begun = (wall, monotonic)
        return wall, (wall - self._begun[0]).total_seconds() - (monotonic - self._begun[1])

    def _tell(self, off_by: float, *, sound: bool) -> None:
        self._told = not sound
        if sound:
            _log.warning("the clock is right again")
        else:
            _log.error("the clock is off by %d ms: check the time sources", round(off_by * 1000))

    def _refusal(self, off_by: float) -> Unavailable:
        return Unavailable(
            "clock-unsound",
            "The service's clock is being corrected. Nothing was lost; please try again in a moment.",
            off_by_ms=round(off_by * 1000),
        )
