"""`table-size`: one signature with a million rows in every table that grows, against one with a thousand.

Two engines like each other, each with a database of its own; the two take turns: on SQLite, and on a
PostgreSQL server of the benchmark's own. With FULL=1 there are ten million rows.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import tsp.schema  # noqa: F401  (every table that an installation has)
from benchmarks.filling import fill, fill_postgresql
from benchmarks.kit import EngineFacts, Provider, certify_issuer, directory, new_token, open_token
from benchmarks.runner import Measured, Side, compare, progress
from benchmarks.serving import new_database, served
from tests.postgresql import Cluster

_FEW, _MANY, _FULL = 1_000, 1_000_000, 10_000_000
_TURNS = 150


def measure() -> Iterator[Measured]:
    """How many times longer one signature takes with the large tables, for each kind of database."""
    many = _FULL if os.environ.get("FULL") else _MANY
    yield _measured("table-size", many, lambda place, _stack, rows: _sqlite(place, rows))
    yield _measured("table-size-postgresql", many, lambda _place, stack, rows: _postgresql(stack, rows))


def _measured(name: str, many: int, filled: Callable[[Path, ExitStack, int], str]) -> Measured:
    with directory() as place, ExitStack() as stack:
        new_token(place, "ca")
        provider = Provider()
        with open_token("ca") as token:
            issuer = certify_issuer(token)
        few, full = (
            stack.enter_context(served(EngineFacts(place, "ca", issuer, provider.pinned, filled(place, stack, rows))))
            for rows in (_FEW, many)
        )
        return compare(
            name,
            Side(f"signature among {_FEW:,}", few.client.sign, provider.request),
            Side(f"signature among {many:,}", full.client.sign, provider.request),
            unit="times",
            bound=1.3,
            turns=_TURNS,
            cost=True,
        )


def _sqlite(place: Path, rows: int) -> str:
    progress(f"filling {rows:,} rows into each table")
    path = place / f"{rows}.db"
    url = new_database(path)
    fill(path, rows)
    return url


def _postgresql(stack: ExitStack, rows: int) -> str:
    progress(f"filling {rows:,} rows into each table of PostgreSQL")
    cluster = Cluster()
    stack.callback(cluster.close)
    url = cluster.url(cluster.lend())
    fill_postgresql(url, rows)
    return url
