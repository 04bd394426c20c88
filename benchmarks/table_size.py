"""`table-size`: one signature with a million rows in every table that grows, against one with a thousand.

Two engines like each other, each with a database of its own; the two take turns. With FULL=1 there are
ten million rows.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import tsp.schema  # noqa: F401  (every table that an installation has)
from benchmarks.filling import fill
from benchmarks.kit import EngineFacts, Provider, certify_issuer, directory, new_token, open_token
from benchmarks.runner import Measured, Side, compare, progress
from benchmarks.serving import new_database, served

_FEW, _MANY, _FULL = 1_000, 1_000_000, 10_000_000
_TURNS = 150


def measure() -> Iterator[Measured]:
    """How many times longer one signature takes with the large tables."""
    many = _FULL if os.environ.get("FULL") else _MANY
    with directory() as place, ExitStack() as stack:
        new_token(place, "ca")
        provider = Provider()
        with open_token("ca") as token:
            issuer = certify_issuer(token)
        few, full = (
            stack.enter_context(served(EngineFacts(place, "ca", issuer, provider.pinned, _filled(place, rows))))
            for rows in (_FEW, many)
        )
        yield compare(
            "table-size",
            Side(f"signature among {_FEW:,}", few.client.sign, provider.request),
            Side(f"signature among {many:,}", full.client.sign, provider.request),
            unit="times",
            bound=1.3,
            turns=_TURNS,
            cost=True,
        )


def _filled(place: Path, rows: int) -> str:
    progress(f"filling {rows:,} rows into each table")
    path = place / f"{rows}.db"
    url = new_database(path)
    fill(path, rows)
    return url
