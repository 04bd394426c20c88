"""The time-stamp protocol over HTTP (RFC 3161, 3.4): queries in, replies out, and no other words."""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from sqlalchemy.orm import Session

from tsp.core.asgi import Reply, Request, Service, plain
from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.core.errors import Invalid, TooMany, TspError
from tsp.core.randomness import Randomness
from tsp.core.workers import Workers
from tsp.tsa.authority import Draft, Signer, TimeKeeper, TimeStampAuthority, unit_of
from tsp.tsa.clock_guard import ClockGuard
from tsp.tsa.journal import Batch, Given, Journal
from tsp.tsa.tables import last_given
from tsp.tsa.token import rejection_of

#: A query with SHA-512, a policy and a long nonce has less than 300 octets.
MAX_REQUEST: Final = 4096
REQUEST_SECONDS: Final = 10.0
#: How long (in seconds) a time-stamp waits for others to be recorded with it.
GATHER: Final = 0.003
_QUERY: Final = b"application/timestamp-query"
_REPLY: Final = b"application/timestamp-reply"
_NO_STORE: Final = ((b"cache-control", b"no-store"),)


def tsa_app(
    *,
    signer: Signer,
    certificate: bytes,
    chain: Sequence[bytes],
    policy: str,
    accuracy_ms: int,
    max_clock_jump_ms: int,
    database: Database,
    clock: Clock,
    randomness: Randomness,
    on_batch: Callable[[Session, Batch], object] | None = None,
    qualified: bool = False,
    guard: TimeKeeper | None = None,
    paths: Collection[str] = ("/",),
    threads: int = 16,
    troubles: list[Callable[[], str]] | None = None,
    ready: Callable[[TimeStampAuthority], object] | None = None,
) -> Service:
    """The ASGI application of one time-stamping unit; its shutdown commits what is waiting.

    Without a `guard` that compares with time sources, one is made that sees jumps of `clock` alone. `on_batch`
    runs inside the transaction of each batch of records; `troubles` gets a teller of what the guard found, for
    /health; `ready` gets the authority before it serves. Raises `Invalid` where key and certificate do not fit.
    """
    if guard is None:
        with database.read() as session:
            earliest = last_given(session, unit_of(certificate))
        guard = ClockGuard(clock, timedelta(milliseconds=max_clock_jump_ms), earliest)
    if troubles is not None:
        troubles.append(guard.trouble)
    journal = Journal(database, on_batch)
    try:
        authority = TimeStampAuthority(
            signer=signer,
            certificate=certificate,
            chain=chain,
            policy=policy,
            accuracy_ms=accuracy_ms,
            guard=guard,
            randomness=randomness,
            journal=journal,
            qualified=qualified,
        )
    except BaseException:
        journal.close()
        raise
    if ready is not None:
        ready(authority)
    return service(authority, journal, paths=paths, threads=threads)


def service(
    authority: TimeStampAuthority, journal: Journal, *, paths: Collection[str] = ("/",), threads: int = 16
) -> Service:
    """The ASGI application around a ready authority and its journal."""
    served = {path.encode() for path in paths}
    workers = Workers(threads, waiting=1000)
    ledger = _Ledger(journal)

    async def handle(request: Request) -> Reply:
        if request.raw_path not in served:
            raise Invalid("path-unknown", "There is nothing here. This is a time-stamping service.")
        if request.method != "POST":
            wrong = Invalid("method-not-allowed", "This is a time-stamping service (RFC 3161): send a POST request.")
            return plain(wrong, [(b"allow", b"POST")])
        if request.media_type != _QUERY:
            raise Invalid("media-type-unsupported", "Send the request as application/timestamp-query.")
        body = await request.body(MAX_REQUEST, REQUEST_SECONDS)
        try:
            with ledger.expecting():
                draft: Draft = await workers.run(authority.draft, body)
            if draft.given is not None:
                await ledger.record(draft.given)
            reply = draft.reply
        except TooMany as busy:
            reply = rejection_of(busy)
        except TspError as error:
            reply = authority.refusal(error)
        return Reply(200, _REPLY, reply, _NO_STORE)

    def stop() -> None:
        workers.close()
        journal.close()

    return Service(handle, stop)


class _Ledger:
    """Hands what was stamped to the journal in groups, each of which comes back as one.

    A group is complete when nobody else is being stamped, or after `GATHER`: a transaction takes as long for one
    time-stamp as for ten.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._gathered: list[tuple[Given, asyncio.Future[None]]] = []
        self._expected = 0
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def expecting(self) -> Iterator[None]:
        """Around the making of a time-stamp, which the others wait for."""
        self._expected += 1
        try:
            yield
        finally:
            self._expected -= 1
            if not self._expected and self._gathered:
                asyncio.get_running_loop().call_soon(self._enter)

    async def record(self, given: Given) -> None:
        """Returns when the record is durable; raises as `Journal.enter` and its future do."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._gathered.append((given, done))
        if not self._expected:
            loop.call_soon(self._enter)
        elif self._timer is None:
            self._timer = loop.call_later(GATHER, self._enter)
        await done

    def _enter(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        group, self._gathered = self._gathered, []
        if not group:
            return
        loop = asyncio.get_running_loop()
        waiting = [done for _, done in group]
        try:
            entered = self._journal.enter([given for given, _ in group])
        except TspError as error:
            _end(waiting, error)
            return
        entered.add_done_callback(lambda ended: loop.call_soon_threadsafe(_end, waiting, ended.exception()))


def _end(waiting: Sequence[asyncio.Future[None]], error: BaseException | None) -> None:
    for done in waiting:
        if done.done():  # whoever asked has gone; the record stands
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
