"""What the small servers share: pages with a strict CSP, JSON errors, bearer check, bounded bodies.

People's pages are Slovene or English (`?lang=en` is remembered in a cookie), need no script, and
load nothing from another origin.
"""

import hmac
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import jinja2
from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox.words import SLOVENE

CSP = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_HOSTS = ["localhost", "127.0.0.1"]
_LANGUAGE_COOKIE = "sandbox_language"
_HERE = Path(__file__).parent

Model = TypeVar("Model", bound=BaseModel)
Handler = Callable[[Request], Awaitable[Response]]


class Problem(Exception):
    """A request that is answered with an error: HTTP status, stable code, sentence for its sender."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message


def application(routes: Sequence[BaseRoute]) -> Starlette:
    """An ASGI application with these routes, `/health`, `/static`, and the guards of this module."""
    return Starlette(
        routes=[
            *routes,
            Route("/health", _health),
            Mount("/static", StaticFiles(directory=_HERE / "static")),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=_HOSTS), Middleware(_Guards)],
        exception_handlers={Problem: _answer_problem},
    )


async def _health(_request: Request) -> Response:
    return PlainTextResponse("ok\n")


async def _answer_problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
    return JSONResponse({"error": error.code, "message": error.message}, error.status, headers)


class _Guards:
    """Security headers on every answer, and no writing from a page of another origin.

    The servers know no log-in, so without this any web page that a developer visits could post to
    them (cross-site request forgery).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        request = Request(scope)
        origin = request.headers.get("origin")
        if request.method not in ("GET", "HEAD") and origin and urlsplit(origin).netloc != request.headers.get("host"):
            answer = JSONResponse({"error": "other-origin", "message": "Pages of other origins may not write."}, 403)
            await answer(scope, receive, send_guarded)
            return
        await self._app(scope, receive, send_guarded)


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body; `Problem` 413 as soon as it is longer than `limit` bytes."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise Problem(413, "body-too-large", f"The body may hold {limit} bytes.")
    return bytes(body)


async def read_json(request: Request, model: type[Model], limit: int) -> Model:
    """The body as `model`; `Problem` 400 says which member is wrong, 415 asks for JSON."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Problem(415, "not-json", "Send application/json.")
    body = await read_body(request, limit)
    try:
        return model.model_validate(json.loads(body))
    except ValidationError as error:
        raise Problem(400, "member-invalid", explain(error)) from None
    except (ValueError, RecursionError):
        raise Problem(400, "json-malformed", "The body is not JSON.") from None


async def read_form(request: Request, limit: int) -> dict[str, str]:
    """The fields of an urlencoded form, without surrounding blanks; the last of equal names counts."""
    body = await read_body(request, limit)
    try:
        fields = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=50)
    except ValueError:
        raise Problem(400, "form-malformed", "The form cannot be read.") from None
    return {name: value.strip() for name, value in fields}


def explain(error: ValidationError) -> str:
    """Which members are wrong and why, without their values."""
    return "; ".join(f"{'.'.join(map(str, detail['loc'])) or 'body'}: {detail['msg']}" for detail in error.errors())


def invalid_fields(error: ValidationError) -> set[str]:
    """The names of the form fields that are wrong; members of a member as `document_number`."""
    return {"_".join(map(str, detail["loc"])) for detail in error.errors()}


def require_bearer(request: Request, token: str) -> None:
    """`Problem` 401 unless the request carries this bearer token (RFC 6750, 2.1)."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
        raise Problem(401, "token-wrong", "Send the bearer token of this service.")


def _language(request: Request) -> str:
    asked = request.query_params.get("lang") or request.cookies.get(_LANGUAGE_COOKIE)
    return asked if asked in ("sl", "en") else "sl"


def _moment(moment: datetime) -> str:
    local = moment.astimezone()
    return f"{local.day}. {local.month}. {local.year} {local:%H:%M:%S}"


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["moment"] = _moment
    environment.filters["iso"] = lambda moment: moment.astimezone(UTC).isoformat()
    return environment


_TEMPLATES = _environment()


def render(request: Request, template: str, context: Mapping[str, Any], status: int = 200) -> Response:
    """A people's page in the visitor's language."""
    language = _language(request)

    def translate(text: str) -> str:
        return SLOVENE.get(text, text) if language == "sl" else text

    page = _TEMPLATES.get_template(template).render(
        t=translate, language=language, path=request.url.path, query=_without_language(request), **context
    )
    answer = HTMLResponse(page, status)
    if request.query_params.get("lang") == language:
        answer.set_cookie(_LANGUAGE_COOKIE, language, max_age=31_536_000, samesite="lax", httponly=True)
    return answer


def _without_language(request: Request) -> str:
    kept = request.url.remove_query_params("lang").query
    return f"{kept}&" if kept else ""
