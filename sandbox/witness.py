"""The log witness: an own process with an own key that co-signs a log only while it grows.

    python -m sandbox witness

`POST /add-checkpoint` (C2SP tlog-witness): `old N`, a consistency proof in base64 lines, an empty line,
the log's checkpoint. Answers 200 with a cosignature line; 409 with the size that it knows where N is
another; 422 where the checkpoint does not contain what was co-signed before; 403 without the log's
signature; 404 for a log that it does not watch; 400 for anything else. `GET /<sha256 of the
origin>/checkpoint` gives the last co-signed checkpoint, `GET /key` the witness's key, `/` a page.

Which logs it watches is told by files with their keys. The first key that it sees for an origin is
kept: a log that comes back with another key is another log. What it has co-signed is on disk before
the answer leaves, and one process alone works on it.
"""

import asyncio
import fcntl
import json
import os
import threading
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, TextIO

import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from sandbox import note
from sandbox.clock import Clock, iso
from sandbox.instance import write_file
from sandbox.note import Key, Note, Unreadable
from sandbox.outage import Outage
from sandbox.settings import ConfigurationError, Settings
from sandbox.web import Problem, application, read_body, render

SIZE_TYPE = "text/x.tlog.size"


class SizeMismatch(Exception):
    """The submission starts from another size than the last co-signed one, which is `size`."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


@dataclass
class Watched:
    """What the witness knows of one log. `refused` counts the checkpoints that would have rewritten it."""

    origin: str
    key: str
    size: int = 0
    root: str = ""
    note: str = ""
    at: str = ""
    refused: int = 0


class Witness:
    """One witness and all that it has co-signed, in `directory`; `logs` are files with keys of logs."""

    def __init__(self, name: str, key: Ed25519PrivateKey, directory: Path, logs: list[Path], clock: Clock) -> None:
        self.public = Key(name, note.COSIGNING_KEY, key.public_key().public_bytes_raw())
        self.outage = Outage(clock)
        self._key = key
        self._directory = directory
        self._logs = logs
        self._clock = clock
        self._one_at_a_time = threading.Lock()

    def add_checkpoint(self, body: bytes) -> str:
        """The cosignature line for a checkpoint that continues the last one.

        Raises `SizeMismatch`, and `Problem` with the protocol's status.
        """
        try:
            asked = note.read_submission(body)
        except Unreadable as error:
            raise Problem(400, "request-malformed", f"This is no submission: {error}.") from None
        with self._one_at_a_time:
            known = self._known(asked.note.origin)
            if not note.signed_by(asked.note, note.read_key(known.key)):
                raise Problem(403, "signature-wrong", "The log's own signature is not on it.")
            if asked.old > asked.note.size:
                raise Problem(400, "sizes-wrong", "The old size is larger than the checkpoint's.")
            if asked.old != known.size:
                raise SizeMismatch(known.size)
            old_root = bytes.fromhex(known.root)
            if not note.grew(asked.old, old_root, asked.note.size, asked.note.root, asked.proof):
                known.refused += 1
                self._write(known)
                raise Problem(422, "not-the-same-log", "It does not contain what was co-signed before.")
            return self._cosign(known, asked.note)

    def last(self, origin_hash: str) -> str:
        """The last co-signed checkpoint of the log whose origin has this SHA-256 (hex); `Problem` 404."""
        found = self._read(origin_hash)
        if found is None or not found.note:
            raise Problem(404, "log-unknown", "No checkpoint of this log was co-signed here.")
        return found.note

    def watched(self) -> list[Watched]:
        """Every log that was seen, by its origin."""
        found = [self._read(path.stem) for path in self._directory.glob("*.json")]
        return sorted((log for log in found if log is not None), key=lambda log: log.origin)

    def _cosign(self, known: Watched, checkpoint: Note) -> str:
        now = self._clock.now()
        line = note.cosign(checkpoint, self.public.name, self._key, int(now.timestamp()))
        known.size, known.root, known.at = checkpoint.size, checkpoint.root.hex(), iso(now)
        known.note = f"{checkpoint.text}\n{note.lines_of(checkpoint, note.read_key(known.key))}{line}"
        self._write(known)
        return line

    def _known(self, origin: str) -> Watched:
        found = self._read(_name(origin))
        if found is not None:
            return found
        for path in self._logs:
            try:
                key = note.read_key(path.read_text(encoding="utf-8"))
            except (OSError, Unreadable, UnicodeDecodeError):
                continue
            # tlog-checkpoint: a log's key bears the name of its origin.
            if key.name == origin and key.kind == note.LOG_KEY:
                return Watched(origin, key.encode())
        raise Problem(404, "log-unknown", "This witness does not watch that log.")

    def _read(self, name: str) -> Watched | None:
        path = self._directory / f"{name}.json"
        if not path.is_file():
            return None
        try:
            return Watched(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError):
            # Without its memory a witness is none: it must not begin anew by itself.
            raise Problem(500, "memory-damaged", f"{path.name} cannot be read; restore it from a copy.") from None

    def _write(self, known: Watched) -> None:
        content = json.dumps(known.__dict__, ensure_ascii=False, indent=1).encode() + b"\n"
        write_file(self._directory / f"{_name(known.origin)}.json", content, mode=0o600)
        descriptor = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def witness_app(witness: Witness, body_bytes: int) -> Starlette:
    """The witness over HTTP."""

    async def add_checkpoint(request: Request) -> Response:
        if witness.outage.turns_away():
            raise Problem(503, "witness-down", "The witness is down; try again later.")
        body = await read_body(request, body_bytes)
        try:
            return PlainTextResponse(await asyncio.to_thread(witness.add_checkpoint, body))
        except SizeMismatch as error:
            return PlainTextResponse(f"{error.size}\n", 409, media_type=SIZE_TYPE)

    async def last(request: Request) -> Response:
        return PlainTextResponse(witness.last(request.path_params["origin"]))

    async def key(_request: Request) -> Response:
        return PlainTextResponse(witness.public.encode() + "\n")

    async def logs(_request: Request) -> Response:
        return JSONResponse([_told(log) for log in witness.watched()])

    async def page(request: Request) -> Response:
        context = {"logs": witness.watched(), "key": witness.public.encode(), "down": witness.outage.active}
        return render(request, "witness.html", context)

    return application(
        [
            Route("/", page),
            Route("/add-checkpoint", add_checkpoint, methods=["POST"]),
            Route("/key", key),
            Route("/api/logs", logs),
            witness.outage.route(),
            Route("/{origin:str}/checkpoint", last),
        ]
    )


def make_key(settings: Settings) -> list[Path]:
    """The witness's Ed25519 key (0600) and its public word, where they are missing; returns new files."""
    made: list[Path] = []
    private, public = settings.path(settings.files.witness_key), _public(settings)
    if not private.exists():
        seed = Ed25519PrivateKey.generate().private_bytes_raw()
        write_file(private, seed.hex().encode() + b"\n", mode=0o600)
        made.append(private)
    own = _read_private(private).public_key().public_bytes_raw()
    word = Key(settings.witness.name, note.COSIGNING_KEY, own).encode().encode() + b"\n"
    if not public.exists() or public.read_bytes() != word:
        write_file(public, word, mode=0o644)
        made.append(public)
    return made


def load_witness(settings: Settings, clock: Clock) -> Witness:
    """The witness of this sandbox; `ConfigurationError` where its key is missing."""
    directory = settings.path(settings.files.witness_memory)
    directory.mkdir(parents=True, exist_ok=True)
    key = _read_private(settings.path(settings.files.witness_key))
    logs = [settings.path(name) for name in settings.witness.logs]
    return Witness(settings.witness.name, key, directory, logs, clock)


def serve_witness(settings: Settings, clock: Clock) -> None:
    """Runs the witness until SIGINT or SIGTERM; prints `ready {"witness": address}` when it listens.

    Raises `ConfigurationError` where the port is taken or another process has the witness's memory.
    """
    from sandbox.server import bind_one, configuration

    witness = load_witness(settings, clock)
    with _alone(settings.path(settings.files.witness_memory)):
        stream = bind_one("witness", settings.host, settings.ports.witness)
        print("ready " + json.dumps({"witness": f"http://localhost:{stream.getsockname()[1]}"}), flush=True)
        app = witness_app(witness, settings.limits.body_bytes)
        uvicorn.Server(configuration(app, loop="asyncio")).run(sockets=[stream])


def _alone(directory: Path) -> TextIO:
    lock = (directory / ".lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise ConfigurationError(f"another witness works on {directory}: end it first") from None
    return lock


def _public(settings: Settings) -> Path:
    return settings.path(settings.files.public) / "sandbox-witness.vkey"


def _read_private(path: Path) -> Ed25519PrivateKey:
    try:
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(path.read_text(encoding="utf-8").strip()))
    except FileNotFoundError:
        raise ConfigurationError(f"{path} is missing: run `python -m sandbox init --dir {path.parent}`") from None
    except ValueError:
        raise ConfigurationError(f"{path} holds no Ed25519 key: remove it and init") from None


def _told(log: Watched) -> dict[str, Any]:
    return {"origin": log.origin, "size": log.size, "root": log.root, "at": log.at, "refused": log.refused}


def _name(origin: str) -> str:
    return sha256(origin.encode()).hexdigest()
