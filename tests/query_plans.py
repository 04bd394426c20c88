"""Watches what the product asks of a database in tests: no query may read a growing table from end to end.

Every statement that comes from `tsp/` is explained once in each process, by the database that it went to:
SQLite must search (SEARCH), not scan (SCAN); PostgreSQL must find a way without Seq Scan when that is made
dear. What may read everything is listed with its reason.
"""

import re
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import event

from tsp.core.database import Database
from tsp.schema import METADATA

_ROOT = Path(__file__).resolve().parent.parent
_PRODUCT, _TESTS = f"{_ROOT}/tsp/", f"{_ROOT}/tests/"
_READING = ("SELECT", "UPDATE", "DELETE", "WITH")

#: Tables that do not grow with signatures, accounts or visitors.
SMALL = {
    "audit_writer": "one row for each writer of the log",
    "audit_sequencer": "one row",
    "audit_tree_head": "one row for each checkpoint, read from its newest end or by the auditor",
    "audit_key_count": "one row for each engine worker of the last while; older ones are erased at each count",
    "audit_witness": "one row for each witness",
    "organisation": "one row for each relying party",
    "alembic_version": "one row",
}
#: Places (file, function) that read a growing table from end to end, and why they may.
WHOLE = {
    ("tsp/audit/verify.py", "*"): "an auditor recomputes the whole log",
    ("tsp/ca/lists.py", "all_settled"): "once, at the end of an authority",
    ("tsp/engine/approvals.py", "close_open"): "once, after a backup was put back",
    ("tsp/notify/runner.py", "backlog"): "an operator's question; sent messages are erased",
}

_explained: set[tuple[str, str]] = set()


class Watch:
    """Listens to one database; `findings` are the queries that no index serves."""

    def __init__(self, database: Database) -> None:
        self.findings: list[str] = []
        self._dialect = database.engine.dialect.name
        event.listen(database.engine, "after_cursor_execute", self._executed)

    def _executed(
        self, _connection: Any, cursor: Any, statement: str, parameters: Any, _context: Any, many: bool
    ) -> None:
        if not statement.lstrip().upper().startswith(_READING) or (self._dialect, statement) in _explained:
            return
        place = _origin()
        if place is None:
            return
        _explained.add((self._dialect, statement))
        if place in WHOLE or (place[0], "*") in WHOLE:
            return
        values = parameters[0] if many else parameters
        plan = (
            _sqlite(cursor, statement, values) if self._dialect == "sqlite" else _postgresql(cursor, statement, values)
        )
        self.findings += [f"{place[0]} {place[1]} reads all of {table}: {statement}" for table in plan if _grows(table)]


def _grows(name: str) -> bool:
    """A subquery that the database names itself is no table; an alias has a number behind it."""
    return re.sub(r"_\d+$", "", name) in METADATA.tables.keys() - SMALL.keys()


def _origin() -> tuple[str, str] | None:
    """File and function of the product that asked; None where it was a test."""
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(_PRODUCT):
            return name.removeprefix(f"{_ROOT}/"), frame.f_code.co_name
        if name.startswith(_TESTS) and name != __file__:
            return None
        frame = frame.f_back  # type: ignore[assignment]  # None ends the loop
    return None


def _sqlite(cursor: Any, statement: str, values: Any) -> list[str]:
    rows = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
    details = [row[3] for row in rows]
    # A scan in the order of an index that ends after LIMIT rows reads those alone.
    ends_early = "LIMIT" in statement.upper() and not any("TEMP B-TREE" in detail for detail in details)
    found = [detail.split()[1] for detail in details if detail.startswith("SCAN ")]
    return [] if ends_early and "WHERE" not in statement.upper() else [table for table in found if table != "CONSTANT"]


def _postgresql(cursor: Any, statement: str, values: Any) -> list[str]:
    import psycopg

    with psycopg.ClientCursor(cursor.connection) as asking:
        asking.execute("SET LOCAL enable_seqscan = off")
        asking.execute(f"EXPLAIN {statement}", values)  # type: ignore[arg-type]  # the product's own text
        lines = [row[0] for row in asking.fetchall()]
        asking.execute("SET LOCAL enable_seqscan = on")
    return [line.split(" on ")[1].split()[0] for line in lines if "Seq Scan on " in line]
