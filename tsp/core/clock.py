"""The two clocks that code may read: handed in, never taken."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from. Wall time for statements, monotonic time for durations."""

    def now(self) -> datetime:
        """The wall time as an aware UTC datetime."""
        ...

    def monotonic(self) -> float:
        """Seconds that never jump, good only for differences within one process."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        # It counts on while the machine is suspended, as the wall clock does: waking up is no jump.
        return time.clock_gettime(time.CLOCK_BOOTTIME)


class SettableClock:
    """A clock that stands still until it is moved: tests stand on any instant with it."""

    def __init__(self, start: datetime) -> None:
        if start.tzinfo is None:
            raise ValueError("a clock needs an aware datetime")
        self._now = start.astimezone(UTC)
        self._monotonic = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, *, seconds: float = 0, minutes: float = 0, days: float = 0) -> None:
        """Moves wall and monotonic time together."""
        step = timedelta(seconds=seconds, minutes=minutes, days=days)
        self._now += step
        self._monotonic += step.total_seconds()

    def jump(self, seconds: float) -> None:
        """Moves the wall time alone, as a bad time source or an operator would."""
        self._now += timedelta(seconds=seconds)
