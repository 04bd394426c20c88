"""The small servers but the witness in one process and one event loop; sockets are bound before anything starts."""

import asyncio
import contextlib
import json
import signal
import socket
from collections.abc import Iterator
from typing import Literal

import httpx2
import uvicorn
from starlette.types import ASGIApp

from sandbox.branch import Branch, branch_app
from sandbox.clock import Clock
from sandbox.instance import Instance
from sandbox.mailbox import Mailbox, mailbox_app, smtp_protocol
from sandbox.oauth import BranchClient
from sandbox.phone import Phone, phone_app
from sandbox.randomness import Randomness
from sandbox.register import Register, register_app
from sandbox.settings import ConfigurationError

_END_SECONDS = 2


class Server(uvicorn.Server):
    """A uvicorn server that leaves the signals to the one loop that runs them all."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(instance: Instance, clock: Clock, randomness: Randomness) -> None:
    """Runs everything until SIGINT or SIGTERM; prints one line `ready {service: address}` when it listens.

    Raises `ConfigurationError` where a port is taken.
    """
    sockets = _bind(instance)
    mailbox, phone = Mailbox(clock, instance.settings.limits), Phone(clock, instance.settings.limits)
    loop = asyncio.get_running_loop()
    smtp = await loop.create_server(lambda: smtp_protocol(mailbox), sock=sockets["smtp"])
    async with smtp, httpx2.AsyncClient(timeout=10, trust_env=False) as http:
        client = BranchClient(
            http,
            instance.settings.urls.idp,
            instance.settings.branch.client_id,
            instance.branch_key,
            clock,
            randomness,
        )
        apps = {
            "mailbox": mailbox_app(mailbox),
            "phone": phone_app(phone, instance.gateway_token),
            "register": register_app(
                _register(instance, clock, randomness), instance.register_token, instance.settings.urls.branch
            ),
            "branch": branch_app(Branch(instance.settings.branch.name, client, instance.settings.limits)),
        }
        servers = {name: Server(configuration(app)) for name, app in apps.items()}

        def end() -> None:
            mailbox.store.close()
            phone.store.close()
            for server in servers.values():
                server.should_exit = True

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, end)
        print("ready " + json.dumps(_addresses(sockets)), flush=True)
        await asyncio.gather(*(server.serve([sockets[name]]) for name, server in servers.items()))


def _register(instance: Instance, clock: Clock, randomness: Randomness) -> Register:
    settings = instance.settings
    return Register(settings.path(settings.files.persons), clock, randomness, settings.limits)


def configuration(app: ASGIApp, *, loop: Literal["none", "asyncio"] = "none") -> uvicorn.Config:
    """How uvicorn serves a small server: in the loop that is there, or in one of its own."""
    return uvicorn.Config(
        app,
        loop=loop,
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_END_SECONDS,
    )


def _bind(instance: Instance) -> dict[str, socket.socket]:
    bound: dict[str, socket.socket] = {}
    for name, port in instance.settings.ports.model_dump(by_alias=True).items():
        if name == "witness":  # a process of its own
            continue
        try:
            bound[name] = bind_one(name, instance.settings.host, port)
        except ConfigurationError:
            for other in bound.values():
                other.close()
            raise
    return bound


def bind_one(name: str, host: str, port: int) -> socket.socket:
    """A socket that listens; `ConfigurationError` names the port that cannot be had."""
    stream = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        stream.bind((host, port))
        stream.listen(128)
    except OSError as error:
        stream.close()
        raise ConfigurationError(f"port {port} ({name}) cannot be used: {error.strerror}") from None
    stream.setblocking(False)
    return stream


def _addresses(sockets: dict[str, socket.socket]) -> dict[str, str]:
    ports = {name: stream.getsockname()[1] for name, stream in sockets.items()}
    return {name: f"localhost:{port}" if name == "smtp" else f"http://localhost:{port}" for name, port in ports.items()}
