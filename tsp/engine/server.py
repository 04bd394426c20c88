"""The engine's end of the Unix socket: a bounded number of connections, and nothing that one of them can break.

Only processes of the allowed users get an answer (SO_PEERCRED), whatever the file's mode says. A
connection that is silent too long is closed; one too many is told to come back.
"""

import contextlib
import logging
import os
import signal
import socket
import struct
import threading
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tsp.core.errors import Conflict, Invalid, Refused, TooMany, TspError, Unavailable
from tsp.core.randomness import Randomness, new_code
from tsp.engine.engine import Engine
from tsp.engine.protocol import (
    MAX_REQUEST,
    encode_error,
    encode_results,
    parse_sign_request,
    receive_frame,
    send_frame,
    socket_address,
)

log = logging.getLogger("tsp.engine")

_PEER = struct.Struct("3i")
#: Connections beyond the limit that are told to come back; still more are just closed.
_TURNED_AWAY = 64
#: Seconds that a turned-away or confused peer gets to take its answer.
_PARTING = 1.0
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True)
class ServerLimits:
    """`connections` are served at the same time; `idle` and `sweep` are seconds, `request` octets."""

    connections: int = 16
    idle: float = 60.0
    request: int = MAX_REQUEST
    sweep: float = 10.0


class EngineServer:
    """Serves one engine on one socket. `users` may speak to it; by default the engine's own user alone."""

    def __init__(
        self,
        engine: Engine,
        path: Path,
        randomness: Randomness,
        *,
        limits: ServerLimits | None = None,
        users: frozenset[int] | None = None,
    ) -> None:
        self._engine = engine
        self._path = path
        self._randomness = randomness
        self._limits = limits or ServerLimits()
        self._users = frozenset({os.getuid()}) if users is None else users
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._operations: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            "sign": lambda fields: encode_results(engine.sign(parse_sign_request(fields))),
            "status": lambda _fields: asdict(engine.status()),
        }

    def serve(self, stop: threading.Event, *, ready: Callable[[], None] = lambda: None) -> None:
        """Answers until `stop`; then finishes what was begun, and removes the socket.

        `ready` is called when connections are accepted. Raises `Conflict` (engine-running) where
        another engine answers on the socket.
        """
        listener = _listen(self._path)
        sweeper = threading.Thread(target=self._sweep, args=(stop,), name="engine-sweep")
        closer = threading.Thread(target=_close_when, args=(stop, listener), name="engine-stop")
        try:
            with (
                ThreadPoolExecutor(self._limits.connections, thread_name_prefix="engine") as pool,
                ThreadPoolExecutor(1, thread_name_prefix="engine-busy") as door,
            ):
                try:
                    sweeper.start()
                    closer.start()
                    ready()
                    self._accept(listener, pool, door, stop)
                finally:
                    # At once, not when all is finished: whoever is still waiting to be accepted asks another engine.
                    self._path.unlink(missing_ok=True)
                    listener.close()
                self._hang_up()
        finally:
            stop.set()
            for thread in (sweeper, closer):
                if thread.ident is not None:
                    thread.join()

    def _accept(
        self, listener: socket.socket, pool: ThreadPoolExecutor, door: ThreadPoolExecutor, stop: threading.Event
    ) -> None:
        while not stop.is_set():
            try:
                stream, _ = listener.accept()
            except OSError:
                # The listener was shut down because of `stop`; anything else would repeat without end.
                if not stop.is_set():
                    raise
                return
            with self._lock:
                before = len(self._open)
                self._open.add(stream)
            if before < self._limits.connections:
                pool.submit(self._connection, stream, self._exchange, self._limits.idle)
            elif before < self._limits.connections + _TURNED_AWAY:
                door.submit(self._connection, stream, self._turn_away, _PARTING)
            else:
                self._forget(stream)

    def _turn_away(self, stream: socket.socket) -> bool:
        """Hears the request out, so that the peer hears the answer."""
        with contextlib.suppress(Invalid):
            receive_frame(stream, self._limits.request)
        busy = TooMany("engine-busy", "Many signatures are being made. Please try again in a moment.", retry_after=1)
        send_frame(stream, encode_error(busy))
        return False

    def _hang_up(self) -> None:
        """No more requests are read; answers under way still leave."""
        with self._lock:
            for stream in self._open:
                with contextlib.suppress(OSError):
                    stream.shutdown(socket.SHUT_RD)

    def _connection(self, stream: socket.socket, serve: Callable[[socket.socket], bool], patience: float) -> None:
        """One connection's life: `serve` until it says that nothing more can follow."""
        try:
            with contextlib.suppress(OSError):
                stream.settimeout(patience)
                while serve(stream):
                    pass
                self._part(stream)
        finally:
            self._forget(stream)

    def _part(self, stream: socket.socket) -> None:
        """Takes what the peer still sends: a socket closed before its data were read loses the answer."""
        stream.settimeout(_PARTING)
        stream.shutdown(socket.SHUT_WR)
        left = self._limits.request
        while left > 0 and (piece := stream.recv(1 << 16)):
            left -= len(piece)

    def _forget(self, stream: socket.socket) -> None:
        with self._lock:
            self._open.discard(stream)
        stream.close()

    def _exchange(self, stream: socket.socket) -> bool:
        """One request and its answer; whether another can follow on this connection.

        Raises `OSError` where the connection itself is gone.
        """
        try:
            self._require_known_peer(stream)
            request = receive_frame(stream, self._limits.request)
            if request is None:
                return False
        except TspError as error:
            send_frame(stream, encode_error(error))
            return error.code == "frame-malformed"
        send_frame(stream, self._answer(request))
        return True

    def _answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a request, whatever happens."""
        try:
            return {"result": self._operation(request)(request)}
        except TspError as error:
            return encode_error(error)
        except Exception as error:  # noqa: BLE001  (the edge: the caller gets a reference, the log the place)
            return encode_error(self._unexpected(error))

    def _operation(self, request: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
        operation = self._operations.get(str(request.get("op")))
        if operation is None:
            raise Invalid("request-malformed", "The request could not be read.")
        return operation

    def _require_known_peer(self, stream: socket.socket) -> None:
        credentials = stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        _, user, _ = _PEER.unpack(credentials)
        if user not in self._users:
            raise Refused("peer-refused", "This process may not speak to the signing engine.", user=user)

    def _unexpected(self, error: Exception) -> Unavailable:
        """Type and place for the log, never the message, which may quote personal data."""
        reference = new_code(self._randomness, 8)
        places = [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)][-12:]
        log.error("unexpected error %s: %s at %s", reference, type(error).__name__, " < ".join(reversed(places)))
        return Unavailable(
            "unexpected",
            "Something went wrong on our side. Nothing was done that you did not see.",
            reference=reference,
        )

    def _sweep(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                released = self._engine.sweep()
                if released:
                    log.warning("%d reservations of dead workers released", released)
                self._engine.note_keys_alive()
            except TspError as error:
                log.error("sweep: %s %s", error.code, error.facts)
            stop.wait(self._limits.sweep)


def serve_engine(
    engine: Engine,
    path: Path,
    randomness: Randomness,
    *,
    limits: ServerLimits | None = None,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Serves until SIGTERM or SIGINT; the main thread's way to run the role `engine`."""
    stop = threading.Event()

    def end(_number: int, _frame: object) -> None:
        # Once only: a handler that interrupts `set` must not call it again.
        if not stop.is_set():
            stop.set()

    for number in STOP_SIGNALS:
        signal.signal(number, end)
    EngineServer(engine, path, randomness, limits=limits).serve(stop, ready=ready)


def _listen(path: Path) -> socket.socket:
    """A listening socket for the owner alone, in place of one that nobody answers on any more."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        mask = os.umask(0o177)
        try:
            with socket_address(path) as address:
                listener.bind(address)
        finally:
            os.umask(mask)
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def _remove_stale(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            with socket_address(path) as address:
                probe.connect(address)
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
    raise Conflict("engine-running", "Another signing engine is running here. Stop it first.")


def _close_when(stop: threading.Event, listener: socket.socket) -> None:
    """Wakes the accepting thread: a shut-down listener accepts no more."""
    stop.wait()
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
