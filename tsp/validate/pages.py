"""The validation page: bring a document, see what is in its signatures. Nothing is kept."""

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tsp.core.errors import Invalid, TspError, http_status
from tsp.validate import words
from tsp.validate.desk import Desk
from tsp.validate.report import Indication, Signature, ValidationReport
from tsp.web import Pages

_KINDS = {Indication.TOTAL_PASSED: "good", Indication.INDETERMINATE: "warn", Indication.TOTAL_FAILED: "danger"}


class ValidationPages:
    """GET / asks for a document, POST / answers with the result."""

    def __init__(self, pages: Pages, desk: Desk) -> None:
        self._pages = pages
        self._desk = desk

    def routes(self) -> list[Route]:
        return [
            Route("/", self._pages.view(self._start), methods=["GET"]),
            Route("/", self._check, methods=["POST"]),
        ]

    def _start(self, request: Request, error: TspError | None = None) -> Response:
        return self._pages.render(
            request,
            "validate/start.html",
            http_status(error) if error else 200,
            max_bytes=self._desk.max_bytes,
            error=self._pages.text(request, error.sentence) if error else None,
            code=error.code if error else None,
        )

    async def _check(self, request: Request) -> Response:
        try:
            with self._desk.place():
                sent = await self._pages.upload(request, "document", limit=self._desk.max_bytes)
                if not sent.content:
                    raise Invalid("document-missing", "Choose a document first.")
                report = await run_in_threadpool(self._desk.validate, sent.content)
        except Invalid as error:
            return await run_in_threadpool(self._start, request, error)
        except TspError as error:
            return await run_in_threadpool(self._pages.error, request, error)
        return await run_in_threadpool(self._result, request, report, sent.filename)

    def _result(self, request: Request, report: ValidationReport, filename: str) -> Response:
        return self._pages.render(
            request,
            "validate/result.html",
            report=report,
            filename=filename.replace("\\", "/").rpartition("/")[2][:200],
            kind=_KINDS[report.indication] if report.indication else "warn",
            kinds=_KINDS,
            words=words,
            certificate_words=certificate_words,
            form_action=(),
        )


def certificate_words(signature: Signature) -> str:
    """What the signing certificate claims about itself, as a sentence."""
    stated = signature.signer.statements if signature.signer else None
    if stated is None or not stated.qualified:
        return words.CERTIFICATES["plain"]
    if stated.purpose == "eseal":
        return words.CERTIFICATES["seal-qscd" if stated.qscd else "seal"]
    return words.CERTIFICATES["qualified-qscd" if stated.qscd else "qualified"]
