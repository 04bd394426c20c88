"""Statements over HTTP: pages in the reader's language, PDFs in both, every version that ever was."""

import hashlib
import re
from email.utils import format_datetime
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tsp.ca.http import is_known
from tsp.core.errors import NotFound
from tsp.repository.caching import cacheable
from tsp.repository.documents import NAMES
from tsp.repository.facts import LANGUAGES, Language
from tsp.repository.library import Library, Version
from tsp.repository.typeset import Press
from tsp.web import Pages

_PDF = re.compile(r"(?P<name>[a-z]+)(\.(?P<number>[1-9][0-9]{0,5}))?\.(?P<language>[a-z]{2})\.pdf")
_PAGE = re.compile(r"(?P<name>[a-z]+)(\.(?P<number>[1-9][0-9]{0,5}))?")
#: A version never changes; the newest may be another one tomorrow.
_VERSION = "public, max-age=31536000, immutable"
_NEWEST = "public, max-age=3600"


class StatementPages:
    """`/documents/cps` and the like for people, `/documents/cps.sl.pdf` and `/documents/cps.3.sl.pdf` as files.

    `places` are the addresses that certificates name as their disclosure statement (QcPDS), by language: the
    path of each is answered here with exactly that document.
    """

    def __init__(self, pages: Pages, library: Library, press: Press, places: dict[str, str]) -> None:
        self._pages = pages
        self._library = library
        named = {urlsplit(places[language]).path: language for language in LANGUAGES if language in places}
        self._places = {path: language for path, language in named.items() if path not in ("", "/")}
        self._pdf = lru_cache(maxsize=32)(press.pdf)

    def routes(self) -> list[Route]:
        named = [Route(path, self._pages.view(self._named), methods=["GET"]) for path in self._places]
        return [*named, Route("/documents/{file}", self._pages.view(self._document), methods=["GET"])]

    def newest(self) -> list[Version]:
        """The newest version of each statement that is published."""
        return [self._library.version(name) for name in NAMES if self._library.numbers(name)]

    def _named(self, request: Request) -> Response:
        return self._file(request, self._library.version("pds"), self._places[request.url.path], _NEWEST)

    def _document(self, request: Request) -> Response:
        file = request.path_params["file"]
        if asked := _PDF.fullmatch(file):
            language = next((known for known in LANGUAGES if known == asked["language"]), None)
            if language is None:
                raise NotFound("statement-unknown", "There is no such document.")
            version = self._library.version(asked["name"], _number(asked))
            return self._file(request, version, language, _VERSION if asked["number"] else _NEWEST)
        if asked := _PAGE.fullmatch(file):
            version = self._library.version(asked["name"], _number(asked))
            return cacheable(lambda request: self._page(request, version))(request)
        raise NotFound("statement-unknown", "There is no such document.")

    def _page(self, request: Request, version: Version) -> Response:
        language: Language = "sl" if self._pages.language(request) == "sl" else "en"
        return self._pages.render(
            request,
            "repository/document.html",
            version=version,
            made=version.languages[language],
            numbers=self._library.numbers(version.name),
        )

    def _file(self, request: Request, version: Version, language: Language, caching: str) -> Response:
        body = self._pdf(version, language)
        headers = {
            "etag": f'"{hashlib.sha256(body).hexdigest()}"',
            "last-modified": format_datetime(version.date, usegmt=True),
            "cache-control": caching,
            "content-language": language,
        }
        if is_known(request.headers, headers["etag"], version.date):
            return Response(status_code=304, headers=headers)
        name = f"{version.name}.{version.number}.{language}.pdf"
        headers["content-disposition"] = f'inline; filename="{name}"'
        return Response(body, media_type="application/pdf", headers=headers)


def _number(asked: re.Match[str]) -> int | None:
    return int(asked["number"]) if asked["number"] else None
