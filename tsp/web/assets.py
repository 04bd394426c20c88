"""The static files, under addresses that change with their content, so that browsers may keep them for a year."""

import hashlib
import mimetypes
import re
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from tsp.core.errors import NotFound

STATIC_DIR = Path(__file__).parent / "static"
_TYPES = {".woff2": "font/woff2", ".svg": "image/svg+xml", ".js": "text/javascript; charset=utf-8"}
_SERVED = {".css", ".js", ".svg", ".woff2", ".png", ".ico"}
_CSS_URL = re.compile(r'url\("([^"/:]+)"\)')


class Assets:
    """All static files in memory: few, small, read once at start."""

    def __init__(self, directory: Path = STATIC_DIR) -> None:
        self._bodies: dict[str, tuple[bytes, str]] = {}
        self._urls: dict[str, str] = {}
        files = [f for f in sorted(directory.iterdir()) if f.suffix in _SERVED]
        # Style sheets last: the addresses of what they name must be known first.
        for file in sorted(files, key=lambda f: f.suffix == ".css"):
            body = file.read_bytes()
            if file.suffix == ".css":
                body = _CSS_URL.sub(lambda m: f'url("{self.url(m[1])}")', body.decode()).encode()
            self._add(file, body)

    def _add(self, file: Path, body: bytes) -> None:
        name = f"{file.stem}.{hashlib.sha256(body).hexdigest()[:12]}{file.suffix}"
        kind = _TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        self._bodies[name] = body, "text/css; charset=utf-8" if file.suffix == ".css" else kind
        self._urls[file.name] = f"/static/{name}"

    def url(self, name: str) -> str:
        """The address of a file by its plain name; KeyError for a name that does not exist."""
        return self._urls[name]

    async def serve(self, request: Request) -> Response:
        """GET /static/{name}"""
        found = self._bodies.get(request.path_params["name"])
        if found is None:
            raise NotFound("page-not-found", "There is no such page.")
        body, kind = found
        return Response(body, headers={"content-type": kind, "cache-control": "public, max-age=31536000, immutable"})
