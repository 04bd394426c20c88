"""`Pages`: one per web application, made at start; renders, reads forms, shows errors, keeps the language.

A face uses it so:

    pages = Pages(name="Enkrat", face="idp", origin="http://localhost:8401", support="podpora@primer.si",
                  randomness=randomness)
    app = pages.application([Route("/login", pages.view(show), methods=["GET"]),
                             Route("/login", pages.action(log_in), methods=["POST"])])

`show(request)` and `log_in(request, form)` are plain functions and run in a worker thread, so that a
database or a token never holds up the loop. They may raise any `TspError`.
"""

import logging
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hsm.errors import HsmError
from tsp.core.errors import Invalid, NotFound, TooMany, TspError, Unavailable, http_status
from tsp.core.randomness import Randomness, new_code, new_token
from tsp.web import security
from tsp.web.assets import Assets
from tsp.web.filters import filters_for
from tsp.web.forms import Upload, read_form, read_upload
from tsp.web.language import LANGUAGES, Languages, choose_language

__all__ = ["Pages", "Upload"]

log = logging.getLogger("tsp.web")

TEMPLATE_DIR = Path(__file__).parent / "templates"
#: A form of text fields; uploads have a limit of their own.
MAX_FORM_BYTES = 64 * 1024
LANGUAGE_COOKIE = "enkrat-language"
_YEAR = 365 * 24 * 3600
_BRIEFLY = "The service is briefly unavailable. Nothing was lost; please try again in a moment."

View = Callable[[Request], Response]
Action = Callable[[Request, dict[str, str]], Response]
Endpoint = Callable[[Request], Awaitable[Response]]
Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]


class Pages:
    """The shared frame of one face's pages.

    `name` is what people read in the header, `face` the wing (it names cookies and `data-page`),
    `origin` the address that people open (scheme, host, port), `support` an e-mail address,
    `operator` whose service it is, `form_action` the origins a form's answer may redirect to,
    `demo` marks every page with TEST. `links` adds to what templates find under `links`.
    """

    def __init__(
        self,
        *,
        name: str,
        face: str,
        origin: str,
        support: str,
        randomness: Randomness,
        operator: str = "",
        form_action: Sequence[str] = (),
        links: Mapping[str, str] | None = None,
        demo: bool = True,
        timezone: str = "Europe/Ljubljana",
        template_package_dirs: Sequence[Path] = (),
        languages: Languages | None = None,
    ) -> None:
        self.name, self.face, self.support, self.demo = name, face, support, demo
        self.operator = operator or name
        self.origin = security.origin_of(origin)
        self.https = self.origin.startswith("https:")
        self.languages = languages or Languages()
        self.form_action = tuple(security.origin_of(o) for o in form_action)
        self.links = {"home": "/", "terms": "/terms", "privacy": "/privacy", **(links or {})}
        self.assets = Assets()
        self._randomness = randomness
        self._environments = {
            language: self._environment(language, ZoneInfo(timezone), [TEMPLATE_DIR, *template_package_dirs])
            for language in LANGUAGES
        }

    def _environment(self, language: str, zone: ZoneInfo, directories: list[Path]) -> Environment:
        environment = Environment(
            loader=FileSystemLoader(directories),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.i18n"],
        )
        environment.install_gettext_translations(  # type: ignore[attr-defined]
            self.languages.translations(language), newstyle=True
        )
        environment.filters |= filters_for(self.languages.locale(language), zone)
        environment.globals |= {
            "asset": self.assets.url,
            "site": self,
            "links": self.links,
            "language": language,
            "languages": LANGUAGES,
        }
        return environment

    # --- language -------------------------------------------------------------------------------

    def language(self, request: Request) -> str:
        """`sl` or `en` for this request: cookie, `ui_locales`, Accept-Language, Slovene.

        `ui_locales` is a query parameter (also `lang`), or `request.state.ui_locales` where it
        came another way (a pushed authorization request).
        """
        wished = str(getattr(request.state, "ui_locales", "") or "").split()
        for parameter in ("ui_locales", "lang"):
            wished += request.query_params.get(parameter, "")[:200].split()
        return choose_language(
            cookie=request.cookies.get(LANGUAGE_COOKIE),
            wished=wished,
            accept_language=request.headers.get("accept-language"),
        )

    def text(self, request: Request, msgid: str, **values: object) -> str:
        """A sentence of the catalogues in the language of the request."""
        return self.languages.text(self.language(request), msgid, **values)

    async def _switch_language(self, request: Request) -> Response:
        """GET /language?to=en&back=/path"""
        to = request.query_params.get("to")
        response = RedirectResponse(security.safe_path(request.query_params.get("back")), 303)
        if to in LANGUAGES:
            response.set_cookie(
                LANGUAGE_COOKIE, to, max_age=_YEAR, path="/", httponly=True, samesite="lax", secure=self.https
            )
        return response

    # --- cookies --------------------------------------------------------------------------------

    def cookie_name(self, purpose: str) -> str:
        """The name of one of this face's cookies: faces of a demo share a host, so each has names of its own."""
        return f"{'__Host-' if self.https else ''}enkrat-{self.face}-{purpose}"

    def cookie(self, request: Request, purpose: str) -> str | None:
        return request.cookies.get(self.cookie_name(purpose))

    def set_cookie(self, response: Response, purpose: str, value: str, *, max_age: int | None = None) -> None:
        """A host-only, script-proof cookie; without `max_age` (seconds) it ends with the browser."""
        response.set_cookie(
            self.cookie_name(purpose),
            value,
            max_age=max_age,
            path="/",
            httponly=True,
            samesite="lax",
            secure=self.https,
        )

    def clear_cookie(self, response: Response, purpose: str) -> None:
        response.delete_cookie(self.cookie_name(purpose), path="/", httponly=True, samesite="lax", secure=self.https)

    # --- pages ----------------------------------------------------------------------------------

    def render(
        self,
        request: Request,
        template: str,
        status: int = 200,
        *,
        headers: Mapping[str, str] | None = None,
        form_action: Iterable[str] = (),
        back: str | None = None,
        **context: object,
    ) -> HTMLResponse:
        """The page as an answer, with all its protection.

        `page` (data-page) is the template's path unless given: `idp/login.html` is `idp.login`.
        `back` is where the language switch returns to; the page's own address by default.
        `form_action` adds origins to those of the face, for this page alone.
        `support` in the context names another support contact (that of the service signed in to).
        """
        token = self.cookie(request, "form")
        fresh = token is None or len(token) != 43
        if fresh or token is None:
            token = getattr(request.state, "form_token", None) or new_token(self._randomness)
            request.state.form_token = token
        own = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        values: dict[str, object] = {
            "page": template.removesuffix(".html").replace("/", "."),
            "support": self.support,
            "back": security.safe_path(back or own),
            "csrf_token": token,
            "csrf_field": Markup('<input type="hidden" name="csrf_token" value="{}">').format(token),
            **context,
        }
        body = self._environments[self.language(request)].get_template(template).render(values)
        response = HTMLResponse(body, status)
        response.headers.update(security.standing_headers(https=self.https))
        response.headers["content-security-policy"] = security.content_security_policy(
            (*self.form_action, *form_action)
        )
        response.headers["cache-control"] = "no-store"
        response.headers["content-language"] = self.language(request)
        response.headers["vary"] = "Accept-Language, Cookie"
        response.headers.update(headers or {})
        if fresh:
            self.set_cookie(response, "form", token)
        return response

    def error(self, request: Request, error: Exception, *, retry: str | None = None) -> HTMLResponse:
        """The page of an error, in the person's language and with the status of its kind.

        Anything but a `TspError` gives a reference and nothing else; the log has the reference, the
        type and where it happened, never the message, which may quote personal data.
        `retry` is a path to go on with; where the service is briefly down it is the page itself.
        """
        reference: str | None = None
        if isinstance(error, TspError):
            log.info("page error %s %s", error.code, {k: v for k, v in error.facts.items() if v is not None})
            known = error
        else:
            reference = new_code(self._randomness, 8)
            reference = f"{reference[:4]}-{reference[4:]}"
            places = [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)][-12:]
            log.error("unexpected error %s: %s at %s", reference, type(error).__name__, " < ".join(reversed(places)))
            if self.demo:
                log.debug("the whole of %s", reference, exc_info=error)
            known = TspError("unexpected", "Something went wrong on our side. Nothing was done that you did not see.")
        if retry is None and isinstance(known, Unavailable) and request.method in ("GET", "HEAD"):
            retry = request.url.path
        headers = {"retry-after": str(known.retry_after)} if isinstance(known, TooMany) else {}
        return self.render(
            request,
            "web/error.html",
            http_status(known),
            headers=headers,
            page=f"{self.face}.error",
            back=None if request.method in ("GET", "HEAD") else self.links["home"],
            kind=known.kind,
            code=known.code,
            sentence=self.text(request, known.sentence),
            reference=reference,
            retry=security.safe_path(retry) if retry else None,
        )

    # --- forms ----------------------------------------------------------------------------------

    async def form(self, request: Request) -> dict[str, str]:
        """The posted fields, once the form is known to be ours.

        Raises `Refused` (form-expired) where it is not, `Invalid` (form-malformed, form-too-large).
        """
        security.check_origin(request.headers, self.origin)
        fields = await read_form(request, MAX_FORM_BYTES)
        security.check_token(self.cookie(request, "form"), fields.pop("csrf_token", None))
        return fields

    async def upload(self, request: Request, field: str, *, limit: int) -> Upload:
        """One posted file of at most `limit` bytes with its form; the same checks and errors as `form`."""
        security.check_origin(request.headers, self.origin)
        upload = await read_upload(request, field, limit)
        security.check_token(self.cookie(request, "form"), upload.fields.pop("csrf_token", None))
        return upload

    # --- wiring ---------------------------------------------------------------------------------

    def view(self, function: View) -> Endpoint:
        """An endpoint from a plain function of the request; errors become pages."""

        async def endpoint(request: Request) -> Response:
            try:
                return await run_in_threadpool(function, request)
            except TspError as error:
                return self.error(request, error)

        return endpoint

    def action(self, function: Action) -> Endpoint:
        """An endpoint from a plain function of the request and its checked form; errors become pages."""

        async def endpoint(request: Request) -> Response:
            try:
                fields = await self.form(request)
                return await run_in_threadpool(function, request, fields)
            except TspError as error:
                return self.error(request, error)

        return endpoint

    def routes(self) -> list[BaseRoute]:
        """What every face serves: static files, the language switch, terms, privacy, the browser's usual questions."""
        return [
            Route("/static/{name}", self.assets.serve, methods=["GET"]),
            Route("/language", self._switch_language, methods=["GET"]),
            Route("/terms", self.view(lambda r: self.render(r, "web/terms.html")), methods=["GET"]),
            Route("/privacy", self.view(lambda r: self.render(r, "web/privacy.html")), methods=["GET"]),
            Route("/favicon.ico", lambda _: RedirectResponse(self.assets.url("mark.svg"), 308), methods=["GET"]),
            Route("/robots.txt", lambda _: Response("User-agent: *\nDisallow: /\n", media_type="text/plain")),
        ]

    def middleware(self) -> list[Middleware]:
        return [Middleware(security.SecurityHeaders, https=self.https), Middleware(_UnexpectedErrors, pages=self)]

    def exception_handlers(self) -> dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]]:
        """For Starlette: every error of a route that did not map its own becomes a page."""

        async def shown(request: Request, error: Exception) -> Response:
            return self.error(request, _as_known(error))

        return {TspError: shown, HTTPException: shown, HsmError: shown}

    def application(self, routes: Sequence[BaseRoute], *, lifespan: Lifespan | None = None) -> Starlette:
        """The face as an ASGI application: its routes, ours, the headers and the error pages."""
        application = Starlette(
            routes=[*routes, *self.routes()],
            middleware=self.middleware(),
            exception_handlers=self.exception_handlers(),
            lifespan=lifespan,
        )
        # A redirect for a missing slash would name the host that the caller claims.
        application.router.redirect_slashes = False
        return application


class _UnexpectedErrors:
    """Middleware: what no route expected becomes the page with a reference.

    Starlette's own last handler passes the exception on to the server, whose log would quote its message.
    """

    def __init__(self, app: ASGIApp, *, pages: Pages) -> None:
        self._app = app
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            if "\0" in scope.get("path", ""):
                # No page has such an address, and not every database takes such a text.
                raise NotFound("page-not-found", "There is no such page.")
            await self._app(scope, receive, watch)
        except Exception as error:
            if scope["type"] != "http" or started:
                raise
            await self._pages.error(Request(scope, receive), error)(scope, receive, send)


def _as_known(error: Exception) -> Exception:
    """Starlette's own refusals and a token that does not answer in the words of the error family."""
    if isinstance(error, HsmError):
        return Unavailable("token-unavailable", _BRIEFLY, cause=error.code)
    if not isinstance(error, HTTPException):
        return error
    if error.status_code == 404:
        return NotFound("page-not-found", "There is no such page.")
    if error.status_code == 405:
        return NotFound("page-not-found", "There is no such page.", method="wrong")
    return Invalid("request-malformed", "The request could not be read.")
