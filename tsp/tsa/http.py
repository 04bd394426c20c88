"""The time-stamp protocol over HTTP (RFC 3161, 3.4): queries in, replies out, and no other words."""

from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy.orm import Session

from tsp.core.asgi import Reply, Request, Service, plain
from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.core.errors import Invalid, TooMany
from tsp.core.randomness import Randomness
from tsp.core.workers import Workers
from tsp.tsa.authority import Signer, TimeKeeper, TimeStampAuthority, unit_of
from tsp.tsa.clock_guard import ClockGuard
from tsp.tsa.journal import Batch, Journal
from tsp.tsa.tables import last_given
from tsp.tsa.token import rejection_of

#: A query with SHA-512, a policy and a long nonce has less than 300 octets.
MAX_REQUEST: Final = 4096
REQUEST_SECONDS: Final = 10.0
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
) -> Service:
    """The ASGI application of one time-stamping unit; its shutdown commits what is waiting.

    Without a `guard` that compares with time sources, one is made that sees jumps of `clock` alone. `on_batch`
    runs inside the transaction of each batch of records; `troubles` gets a teller of what the guard found, for
    /health. Raises `Invalid` where key and certificate do not fit.
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
    return service(authority, shutdown=journal.close, paths=paths, threads=threads)


def service(
    authority: TimeStampAuthority, *, shutdown: Callable[[], None], paths: Collection[str] = ("/",), threads: int = 16
) -> Service:
    """The ASGI application around a ready authority."""
    served = {path.encode() for path in paths}
    workers = Workers(threads, waiting=1000)

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
            reply = await workers.run(authority.answer, body)
        except TooMany as busy:
            reply = rejection_of(busy)
        return Reply(200, _REPLY, reply, _NO_STORE)

    def stop() -> None:
        workers.close()
        shutdown()

    return Service(handle, stop)
