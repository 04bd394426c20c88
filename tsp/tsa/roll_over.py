"""Takes up the next key of a time-stamping unit when it is there, without a restart."""

import logging
import threading
from collections.abc import Callable
from typing import Final

from hsm.errors import HsmError
from tsp.ca.units import Unit
from tsp.core.errors import TspError
from tsp.tsa.authority import Signer, TimeStampAuthority

#: How often, in seconds, the certificates are looked at.
LOOK_SECONDS: Final = 30.0
_log = logging.getLogger(__name__)


class RollOver:
    """Keeps an authority's key the one that `read` finds. `key` opens it in the token; `chain` is its issuers'."""

    def __init__(
        self,
        authority: TimeStampAuthority,
        read: Callable[[], Unit],
        key: Callable[[str], Signer],
        chain: list[bytes],
        present: Unit,
    ) -> None:
        self._authority = authority
        self._read = read
        self._key = key
        self._chain = chain
        self._present = present

    def look(self) -> bool:
        """Whether there was a new one, which signs from now on.

        Raises `TspError` or `HsmError` where it cannot be had; the one in use stays, until its end.
        """
        found = self._read()
        if found == self._present:
            return False
        self._authority.take_up(self._key(found.name), found.certificate, self._chain)
        self._present = found
        return True

    def run(self, stop: threading.Event, seconds: float = LOOK_SECONDS) -> None:
        """Looks until `stop`. What fails is told in the log and tried again."""
        while not stop.wait(seconds):
            try:
                if self.look():
                    _log.info("the unit signs with its next key, %s", self._present.name)
            except (TspError, HsmError) as error:
                _log.error("the unit's next key cannot be taken up: %s", error.code)
