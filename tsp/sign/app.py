"""The signing site as one ASGI application, from ready objects."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.routing import Route

from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.core.errors import TspError
from tsp.core.isolated import Isolated
from tsp.core.outbound import Outbound
from tsp.core.randomness import Randomness
from tsp.core.sealing import Aead, Sealer
from tsp.sign.client_key import ClientKey
from tsp.sign.documents import Documents
from tsp.sign.finishing import Finishing
from tsp.sign.login_pages import LoginPages, Site
from tsp.sign.oidc_client import OidcClient
from tsp.sign.pages import SignPages
from tsp.sign.ports import DigestSigner, PackagePort, SigningPort, ValidationPort
from tsp.sign.public_log import PublicLog
from tsp.sign.requests import Policy, SigningRequests
from tsp.sign.visitors import Visitors
from tsp.web import Pages
from tsp.web.security import origin_of

log = logging.getLogger("tsp.sign")

#: How often, in seconds, ends are looked after: expired documents, sessions that wait for a service.
HOUSEKEEPING_SECONDS = 60.0


def sign_app(
    *,
    pages: Pages,
    database: Database,
    clock: Clock,
    randomness: Randomness,
    outbound: Outbound,
    isolated: Isolated,
    client_key: DigestSigner,
    documents_key: Aead,
    documents_directory: Path,
    engine: SigningPort,
    validator: ValidationPort,
    client_id: str,
    issuer: str,
    tsa_urls: Mapping[str, str],
    log_url: str,
    packages: PackagePort,
    validate_url: str,
    policy: Policy,
    housekeeping_seconds: float | None = HOUSEKEEPING_SECONDS,
    guard: Clock | None = None,
) -> Starlette:
    """The application of role `sign`.

    `client_key` and `documents_key` are the keys `site-client` and `documents` of the token `site`;
    `client_id` is this site's name at the identity provider `issuer`; redirect address is
    `<pages.origin>/callback`. `housekeeping_seconds` None leaves the looking-after out (tests).
    `guard` is a clock that may refuse to give the time: nothing is erased by a clock that jumped.
    """
    documents = Documents(documents_directory, Sealer(documents_key, randomness, "documents"))
    requests = SigningRequests(
        database=database, documents=documents, isolated=isolated, clock=clock, randomness=randomness, policy=policy
    )
    key = ClientKey(client_key, client_id, randomness)
    finishing = Finishing(
        requests=requests,
        database=database,
        engine=engine,
        key=key,
        tsa_urls=tsa_urls,
        outbound=outbound,
        validator=validator,
        isolated=isolated,
        clock=clock,
        randomness=randomness,
    )
    client = OidcClient(
        issuer=issuer,
        redirect_uri=f"{pages.origin}/callback",
        key=key,
        outbound=outbound,
        clock=clock,
        randomness=randomness,
    )
    visitors = Visitors(database, documents, clock, randomness, pages)
    site = Site(pages, visitors, requests, finishing, client, origin_of(issuer), validate_url)
    keeper = _Housekeeping(requests, finishing, guard or clock, housekeeping_seconds)
    routes = _routes(pages, SignPages(site, PublicLog(log_url, outbound), packages), LoginPages(site))
    app = pages.application(routes, lifespan=keeper.lifespan)
    app.state.site = site
    return app


def _routes(pages: Pages, site: SignPages, login: LoginPages) -> list[Route]:
    view, private = pages.view, site.private
    return [
        Route("/", view(site.home), methods=["GET"]),
        Route("/login", view(login.log_in), methods=["GET"]),
        Route("/callback", view(login.come_back), methods=["GET"]),
        Route("/logout", pages.action(login.log_out), methods=["POST"]),
        Route("/upload", view(private(site.upload_form)), methods=["GET"]),
        Route("/upload", site.upload, methods=["POST"]),
        Route("/signatures", view(private(site.signatures)), methods=["GET"]),
        Route("/documents/{id}", view(private(site.document)), methods=["GET"]),
        Route("/documents/{id}/status", view(private(site.status)), methods=["GET"]),
        Route("/documents/{id}/pages/{number:int}.png", view(private(site.picture)), methods=["GET"]),
        Route("/documents/{id}/approve", pages.action(site.private_action(site.approve)), methods=["POST"]),
        Route("/documents/{id}/download", view(private(site.download)), methods=["GET"]),
        Route("/documents/{id}/evidence", view(private(site.evidence)), methods=["GET"]),
        Route("/documents/{id}/package", view(private(site.package)), methods=["GET"]),
    ]


class _Housekeeping:
    """Runs beside the requests for as long as the application lives."""

    def __init__(self, requests: SigningRequests, finishing: Finishing, guard: Clock, seconds: float | None) -> None:
        self._requests = requests
        self._finishing = finishing
        self._guard = guard
        self._seconds = seconds

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        if self._seconds is None:
            yield
            return
        task = asyncio.create_task(self._run(self._seconds))
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def once(self) -> None:
        """One round. Raises `Unavailable` (clock-unsound) before anything is erased by a clock that jumped."""
        self._guard.now()
        self._requests.sweep()
        self._finishing.resume()

    async def _run(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await run_in_threadpool(self.once)
            except TspError as error:
                log.warning("housekeeping: %s", error.code)
            except Exception as error:  # noqa: BLE001  (one bad round must not end the looking-after)
                log.error("housekeeping: %s", type(error).__name__)
