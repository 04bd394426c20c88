"""Test certificates over HTTP: a page that lists them, and each as DER and PEM."""

from collections.abc import Mapping
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tsp.ca.http import is_known
from tsp.ca.store import to_pem
from tsp.core.clock import Clock
from tsp.core.errors import NotFound
from tsp.repository import words
from tsp.repository.authorities import common_names
from tsp.repository.caching import cacheable
from tsp.repository.samples import SampleShelf
from tsp.web import Pages

#: The end of a file's name, and how it is sent.
_KINDS = {"cer": "application/pkix-cert", "pem": "application/pem-certificate-chain"}


class SamplePages:
    """`/test-certificates` and the files below it. `titles` are what the profiles are called.

    `directory` is the ceremony's, where the authorities' names are read.
    """

    def __init__(
        self, pages: Pages, shelf: SampleShelf, titles: Mapping[str, str], directory: Path, clock: Clock
    ) -> None:
        self._pages = pages
        self._shelf = shelf
        self._titles = dict(titles)
        self._directory = directory
        self._clock = clock

    def routes(self) -> list[Route]:
        view = self._pages.view
        return [
            Route("/test-certificates", view(cacheable(self._page)), methods=["GET"]),
            Route("/test-certificates/{file}", view(self._file), methods=["GET"]),
        ]

    def _page(self, request: Request) -> Response:
        return self._pages.render(
            request,
            "repository/test_certificates.html",
            samples=self._shelf.samples(),
            titles=self._titles,
            issuers=common_names(self._directory),
            now=self._clock.now(),
            words=words,
        )

    def _file(self, request: Request) -> Response:
        name, _, kind = request.path_params["file"].rpartition(".")
        if kind not in _KINDS:
            raise NotFound("sample-unknown", "There is no such test certificate.")
        sample, der = self._shelf.certificate(name)
        headers = {
            "etag": self._shelf.etag(der if kind == "cer" else to_pem(der)),
            "cache-control": "public, max-age=3600",
        }
        if is_known(request.headers, headers["etag"]):
            return Response(status_code=304, headers=headers)
        headers["content-disposition"] = f'attachment; filename="{sample.name}.{kind}"'
        return Response(der if kind == "cer" else to_pem(der), media_type=_KINDS[kind], headers=headers)
