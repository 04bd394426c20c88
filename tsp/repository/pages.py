"""The repository's pages: what is published here, in words. Cacheable, without cookies of their own."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tsp.ca.store import CaStore
from tsp.core.clock import Clock
from tsp.repository import words
from tsp.repository.authorities import authorities, published_lists
from tsp.repository.caching import cacheable
from tsp.repository.statement_pages import StatementPages
from tsp.repository.trust_pages import TrustListPages
from tsp.web import Pages


class RepositoryPages:
    """GET / for people. What machines fetch lies beside it."""

    def __init__(
        self, pages: Pages, directory: Path, clock: Clock, statements: StatementPages, trust_list: TrustListPages
    ) -> None:
        self._pages = pages
        self._trust_list = trust_list
        self._statements = statements
        self._directory = directory
        self._clock = clock

    def routes(self) -> list[Route]:
        return [Route("/", self._pages.view(cacheable(self._home)), methods=["GET"])]

    def _home(self, request: Request) -> Response:
        now = self._clock.now()
        return self._pages.render(
            request,
            "repository/home.html",
            authorities=authorities(CaStore(self._directory), now),
            statements=self._statements.newest(),
            trust_list=self._trust_list.published,
            lists=published_lists(self._directory),
            now=now,
            words=words,
        )
