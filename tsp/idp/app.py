"""Composition of the identity provider: one application for people and machines. Nothing here decides anything."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

import hsm
from tsp.audit.canonical import Json
from tsp.audit.entries import Writer, record
from tsp.ca.revocation import Revocations
from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.core.errors import TspError
from tsp.core.files import read_secret
from tsp.core.outbound import Outbound
from tsp.core.randomness import Randomness
from tsp.core.sealing import Sealer
from tsp.core.settings import Settings
from tsp.core.tables import Organisation
from tsp.idp.accounts.assurance import Level, load_policy
from tsp.idp.accounts.branch import Branch
from tsp.idp.accounts.http import branch_routes
from tsp.idp.accounts.identification import Identification
from tsp.idp.accounts.identity_pages import identity_routes
from tsp.idp.accounts.notices import Notices
from tsp.idp.accounts.pages import registration_routes
from tsp.idp.accounts.personal_data import PersonalDataEntry
from tsp.idp.accounts.register import Register
from tsp.idp.accounts.registration import Registrations
from tsp.idp.accounts.resume import Way, reference_of
from tsp.idp.accounts.service import Accounts, AccountSession
from tsp.idp.accounts.texts import Texts
from tsp.idp.accounts.verification import Verifications
from tsp.idp.certificates.http import OfficersRevocation, officer_routes
from tsp.idp.certificates.inventory import Inventory, inventory_routes
from tsp.idp.certificates.pages import ALL, CertificatePages, certificate_routes
from tsp.idp.certificates.puk import PukRevocation
from tsp.idp.certificates.service import OwnCertificates, teller
from tsp.idp.certificates.telling import CertificateNotices
from tsp.idp.credentials.codes import CodeRules, Codes
from tsp.idp.credentials.gate import Gate
from tsp.idp.credentials.keys import Index
from tsp.idp.credentials.password import Cost, Passwords
from tsp.idp.credentials.puk import Puks
from tsp.idp.login.approvals import Approvals
from tsp.idp.login.book import LoginBook, LoginLimits
from tsp.idp.login.flow import Logins
from tsp.idp.login.logout import LogoutPages, logout_routes
from tsp.idp.login.methods import Methods, SmsMeans
from tsp.idp.login.pages import LoginPages, login_routes
from tsp.idp.login.views import Views
from tsp.idp.oidc.clients import BRANCH_SCOPE, INVENTORY_SCOPE, REVOCATION_SCOPE, Clients, load_clients
from tsp.idp.oidc.http import bearer_token, oidc_routes
from tsp.idp.oidc.keys import APPROVAL_KEY, ID_TOKEN_KEY, JwtKey
from tsp.idp.oidc.provider import OpenIdProvider, ProviderKeys
from tsp.idp.oidc.tokens import amr
from tsp.idp.session import BROWSER_COOKIE, Sessions
from tsp.notify.outbox import Outbox
from tsp.web import Languages, Pages
from tsp.web.pages import Lifespan

log = logging.getLogger("tsp.idp")

_SWEEP_SECONDS = 3600
_TELL_SECONDS = 60


def idp_app(
    settings: Settings,
    *,
    database: Database,
    token: hsm.Token,
    outbound: Outbound,
    clock: Clock,
    randomness: Randomness,
    writer: str = "idp",
    password_cost: Cost | None = None,
) -> Starlette:
    """The whole face `idp`. `token` is the token `identity` with its keys; `password_cost` is for tests.

    `writer` is this process's name in the log.

    Raises `Invalid` (relying-party-invalid, policy-invalid) where a file of the configuration is wrong.
    """
    house = _House(settings, database, token, outbound, Writer(writer, randomness, clock), password_cost)
    services = house.services
    notices = CertificateNotices(
        database,
        clock,
        services.notices,
        services.texts,
        after=timedelta(seconds=settings.idp.certificate_notice_seconds),
        page=f"{house.pages.origin}{ALL}",
    )
    chores = {services.accounts.sweep: _SWEEP_SECONDS, notices.tell_due: _TELL_SECONDS}
    return house.pages.application(house.routes(), lifespan=_housekeeping(chores))


@dataclass(frozen=True)
class _Services:
    """What both halves work with."""

    accounts: Accounts
    gate: Gate
    codes: Codes
    passwords: Passwords
    puks: Puks
    outbox: Outbox
    texts: Texts
    notices: Notices
    verifications: Verifications


class _House:
    """Makes every object once."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        token: hsm.Token,
        outbound: Outbound,
        writer: Writer,
        password_cost: Cost | None,
    ) -> None:
        self.settings, self.database, self.token, self.outbound = settings, database, token, outbound
        self.writer, self.clock, self.randomness = writer, writer.clock, writer.randomness
        self.clients = load_clients(
            settings.path(settings.idp.relying_parties), settings.var, production=not settings.demo
        )
        self.personal = Sealer(token.aead_key("personal-data"), self.randomness, "personal-data")
        self.index = Index(token.hmac_key("index-hmac"))
        self.pages = self._pages()
        self.services = self._services(password_cost)
        self.provider = self._provider()
        _enrol(database, self.clients, self.clock)

    def record(self, session: Session, kind: str, payload: Mapping[str, Json]) -> None:
        """Writes an entry of the audit log in the caller's transaction."""
        record(session, writer=self.writer, kind=kind, payload=payload)

    def _pages(self) -> Pages:
        settings = self.settings
        return Pages(
            name=settings.name,
            face="idp",
            origin=settings.urls.idp,
            support=settings.provider.support_email,
            operator=settings.provider.organisation,
            randomness=self.randomness,
            # Forms end with a redirect to a service, and browsers apply form-action to it.
            form_action=sorted({origin for client in self.clients for origin in client.origins}),
            links={"sign": settings.urls.sign},
            demo=settings.demo,
        )

    def _services(self, cost: Cost | None) -> _Services:
        idp, database, clock, randomness = self.settings.idp, self.database, self.clock, self.randomness
        code_key = self.token.hmac_key("code-hmac")
        gate = Gate(database, clock)
        rules = CodeRules(idp.code_seconds, idp.code_attempts, idp.resend_seconds)
        codes = Codes(database, code_key, gate, clock, randomness, rules)
        passwords = Passwords(self.token.hmac_key("password-hmac"), clock, randomness, cost=cost)
        puks = Puks(code_key, gate, clock, randomness, idp.puk_length)
        outbox = Outbox(Sealer(self.token.aead_key("outbox"), randomness, "outbox"), randomness, clock)
        notices = Notices(self.personal, outbox)
        policy = load_policy(self.settings.path(idp.assurance))
        verifications = Verifications(clock, randomness, self.record, policy)
        accounts = Accounts(
            database=database,
            clock=clock,
            index=self.index,
            serial_key=self.token.hmac_key("index-hmac"),
            sealer=self.personal,
            gate=gate,
            passwords=passwords,
            codes=codes,
            puks=puks,
            outbox=outbox,
            notices=notices,
            verifications=verifications,
        )
        texts = Texts(self.pages.languages, name=self.settings.name, support=self.settings.provider.support_email)
        return _Services(accounts, gate, codes, passwords, puks, outbox, texts, notices, verifications)

    def _provider(self) -> OpenIdProvider:
        return OpenIdProvider(
            issuer=self.settings.urls.idp,
            clients=self.clients,
            accounts=self.services.accounts,
            keys=ProviderKeys(
                id_token=JwtKey(self.token.signing_key(ID_TOKEN_KEY)),
                approval=JwtKey(self.token.signing_key(APPROVAL_KEY)),
                subject=self.token.hmac_key("index-hmac"),
            ),
            database=self.database,
            clock=self.clock,
            randomness=self.randomness,
            sealer=Sealer(self.token.aead_key("personal-data"), self.randomness, "login"),
            max_documents=self.settings.engine.max_documents,
        )

    # --- routes ---------------------------------------------------------------------------------

    def routes(self) -> list[BaseRoute]:
        """Every route of the face but the shared ones of its pages."""
        sessions = Sessions(
            self.database,
            self.clock,
            self.randomness,
            self.pages,
            idle_seconds=self.settings.idp.session_idle_seconds,
            absolute_seconds=self.settings.idp.session_seconds,
        )
        login = self._login_pages(sessions)
        way = Way(service=lambda request, reference: self._service_name(login, request, reference))
        return [
            Route("/", self.pages.view(lambda r: self.pages.render(r, "idp/home.html")), methods=["GET"]),
            *oidc_routes(self.provider),
            *login_routes(login),
            *logout_routes(LogoutPages(self.pages, self.provider, sessions)),
            *self._registration(way),
            *self._identity(sessions, way),
            *self._certificates(sessions),
            *self._branch(),
        ]

    def _login_pages(self, sessions: Sessions) -> LoginPages:
        idp, languages, site = self.settings.idp, self.pages.languages, self.settings.name
        limits = LoginLimits(login=idp.login_seconds, approval=idp.approval_seconds)
        methods = Methods([SmsMeans(self.services.accounts)])
        book = LoginBook(
            provider=self.provider,
            accounts=self.services.accounts,
            database=self.database,
            clock=self.clock,
            sealer=Sealer(self.token.aead_key("personal-data"), self.randomness, "login"),
            record=self.record,
            limits=limits,
        )
        return LoginPages(
            pages=self.pages,
            logins=Logins(book, methods, sessions, self.randomness, languages, site),
            approvals=Approvals(book, methods, self.randomness, languages, site),
            views=Views(book, methods),
            sessions=sessions,
            randomness=self.randomness,
            limits=limits,
        )

    def _service_name(self, login: LoginPages, request: Request, reference: str) -> str:
        """The service behind a parked login of this browser, for the account's pages; "" where there is none."""
        if not reference:
            return ""
        try:
            view = login.views.view(reference, self.pages.cookie(request, BROWSER_COOKIE))
        except TspError:
            return ""
        return view.client.name(self.pages.language(request))

    def _registration(self, way: Way) -> list[Route]:
        s = self.services
        registrations = Registrations(
            database=self.database,
            clock=self.clock,
            randomness=self.randomness,
            index=self.index,
            sealer=self.personal,
            gate=s.gate,
            codes=s.codes,
            passwords=s.passwords,
            puks=s.puks,
            outbox=s.outbox,
            texts=s.texts,
            journal=self.record,
        )
        return registration_routes(self.pages, registrations, self.clock, way)

    def _identity(self, sessions: Sessions, way: Way) -> list[Route]:
        s, settings = self.services, self.settings
        register_token = read_secret(settings.var / settings.register_.token_file)
        entry = PersonalDataEntry(
            database=self.database,
            clock=self.clock,
            index=self.index,
            sealer=self.personal,
            gate=s.gate,
            codes=s.codes,
            register=Register(settings.register_.url, register_token, self.outbound),
            notices=s.notices,
            texts=s.texts,
            verifications=s.verifications,
        )
        identification = Identification(
            database=self.database,
            clock=self.clock,
            index=self.index,
            sealer=self.personal,
            gate=s.gate,
            notices=s.notices,
            texts=s.texts,
            verifications=s.verifications,
        )

        def current_account(request: Request) -> AccountSession | None:
            return account_session(sessions, self.provider, s.accounts, self.database, request)

        return identity_routes(
            self.pages,
            entry,
            identification,
            self.clock,
            current_account=current_account,
            log_in=lambda request: _log_in_first(request, way),
            way=way,
        )

    def _branch(self) -> list[Route]:
        branch = Branch(
            database=self.database,
            clock=self.clock,
            randomness=self.randomness,
            index=self.index,
            sealer=self.personal,
            journal=self.record,
        )

        return branch_routes(branch, lambda request: self._organisation(request, BRANCH_SCOPE))

    def _organisation(self, request: Request, scope: str) -> str:
        return self.provider.client_of_token(bearer_token(request), scope).organisation_id

    def _certificates(self, sessions: Sessions) -> list[Route]:
        s = self.services
        revocations = Revocations(self.clock, self.record, teller(s.notices, s.texts))
        by_puk = PukRevocation(
            database=self.database,
            clock=self.clock,
            index=self.index,
            accounts=s.accounts,
            notices=s.notices,
            texts=s.texts,
            revocations=revocations,
            subjects=self.provider.certificate_subjects,
        )
        shown = CertificatePages(
            pages=self.pages,
            own=OwnCertificates(self.database, self.clock, s.accounts, revocations, self.provider.certificate_subjects),
            by_puk=by_puk,
            clock=self.clock,
            randomness=self.randomness,
            current_account=lambda r: account_session(sessions, self.provider, s.accounts, self.database, r),
        )
        officers = OfficersRevocation(self.database, revocations)
        inventory = Inventory(self.database, self.clock, self.record)
        return [
            *certificate_routes(shown),
            *officer_routes(officers, lambda request: self._organisation(request, REVOCATION_SCOPE)),
            *inventory_routes(inventory, lambda request: self._organisation(request, INVENTORY_SCOPE)),
        ]


def revocations(settings: Settings, token: hsm.Token, writer: Writer) -> Revocations:
    """Who revokes at the command line, and tells persons as this face does: `token` is `identity`."""
    randomness, clock = writer.randomness, writer.clock
    outbox = Outbox(Sealer(token.aead_key("outbox"), randomness, "outbox"), randomness, clock)
    notices = Notices(Sealer(token.aead_key("personal-data"), randomness, "personal-data"), outbox)
    texts = Texts(Languages(), name=settings.name, support=settings.provider.support_email)

    def journal(session: Session, kind: str, payload: Mapping[str, Json]) -> None:
        record(session, writer=writer, kind=kind, payload=payload)

    return Revocations(clock, journal, teller(notices, texts))


def account_session(
    sessions: Sessions, provider: OpenIdProvider, accounts: Accounts, database: Database, request: Request
) -> AccountSession | None:
    """The logged-in account for the account's own pages; None where nobody is, or the account is not active."""
    current = sessions.current(request)
    if current is None:
        return None
    with database.read() as session:
        if not provider.is_active(session, current.account_id):
            return None
        level = accounts.policy.acr(accounts.proofing(session, current.account_id).level, current.means)
    return AccountSession(
        account_id=current.account_id,
        session_id=current.id,
        authenticated_at=current.auth_time,
        amr=tuple(amr(current.means)),
        acr=(level or Level.LOW).uri,
    )


def _housekeeping(chores: Mapping[Callable[[], int], float]) -> Lifespan:
    """Does each chore, and again after its seconds, for as long as the application runs."""

    async def keep(chore: Callable[[], int], seconds: float) -> None:
        while True:
            try:
                await run_in_threadpool(chore)
            except TspError as error:
                log.warning("%s failed: %s", chore.__name__, error.code)  # the next one does what this one left
            await asyncio.sleep(seconds)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(keep(chore, seconds)) for chore, seconds in chores.items()]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()

    return lifespan


def _log_in_first(request: Request, way: Way) -> Response:
    """Nobody is logged in: the parked login starts afresh; without one the first page says how to begin."""
    return RedirectResponse(way.on(reference_of(request.query_params.get("request"))), 303)


def _enrol(database: Database, clients: Clients, clock: Clock) -> None:
    """Gives every relying party's organisation its row."""
    for client in clients:
        try:
            with database.write() as session:
                if session.get(Organisation, client.organisation_id) is None:
                    session.add(
                        Organisation(
                            id=client.organisation_id,
                            name=client.organisation_name,
                            kind="relying-party",
                            created=clock.now(),
                        )
                    )
        except IntegrityError:
            continue  # another process of this role was faster in this moment
