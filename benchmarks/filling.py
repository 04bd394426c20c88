"""A database with many rows in it, made by the database itself: what stands there before anything is measured.

Every table that grows with signatures and accounts gets the same number of rows. Keys are spread evenly
over the space that real keys come from, so that a new row falls anywhere between old ones. Octets that
nobody searches by (CMS, certificate, evidence) are short: they make the file large, not the search slow.
"""

import sqlite3
from pathlib import Path

_SERIES = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :rows) "
_MOMENT = "'2026-01-01 00:00:00.000000'"
_KEY = "printf('%08x%024x', i * :step, i)"
_ACCOUNT = "printf('%08x%014x', i * :step, i)"
_INDEX = "printf('%08x%035x', i * :step, i)"
_HASH = "printf('%08x%056x', i * :step, i)"
_BLOB = "zeroblob(64)"

#: Table -> its columns, each as an expression over the row's number `i`.
_ROWS: dict[str, dict[str, str]] = {
    "account": {
        "id": _ACCOUNT,
        "state": "'active'",
        "language": "'sl'",
        "terms_accepted": _MOMENT,
        "created": _MOMENT,
    },
    "account_email": {
        "id": _ACCOUNT,
        "account_id": _ACCOUNT,
        "address_index": _INDEX,
        "sealed": _BLOB,
        "notification": "1",
        "added": _MOMENT,
    },
    "personal_data": {
        "account_id": _ACCOUNT,
        "tax_index": _INDEX,
        "verified_index": _INDEX,
        "sealed": _BLOB,
        "verified": "1",
        "entered": _MOMENT,
    },
    "identity_verification": {
        "id": _ACCOUNT,
        "account_id": _ACCOUNT,
        "method": "'branch'",
        "level": "'substantial'",
        "at": _MOMENT,
    },
    "certificate": {
        "serial": _KEY,
        "issuer": "'qualified'",
        "profile": "'qualified'",
        "subject_ref": _ACCOUNT,
        "subject_digest": _HASH,
        "not_before": _MOMENT,
        "not_after": _MOMENT,
        "der": _BLOB,
        "issued_at": _MOMENT,
    },
    "approval": {
        "jti": _KEY,
        "sad_sha256": _HASH,
        "kind": "'qualified'",
        "client": "'enkrat-sign'",
        "subject_ref": _ACCOUNT,
        "session": _KEY,
        "expires_at": _MOMENT,
        "state": "'signed'",
        "attempt": "1",
        "first_reserved_at": _MOMENT,
        "signed_at": _MOMENT,
    },
    "signature_intent": {
        "jti": _KEY,
        "attempt": "1",
        "ordinal": "0",
        "digest": _HASH,
        "serial": _KEY,
        "public_key_sha256": _HASH,
        "intended_at": _MOMENT,
        "outcome": "'done'",
    },
    "signature": {
        "id": _KEY,
        "jti": _KEY,
        "ordinal": "0",
        "digest": _HASH,
        "serial": _KEY,
        "cms": _BLOB,
        "signed_at": _MOMENT,
    },
    "audit_entry": {
        "id": "i",
        "writer": "'filled'",
        "counter": "i",
        "kind": "'signature-made'",
        "recorded_at": _MOMENT,
        "content": "'{}'",
        "salt": _BLOB,
        "leaf": _BLOB,
        "leaf_hash": f"CAST({_HASH} AS BLOB)",
        "position": "i - 1",
    },
    "evidence": {
        "id": _KEY,
        "signature_id": _KEY,
        "record": "'{}'",
        "sha256": _HASH,
        "entry_id": "i",
    },
}


def fill(path: Path, rows: int) -> None:
    """Puts `rows` rows into each table of an empty SQLite database."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        # What is filled here can be filled again: no waiting for the disk.
        for pragma in ("synchronous=OFF", "cache_size=-400000", "foreign_keys=OFF", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("INSERT INTO audit_writer (name, counter, last) VALUES ('filled', ?, zeroblob(32))", (rows,))
        for table, columns in _ROWS.items():
            _insert(connection, table, columns, rows)
        broken = connection.execute("PRAGMA foreign_key_check").fetchone()
        assert broken is None, f"the rows do not belong together: {broken}"
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()


def fill_certificates(path: Path, rows: int) -> None:
    """Puts `rows` certificates, and nothing else, into an empty SQLite database."""
    _fill_one(path, "certificate", _ROWS["certificate"], rows)


def revoke_all(path: Path, rows: int) -> None:
    """The same, each of them revoked: one a second, for reasons in turn."""
    revoked = "strftime('%Y-%m-%d %H:%M:%S', 1767225600 + i, 'unixepoch') || '.000000'"
    reason = "CASE i % 4 WHEN 0 THEN 'keyCompromise' WHEN 1 THEN 'superseded' WHEN 2 THEN 'unspecified' "
    columns = {**_ROWS["certificate"], "revoked_at": revoked, "reason": reason + "ELSE 'cessationOfOperation' END"}
    _fill_one(path, "certificate", columns, rows)


def serial_of(number: int, rows: int) -> int:
    """The serial number of the certificate in row `number` of `rows`."""
    return int(f"{number * _step(rows):08x}{number:024x}", 16)


def _step(rows: int) -> int:
    return (1 << 32) // (rows + 1)


def _fill_one(path: Path, table: str, columns: dict[str, str], rows: int) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous=OFF")
        _insert(connection, table, columns, rows)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()


def _insert(connection: sqlite3.Connection, table: str, columns: dict[str, str], rows: int) -> None:
    names, expressions = ", ".join(columns), ", ".join(columns.values())
    values = {"rows": rows, "step": _step(rows)}
    connection.execute(f"INSERT INTO {table} ({names}) {_SERIES}SELECT {expressions} FROM n", values)  # noqa: S608  (our own names)
