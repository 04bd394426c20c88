"""Takes up the next key of a time-stamping unit when it is there, without a restart."""

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from hsm.errors import HsmError
from tsp.ca.units import Unit, present, units
from tsp.core.clock import Clock
from tsp.core.errors import TspError
from tsp.tsa.authority import Signer, TimeStampAuthority

#: How often, in seconds, the certificates are looked at.
LOOK_SECONDS: Final = 30.0
_log = logging.getLogger(__name__)


class RollOver:
    """The key that a unit signs with now, and then the next one.

    `directory` holds the certificates of the unit `kind` (tsu or qtsu), `key` opens a key of its token, `chain` are
    their issuers. Raises `Unavailable` (ca-store-damaged), `HsmError` where there is no key to begin with.
    """

    def __init__(
        self, directory: Path, kind: str, key: Callable[[str], Signer], chain: Sequence[bytes], clock: Clock
    ) -> None:
        self._directory = directory
        self._kind = kind
        self._key = key
        self.chain = chain
        self._clock = clock
        self.present = self._find()
        self.signer = key(self.present.name)
        self._authority: TimeStampAuthority | None = None

    def follow(self, authority: TimeStampAuthority) -> None:
        """From now on it is this authority that takes keys up."""
        self._authority = authority

    def _find(self) -> Unit:
        return present(units(self._directory, self._kind), self._clock.now())

    def look(self) -> bool:
        """Whether there was a new one, which signs from now on.

        Raises `TspError` or `HsmError` where it cannot be had; the one in use stays, until its end.
        """
        found = self._find()
        if found == self.present or self._authority is None:
            return False
        self._authority.take_up(self._key(found.name), found.certificate, self.chain)
        self.present = found
        return True

    def run(self, stop: threading.Event, seconds: float = LOOK_SECONDS) -> None:
        """Looks until `stop`. What fails is told in the log and tried again."""
        while not stop.wait(seconds):
            try:
                if self.look():
                    _log.info("the unit signs with its next key, %s", self.present.name)
            except (TspError, HsmError) as error:
                _log.error("the unit's next key cannot be taken up: %s", error.code)
