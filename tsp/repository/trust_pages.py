"""The trust list over HTTP: the signed file for validators, and a page that tells the scheme's rules."""

import hashlib
from email.utils import format_datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tsp.ca.http import is_known
from tsp.core.errors import NotFound
from tsp.repository import words
from tsp.repository.authorities import grouped
from tsp.repository.caching import cacheable
from tsp.repository.trust_publication import TrustListShelf
from tsp.repository.trustlist import MEDIA_TYPE, read
from tsp.web import Pages

_NEWEST = "public, max-age=3600"
_ISSUE = "public, max-age=31536000, immutable"


class TrustListPages:
    """`/trust-list` for people, `/trust-list.xml` for validators, every issue and the signer's certificate."""

    def __init__(self, pages: Pages, shelf: TrustListShelf) -> None:
        self._pages = pages
        self._shelf = shelf

    def routes(self) -> list[Route]:
        view = self._pages.view
        return [
            Route("/trust-list", view(cacheable(self._page)), methods=["GET"]),
            Route("/trust-list.xml", view(self._newest), methods=["GET"]),
            Route("/trust-list/signer.cer", view(self._signer), methods=["GET"]),
            Route("/trust-list/{number:int}.xml", view(self._issue), methods=["GET"]),
        ]

    @property
    def published(self) -> bool:
        """Whether there is a list."""
        return bool(self._shelf.numbers())

    def _page(self, request: Request) -> Response:
        listed = self._shelf.newest()
        if listed is None:
            raise NotFound("trust-list-missing", "No trust list is published here.")
        return self._pages.render(
            request,
            "repository/trust_list.html",
            listed=listed,
            numbers=self._shelf.numbers(),
            signer=grouped(hashlib.sha256(self._shelf.signer()).hexdigest()),
            words=words,
        )

    def _newest(self, request: Request) -> Response:
        return self._file(request, self._shelf.octets(), _NEWEST)

    def _issue(self, request: Request) -> Response:
        return self._file(request, self._shelf.octets(request.path_params["number"]), _ISSUE)

    def _file(self, request: Request, data: bytes, caching: str) -> Response:
        issued = read(data).issued
        headers = {
            "etag": f'"{hashlib.sha256(data).hexdigest()}"',
            "last-modified": format_datetime(issued, usegmt=True),
            "cache-control": caching,
        }
        if is_known(request.headers, headers["etag"], issued):
            return Response(status_code=304, headers=headers)
        return Response(data, media_type=MEDIA_TYPE, headers=headers)

    def _signer(self, request: Request) -> Response:
        der = self._shelf.signer()
        headers = {"etag": f'"{hashlib.sha256(der).hexdigest()}"', "cache-control": _NEWEST}
        if is_known(request.headers, headers["etag"]):
            return Response(status_code=304, headers=headers)
        return Response(der, media_type="application/pkix-cert", headers=headers)
