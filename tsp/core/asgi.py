"""The few lines of ASGI that machine protocols need: a request with a limited body, a reply, a lifespan.

For services that answer binary protocols by the thousand, where a web framework costs more than the work.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from starlette.types import Message, Receive, Scope, Send

from tsp.core.errors import Invalid, TspError, http_status

Header = tuple[bytes, bytes]

_log = logging.getLogger(__name__)
_TEXT = b"text/plain; charset=utf-8"
_NOT_MODIFIED = 304
_NO_STORE: Header = (b"cache-control", b"no-store")
#: HTTP statuses that are finer than those of the error's kind.
_STATUS = {
    "path-unknown": 404,
    "method-not-allowed": 405,
    "body-too-slow": 408,
    "body-too-large": 413,
    "media-type-unsupported": 415,
}


@dataclass(slots=True)
class Reply:
    """A whole answer, which may be sent many times. Its length is added when it is sent."""

    status: int
    media_type: bytes
    body: bytes
    headers: Sequence[Header] = ()
    _start: Message | None = field(default=None, init=False, repr=False, compare=False)

    def start(self) -> Message:
        """The message that begins it, made once."""
        if self._start is None:
            # RFC 9110, 15.4.5: a 304 says nothing of a body that it does not have.
            length = (b"content-length", str(len(self.body)).encode())
            about_body = () if self.status == _NOT_MODIFIED else ((b"content-type", self.media_type), length)
            headers = [*about_body, (b"x-content-type-options", b"nosniff"), *self.headers]
            self._start = {"type": "http.response.start", "status": self.status, "headers": headers}
        return self._start


class Request:
    """What a handler needs of one HTTP request."""

    __slots__ = ("_receive", "_scope", "method")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._scope = scope
        self._receive = receive
        self.method: str = scope["method"]

    @property
    def raw_path(self) -> bytes:
        """The path as it came over the wire, percent-encoding and all, without the query."""
        raw: bytes | None = self._scope.get("raw_path")
        return self._scope["path"].encode() if raw is None else raw.partition(b"?")[0]

    @property
    def headers(self) -> Sequence[Header]:
        """Every header as it came, with lower-case names."""
        found: Sequence[Header] = self._scope["headers"]
        return found

    def header(self, name: bytes) -> bytes:
        """The first header of that lower-case name, empty where there is none."""
        return next((bytes(value) for key, value in self._scope["headers"] if key == name), b"")

    @property
    def media_type(self) -> bytes:
        """Content-Type without its parameters, in lower case."""
        return self.header(b"content-type").partition(b";")[0].strip().lower()

    async def body(self, limit: int, seconds: float) -> bytes:
        """The whole body. Raises `Invalid` (body-too-large, body-too-slow, client-gone)."""
        announced = self.header(b"content-length")
        if announced.isdigit() and int(announced) > limit:
            raise _too_large(limit)
        try:
            async with asyncio.timeout(seconds):
                return await self._read(limit)
        except TimeoutError:
            raise Invalid("body-too-slow", "The request did not arrive in time. Send it again.") from None

    async def _read(self, limit: int) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Invalid("client-gone", "The caller went away before the request was complete.")
            part: bytes = message.get("body", b"")
            size += len(part)
            if size > limit:
                raise _too_large(limit)
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)


def _too_large(limit: int) -> Invalid:
    return Invalid("body-too-large", "The request is larger than this service takes.", limit=limit)


def plain(error: TspError, headers: Sequence[Header] = ()) -> Reply:
    """An error as one line of plain text, for what goes wrong below the service's own protocol."""
    status = _STATUS.get(error.code) or http_status(error)
    return Reply(status, _TEXT, f"{error.sentence}\n".encode(), (*headers, _NO_STORE))


class Service:
    """An ASGI application around one handler. Handlers raise `TspError` for plain-text refusals."""

    def __init__(self, handler: Callable[[Request], Awaitable[Reply]], shutdown: Callable[[], None]) -> None:
        self._handler = handler
        self._shutdown = shutdown

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await _send(await self._reply(Request(scope, receive)), send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:  # a websocket, which none of these services speaks
            await send({"type": "websocket.close", "code": 1000})

    async def _reply(self, request: Request) -> Reply:
        try:
            return await self._handler(request)
        except TspError as error:
            return plain(error)
        except Exception:  # noqa: BLE001  (the edge: it is logged, and told without its words)
            _log.exception("unexpected error")
            return Reply(500, _TEXT, b"The service failed. Please try again later.\n", (_NO_STORE,))

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                self._shutdown()
                return


async def _send(reply: Reply, send: Send) -> None:
    await send(reply.start())
    await send({"type": "http.response.body", "body": reply.body})
