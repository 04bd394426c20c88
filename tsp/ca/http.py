"""The repository: issuer certificates and CRLs for everybody, over plain HTTP (RFC 2585).

GET and HEAD of the authorities (`/root`, `/qualified`, `/nonqualified`, `/infrastructure`) with `.cer` (DER),
`.pem` and `.p7c` (with its chain), also of every later generation (`/qualified-2`), and of every list that is
published (`/root.crl`, `/qualified.crl`, `/qualified-part-3.crl`, `/qualified-delta.crl`). No account, no cookie, no
state; a renewed file is served at once. What is none of these is for `otherwise`: the repository's pages for
people (`tsp.repository`).
"""

import hashlib
import os
import re
import weakref
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import Any

from tsp.ca.certificate import IssuerFacts
from tsp.ca.crl_reading import open_crl
from tsp.ca.plan import ISSUERS
from tsp.ca.store import RENEWALS_FILE, TRANSCRIPT_FILE, CaStore, certs_only, from_pem, to_pem
from tsp.core.clock import Clock
from tsp.core.errors import Invalid, TspError, Unavailable, http_status

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_CERTIFICATE_AGE = 86400
#: A new CRL counts at once (EN 319 411-1 CSS-6.3.9-13), so caches keep one for an hour at most.
_CRL_AGE = 3600
#: What a machine asks for lies directly below the root, with one of these endings.
_FILE = re.compile(r"/[A-Za-z0-9._-]+\.(cer|pem|p7c|crl)")
_WATCHED = (RENEWALS_FILE, TRANSCRIPT_FILE)
_GENERATION = re.compile(rf"({'|'.join(('root', *ISSUERS))})(?:-([2-9]|[1-9][0-9]+))?")
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


def generations(directory: Path) -> list[tuple[str, str, int]]:
    """The authorities whose certificates lie in the ceremony's directory: name, role and number of the generation.

    Ordered by role (the root first), and of each role the newest first. The first generation has the role's name.
    """
    names = (_GENERATION.fullmatch(file.stem) for file in directory.glob("*.pem"))
    found = [(match[0], match[1], int(match[2] or 1)) for match in names if match]
    order = ("root", *ISSUERS)
    return sorted(found, key=lambda one: (order.index(one[1]), -one[2]))


def lists(directory: Path) -> list[Path]:
    """The revocation lists that lie in the ceremony's directory, by name."""
    return sorted(directory.glob("[a-z]*.crl"))


class Repository:
    """What is published, read again whenever a file of the ceremony's directory changes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stamp: tuple[tuple[str, int], ...] = ()
        self._published: dict[str, Published] = {}

    def find(self, path: str) -> Published | None:
        """The file under this path. Raises the errors of `CaStore` where there is nothing to publish from."""
        certificates = (f"{name}.pem" for name, _, _ in generations(self._directory))
        watched = (*_WATCHED, *certificates, *(file.name for file in lists(self._directory)))
        stamp = tuple((name, self._changed(name)) for name in watched)
        if stamp != self._stamp:
            self._published = _publish(CaStore(self._directory))
            self._stamp = stamp
        return self._published.get(path)

    def _changed(self, name: str) -> int:
        try:
            return (self._directory / name).stat().st_mtime_ns
        except FileNotFoundError:
            return 0


def _publish(store: CaStore) -> dict[str, Published]:
    published: dict[str, Published] = {}
    for name, role, _ in generations(store.directory):
        der = certificate_of(store.directory, name)
        since = IssuerFacts.of(name, der).not_before
        for suffix, media_type, body in (
            ("cer", "application/pkix-cert", der),
            ("pem", "application/pem-certificate-chain", to_pem(der)),
            (
                "p7c",
                "application/pkcs7-mime; smime-type=certs-only",
                certs_only([der] if role == "root" else [der, store.root]),
            ),
        ):
            published[f"/{name}.{suffix}"] = Published(body, media_type, since, _etag(body))
    for file in lists(store.directory):
        try:
            with open_crl(file) as crl:
                listed, since, until = FileBody(file), crl.this_update, crl.next_update
        except (OSError, Invalid) as error:
            raise _damaged(file.name) from error
        published[f"/{file.name}"] = Published(listed, "application/pkix-crl", since, listed.etag(), until)
    return published


def certificate_of(directory: Path, name: str) -> bytes:
    """The certificate (DER) of one generation; `Unavailable` (ca-store-damaged) where its file holds none."""
    try:
        return from_pem((directory / f"{name}.pem").read_bytes())
    except (OSError, ValueError) as error:
        raise _damaged(f"{name}.pem") from error


def _damaged(file: str) -> Unavailable:
    return Unavailable(
        "ca-store-damaged", f"{file} is missing or damaged. Restore it from the ceremony's copy.", file=file
    )


def _etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()}"'


def is_known(headers: Mapping[str, str], etag: str, since: datetime | None = None) -> bool:
    """Whether the caller has this already (RFC 9110, 13.1): by its tag, or else by the time that it last changed."""
    wanted = headers.get("if-none-match")
    if wanted is not None:
        return etag in wanted or wanted.strip() == "*"
    return since is not None and since.replace(microsecond=0) <= _moment(headers.get("if-modified-since", ""))


def _moment(text: str) -> datetime:
    """An HTTP date; the beginning of time for what is none (RFC 9110, 13.1.3: such a field is passed over)."""
    try:
        moment = parsedate_to_datetime(text[:64])
    except (ValueError, OverflowError):
        return datetime.min.replace(tzinfo=UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def repository_app(directory: Path, clock: Clock, otherwise: App | None = None) -> App:
    """The repository as an ASGI application, publishing from the ceremony's directory (`<var>/ca`).

    A path that names no file of it is `otherwise`'s to answer; without one it is not found.
    """
    repository = Repository(directory)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            if otherwise is not None and not _FILE.fullmatch(scope["path"]):
                await otherwise(scope, receive, send)
                return
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
    sent = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    if is_known(sent, found.etag, found.since):
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
