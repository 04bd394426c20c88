"""Takes up new generations of the authorities in a process that certifies, without a restart."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tsp.ca.authority import CertificationKey, IssuingKey
from tsp.ca.ceremony import token_errors
from tsp.ca.generations import Generations, role_of
from tsp.ca.store import CaStore
from tsp.core.clock import Clock
from tsp.core.errors import TspError

#: How often, in seconds, the directory is looked at: far more often than the lead of any roll-over.
LOOK_SECONDS: Final = 15.0
log = logging.getLogger("tsp.ca")


class GenerationWatch:
    """Keeps `issuers` and `chains` what the ceremony's directory says, for the authorities of `roles`.

    `key` gives the key with a label. `issuers` has every generation, so that the old ones go on signing their CRLs,
    and for each role the one in use at the present time; `chains` the certificates that go with their signatures.
    """

    def __init__(
        self, directory: Path, roles: tuple[str, ...], key: Callable[[str], CertificationKey], clock: Clock
    ) -> None:
        self._directory = directory
        self._roles = roles
        self._key = key
        self._clock = clock
        store = CaStore(directory)
        names = self._names(store)
        self._in_use = store.in_use(clock.now())
        self.issuers = Generations({name: self._issuer(store, name) for name in names}, self._in_use)
        self.chains = Generations({name: [store.certificate(name)] for name in names})

    def look(self, ready: Callable[[], object]) -> list[str]:
        """Takes up what is new; the names of the generations that certify from now on.

        `ready` is called when the new keys are at hand and before one certifies: it publishes their CRLs. Raises
        `TspError` where something cannot be read or a token does not answer; what is in use stays in use.
        """
        store, now = CaStore(self._directory), self._clock.now()
        in_use = store.in_use(now)
        names = self._names(store)
        if set(names) == set(self.issuers) and in_use == self._in_use:
            return []
        found = {name: self.issuers[name] if name in self.issuers else self._issuer(store, name) for name in names}
        self.chains.take_up({name: [store.certificate(name)] for name in names}, {})
        self.issuers.take_up(found, self._in_use)
        ready()
        changed = [name for role, name in in_use.items() if role in self._roles and self._in_use[role] != name]
        self.issuers.take_up(found, in_use)
        self._in_use = in_use
        return changed

    def run(self, stop: threading.Event, ready: Callable[[], object], seconds: float = LOOK_SECONDS) -> None:
        """Looks until `stop`. What fails is told in the log and tried again."""
        while not stop.wait(seconds):
            try:
                for name in self.look(ready):
                    log.info("%s certifies from now on", name)
            except (TspError, OSError) as error:
                log.error("a new generation cannot be taken up: %s", getattr(error, "code", type(error).__name__))

    def _names(self, store: CaStore) -> list[str]:
        return [name for name in store.issuers if role_of(name) in self._roles]

    def _issuer(self, store: CaStore, name: str) -> IssuingKey:
        with token_errors("ca"):
            return IssuingKey.of(name, store.certificate(name), self._key(f"{name}-ca"))
