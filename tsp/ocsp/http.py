"""OCSP over HTTP (RFC 6960, appendix A; RFC 9919, 5 and 6): POST and GET, with caching where it is allowed."""

import asyncio
import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple, Self
from urllib.parse import unquote_to_bytes

from tsp.core.asgi import Header, Reply, Request, Service, plain
from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.core.errors import Invalid, TspError
from tsp.core.settings import Ocsp
from tsp.core.workers import Workers
from tsp.ocsp.kept import RESPONSE, KeptAnswers, Publishable
from tsp.ocsp.responder import Answer, Delegation, OcspResponder
from tsp.ocsp.response import error_response_of
from tsp.ocsp.source import DatabaseSource, RememberedSource
from tsp.ocsp.watch import StatusWatch, watch_of

#: A request for sixteen certificates with SHA-512 and a long nonce has less than 3 kB.
MAX_REQUEST: Final = 8192
REQUEST_SECONDS: Final = 10.0
_REQUEST: Final = b"application/ocsp-request"
_NOT_KEPT: Final[tuple[Header, ...]] = ((b"cache-control", b"no-cache, no-store"),)


@dataclass(frozen=True, slots=True)
class Terms:
    """`validity` is the time from thisUpdate to nextUpdate, `reuse` how long an answer without nonce is given again,
    `lease` how long, on PostgreSQL, nothing needs to be heard of changes before none is given again."""

    validity: timedelta
    reuse: timedelta = timedelta(0)
    lease: timedelta = timedelta(seconds=0.5)
    extended_revoke: bool = False

    @classmethod
    def of(cls, section: Ocsp) -> Self:
        """What the configuration says."""
        return cls(
            validity=timedelta(seconds=section.validity_seconds),
            reuse=timedelta(seconds=section.reuse_seconds),
            lease=timedelta(milliseconds=section.lease_ms),
            extended_revoke=section.extended_revoke,
        )


def ocsp_app(
    *,
    delegations: Sequence[Delegation],
    database: Database,
    clock: Clock,
    validity_seconds: int,
    reuse_seconds: int = 0,
    lease_seconds: float = 0.5,
    extended_revoke: bool = False,
    guard: Clock | None = None,
    threads: int = 16,
) -> Service:
    """The ASGI application of the responder. Raises `Invalid` where a delegation does not hold.

    `guard` is the clock that answers are made with where it is another one: it may refuse to give the time.
    """
    terms = Terms(
        timedelta(seconds=validity_seconds),
        timedelta(seconds=reuse_seconds),
        timedelta(seconds=lease_seconds),
        extended_revoke,
    )
    responder = database_responder(delegations, database, guard or clock, terms)
    return service(responder, database, clock, terms, threads=threads)


def database_responder(
    delegations: Sequence[Delegation], database: Database, clock: Clock, terms: Terms
) -> OcspResponder:
    """The responder that reads the certificate table; `clock` may refuse to give the time."""
    return OcspResponder(
        delegations=delegations,
        source=RememberedSource(DatabaseSource(database)),
        clock=clock,
        validity=terms.validity,
        reuse=terms.reuse,
        extended_revoke=terms.extended_revoke,
    )


def service(responder: OcspResponder, database: Database, clock: Clock, terms: Terms, *, threads: int = 16) -> Service:
    """The ASGI application around a ready responder, whose statuses stand in `database`."""
    face = Face(responder, watch_of(database, clock, terms.lease.total_seconds()), clock, terms.reuse, threads)
    return Service(face.handle, face.close)


class Face:
    """One process's part of the service. What is kept is found on the event loop, without a thread."""

    def __init__(
        self, responder: OcspResponder, watch: StatusWatch, clock: Clock, reuse: timedelta, threads: int
    ) -> None:
        self._responder = responder
        self._watch = watch
        self._clock = clock
        self._kept = KeptAnswers(reuse)
        self._workers = Workers(threads, waiting=1000)
        self._turn: _Turn | None = None

    def close(self) -> None:
        """Waits for the work that has begun."""
        self._workers.close()
        self._watch.close()

    async def handle(self, request: Request) -> Reply:
        """One HTTP request. Raises `Invalid` for what lies below the protocol."""
        if request.method == "GET":
            key = request.raw_path
            if not key.strip(b"/"):
                raise Invalid("path-unknown", "This is an OCSP responder (RFC 6960): send it requests.")
        elif request.method == "POST":
            key = await _posted(request)
        else:
            wrong = Invalid("method-not-allowed", "This is an OCSP responder (RFC 6960): use GET or POST.")
            return plain(wrong, [(b"allow", b"GET, POST")])
        turn = self._this_turn()
        if turn.state is not None and (kept := self._kept.find(key, turn.state, turn.now)) is not None:
            return kept.reply(request, turn.now, turn.second)
        try:
            asked = from_path(key.lstrip(b"/")) if request.method == "GET" else key
            answer: Answer = await self._workers.run(self._responder.answer, asked, turn.revision)
        except TspError as error:
            answer = Answer(error_response_of(error))
        if answer.this_update is None or answer.next_update is None:
            return Reply(200, RESPONSE, answer.body, _NOT_KEPT)
        published = Publishable(answer, answer.this_update, answer.next_update)
        if turn.state is not None:
            # Under what was known before the statuses were read: a change in between makes this worthless.
            self._kept.keep(key, turn.state, published)
        now = self._clock.now()
        return published.reply(request, now, now.replace(microsecond=0))

    def _this_turn(self) -> "_Turn":
        """What holds at this moment, looked at once for all requests that wait in this turn of the event loop."""
        if self._turn is None:
            revision = self._watch.revision()
            try:
                now = self._responder.now()
                state = None if revision is None else (revision, self._responder.generation)
            except TspError:
                # Nothing may be told again; the responder says in the protocol's words that no time is given.
                now, state = self._clock.now(), None
            self._turn = _Turn(revision, state, now, now.replace(microsecond=0))
            asyncio.get_running_loop().call_soon(self._end_turn)
        return self._turn

    def _end_turn(self) -> None:
        self._turn = None


class _Turn(NamedTuple):
    """The number of changes if it is known, the state under which answers are kept if they may be told, the time."""

    revision: int | None
    state: tuple[int, int] | None
    now: datetime
    second: datetime


async def _posted(request: Request) -> bytes:
    if request.raw_path.strip(b"/"):
        raise Invalid("path-unknown", "There is nothing here. Requests are posted to the root of this address.")
    if request.media_type != _REQUEST:
        raise Invalid("media-type-unsupported", "Send the request as application/ocsp-request.")
    return await request.body(MAX_REQUEST, REQUEST_SECONDS)


def from_path(path: bytes) -> bytes:
    """The request in a GET path: base64, percent-encoded or not, in either alphabet, with or without padding.

    Also encoded twice, as some proxies do, with line ends, and with a slash behind the padding.

    Raises `Invalid` (ocsp-malformed).
    """
    text = unquote_to_bytes(path)
    if b"%" in text:
        text = unquote_to_bytes(text)
    text, _, padding = text.translate(_ALPHABET, delete=b"\r\n").partition(b"=")
    if padding.strip(b"=/"):
        raise _malformed()
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
