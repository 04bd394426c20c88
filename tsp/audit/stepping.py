"""Steps again and again, with pauses that grow while the other side does not do its part."""

import logging
import threading
from collections.abc import Callable

from tsp.core.errors import TspError

log = logging.getLogger("tsp.audit")


def keep_stepping(
    stop: threading.Event, step: Callable[[], object], *, what: str, interval: float, longest_pause: float
) -> None:
    """Calls `step` every `interval` seconds until `stop`; `what` names it in the log where it fails."""
    failures = 0
    while not stop.is_set():
        try:
            step()
            failures = 0
        except TspError as error:
            failures += 1
            log.warning("%s: %s %s", what, error.code, error.facts)
        stop.wait(pause(interval, longest_pause, failures))


def pause(interval: float, longest_pause: float, failures: int) -> float:
    """Seconds to wait after so many failures in a row."""
    return min(longest_pause, interval * float(1 << min(failures, 16)))
