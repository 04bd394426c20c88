"""What is said on an engine's Unix socket, and the client's side of it.

A frame is four octets of length (big-endian) and a JSON object in UTF-8. Requests have `op` (sign,
status) and its fields; answers have `result`, or `error` with kind, code, sentence and facts of the
error family. Octet strings travel as base64. One connection carries any number of requests, one at
a time.
"""

import base64
import itertools
import json
import os
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tsp.core.errors import Conflict, Invalid, NotFound, Refused, TooMany, TspError, Unavailable

#: A request with a hundred documents has some 60 kB; an answer some 10 kB a document.
MAX_REQUEST = 1024 * 1024
MAX_ANSWER = 32 * 1024 * 1024
#: What fits into sockaddr_un beside its end.
_ADDRESS_OCTETS = 107
_LENGTH = struct.Struct(">I")
_KINDS: dict[str, type[TspError]] = {kind.kind: kind for kind in (Invalid, Refused, NotFound, Conflict, Unavailable)}


@dataclass(frozen=True)
class SignRequest:
    """An approval (SAD), the client's proof for it, and the digests (hex) in the approval's order."""

    approval: str
    proof: str
    digests: Sequence[str]


@dataclass(frozen=True)
class SignatureResult:
    """One signature: detached CMS (B-B) and certificate as DER, the evidence, and its leaf hash (hex) in the log."""

    digest: str
    cms: bytes
    certificate: bytes
    evidence_id: str
    evidence: Mapping[str, Any]
    leaf: str


@dataclass(frozen=True)
class EngineStatus:
    """`keys_alive` counts one-time keys in the token: zero unless something is being signed now.

    `clock_sound` is False while the engine does not believe its clock and signs nothing.
    """

    keys_alive: int
    suspended: bool
    worker: str
    token: str
    token_present: bool
    free_one_time: int
    clock_sound: bool = True


class _Gone(Exception):
    """An engine that cannot be spoken to, or left without an answer; another one may be asked."""


@contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """What names this socket to the kernel, which takes 107 octets and no more (unix(7)), however deep it lies."""
    if len(os.fsencode(path)) <= _ADDRESS_OCTETS:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


class EngineClient:
    """The engines as other processes see them. `timeout` (seconds) bounds each wait for one.

    `socket_path` is the first engine's socket (`engine.sock`); those of the others lie beside it
    (`engine.2.sock`). Requests go round; where an engine is gone or busy, the next one is asked.
    That is safe even where the first one had begun: an approval signs once whoever is asked, and the
    same approval again gives the stored result, or `Conflict` (approval-in-use) while somebody works
    on it. An engine that lives but is slow is waited for and then given up: another could not help.
    """

    def __init__(self, socket_path: Path, *, timeout: float = 30.0) -> None:
        self._path = socket_path
        self._timeout = timeout
        self._turn = itertools.count()

    def sign(self, request: SignRequest) -> list[SignatureResult]:
        """Has the approved documents signed; asking again with the same approval gives the same result.

        Raises the engine's errors, and `Unavailable` (engine-unavailable) where it does not answer in
        time: whether it signed is then unknown, and asking again tells.
        """
        fields = {"approval": request.approval, "proof": request.proof, "digests": list(request.digests)}
        return [parse_result(item) for item in self._any("sign", fields)["signatures"]]

    def status(self) -> EngineStatus:
        """The state of all engines together: their living keys counted, suspended where one of them is.

        Raises `Unavailable` (engine-unavailable where none answers, hsm-unavailable).
        """
        found = self.statuses()
        return replace(
            found[0],
            keys_alive=sum(status.keys_alive for status in found),
            suspended=any(status.suspended for status in found),
        )

    def statuses(self) -> list[EngineStatus]:
        """The state of each engine that runs, at least one; raises as `status` does."""
        found: list[EngineStatus] = []
        gone: Exception | None = None
        for path in self._sockets():
            try:
                found.append(EngineStatus(**self._call(path, "status", {})))
            except _Gone as error:
                gone = error
        if not found:
            raise _no_answer(str(gone)) from gone
        return found

    def _sockets(self) -> list[Path]:
        """Every engine that can be asked now, the first one's path also where nobody listens there."""
        begin, end = f"{self._path.stem}.", self._path.suffix
        try:
            names = os.listdir(self._path.parent)  # noqa: PTH208  (asked before every request; a Path for each is slow)
        except OSError:
            names = []
        others = (n for n in names if n.startswith(begin) and n.endswith(end) and len(n) > len(begin) + len(end))
        return [self._path, *(self._path.with_name(name) for name in sorted(others))]

    def _any(self, op: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The answer of the engine whose turn it is, or of the next that is there and not busy."""
        paths = self._sockets()
        first = next(self._turn) % len(paths)
        busy: TooMany | None = None
        gone: Exception | None = None
        for path in paths[first:] + paths[:first]:
            try:
                return self._call(path, op, fields)
            except _Gone as error:
                gone = error
            except TooMany as error:
                busy = error
        if busy is not None:
            raise busy
        raise _no_answer(str(gone)) from gone

    def _call(self, path: Path, op: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
                stream.settimeout(self._timeout)
                with socket_address(path) as address:
                    stream.connect(address)
                send_frame(stream, {"op": op, **fields})
                answer = receive_frame(stream, MAX_ANSWER)
        except TimeoutError as error:
            raise _no_answer(type(error).__name__) from error
        except (OSError, Invalid) as error:
            raise _Gone(type(error).__name__) from error
        if answer is None:
            raise _Gone("closed")
        if "error" in answer:
            raise _error(answer["error"])
        result: dict[str, Any] = answer["result"]
        return result


def send_frame(stream: socket.socket, content: Mapping[str, Any]) -> None:
    """Sends one frame."""
    data = json.dumps(content, ensure_ascii=False).encode()
    stream.sendall(_LENGTH.pack(len(data)) + data)


def receive_frame(stream: socket.socket, limit: int) -> dict[str, Any] | None:
    """The next frame; None where the peer closed between frames.

    Raises `Invalid`: frame-too-large, frame-cut-off (the stream is lost then), frame-malformed (the
    next frame can follow); and `OSError` (also `TimeoutError`) of the socket.
    """
    head = _exactly(stream, _LENGTH.size, may_end=True)
    if head is None:
        return None
    (size,) = _LENGTH.unpack(head)
    if size > limit:
        raise Invalid("frame-too-large", "The request is too large.", size=size)
    data = _exactly(stream, size)
    try:
        content = json.loads(data or b"")
    except (ValueError, RecursionError):
        raise _malformed() from None
    if not isinstance(content, dict):
        raise _malformed()
    return content


def encode_error(error: TspError) -> dict[str, Any]:
    """An error for an answer."""
    return {"error": {"kind": error.kind, "code": error.code, "sentence": error.sentence, "facts": error.facts}}


def encode_results(results: Sequence[SignatureResult]) -> dict[str, Any]:
    """Signatures for an answer."""
    # Field by field: `asdict` would copy every evidence to its depth.
    return {"signatures": [{**vars(r), "cms": _b64(r.cms), "certificate": _b64(r.certificate)} for r in results]}


def parse_sign_request(fields: Mapping[str, Any]) -> SignRequest:
    """The fields of a sign request; `Invalid` (request-malformed) for other types."""
    approval, proof, digests = (fields.get(name) for name in ("approval", "proof", "digests"))
    if not isinstance(digests, list) or not all(_is_text(text) for text in (approval, proof, *digests)):
        raise Invalid("request-malformed", "The request could not be read.")
    return SignRequest(str(approval), str(proof), digests)


def _is_text(value: object) -> bool:
    """Tokens and digests are ASCII (RFC 7515, 7.1)."""
    return isinstance(value, str) and value.isascii()


def parse_result(item: Mapping[str, Any]) -> SignatureResult:
    """One signature of an answer: the inverse of `encode_results` for one."""
    octets = {name: base64.b64decode(item[name]) for name in ("cms", "certificate")}
    return SignatureResult(**{**item, **octets})


def _error(item: Mapping[str, Any]) -> TspError:
    facts = dict(item["facts"])
    if item["kind"] == TooMany.kind:
        return TooMany(item["code"], item["sentence"], **facts)
    return _KINDS.get(item["kind"], Unavailable)(item["code"], item["sentence"], **facts)


def _exactly(stream: socket.socket, size: int, *, may_end: bool = False) -> bytes | None:
    buffer = bytearray()
    while len(buffer) < size:
        piece = stream.recv(min(size - len(buffer), 1 << 18))
        if not piece:
            if may_end and not buffer:
                return None
            raise Invalid("frame-cut-off", "The request ended early.")
        buffer += piece
    return bytes(buffer)


def _b64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def _malformed() -> Invalid:
    return Invalid("frame-malformed", "The request could not be read.")


def _no_answer(cause: str) -> Unavailable:
    return Unavailable(
        "engine-unavailable",
        "Signing is briefly unavailable. Nothing was lost; please try again in a moment.",
        cause=cause,
    )
