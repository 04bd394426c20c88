"""Runs one role's ASGI application on the port of its origin."""

import json
import socket
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import uvicorn

Scope = MutableMapping[str, Any]
App = Callable[..., Any]


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


def listening_socket(host: str, origin: str) -> socket.socket:
    """A bound socket for this origin's port; several processes of a role share it (SO_REUSEPORT)."""
    parts = urlsplit(origin)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((host, port))
    return listener


def serve(app: App, role: str, listener: socket.socket, troubles: Sequence[Callable[[], str]] = ()) -> None:
    """Serves until SIGTERM or SIGINT; requests under way may finish. `troubles` as for `with_health`."""
    config = uvicorn.Config(
        with_health(app, role, troubles),
        http="httptools",
        loop="uvloop",
        lifespan="auto",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=8,
        backlog=512,
    )
    uvicorn.Server(config).run(sockets=[listener])
