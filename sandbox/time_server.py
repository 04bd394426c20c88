"""Time servers (SNTP, RFC 4330) that can be told to be wrong.

`python -m sandbox time` runs several in one process and prints `ready {"http": address, "servers": [host:port, …]}`.
HTTP: `POST /api/time/<n> {"offset": seconds, "drift_ppm": n, "leap": 1, "down": true, …}` says how server n
(from 0) behaves from now on, `GET` tells it; what an order leaves out is right again.
"""

import asyncio
import json
import signal
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Literal, cast

from pydantic import BaseModel, ConfigDict, Field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.clock import Clock
from sandbox.server import Server, configuration
from sandbox.settings import ConfigurationError
from sandbox.web import Problem, application, read_json

HOST = "127.0.0.1"
_EPOCH = datetime(1900, 1, 1, tzinfo=UTC)
_WARNING = {0: 0, 1: 1, -1: 2}
_UNSYNCHRONISED = 3


class Behaviour(BaseModel):
    """How a server answers. `offset` (seconds) and `drift_ppm` make it wrong, at once or more and more; `leap`
    announces a leap second; `dispersion` (seconds) is what it says of its own doubt; a server that is `down` says
    nothing; one that is not `listening` answers a question that nobody asked."""

    model_config = ConfigDict(extra="forbid", strict=True)

    offset: float = Field(default=0, ge=-1e9, le=1e9)
    drift_ppm: float = Field(default=0, ge=-1e6, le=1e6)
    leap: Literal[-1, 0, 1] = 0
    stratum: int = Field(default=2, ge=0, le=16)
    dispersion: float = Field(default=0.001, ge=0, le=1000)
    synchronised: bool = True
    listening: bool = True
    down: bool = False


class TimeServer:
    """One server and its present behaviour."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.order(Behaviour())

    def order(self, behaviour: Behaviour) -> None:
        """From now on; a drift begins at nothing."""
        self.behaviour = behaviour
        self._since = self._clock.monotonic()

    def answer(self, packet: bytes) -> bytes | None:
        """The answer to a client's packet; None where there is none."""
        how = self.behaviour
        if how.down or len(packet) < 48 or packet[0] & 7 != 3:
            return None
        warning = _WARNING[how.leap] if how.synchronised else _UNSYNCHRONISED
        asked = packet[40:48] if how.listening else bytes(8)
        now = self._timestamp()
        head = bytes((warning << 6 | packet[0] & 0x38 | 4, how.stratum, 6, 0xEC))
        distance = bytes(4) + round(how.dispersion * 65_536).to_bytes(4, "big")
        return head + distance + b"LOCL" + now + asked + now + now

    def _timestamp(self) -> bytes:
        how = self.behaviour
        wrong = how.offset + how.drift_ppm * 1e-6 * (self._clock.monotonic() - self._since)
        since_1900 = self._clock.now() - _EPOCH
        micros = (since_1900.days * 86_400 + since_1900.seconds) * 1_000_000 + since_1900.microseconds
        value = ((micros + round(wrong * 1e6)) << 32) // 1_000_000
        return (value % (1 << 64)).to_bytes(8, "big")


class _Port(asyncio.DatagramProtocol):
    """One server's UDP port."""

    def __init__(self, server: TimeServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Python 3.11's own datagram transport is not declared as one.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self._server.answer(data)
        if answer is not None:
            self._transport.sendto(answer, addr)


def time_app(servers: Sequence[TimeServer]) -> Starlette:
    """Where orders are taken."""

    async def behaviour(request: Request) -> Response:
        number = int(request.path_params["number"])
        if number >= len(servers):
            raise Problem(404, "no-such-server", f"There are {len(servers)} time servers.")
        server = servers[number]
        if request.method == "POST":
            server.order(await read_json(request, Behaviour, 1024))
        return JSONResponse(server.behaviour.model_dump())

    return application([Route("/api/time/{number:int}", behaviour, methods=["GET", "POST"])])


async def serve(ports: Sequence[int], http: int, clock: Clock) -> None:
    """Runs one server on each UDP port, and takes orders on `http`, until SIGINT or SIGTERM. 0 is any free port.

    Raises `ConfigurationError` where a port is taken.
    """
    loop = asyncio.get_running_loop()
    servers = [TimeServer(clock) for _ in ports]
    transports = []
    try:
        for server, port in zip(servers, ports, strict=True):
            transport, _ = await loop.create_datagram_endpoint(partial(_Port, server), local_addr=(HOST, port))
            transports.append(transport)
        orders = socket.create_server((HOST, http))
    except OSError as error:
        for opened in transports:
            opened.close()
        raise ConfigurationError(f"a port of the time servers cannot be used: {error.strerror}") from None
    web = Server(configuration(time_app(servers)))

    def end() -> None:
        web.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    addresses = [f"localhost:{transport.get_extra_info('sockname')[1]}" for transport in transports]
    told = {"http": f"http://localhost:{orders.getsockname()[1]}", "servers": addresses}
    print("ready " + json.dumps(told), flush=True)
    await web.serve([orders])
    for transport in transports:
        transport.close()
