"""The time-stamping unit's clock (EN 319 421, TIS-7.7.1-07, TIS-7.7.2-05 and -06): once wrong, no more time."""

import logging
from datetime import datetime
from typing import NoReturn

from tsp.core import clock_guard
from tsp.core.errors import Fact, Unavailable

_log = logging.getLogger(__name__)


class ClockGuard(clock_guard.ClockGuard):
    """Stricter than the guard of other roles: once the clocks have disagreed it gives no time until it is made anew.

    A clock that jumped back into place has still been wrong, and what was stamped meanwhile cannot be taken back.
    """

    _stopped: dict[str, Fact] | None = None

    def now(self) -> datetime:
        """The wall time. Raises `Unavailable` (time-not-available) once the clocks have disagreed."""
        if self._stopped is not None:
            self._refuse(self._stopped)
        try:
            return super().now()
        except Unavailable as error:
            if self._stopped is None:
                self._stopped = dict(error.facts)
                _log.error("no more time-stamps; check the time sources, then restart the service")
            self._refuse(self._stopped)

    @staticmethod
    def _refuse(facts: dict[str, Fact]) -> NoReturn:
        raise Unavailable(
            "time-not-available",
            "The time source is not sound at present, so no time-stamps are given. Please try again later.",
            **facts,
        )
