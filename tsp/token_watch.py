"""Notices that a token was lost, and ends the process in order once it is back, to be started anew with it.

Why not open it again in place: PKCS#11 lets a module look for its tokens afresh only by C_Finalize, which pulls
the sessions from under every thread of the process. A new process costs a second and has no such past.
"""

import logging
import threading
from collections.abc import Callable
from itertools import chain, repeat
from typing import Protocol

log = logging.getLogger("tsp")

#: Seconds between two looks at a token that works, and before each look for one that is gone.
INTERVAL = 2.0
PAUSES = (0.0, 2.0, 5.0)


class Losable(Protocol):
    """The part of `hsm.Token` that is watched."""

    label: str

    def lost(self) -> bool: ...


class TokenWatch:
    """Watches one token. `is_back` asks from outside this process, `begin_again` ends the process in order.

    While the token is away the role keeps answering what it can say without it: that is better than a closed port.
    """

    def __init__(
        self,
        token: Losable,
        is_back: Callable[[], bool],
        begin_again: Callable[[], None],
        *,
        interval: float = INTERVAL,
        pauses: tuple[float, ...] = PAUSES,
    ) -> None:
        self._token = token
        self._is_back = is_back
        self._begin_again = begin_again
        self._interval = interval
        self._pauses = pauses
        self._gone = False

    def trouble(self) -> str:
        """`token-gone` from the moment it was noticed, else nothing: for /health."""
        return "token-gone" if self._gone else ""

    def run(self, stop: threading.Event) -> None:
        """Looks until `stop`, or until the token was lost and is back."""
        while not stop.is_set():
            if self._token.lost():
                self._gone = True
                log.error("token %s is gone; this role begins again when it is back", self._token.label)
                self._await_return(stop)
                return
            stop.wait(self._interval)

    def _await_return(self, stop: threading.Event) -> None:
        for pause in chain(self._pauses, repeat(self._pauses[-1])):
            if stop.wait(pause):
                return
            if self._is_back():
                log.warning("token %s is back; this role begins again", self._token.label)
                self._begin_again()
                return
