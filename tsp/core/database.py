"""The database behind every wing: one engine, one declarative base, two kinds of session.

SQLite and PostgreSQL run the same code. On SQLite a write session takes the write lock at its
first statement (BEGIN IMMEDIATE), so that two processes cannot both read and then both write. On
PostgreSQL what is read to be changed is read `with_for_update`, or changed under a row condition.
"""

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    DateTime,
    Dialect,
    Engine,
    Integer,
    MetaData,
    Table,
    create_engine,
    event,
    inspect,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DatabaseError, DataError, DBAPIError, DisconnectionError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.types import TypeDecorator

from tsp.core.errors import Invalid, Unavailable
from tsp.core.statements import Prepared

#: SQLite counts rows up by itself only for INTEGER keys; PostgreSQL wants 64 bits.
BigKey = BigInteger().with_variant(Integer(), "sqlite")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC moment with microseconds; a naive datetime is a programming error."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("naive datetime")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """All tables; constraint names are fixed so that migrations can speak of them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime()}  # noqa: RUF012  (SQLAlchemy reads a plain dict)


class Database:
    """One installation's database.

    `url` is an SQLAlchemy URL (`sqlite:////abs/path.db`, `postgresql+psycopg://…`). `busy_timeout`
    is how many seconds a statement waits for what another transaction holds. `existing` never makes a
    file that is not there: an empty database in the place of one that was lost would be believed in.
    """

    def __init__(self, url: str, *, busy_timeout: float = 10.0, existing: bool = False) -> None:
        self.url = url
        if url.startswith("sqlite"):
            self.engine = _sqlite(url, busy_timeout, existing=existing)
        else:
            self.engine = _postgresql(url, busy_timeout)

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @property
    def place(self) -> str:
        """Where it is, for people to read: nothing of who logs in there and how."""
        url = self.engine.url
        host = url.host or "".join(url.normalized_query.get("host", ()))
        at = f" at {host}{f':{url.port}' if url.port else ''}" if host else ""
        return f"{self.engine.dialect.name} {url.database}{at}"

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session for queries; whatever it changes is thrown away."""
        with _named_failures(), Session(self.engine, expire_on_commit=False) as session:
            yield session
            # Rows that were read stay readable after the block; a rollback alone would make them stale.
            session.expunge_all()
            session.rollback()

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction: durable when the block has ended, gone when it raised.

        Raises `Unavailable` (database-unavailable) where the database cannot be reached or
        stays locked.
        """
        with _named_failures(), Session(self.engine, expire_on_commit=False) as session:
            if self.is_sqlite:
                session.connection(execution_options={"sqlite_immediate": True})
            try:
                yield session
            except BaseException:
                session.rollback()
                raise
            session.commit()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """The same as `write`, for statements that need no session: it took longer than they did (decision 0025)."""
        with _named_failures(), self.engine.connect() as connection:
            if self.is_sqlite:
                connection.execution_options(sqlite_immediate=True)
            with connection.begin():
                yield connection

    def create_all(self) -> None:
        """Makes every known table: for tests; an installation is built by migrations."""
        Base.metadata.create_all(self.engine)

    def close(self) -> None:
        self.engine.dispose()


@contextmanager
def _named_failures() -> Iterator[None]:
    try:
        yield
    except DataError as error:
        # Text with NUL, or longer than its column: SQLite takes both, PostgreSQL neither. It came from outside.
        raise Invalid("request-malformed", "The request could not be read.") from error
    except OperationalError as error:
        raise _unavailable(error) from error
    except DBAPIError as error:
        # What is neither of the caller's making nor one statement's: the file is no database any more, the server went.
        if error.connection_invalidated or type(error) is DatabaseError:
            raise _unavailable(error) from error
        raise


def _unavailable(error: DBAPIError) -> Unavailable:
    return Unavailable(
        "database-unavailable",
        "The service is briefly unavailable. Nothing was lost; please try again in a moment.",
        cause=type(error.orig).__name__,
    )


def _sqlite(url: str, busy_timeout: float, *, existing: bool) -> Engine:
    engine = create_engine(url, connect_args={"timeout": busy_timeout, "check_same_thread": False})
    path = engine.url.database or ""

    @event.listens_for(engine, "do_connect")
    def _only_existing(_dialect: Any, _record: Any, _args: Any, _parameters: Any) -> None:
        if existing and file_of(path) is None:
            raise sqlite3.OperationalError("the database file is not there")

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, record: Any) -> None:
        # The driver must not open transactions by itself: `begin` below does it.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()
        record.info["file"] = file_of(path)

    @event.listens_for(engine, "checkout")
    def _same_file(_connection: Any, record: Any, _proxy: Any) -> None:
        # A connection goes on in a file that was moved away or replaced: what it writes there is lost.
        if record.info["file"] != file_of(path):
            raise DisconnectionError("the database file is another one")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        immediate = connection.get_execution_options().get("sqlite_immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def file_of(path: str) -> tuple[int, int] | None:
    """Which file is at `path`: None where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116  (asked at every checkout)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _postgresql(url: str, busy_timeout: float) -> Engine:
    # A server whose machine is gone answers nothing at all: without a limit the caller would wait for minutes.
    engine = create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 5})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = {int(busy_timeout * 1000)}")
        connection.commit()

    return engine


def table_of(model: type[Base]) -> Table:
    """The table behind a mapped class, for statements that go past the session's bookkeeping."""
    table = model.__table__
    assert isinstance(table, Table)
    return table


def insert_or_lock(session: Session, row: Base) -> None:
    """Adds `row` where its key is free; where another has it, locks that one as it is, to the transaction's end.

    One statement: between a failed INSERT and a SELECT somebody else could erase the row again.
    """
    table = row.__table__
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    keys = [column.name for column in inspect(type(row)).primary_key]
    values = {column.name: getattr(row, column.name) for column in table.columns}
    statement: Any = insert(type(row)).values(values)
    session.execute(statement.on_conflict_do_update(index_elements=keys, set_={keys[0]: values[keys[0]]}))


def insert_if_free(connection: Connection, table: Table, values: Mapping[str, Any]) -> bool:
    """Adds a row where its key is free; False where another has it. One statement, no savepoint."""
    insertion = _insert_if_free(connection.dialect.name, table, tuple(values))
    return insertion.execute(connection, values).first() is not None


@lru_cache(maxsize=64)
def _insert_if_free(dialect: str, table: Table, columns: tuple[str, ...]) -> Prepared:
    insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    # A row count is not to be had from every driver; the key comes back where a row was added.
    return Prepared(insert(table).on_conflict_do_nothing().returning(*table.primary_key.columns), *columns)


def ping(database: Database) -> None:
    """Asks the database for a sign of life; `Unavailable` if there is none."""
    with database.read() as session:
        session.execute(text("SELECT 1"))
