"""Runs one role's ASGI application on the port of its origin."""

import json
import socket
from collections.abc import Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

import uvicorn

Scope = MutableMapping[str, Any]
App = Callable[..., Any]


def with_health(app: App, role: str) -> App:
    """Answers `GET /health` beside the application: the process is up and reads requests."""
    body = json.dumps({"role": role, "status": "up"}).encode()
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]

    async def answer(scope: Scope, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        if scope["type"] == "http" and scope["path"] == "/health":
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})
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


def serve(app: App, role: str, listener: socket.socket) -> None:
    """Serves until SIGTERM or SIGINT; requests under way may finish."""
    config = uvicorn.Config(
        with_health(app, role),
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
