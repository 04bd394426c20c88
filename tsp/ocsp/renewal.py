"""Takes up the responders' certificates when they were renewed, without a restart."""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final

from tsp.core.errors import TspError
from tsp.ocsp.responder import Delegation, OcspResponder

#: How often, in seconds, the certificates are read anew.
LOOK_SECONDS: Final = 30.0
_log = logging.getLogger(__name__)


class Delegations:
    """Keeps a responder's delegations those that `read` finds."""

    def __init__(
        self, responder: OcspResponder, read: Callable[[], Sequence[Delegation]], present: Sequence[Delegation]
    ) -> None:
        self._responder = responder
        self._read = read
        self._present = [delegation.certificate for delegation in present]

    def look(self) -> bool:
        """Whether there were new ones, which the responder uses now.

        Raises `TspError` where they cannot be read or do not hold; the ones in use stay.
        """
        found = self._read()
        certificates = [delegation.certificate for delegation in found]
        if certificates == self._present:
            return False
        self._responder.delegate(found)
        self._present = certificates
        return True

    def run(self, stop: threading.Event, seconds: float = LOOK_SECONDS) -> None:
        """Looks until `stop`. What fails is told in the log and tried again."""
        while not stop.wait(seconds):
            try:
                if self.look():
                    _log.info("the responders' new certificates are in use")
            except (TspError, OSError) as error:
                _log.error("the responders' certificates cannot be taken up: %s", getattr(error, "code", error))
