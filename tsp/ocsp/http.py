"""OCSP over HTTP (RFC 6960, appendix A; RFC 9919, 5 and 6): POST and GET, with caching where it is allowed."""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Final
from urllib.parse import unquote_to_bytes

from tsp.core.asgi import Header, Reply, Request, Service, Workers, plain
from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.core.errors import Invalid, TooMany, TspError
from tsp.ocsp.responder import Answer, Delegation, OcspResponder
from tsp.ocsp.response import error_response_of
from tsp.ocsp.source import DatabaseSource

#: A request for sixteen certificates with SHA-512 and a long nonce has less than 3 kB.
MAX_REQUEST: Final = 8192
REQUEST_SECONDS: Final = 10.0
_REQUEST: Final = b"application/ocsp-request"
_RESPONSE: Final = b"application/ocsp-response"
_NOT_KEPT: Final[tuple[Header, ...]] = ((b"cache-control", b"no-cache, no-store"),)


def ocsp_app(
    *,
    delegations: Sequence[Delegation],
    database: Database,
    clock: Clock,
    validity_seconds: int,
    reuse_seconds: int = 0,
    extended_revoke: bool = False,
    guard: Clock | None = None,
    threads: int = 16,
) -> Service:
    """The ASGI application of the responder. Raises `Invalid` where a delegation does not hold.

    `guard` is the clock that answers are made with where it is another one: it may refuse to give the time.
    """
    responder = database_responder(
        delegations, database, guard or clock, validity_seconds, reuse_seconds, extended_revoke
    )
    return service(responder, clock, threads=threads)


def database_responder(
    delegations: Sequence[Delegation],
    database: Database,
    clock: Clock,
    validity_seconds: int,
    reuse_seconds: int,
    extended_revoke: bool = False,
) -> OcspResponder:
    """The responder that reads the certificate table; `clock` may refuse to give the time."""
    return OcspResponder(
        delegations=delegations,
        source=DatabaseSource(database),
        clock=clock,
        validity=timedelta(seconds=validity_seconds),
        reuse=timedelta(seconds=reuse_seconds),
        extended_revoke=extended_revoke,
    )


def service(responder: OcspResponder, clock: Clock, *, threads: int = 16) -> Service:
    """The ASGI application around a ready responder."""
    workers = Workers(threads, waiting=1000)

    async def handle(request: Request) -> Reply:
        if request.method == "GET":
            path = request.raw_path.lstrip(b"/")
            if not path:
                raise Invalid("path-unknown", "This is an OCSP responder (RFC 6960): send it requests.")
            try:
                asked = from_path(path)
            except TspError as error:
                return _reply(Answer(error_response_of(error)), clock.now())
        elif request.method == "POST":
            if request.raw_path.strip(b"/"):
                raise Invalid("path-unknown", "There is nothing here. Requests are posted to the root of this address.")
            if request.media_type != _REQUEST:
                raise Invalid("media-type-unsupported", "Send the request as application/ocsp-request.")
            asked = await request.body(MAX_REQUEST, REQUEST_SECONDS)
        else:
            wrong = Invalid("method-not-allowed", "This is an OCSP responder (RFC 6960): use GET or POST.")
            return plain(wrong, [(b"allow", b"GET, POST")])
        try:
            answer: Answer = await workers.run(responder.answer, asked)
        except TooMany as busy:
            answer = Answer(error_response_of(busy))
        return _reply(answer, clock.now())

    return Service(handle, workers.close)


def from_path(path: bytes) -> bytes:
    """The request in a GET path: base64, percent-encoded or not, in either alphabet, with or without padding.

    Raises `Invalid` (ocsp-malformed).
    """
    text = unquote_to_bytes(path).translate(_ALPHABET).rstrip(b"=")
    try:
        found = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise _malformed() from None
    if len(found) > MAX_REQUEST:
        raise _malformed()
    return found


#: A space was a "+" before somebody decoded it as a form; "-" and "_" are the URL-safe alphabet.
_ALPHABET: Final = bytes.maketrans(b" -_", b"++/")


def _malformed() -> Invalid:
    return Invalid("ocsp-malformed", "The path is not a request in base64.")


def _reply(answer: Answer, now: datetime) -> Reply:
    """HTTP 200 also for OCSP errors. An answer with a nonce, and an error, is for one caller only."""
    if answer.this_update is None or answer.next_update is None:
        return Reply(200, _RESPONSE, answer.body, _NOT_KEPT)
    # RFC 9919, 6.2: thisUpdate < now + max-age < nextUpdate; half of what is left serves clocks that differ.
    max_age = max(0, int((answer.next_update - now).total_seconds()) // 2)
    return Reply(
        200,
        _RESPONSE,
        answer.body,
        (
            (b"last-modified", format_datetime(answer.this_update, usegmt=True).encode()),
            (b"expires", format_datetime(answer.next_update, usegmt=True).encode()),
            (b"etag", b'"' + hashlib.sha256(answer.body).hexdigest().encode() + b'"'),
            (b"cache-control", f"max-age={max_age}, public, no-transform, must-revalidate".encode()),
        ),
    )
