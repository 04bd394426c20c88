"""Group commit: many time-stamps share one transaction, and none is answered before it is durable.

While one batch is being committed the next one gathers; nobody waits for a timer.
"""

import hashlib
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import insert
from sqlalchemy.orm import Session

from tsp.core.database import Database
from tsp.core.errors import TooMany, TspError, Unavailable
from tsp.tsa.tables import TimeStamp

#: The largest transaction, in time-stamps.
BATCH: Final = 500
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
        self._waiting: list[tuple[Given, Future[None]]] = []
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="time-stamp-journal", daemon=True)
        self._thread.start()

    def record(self, given: Given) -> None:
        """Returns when the record is durable.

        Raises `Unavailable` where the database refused the batch, `TooMany` where too many are waiting.
        """
        done: Future[None] = Future()
        with self._changed:
            if self._closing:
                raise Unavailable("timestamp-closing", "The service is being shut down. Please try again in a moment.")
            if len(self._waiting) >= self._limit:
                raise TooMany("busy", "The service is busy. Please try again in a moment.", retry_after=1)
            self._waiting.append((given, done))
            self._changed.notify()
        done.result()

    def close(self) -> None:
        """Commits what is waiting and ends the thread. Idempotent."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while batch := self._next():
            error = self._commit([given for given, _ in batch])
            for _, done in batch:
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)

    def _next(self) -> list[tuple[Given, Future[None]]]:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            return batch

    def _commit(self, batch: Sequence[Given]) -> TspError | None:
        digest = batch_digest([given.token_digest for given in batch])
        try:
            with self._database.write() as session:
                session.execute(insert(TimeStamp), [_row(g, digest, n) for n, g in enumerate(batch)])
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


def batch_digest(token_digests: Sequence[bytes]) -> bytes:
    """SHA-256 over the digests of a batch's tokens, one after the other."""
    return hashlib.sha256(b"".join(token_digests)).digest()


def _row(given: Given, batch: bytes, position: int) -> dict[str, object]:
    return {
        "serial": f"{given.serial:032x}",
        "unit": given.unit,
        "given_at": given.given_at,
        "hash_name": given.hash_name,
        "imprint": given.imprint,
        "token_digest": given.token_digest,
        "batch": batch,
        "position": position,
    }
