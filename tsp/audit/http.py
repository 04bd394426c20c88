"""The public log over HTTP: checkpoint, tiles and entries (C2SP tlog-tiles), proofs, and a page for people.

Everything is public, without account, and says only what a published checkpoint covers.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tsp.audit import public, tiles
from tsp.audit.checkpoint import VerifierKey
from tsp.audit.cosignature import CosignerKey
from tsp.audit.overview import Overview, as_json, overview
from tsp.audit.public_tool import public_tool
from tsp.core.clock import Clock, SystemClock
from tsp.core.database import Database
from tsp.core.errors import Invalid, TspError, http_status
from tsp.web import Pages

_HEX = re.compile(r"[0-9a-f]{64}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,15}")
#: Tiles never change; the checkpoint is fresh or nothing.
_FOREVER = {"cache-control": "public, max-age=31536000, immutable"}
_FRESH = {"cache-control": "no-store"}
#: Anyone may check the log from a page of their own.
_OPEN = {"access-control-allow-origin": "*"}

Answer = Callable[[Request], Response]


@dataclass(frozen=True)
class Watch:
    """Who watches this log: the witnesses' keys, and how many of them must co-sign before anything is published."""

    witnesses: tuple[CosignerKey, ...] = ()
    needed: int = 0


def log_app(
    pages: Pages, database: Database, key: VerifierKey, *, watch: Watch | None = None, clock: Clock | None = None
) -> Starlette:
    """The application of role `log`. `key` is the checkpoint key, published as a verifier key."""
    log = _PublicLog(pages, database, key, watch or Watch(), clock or SystemClock())
    return pages.application(
        [
            Route("/", pages.view(log.page), methods=["GET"]),
            Route("/checkpoint", _machine(log.checkpoint), methods=["GET"]),
            Route("/checkpoint/{size:int}", _machine(log.checkpoint), methods=["GET"]),
            Route("/checkpoint/{size:int}.tst", _machine(log.time_stamp), methods=["GET"]),
            Route("/key", _machine(log.key), methods=["GET"]),
            Route("/witnesses", _machine(log.witnesses), methods=["GET"]),
            Route("/status", _machine(log.status), methods=["GET"]),
            Route("/verify-evidence.pyz", _machine(log.tool), methods=["GET"]),
            Route("/tile/entries/{rest:path}", _machine(log.entries), methods=["GET"]),
            Route("/tile/{level:int}/{rest:path}", _machine(log.tile), methods=["GET"]),
            Route("/proof/inclusion", _machine(log.inclusion), methods=["GET"]),
            Route("/proof/consistency", _machine(log.consistency), methods=["GET"]),
        ]
    )


def _machine(answer: Answer) -> Callable[[Request], object]:
    """An endpoint whose errors are JSON: `error` is the code, `error_description` the sentence."""

    async def endpoint(request: Request) -> Response:
        try:
            response = await run_in_threadpool(answer, request)
        except TspError as error:
            body = {"error": error.code, "error_description": error.sentence}
            response = JSONResponse(body, http_status(error), headers=_FRESH)
        response.headers.update(_OPEN)
        return response

    return endpoint


class _PublicLog:
    """The routes: each reads, asks `public`, and puts the answer into octets."""

    def __init__(self, pages: Pages, database: Database, key: VerifierKey, watch: Watch, clock: Clock) -> None:
        self._pages = pages
        self._database = database
        self._key = key
        self._watch = watch
        self._clock = clock

    def checkpoint(self, request: Request) -> Response:
        """The newest published checkpoint, or the one of the size in the path."""
        with self._database.read() as session:
            note = public.checkpoint(session, request.path_params.get("size"))
        return PlainTextResponse(note, headers=_FRESH)

    def time_stamp(self, request: Request) -> Response:
        """The time-stamp token over the text of the checkpoint of this size (RFC 3161)."""
        with self._database.read() as session:
            token = public.time_stamp(session, request.path_params["size"])
        return Response(token, media_type="application/vnd.etsi.timestamp-token", headers=_FOREVER)

    def witnesses(self, request: Request) -> Response:
        """The witnesses' verifier keys, one a line."""
        del request
        return PlainTextResponse("".join(f"{key.encode()}\n" for key in self._watch.witnesses), headers=_FRESH)

    def status(self, request: Request) -> Response:
        """What the page says, for machines."""
        del request
        return JSONResponse(as_json(self._overview()), headers=_FRESH)

    def tool(self, request: Request) -> Response:
        """The verifier of evidence packages as one file that Python runs."""
        del request
        return Response(public_tool(), media_type="application/zip", headers=_FRESH)

    def _overview(self) -> Overview:
        known = [(key.name, key.encode()) for key in self._watch.witnesses]
        with self._database.read() as session:
            return overview(session, self._clock.now(), known, self._watch.needed)

    def key(self, request: Request) -> Response:
        del request
        return PlainTextResponse(self._key.encode() + "\n", headers=_FRESH)

    def entries(self, request: Request) -> Response:
        wanted = tiles.parse_request(request.path_params["rest"])
        with self._database.read() as session:
            return _octets(public.entries(session, wanted))

    def tile(self, request: Request) -> Response:
        level: int = request.path_params["level"]
        wanted = tiles.parse_request(request.path_params["rest"])
        if level > 7:
            raise Invalid("tile-path", "There is no such part of the log.")
        with self._database.read() as session:
            return _octets(public.tile(session, level, wanted))

    def inclusion(self, request: Request) -> Response:
        leaf = _leaf(request.query_params.get("leaf", ""))
        with self._database.read() as session:
            found = public.inclusion(session, leaf)
        body = {
            "leaf": found.leaf.hex(),
            "index": found.index,
            "size": found.size,
            "proof": [node.hex() for node in found.proof],
            "checkpoint": found.note,
        }
        return JSONResponse(body, headers=_FRESH)

    def consistency(self, request: Request) -> Response:
        old, new = (_number(request.query_params.get(name, "")) for name in ("from", "to"))
        with self._database.read() as session:
            proof = public.consistency(session, old, new)
        return JSONResponse({"from": old, "to": new, "proof": [node.hex() for node in proof]}, headers=_FRESH)

    def page(self, request: Request) -> Response:
        asked = "".join(request.query_params.get("leaf", "").split()).lower()
        place, problem = None, ""
        seen = self._overview()
        if asked and _HEX.fullmatch(asked):
            with self._database.read() as session:
                place = public.look_up(session, bytes.fromhex(asked))
        elif asked:
            problem = "leaf-malformed"
        return self._pages.render(
            request,
            "audit/log.html",
            seen=seen,
            now=self._clock.now(),
            key=self._key.encode(),
            asked=asked[:64],
            place=place,
            problem=problem,
        )


def _octets(content: bytes) -> Response:
    return Response(content, media_type="application/octet-stream", headers=_FOREVER)


def _leaf(text: str) -> bytes:
    if not _HEX.fullmatch(text):
        raise Invalid("leaf-malformed", "A fingerprint of the log has 64 digits and letters from a to f.")
    return bytes.fromhex(text)


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise Invalid("log-sizes", "Name two sizes of the log, the smaller first.")
    return int(text)
