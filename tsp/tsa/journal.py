"""Group commit: many time-stamps share one transaction, and none is answered before it is durable.

While one batch is being committed the next one gathers; nobody waits for a timer.
"""

import hashlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy.orm import Session

from tsp.core.database import Database, table_of
from tsp.core.errors import TooMany, TspError, Unavailable
from tsp.tsa.tables import TimeStamp

#: The largest transaction, in time-stamps.
BATCH: Final = 500
_COLUMNS: Final = ("serial", "unit", "given_at", "hash_name", "imprint", "token_digest", "batch", "position")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Given:
    """What is recorded of one time-stamp."""

    serial: int
    unit: str
    given_at: datetime
    hash_name: str
    imprint: bytes
    token_digest: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """The time-stamps of one transaction: their number, and the digest over their tokens' digests."""

    digest: bytes
    count: int


class _Group(NamedTuple):
    given: Sequence[Given]
    done: "Future[None]"


class Journal:
    """Writes records in batches from a thread of its own.

    `on_batch` is called inside each batch's transaction, to leave a trace of it elsewhere (the log).
    `waiting` bounds the records that wait for their commit.
    """

    def __init__(
        self, database: Database, on_batch: Callable[[Session, Batch], object] | None = None, *, waiting: int = 10_000
    ) -> None:
        self._database = database
        self._on_batch = on_batch
        self._limit = waiting
        self._waiting: deque[_Group] = deque()
        self._count = 0
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="time-stamp-journal", daemon=True)
        self._thread.start()

    def record(self, given: Given) -> None:
        """Returns when the record is durable; raises as `enter` and its future do."""
        self.enter([given]).result()

    def enter(self, given: Sequence[Given]) -> "Future[None]":
        """Takes records that become durable together; the future ends when they are.

        Raises `Unavailable` where the journal is closed, `TooMany` where too many are waiting; the future raises
        `Unavailable` where the database refused the batch.
        """
        group = _Group(given, Future())
        with self._changed:
            if self._closing:
                raise Unavailable("timestamp-closing", "The service is being shut down. Please try again in a moment.")
            if self._count >= self._limit:
                raise TooMany("busy", "The service is busy. Please try again in a moment.", retry_after=1)
            self._waiting.append(group)
            self._count += len(given)
            self._changed.notify()
        return group.done

    def close(self) -> None:
        """Commits what is waiting and ends the thread. Idempotent."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while batch := self._next():
            error = self._commit([given for group in batch for given in group.given])
            for group in batch:
                if error is None:
                    group.done.set_result(None)
                else:
                    group.done.set_exception(error)

    def _next(self) -> list[_Group]:
        """What has gathered, as far as it fits into one transaction; nothing when the journal is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            batch: list[_Group] = []
            count = 0
            while self._waiting and (not batch or count + len(self._waiting[0].given) <= BATCH):
                batch.append(self._waiting.popleft())
                count += len(batch[-1].given)
            self._count -= count
            return batch

    def _commit(self, batch: Sequence[Given]) -> TspError | None:
        digest = batch_digest([given.token_digest for given in batch])
        try:
            with self._database.write() as session:
                self._insert(session, [_row(given, digest, place) for place, given in enumerate(batch)])
                if self._on_batch is not None:
                    self._on_batch(session, Batch(digest, len(batch)))
        except TspError as error:
            return error
        except Exception as error:  # noqa: BLE001  (whatever it is, those who wait must hear of it)
            _log.exception("time-stamps not recorded")
            return Unavailable(
                "timestamp-not-recorded",
                "The time-stamp could not be recorded and was not given. Please try again in a moment.",
                cause=type(error).__name__,
            )
        return None

    def _insert(self, session: Session, rows: Sequence[tuple[object, ...]]) -> None:
        """One statement with all rows: the driver changes threads at every row that it is given one by one."""
        dialect = self._database.engine.dialect
        sign = "?" if dialect.paramstyle == "qmark" else "%s"
        one = f"({', '.join([sign] * len(_COLUMNS))})"
        statement = f"INSERT INTO time_stamp ({', '.join(_COLUMNS)}) VALUES {', '.join([one] * len(rows))}"  # noqa: S608  (names of ours and placeholders)
        moment = table_of(TimeStamp).c.given_at.type.dialect_impl(dialect).bind_processor(dialect)
        place = _COLUMNS.index("given_at")
        values = [moment(v) if moment and n == place else v for row in rows for n, v in enumerate(row)]
        session.connection().exec_driver_sql(statement, tuple(values))


def batch_digest(token_digests: Sequence[bytes]) -> bytes:
    """SHA-256 over the digests of a batch's tokens, one after the other."""
    return hashlib.sha256(b"".join(token_digests)).digest()


def _row(given: Given, batch: bytes, position: int) -> tuple[object, ...]:
    """The values of `_COLUMNS`."""
    return (
        f"{given.serial:032x}",
        given.unit,
        given.given_at,
        given.hash_name,
        given.imprint,
        given.token_digest,
        batch,
        position,
    )
