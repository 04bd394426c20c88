"""The repository: issuer certificates and CRLs for everybody, over plain HTTP (RFC 2585).

GET and HEAD of the authorities (`/root`, `/qualified`, `/nonqualified`, `/infrastructure`) with `.cer` (DER),
`.pem` and `.p7c` (with its chain), and of every list that is published (`/root.crl`, `/qualified.crl`,
`/qualified-part-3.crl`, `/qualified-delta.crl`); the same of every later generation (`/qualified-2`). No account, no
cookie, no state; a renewed file is served at once.
"""

import hashlib
import os
import weakref
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from tsp.ca.certificate import IssuerFacts
from tsp.ca.crl_reading import open_crl
from tsp.ca.store import RENEWALS_FILE, TRANSCRIPT_FILE, CaStore, certs_only, to_pem
from tsp.core.clock import Clock
from tsp.core.errors import TspError, http_status

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_CERTIFICATE_AGE = 86400
#: A new CRL counts at once (EN 319 411-1 CSS-6.3.9-13), so caches keep one for an hour at most.
_CRL_AGE = 3600
_CHUNK = 1 << 18


class FileBody:
    """The octets of a file as it was when it was opened, whatever is put in its place: read when they are sent."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._handle)
        self._size = os.fstat(self._handle).st_size

    def __len__(self) -> int:
        return self._size

    def chunks(self) -> Iterator[bytes]:
        """The whole of it, a quarter of a megabyte at a time."""
        for begin in range(0, self._size, _CHUNK):
            yield os.pread(self._handle, _CHUNK, begin)

    def etag(self) -> str:
        """A strong validator over all of it."""
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        return f'"{digest.hexdigest()}"'


@dataclass(frozen=True, slots=True)
class Published:
    """One file of the repository. `expires` is set for what has a next update."""

    body: bytes | FileBody
    media_type: str
    since: datetime
    etag: str
    expires: datetime | None = None

    def headers(self, now: datetime) -> list[tuple[bytes, bytes]]:
        """What caches need: a CRL is never kept to or beyond its next update."""
        age = _CERTIFICATE_AGE
        fields = [("last-modified", format_datetime(self.since, usegmt=True)), ("etag", self.etag)]
        if self.expires is not None:
            age = min(_CRL_AGE, int((self.expires - now) / timedelta(seconds=1)) - 1)
            fields.append(("expires", format_datetime(self.expires, usegmt=True)))
        fields.append(("cache-control", f"public, max-age={age}, no-transform" if age > 0 else "no-cache"))
        fields += [("content-type", self.media_type), ("x-content-type-options", "nosniff")]
        return [(name.encode(), value.encode()) for name, value in fields]


class Repository:
    """What is published, read again whenever a file of the ceremony's directory changes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stamp: tuple[tuple[str, int], ...] = ()
        self._watched: tuple[str, ...] = (".", TRANSCRIPT_FILE)
        self._published: dict[str, Published] = {}

    def find(self, path: str) -> Published | None:
        """The file under this path. Raises the errors of `CaStore` where there is nothing to publish from."""
        stamp = tuple((name, self._changed(name)) for name in (*self._watched, *self._lists()))
        if stamp != self._stamp:
            store = CaStore(self._directory)
            self._published = _publish(store)
            self._stamp, self._watched = stamp, _watched(store)
        return self._published.get(path)

    def _lists(self) -> list[str]:
        return sorted(path.name for path in self._directory.glob("[a-z]*.crl"))

    def _changed(self, name: str) -> int:
        try:
            return (self._directory / name).stat().st_mtime_ns
        except FileNotFoundError:
            return 0


def _watched(store: CaStore) -> tuple[str, ...]:
    """What shows that something changed: the directory itself where a file is new or replaced as a whole."""
    return (".", RENEWALS_FILE, TRANSCRIPT_FILE, *(f"{name}.pem" for name in ("root", *store.issuers)))


def _publish(store: CaStore) -> dict[str, Published]:
    published: dict[str, Published] = {}
    for name in ("root", *store.issuers):
        der = store.certificate(name)
        since = IssuerFacts.of(name, der).not_before
        for suffix, media_type, body in (
            ("cer", "application/pkix-cert", der),
            ("pem", "application/pem-certificate-chain", to_pem(der)),
            ("p7c", "application/pkcs7-mime; smime-type=certs-only", certs_only(store.chain(name))),
        ):
            published[f"/{name}.{suffix}"] = Published(body, media_type, since, _etag(body))
    for path in sorted(store.directory.glob("[a-z]*.crl")):
        with open_crl(path) as crl:
            listed, since, until = FileBody(path), crl.this_update, crl.next_update
        published[f"/{path.name}"] = Published(listed, "application/pkix-crl", since, listed.etag(), until)
    return published


def _etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()}"'


def repository_app(directory: Path, clock: Clock) -> App:
    """The repository as an ASGI application, publishing from the ceremony's directory (`<var>/ca`)."""
    repository = Repository(directory)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            status, headers, body = _answer(repository, scope, clock.now())
            if status != 304:  # RFC 9110, 8.6: it would be the length of the file that is not sent
                headers.append((b"content-length", str(len(body)).encode()))
            await send({"type": "http.response.start", "status": status, "headers": headers})
            if isinstance(body, FileBody) and scope["method"] != "HEAD":
                for chunk in body.chunks():
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                body = b""
            await send(
                {
                    "type": "http.response.body",
                    "body": b"" if isinstance(body, FileBody) or scope["method"] == "HEAD" else body,
                }
            )
        else:
            await send({"type": "websocket.close", "code": 1000})

    return app


def _answer(
    repository: Repository, scope: Scope, now: datetime
) -> tuple[int, list[tuple[bytes, bytes]], bytes | FileBody]:
    if scope["method"] not in ("GET", "HEAD"):
        return _plain(405, "Only GET and HEAD are answered here.", (b"allow", b"GET, HEAD"))
    try:
        found = repository.find(scope["path"])
    except TspError as error:
        return _plain(http_status(error), error.sentence)
    if found is None:
        return _plain(404, "There is no such file in this repository.")
    headers = found.headers(now)
    wanted = dict(scope["headers"]).get(b"if-none-match", b"").decode("latin-1")
    if found.etag in wanted or wanted.strip() == "*":
        return 304, headers, b""
    return 200, headers, found.body


def _plain(status: int, sentence: str, *more: tuple[bytes, bytes]) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    fixed = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
    return status, [*fixed, (b"x-content-type-options", b"nosniff"), *more], sentence.encode() + b"\n"


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
