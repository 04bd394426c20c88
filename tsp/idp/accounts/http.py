"""The branch's interface for machines.

    POST /branch/identification-keys      Authorization: Bearer <access token>
    {"given_name", "family_name", "tax_number", "date_of_birth", "document": {"kind", "number"}, "officer"}
    201 {"key": "XXXX-XXXX-XXXX", "expires_at": "2026-12-23T10:00:00Z"}

Errors are {"error": code, "error_description": sentence}; a token that is not good is answered as
RFC 6750, 3 says.
"""

from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tsp.core.errors import Invalid, Refused, TspError, http_status
from tsp.idp.accounts.branch import Branch, KeyRequest
from tsp.web.forms import arriving

#: Says which organisation a request's access token belongs to; raises `Refused` for a token that is not good.
Authenticate = Callable[[Request], str]

_MAX_BODY = 16 * 1024
Model = TypeVar("Model", bound=BaseModel)


def branch_routes(branch: Branch, authenticate: Authenticate) -> list[Route]:
    """The routes of the branch interface."""

    async def issue(request: Request) -> Response:
        try:
            organisation = await run_in_threadpool(authenticate, request)
        except Refused as error:
            return refusal(error)
        try:
            wanted = read_model(await read_body(request), KeyRequest)
            issued = await run_in_threadpool(branch.issue, organisation, wanted)
        except TspError as error:
            return error_answer(error, http_status(error), {})
        expires = issued.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        return JSONResponse({"key": issued.key, "expires_at": expires}, 201, headers={"Cache-Control": "no-store"})

    return [Route("/branch/identification-keys", issue, methods=["POST"])]


def refusal(error: Refused) -> Response:
    """A token that is no good is 401, a good one for something else 403 (RFC 6750, 3.1)."""
    kind, status = ("insufficient_scope", 403) if error.code == "insufficient-scope" else ("invalid_token", 401)
    return error_answer(error, status, {"WWW-Authenticate": f'Bearer error="{kind}", error_description="{error.code}"'})


async def read_body(request: Request) -> bytes:
    """The body of a request; `Invalid` (request-too-large) beyond what this interface accepts."""
    body = bytearray()
    async for chunk in arriving(request):
        body += chunk
        if len(body) > _MAX_BODY:
            raise Invalid("request-too-large", "The request is larger than this interface accepts.", limit=_MAX_BODY)
    return bytes(body)


def read_model(body: bytes, model: type[Model]) -> Model:
    """The body as a `model`; `Invalid` (request-malformed) names the field and what is wrong, never its value."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        # Names of fields and what is wrong with them, never the values.
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise Invalid("request-malformed", f"{where}: {first['msg']}") from None


def error_answer(error: TspError, status: int, headers: dict[str, str]) -> JSONResponse:
    """An error as this interface tells it."""
    retry = error.facts.get("retry_after")
    if retry is not None:
        headers = {**headers, "Retry-After": str(retry)}
    return JSONResponse(
        {"error": error.code, "error_description": error.sentence},
        status,
        headers={"Cache-Control": "no-store", **headers},
    )
