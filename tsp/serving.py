"""Runs one role's ASGI application on the port of its origin, and ends without failing a request.

A face can be handed a listening socket that its parent holds open (`tsp serve`, or a service manager's
socket unit). Then every process of the role accepts from one queue, which outlives each of them: who
connects while one process restarts is accepted by another, or waits a moment for the new one. A process
that was handed none shares the port with others (SO_REUSEPORT); there each has a queue of its own, and
what the kernel put into it in the instant of its end is lost (see docs/operations/production.md).
"""

import asyncio
import json
import signal
import socket
import threading
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import uvicorn

from tsp.core.errors import Invalid, Unavailable

Scope = MutableMapping[str, Any]
App = Callable[..., Any]


#: Seconds in which connections that are kept open may bring one more request after the stop signal.
DRAIN_SECONDS = 1.0
_BACKLOG = 512


def with_health(app: App, role: str, troubles: Sequence[Callable[[], str]] = ()) -> App:
    """Answers `GET /health` beside the application: 200 where the process reads requests and can do its work,

    503 with their names where one of `troubles` has something to tell (a code; "" is none).
    """
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]

    async def answer(scope: Scope, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        if scope["type"] == "http" and scope["path"] == "/health":
            told = [trouble for ask in troubles if (trouble := ask())]
            state = {"role": role, "status": "up", **({"troubles": told} if told else {})}
            await send({"type": "http.response.start", "status": 503 if told else 200, "headers": headers})
            await send({"type": "http.response.body", "body": json.dumps(state).encode()})
        else:
            await app(scope, receive, send)

    return answer


def with_farewell(app: App, ending: threading.Event) -> App:
    """Once `ending` is set every answer says that it is the last one on its connection (RFC 9112, 9.6)."""

    async def answer(scope: Scope, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        async def last(message: Scope) -> None:
            if message["type"] == "http.response.start" and ending.is_set():
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        await app(scope, receive, last if scope["type"] == "http" else send)

    return answer


def inherited_socket(fd: int) -> socket.socket:
    """The listening socket that this process was started with.

    Raises `Invalid` (socket-not-listening) where the descriptor is none.
    """
    try:
        listener = socket.socket(fileno=fd)
    except OSError:
        raise _not_listening(fd) from None
    if listener.type == socket.SOCK_STREAM and listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return listener
    listener.close()
    raise _not_listening(fd)


def _not_listening(fd: int) -> Invalid:
    return Invalid("socket-not-listening", f"Descriptor {fd} is no listening socket. Leave --fd out, or pass one.")


def listening_socket(host: str, origin: str) -> socket.socket:
    """A bound socket for this origin's port; several processes of a role share it (SO_REUSEPORT).

    Raises `Unavailable` (port-taken) where somebody else has the port.
    """
    parts = urlsplit(origin)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise Unavailable(
            "port-taken",
            f"{host}:{port} cannot be listened on: {error.strerror}. Stop what uses it, or change the configuration.",
        ) from error
    return listener


class _Server(uvicorn.Server):
    """A server whose end no client notices: it stops accepting, says farewell on each connection, then hangs up."""

    def __init__(self, config: uvicorn.Config, ending: threading.Event) -> None:
        super().__init__(config)
        self._ending = ending

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        self._ending.set()
        # A connection that is closed while its next request is on the way has failed that request.
        deadline = asyncio.get_running_loop().time() + DRAIN_SECONDS
        while self.server_state.connections and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110  (uvicorn has no event)
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)


def serve(app: App, role: str, listener: socket.socket, troubles: Sequence[Callable[[], str]] = ()) -> None:
    """Serves until SIGTERM or SIGINT, then returns; requests under way may finish. `troubles` as for `with_health`."""
    ending = threading.Event()
    config = uvicorn.Config(
        with_farewell(with_health(app, role, troubles), ending),
        http="httptools",
        loop="uvloop",
        lifespan="auto",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=8,
        backlog=_BACKLOG,
    )
    server = _Server(config, ending)

    def end(*_: object) -> None:
        """uvicorn raises its signal once more when it has ended; without this the process would die of it at once."""
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    server.run(sockets=[listener])


def stop_signal() -> threading.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
