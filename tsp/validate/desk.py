"""The desk of a validation service: one set of anchors, one limit of size, a bounded number of documents at once."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tsp.core.clock import Clock
from tsp.core.errors import TooMany
from tsp.core.isolated import Isolated
from tsp.validate.report import ValidationReport
from tsp.validate.service import MAX_BYTES, validate_pdf
from tsp.validate.trust import TrustAnchors


class Desk:
    """Takes documents while there is a place; `at_once` bounds how many are held in memory."""

    def __init__(
        self, trust: TrustAnchors, isolated: Isolated, clock: Clock, *, max_bytes: int = MAX_BYTES, at_once: int = 8
    ) -> None:
        self.max_bytes = max_bytes
        self._trust = trust
        self._isolated = isolated
        self._clock = clock
        self._places = threading.BoundedSemaphore(at_once)

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place for one document, taken before its body is read. Raises `TooMany` (validation-busy)."""
        if not self._places.acquire(blocking=False):
            raise TooMany(
                "validation-busy", "Many documents are being checked just now. Try again in a moment.", retry_after=5
            )
        try:
            yield
        finally:
            self._places.release()

    def validate(self, pdf: bytes) -> ValidationReport:
        """The report as of now. Raises what `validate_pdf` raises."""
        return validate_pdf(pdf, self._trust, self._clock.now(), self._isolated, max_bytes=self.max_bytes)
