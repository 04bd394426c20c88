"""REST: `POST /api/validate` with a PDF as body (application/pdf) or as the file `document` of a form; JSON out.

Errors are problem details (RFC 9457) with a stable `code`.
"""

from collections.abc import Awaitable, Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tsp.core.errors import Invalid, TooMany, TspError, http_status
from tsp.validate.desk import Desk
from tsp.web.forms import arriving, read_upload

PATH = "/api/validate"


def api_routes(desk: Desk) -> list[Route]:
    """The routes of the REST interface."""
    return [Route(PATH, _endpoint(desk), methods=["POST"])]


def _endpoint(desk: Desk) -> Callable[[Request], Awaitable[Response]]:
    async def validate(request: Request) -> Response:
        try:
            with desk.place():
                pdf = await _document(request, desk.max_bytes)
                report = await run_in_threadpool(desk.validate, pdf)
        except TspError as error:
            return problem(error)
        return JSONResponse(report.to_api(), headers={"cache-control": "no-store"})

    return validate


async def _document(request: Request, limit: int) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return (await read_upload(request, "document", limit)).content
    if kind not in ("application/pdf", "application/octet-stream"):
        raise Invalid("content-type-unknown", "Send the document as application/pdf or as a form with the file.")
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared) > limit:
        raise _too_large()
    body = bytearray()
    async for chunk in arriving(request):
        body += chunk
        if len(body) > limit:
            raise _too_large()
    return bytes(body)


def _too_large() -> Invalid:
    return Invalid("document-too-large", "The document is larger than this service accepts.")


_STATUS = {"body-too-slow": 408, "document-too-large": 413, "form-too-large": 413, "content-type-unknown": 415}


def problem(error: TspError) -> Response:
    """The error as application/problem+json."""
    status = _STATUS.get(error.code) or http_status(error)
    headers = {"cache-control": "no-store"}
    if isinstance(error, TooMany):
        headers["retry-after"] = str(error.retry_after)
    content = {"type": "about:blank", "title": error.sentence, "status": status, "code": error.code}
    return JSONResponse(content, status, headers=headers, media_type="application/problem+json")
