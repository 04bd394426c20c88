"""Whether any certificate's status has changed, asked before everything that was remembered is told again.

On SQLite the question is exact: the file itself says whether anybody has written (2 µs), and then the number of
changes is read. On PostgreSQL a thread listens for changes, which arrive a moment after their commit, and besides
reads the number several times within the `lease`; when it could not for that long, nothing remembered is told.
"""

import logging
import sqlite3
import threading
from contextlib import AbstractContextManager, closing, suppress
from typing import Any, Final, Protocol

from sqlalchemy.exc import SQLAlchemyError

from tsp.ca.revision import CHANNEL
from tsp.core.clock import Clock
from tsp.core.database import Database, file_of

#: How many times within a lease the number is read although nothing was heard.
_READS: Final = 4
#: Whether the database counts: a migration that makes the table anew would lose the triggers without a word.
_COUNTS_SQLITE: Final = "SELECT count(*) = 2 FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'certificate'"
_COUNTS_POSTGRESQL: Final = (
    "SELECT count(*) = 1 FROM pg_trigger WHERE tgrelid = 'certificate'::regclass "
    "AND tgname = 'certificate_changed' AND tgenabled <> 'D'"
)
_SQL: Final = "SELECT revision FROM certificate_revision WHERE id = 1"
_log = logging.getLogger(__name__)


class StatusWatch(Protocol):
    """`revision` is the number of changes, or None while it cannot be known. Called by one thread."""

    def revision(self) -> int | None: ...

    def close(self) -> None: ...


def watch_of(database: Database, clock: Clock, lease: float) -> StatusWatch:
    """The watch for this kind of database; `lease` in seconds is for PostgreSQL, where 0 watches nothing."""
    if database.is_sqlite:
        return FileWatch(database)
    return ListeningWatch(database, clock, lease) if lease else NoWatch()


class NoWatch:
    """Confirms nothing: every status is read anew."""

    def revision(self) -> int | None:
        return None

    def close(self) -> None:
        """Nothing to end."""


class FileWatch:
    """SQLite: a connection of its own, which only reads."""

    def __init__(self, database: Database) -> None:
        self._path = database.engine.url.database or ""
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._version, self._revision = -1, 0

    def revision(self) -> int | None:
        """The number of changes; None where the file is gone, or does not let itself be read at once."""
        try:
            # Another file may have come into the place of the one that is open: a backup that was put back.
            if self._connection is None or file_of(self._path) != self._file:
                self._open()
            assert self._connection is not None
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
            if version != self._version:
                # Read after the version: whatever is written in between changes the version again.
                self._revision = (self._connection.execute(_SQL).fetchone() or (0,))[0]
                self._version = version
        except sqlite3.Error:
            self.close()
            return None
        return self._revision

    def _open(self) -> None:
        self.close()
        self._file = file_of(self._path)
        if self._file is None:
            raise sqlite3.OperationalError("the database file is not there")
        # No waiting: the event loop asks.
        self._connection = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
        self._version = -1
        if not self._connection.execute(_COUNTS_SQLITE).fetchone()[0]:
            raise sqlite3.OperationalError("changes of certificates are not counted: run tsp migrate")

    def close(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None


class ListeningWatch:
    """PostgreSQL: a connection of its own, which listens. `revision` tells what a thread has found."""

    def __init__(self, database: Database, clock: Clock, lease: float) -> None:
        self._database = database
        self._clock = clock
        self._lease = lease
        self._driver_error: type[Exception] = database.engine.dialect.loaded_dbapi.Error
        #: The number, and until when (monotonic) it may be believed.
        self._found = 0, clock.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="status-watch", daemon=True)
        self._thread.start()

    def revision(self) -> int | None:
        """The number of changes; None where nobody has confirmed it within the lease."""
        revision, until = self._found
        return revision if self._clock.monotonic() < until else None

    def close(self) -> None:
        """Ends the thread. Idempotent."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        told = False
        while not self._stop.is_set():
            try:
                with self._listening() as connection:
                    told = False
                    while not self._stop.is_set():
                        self._look(connection)
            except (SQLAlchemyError, OSError, self._driver_error) as error:
                if not told:
                    _log.error(
                        "changes of statuses cannot be heard (%s): nothing remembered is told", type(error).__name__
                    )
                told = True
                self._stop.wait(self._lease / _READS)

    def _listening(self) -> AbstractContextManager[Any]:
        """The driver's own connection, taken out of the pool for good."""
        pooled = self._database.engine.raw_connection()
        connection: Any = pooled.driver_connection
        pooled.detach()
        connection.rollback()
        connection.autocommit = True
        if not connection.execute(_COUNTS_POSTGRESQL).fetchone()[0]:
            connection.close()
            raise OSError("changes of certificates are not counted: run tsp migrate")
        connection.execute(f"LISTEN {CHANNEL}")
        return closing(connection)

    def _look(self, connection: Any) -> None:
        """Reads the number, then listens until there is news or it is time to read again."""
        began = self._clock.monotonic()
        row = connection.execute(_SQL).fetchone()
        self._found = (row[0] if row else 0), began + self._lease
        for _ in connection.notifies(timeout=self._lease / _READS, stop_after=1):
            # Not even the number that comes is waited for: from here on it is unknown.
            self._found = self._found[0], began
