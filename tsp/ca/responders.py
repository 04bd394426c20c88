"""Renews the OCSP responders' certificates well before they end (RFC 6960, 4.2.2.2.1: they are short-lived).

Run by the process that has the authorities' keys; the responders' own token is not needed. The responders
take the new certificates up by themselves.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from asn1crypto import x509

from tsp.ca.issuance import Issuance
from tsp.ca.plan import CeremonyPlan
from tsp.ca.store import CaStore
from tsp.ca.upkeep import renew_responders, renewable
from tsp.core.clock import Clock
from tsp.core.errors import TspError
from tsp.core.files import one_at_a_time

#: A third of the life that the shipped profile gives them.
AHEAD: Final = timedelta(days=28)
LOOK: Final = timedelta(hours=1)
log = logging.getLogger("tsp.ca")


@dataclass(frozen=True, slots=True)
class ResponderRenewal:
    """Keeps `ocsp-*.pem` in `directory` good for `ahead` at least; `plan` reads the names that they get.

    Several processes may do so for the same directory: a file lock lets one at a time look and renew.
    """

    directory: Path
    plan: Callable[[], CeremonyPlan]
    issuance: Issuance
    clock: Clock
    ahead: timedelta = AHEAD
    look: timedelta = LOOK

    def renew(self) -> int:
        """Renews all of them where one is due; how many that were.

        Raises `Unavailable` where database or token do not answer; the certificates that stand stay good.
        """
        with one_at_a_time(self.directory / "responders.lock"):
            if self._ends() - self.clock.now() > self.ahead:
                return 0
            return len(renew_responders(self.directory, self.plan(), self.issuance, self.clock))

    def _ends(self) -> datetime:
        """When the first of them ends."""
        store = CaStore(self.directory)
        names = renewable(store, self.clock.now())
        ends: list[datetime] = [x509.Certificate.load(store.ocsp[name]).not_valid_after for name in names]
        return min(ends, default=datetime.max.replace(tzinfo=UTC))

    def run(self, stop: threading.Event) -> None:
        """Renews until `stop`. What fails is told in the log and tried again at the next look."""
        while not stop.is_set():
            try:
                if count := self.renew():
                    log.info("renewed %d certificates of OCSP responders", count)
            except (TspError, OSError) as error:
                log.error("OCSP responders not renewed: %s", getattr(error, "code", type(error).__name__))
            stop.wait(self.look.total_seconds())
