"""`status-million`: one OCSP answer among a million certificates, against one among a thousand.

Two responders like each other, each with a database of its own; the two take turns, each turn with as many fresh
answers to certificates all over the table. With FULL=1 there are ten million rows.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random

import tsp.schema  # noqa: F401  (every table that an installation has)
from benchmarks.filling import fill_certificates, serial_of
from benchmarks.kit import directory
from benchmarks.runner import Measured, Side, compare, progress
from benchmarks.serving import new_database
from tsp.core.database import Database
from tsp.ocsp.source import DatabaseSource

_FEW, _MANY, _FULL = 1_000, 1_000_000, 10_000_000
_TURNS, _ASKED = 40, 250


def measure() -> Iterator[Measured]:
    """How many times longer the status of a certificate takes with the large table."""
    many = _FULL if os.environ.get("FULL") else _MANY
    with directory() as place, ExitStack() as stack:
        few, full = (_Asked(place, rows, stack) for rows in (_FEW, many))
        yield compare(
            "status-million",
            Side(f"{_ASKED} statuses among {_FEW:,}", few.ask, few.serials),
            Side(f"{_ASKED} statuses among {many:,}", full.ask, full.serials),
            unit="times",
            bound=1.3,
            turns=_TURNS,
            cost=True,
        )


class _Asked:
    """A table of certificates, and what a responder asks of it."""

    def __init__(self, place: Path, rows: int, stack: ExitStack) -> None:
        progress(f"filling {rows:,} certificates")
        path = place / f"{rows}.db"
        url = new_database(path)
        fill_certificates(path, rows)
        database = Database(url)
        stack.callback(database.close)
        self._rows, self._source = rows, DatabaseSource(database)
        self._random = Random(rows)  # noqa: S311  (which rows are asked for, nothing secret)

    def serials(self) -> list[int]:
        """Serial numbers from all over the table."""
        return [serial_of(self._random.randint(1, self._rows), self._rows) for _ in range(_ASKED)]

    def ask(self, serials: list[int]) -> None:
        """Each as a request of its own, as they come."""
        for serial in serials:
            (known,) = self._source.statuses("qualified", [serial])
            assert known is not None, "a certificate that was issued is not known"
