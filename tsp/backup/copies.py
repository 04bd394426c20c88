"""Consistent copies of a database while it is in use, and back.

SQLite is copied with its online backup from one read transaction, PostgreSQL with pg_dump from an
exported snapshot; either way the caller can ask the very picture that was copied.
"""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import URL, inspect, text
from sqlalchemy.orm import Session

from tsp.core.database import Database
from tsp.core.errors import Conflict, Unavailable

#: The database's part in a backup, by its kind.
PART = {"sqlite": "database.sqlite", "postgresql": "database.pgdump"}
Progress = Callable[[int, int], object]
_PAGES = 20_000
#: PostgreSQL's functions of the schema, as DROP takes them, without those of extensions.
_OWN_FUNCTIONS = text(
    "SELECT p.oid::regprocedure::text FROM pg_proc p WHERE p.pronamespace = current_schema()::regnamespace "
    "AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')"
)


@contextmanager
def copied(database: Database, target: Path, progress: Progress) -> Iterator[Session]:
    """Writes the copy; in the block the session reads what was copied, not what has changed since.

    `progress` is called with what is done and the whole, in pages (SQLite only). Raises `Unavailable`
    (database-unavailable, program-missing, dump-failed).
    """
    if database.is_sqlite:
        _copy_sqlite(_sqlite_file(database), target, progress)
        copy = Database(f"sqlite:///{target}")
        try:
            with copy.read() as session:
                yield session
        finally:
            _close_sqlite(copy)
        return
    with database.read() as session:
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        snapshot = session.scalar(text("SELECT pg_export_snapshot()"))
        target.touch(mode=0o600)
        options = ["--format=custom", f"--snapshot={snapshot}", "--no-owner", "--no-privileges", f"--file={target}"]
        _run("pg_dump", database.engine.url, options)
        yield session


def put_back(part: Path, database: Database) -> None:
    """Fills an empty database from its part of a backup, whole or not at all.

    Raises `Unavailable` (program-missing, dump-failed), `Conflict` (target-not-empty).
    """
    require_empty(database)
    if database.is_sqlite:
        target = _sqlite_file(database)
        database.close()
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy_sqlite(part, target, lambda _done, _whole: None)
        return
    options = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", str(part)]
    _run("pg_restore", database.engine.url, options)


def require_empty(database: Database) -> None:
    """`Conflict` (target-not-empty) where the database has tables."""
    if database.is_sqlite and not _sqlite_file(database).exists():
        return
    with database.read() as session:
        tables = inspect(session.connection()).get_table_names()
    if tables:
        raise Conflict(
            "target-not-empty",
            f"The database {database.place} holds {len(tables)} tables already. Restore into an empty one.",
        )


def empty(database: Database) -> None:
    """Removes all that `put_back` brought into a database: a restore that failed leaves nothing."""
    if database.is_sqlite:
        return  # it lies in the directory that is thrown away
    with database.write() as session:
        for table in inspect(session.connection()).get_table_names():
            session.execute(text(f'DROP TABLE "{table}" CASCADE'))
        for function in session.scalars(_OWN_FUNCTIONS).all():
            session.execute(text(f"DROP FUNCTION {function} CASCADE"))


def _sqlite_file(database: Database) -> Path:
    return Path(database.engine.url.database or "")


def _copy_sqlite(source: Path, target: Path, progress: Progress) -> None:
    target.touch(mode=0o600)
    try:
        with (
            closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True, isolation_level=None)) as one,
            closing(sqlite3.connect(target)) as other,
        ):
            # With a read transaction open every step sees the same picture, however much is written meanwhile.
            one.execute("BEGIN")
            one.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            one.backup(other, pages=_PAGES, progress=lambda _code, left, whole: progress(whole - left, whole))
            one.execute("ROLLBACK")
    except sqlite3.Error as error:
        raise Unavailable(
            "database-unavailable", f"The database cannot be copied: {error}.", cause=type(error).__name__
        ) from error


def _close_sqlite(copy: Database) -> None:
    """Leaves one file, which can be read later without anything being written beside it."""
    copy.close()
    with closing(sqlite3.connect(_sqlite_file(copy))) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")


def _run(program: str, url: URL, options: list[str]) -> None:
    found = shutil.which(program)
    if found is None:
        raise Unavailable(
            "program-missing",
            f"{program} is not installed. Install PostgreSQL's client programs (Debian: postgresql-client).",
        )
    # The password goes through the environment: a command line can be read by everybody on the machine.
    environment = {**os.environ, **({"PGPASSWORD": str(url.password)} if url.password else {})}
    address = url.set(drivername="postgresql", password=None).render_as_string()
    done = subprocess.run(
        [found, f"--dbname={address}", "--no-password", *options],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["no reason given"]
        raise Unavailable("dump-failed", f"{program} failed: {said[-1]}", status=done.returncode)
