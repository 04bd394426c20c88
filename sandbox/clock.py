"""Where the sandbox's time comes from: handed in, so that a test may stand on any instant."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time for statements, monotonic time for durations."""

    def now(self) -> datetime:
        """The wall time as an aware UTC datetime."""
        ...

    def monotonic(self) -> float:
        """Seconds that never jump, good only for differences within one process."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251  (this is where it is handed in)

    def monotonic(self) -> float:
        return time.monotonic()


def iso(moment: datetime) -> str:
    """RFC 3339 in UTC to the second, the form of every moment in the sandbox's JSON."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
