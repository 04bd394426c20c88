"""A database with many rows in it, made by the database itself: what stands there before anything is measured.

Every table that grows with signatures and accounts gets the same number of rows. Keys are spread evenly
over the space that real keys come from, so that a new row falls anywhere between old ones. Octets that
nobody searches by (CMS, certificate, evidence) are short: they make the file large, not the search slow.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg


@dataclass(frozen=True)
class _Spelling:
    """How one kind of database writes what the rows are made of. `i` is the row's number."""

    #: Hexadecimal digits of the number's place in the key space, then zeros and the number itself, so many in all.
    spread: Callable[[int], str]
    octets: str
    hash_octets: str
    true: str
    moment: str
    series: str


_SQLITE = _Spelling(
    spread=lambda digits: f"printf('%08x%0{digits - 8}x', i * :step, i)",
    octets="zeroblob(64)",
    hash_octets="CAST(printf('%08x%056x', i * :step, i) AS BLOB)",
    true="1",
    moment="'2026-01-01 00:00:00.000000'",
    series="WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :rows) ",
)
_POSTGRESQL = _Spelling(
    spread=lambda digits: f"lpad(to_hex(i * %(step)s::bigint), 8, '0') || lpad(to_hex(i), {digits - 8}, '0')",
    octets="decode(repeat('00', 64), 'hex')",
    hash_octets="convert_to(lpad(to_hex(i * %(step)s::bigint), 8, '0') || lpad(to_hex(i), 56, '0'), 'UTF8')",
    true="true",
    moment="TIMESTAMPTZ '2026-01-01 00:00:00+00'",
    series="WITH n(i) AS (SELECT generate_series(1::bigint, %(rows)s::bigint)) ",
)


def _rows(spelling: _Spelling) -> dict[str, dict[str, str]]:
    """Table -> its columns, each as an expression over the row's number."""
    key, account, index, digest = (spelling.spread(digits) for digits in (32, 22, 43, 64))
    octets, moment = spelling.octets, spelling.moment
    return {
        "account": {
            "id": account,
            "state": "'active'",
            "language": "'sl'",
            "terms_accepted": moment,
            "created": moment,
        },
        "account_email": {
            "id": account,
            "account_id": account,
            "address_index": index,
            "sealed": octets,
            "notification": spelling.true,
            "added": moment,
        },
        "personal_data": {
            "account_id": account,
            "tax_index": index,
            "verified_index": index,
            "sealed": octets,
            "verified": spelling.true,
            "entered": moment,
        },
        "identity_verification": {
            "id": account,
            "account_id": account,
            "method": "'branch'",
            "level": "'substantial'",
            "at": moment,
        },
        "certificate": {
            "serial": key,
            "issuer": "'qualified'",
            "profile": "'qualified'",
            "subject_ref": account,
            "subject_digest": digest,
            "not_before": moment,
            "not_after": moment,
            "der": octets,
            "issued_at": moment,
        },
        "approval": {
            "jti": key,
            "sad_sha256": digest,
            "kind": "'qualified'",
            "client": "'enkrat-sign'",
            "subject_ref": account,
            "session": key,
            "expires_at": moment,
            "state": "'signed'",
            "attempt": "1",
            "first_reserved_at": moment,
            "signed_at": moment,
        },
        "signature_intent": {
            "jti": key,
            "attempt": "1",
            "ordinal": "0",
            "digest": digest,
            "serial": key,
            "public_key_sha256": digest,
            "intended_at": moment,
            "outcome": "'done'",
        },
        "signature": {
            "id": key,
            "jti": key,
            "ordinal": "0",
            "digest": digest,
            "serial": key,
            "cms": octets,
            "signed_at": moment,
        },
        "audit_entry": {
            "id": "i",
            "writer": "'filled'",
            "counter": "i",
            "kind": "'signature-made'",
            "recorded_at": moment,
            "content": "'{}'",
            "salt": octets,
            "leaf": octets,
            "leaf_hash": spelling.hash_octets,
            "position": "i - 1",
        },
        "evidence": {
            "id": key,
            "signature_id": key,
            "record": "'{}'",
            "sha256": digest,
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
        for table, columns in _rows(_SQLITE).items():
            connection.execute(_statement(_SQLITE, table, columns), _values(rows))
        broken = connection.execute("PRAGMA foreign_key_check").fetchone()
        assert broken is None, f"the rows do not belong together: {broken}"
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()


def fill_certificates(path: Path, rows: int) -> None:
    """Puts `rows` certificates, and nothing else, into an empty SQLite database."""
    _fill_one(path, "certificate", _rows(_SQLITE)["certificate"], rows)


def revoke_all(path: Path, rows: int) -> None:
    """The same, each of them revoked: one a second, for reasons in turn."""
    revoked = "strftime('%Y-%m-%d %H:%M:%S', 1767225600 + i, 'unixepoch') || '.000000'"
    reason = "CASE i % 4 WHEN 0 THEN 'keyCompromise' WHEN 1 THEN 'superseded' WHEN 2 THEN 'unspecified' "
    ending = {"revoked_at": revoked, "reason": reason + "ELSE 'cessationOfOperation' END"}
    _fill_one(path, "certificate", _rows(_SQLITE)["certificate"] | ending, rows)


def serial_of(number: int, rows: int) -> int:
    """The serial number of the certificate in row `number` of `rows`."""
    return int(f"{number * _step(rows):08x}{number:024x}", 16)


def _fill_one(path: Path, table: str, columns: dict[str, str], rows: int) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute(_statement(_SQLITE, table, columns), _values(rows))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()


def fill_postgresql(url: str, rows: int) -> None:
    """The same for an empty PostgreSQL database; `url` as SQLAlchemy writes it, of a superuser."""
    with psycopg.connect(url.replace("+psycopg", "", 1), autocommit=True) as connection:
        # The rows belong together as those above do, which are checked: here a check for each would take hours.
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET maintenance_work_mem = '256MB'")
        connection.execute(
            "INSERT INTO audit_writer (name, counter, last) VALUES ('filled', %s, decode(repeat('00', 32), 'hex'))",
            (rows,),
        )
        for table, columns in _rows(_POSTGRESQL).items():
            connection.execute(_statement(_POSTGRESQL, table, columns).encode(), _values(rows))
        connection.execute("SELECT setval(pg_get_serial_sequence('audit_entry', 'id'), %s)", (rows,))
        connection.execute("VACUUM ANALYZE")


def _statement(spelling: _Spelling, table: str, columns: dict[str, str]) -> str:
    names, expressions = ", ".join(columns), ", ".join(columns.values())
    return f"INSERT INTO {table} ({names}) {spelling.series}SELECT {expressions} FROM n"  # noqa: S608  (our own names)


def _values(rows: int) -> dict[str, int]:
    return {"rows": rows, "step": _step(rows)}


def _step(rows: int) -> int:
    return (1 << 32) // (rows + 1)
