"""The signing site's pages: home, upload, document, result, list. Parse, call, show; no rules."""

import base64
import json
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from tsp.core.errors import Conflict, Invalid, NotFound, TspError, http_status
from tsp.formats.findings import FilesAttached, Finding
from tsp.sign.login_pages import Site, approval_parameters
from tsp.sign.ports import PackagePort
from tsp.sign.public_log import PublicLog
from tsp.sign.requests import AFTER_APPROVAL, attached
from tsp.sign.story import tell
from tsp.sign.tables import SigningSession, State
from tsp.sign.visitors import Visitor
from tsp.sign.words import KINDS, PROBLEMS, WAITING

log = logging.getLogger("tsp.sign")

PER_PAGE = 20
#: Pictures of so many pages stand on one page; a document of thousands has a way on.
PICTURES = 40

Private = Callable[[Request, Visitor], Response]
PrivateAction = Callable[[Request, Visitor, dict[str, str]], Response]


class SignPages:
    """Everything of this site but the login."""

    def __init__(self, site: Site, log: PublicLog, packages: PackagePort) -> None:
        self._site = site
        self._log = log
        self._packages = packages

    # --- who may ----------------------------------------------------------------------------------

    def private(self, show: Private) -> Callable[[Request], Response]:
        """A page for somebody who is logged in; others log in first and come back."""

        def page(request: Request) -> Response:
            visitor = self._site.visitors.current(request)
            return show(request, visitor) if visitor else _to_login(request.url.path)

        return page

    def private_action(self, act: PrivateAction) -> Callable[[Request, dict[str, str]], Response]:
        """The same for a form; who was logged out meanwhile comes back to the document."""

        def action(request: Request, form: dict[str, str]) -> Response:
            visitor = self._site.visitors.current(request)
            if visitor is None:
                return _to_login(_document_path(request))
            try:
                return act(request, visitor, form)
            except NotFound:
                raise
            except TspError as error:
                return self._site.pages.error(request, error, retry=_document_path(request))

        return action

    # --- home and upload ----------------------------------------------------------------------------

    def home(self, request: Request) -> Response:
        """GET /"""
        return self._page(request, "sign/home.html", self._site.visitors.current(request))

    def upload_form(self, request: Request, visitor: Visitor) -> Response:
        """GET /upload"""
        return self._page(request, "sign/upload.html", visitor, error=None)

    async def upload(self, request: Request) -> Response:
        """POST /upload: answers with a page, or with JSON where the script sends the file."""
        site = self._site
        wants_json = request.headers.get("accept") == "application/json"
        visitor = await run_in_threadpool(site.visitors.current, request)
        if visitor is None:
            return JSONResponse({"next": "/login?next=/upload"}) if wants_json else _to_login("/upload")
        try:
            limit = site.requests.policy.limits.max_bytes
            sent = await site.pages.upload(request, "document", limit=limit)
            session_id = await run_in_threadpool(site.requests.accept, visitor.owner, sent.filename, sent.content)
        except TspError as error:
            return await run_in_threadpool(self._upload_error, request, visitor, error, wants_json)
        path = f"/documents/{session_id}"
        return JSONResponse({"next": path}, 201) if wants_json else RedirectResponse(path, 303)

    def _upload_error(self, request: Request, visitor: Visitor, error: TspError, wants_json: bool) -> Response:
        if error.code == "form-too-large":
            error = Invalid("document-too-large", "The document is larger than this service accepts.")
        sentence = error.sentence
        words = self._site.pages.text(request, sentence)
        names = [name for name, _ in attached(error.attachments)] if isinstance(error, FilesAttached) else []
        if wants_json:
            return JSONResponse({"error": words, "code": error.code, "names": names}, http_status(error))
        shown = {"error": words, "code": error.code, "names": names}
        return self._page(request, "sign/upload.html", visitor, http_status(error), **shown)

    # --- one document -------------------------------------------------------------------------------

    def document(self, request: Request, visitor: Visitor) -> Response:
        """GET /documents/<id>: choose and approve, wait, or the result, as the session stands."""
        row = self._site.requests.get(visitor.owner, request.path_params["id"])
        if row.state == State.FINISHED:
            return self._result(request, visitor, row)
        if row.state in AFTER_APPROVAL:
            return self._waiting(request, visitor, row)
        site = self._site
        first = _number(request.query_params.get("from"), row.pages)
        return self._page(
            request,
            "sign/document.html",
            visitor,
            row=row,
            label=site.requests.label(row),
            findings=[Finding(code) for code in row.findings if code != Finding.SIGNED],
            remarks=site.requests.remarks(row),
            kinds=[(kind, KINDS[kind]) for kind in ("qualified", "advanced-qualified", "advanced")
                   if kind in site.requests.policy.kinds],
            chosen=row.kind or site.requests.policy.kinds[-1],
            problem=PROBLEMS.get(row.problem or ""),
            first=first,
            last=min(row.pages, first + PICTURES - 1),
            pictures=PICTURES,
        )  # fmt: skip

    def _waiting(self, request: Request, visitor: Visitor, row: SigningSession) -> Response:
        """Approved and not finished: being made now, or waiting to be taken up again."""
        return self._page(
            request,
            "sign/waiting.html",
            visitor,
            row=row,
            label=self._site.requests.label(row),
            busy=self._site.requests.in_hands(row),
            problem=PROBLEMS.get(row.problem or "", WAITING),
        )

    def _result(self, request: Request, visitor: Visitor, row: SigningSession) -> Response:
        site = self._site
        result = site.requests.result(row)
        return self._page(
            request,
            "sign/result.html",
            visitor,
            row=row,
            label=site.requests.label(row),
            story=tell(result, base64.b64decode(result["certificate"])),
            place=self._log.place(result["leaf"]),
            kind_name=KINDS[row.kind].name if row.kind in KINDS else "",
            validate_url=site.validate_url,
        )

    def status(self, request: Request, visitor: Visitor) -> Response:
        """GET /documents/<id>/status: for the page that waits."""
        row = self._site.requests.get(visitor.owner, request.path_params["id"])
        return JSONResponse({} if self._site.requests.in_hands(row) else {"next": f"/documents/{row.id}"})

    def picture(self, request: Request, visitor: Visitor) -> Response:
        """GET /documents/<id>/pages/<n>.png; the browser keeps it, and asks each time whether it may."""
        row = self._site.requests.get(visitor.owner, request.path_params["id"])
        number = int(request.path_params["number"])
        tag = f'"{row.digest_shown[:24]}-{number}-{row.state == State.FINISHED:d}"'
        headers = {"cache-control": "private, no-cache", "etag": tag}
        if request.headers.get("if-none-match") == tag and 1 <= number <= row.pages:
            return Response(status_code=304, headers=headers)
        picture = self._site.requests.picture(visitor.owner, row.id, number)
        return Response(picture, media_type="image/png", headers=headers)

    def approve(self, request: Request, visitor: Visitor, form: dict[str, str]) -> Response:
        """POST /documents/<id>/approve: off to the identity provider, or on with what is approved."""
        site, session_id = self._site, request.path_params["id"]
        action = form.get("action")
        if action == "delete":
            site.requests.delete(visitor.owner, session_id)
            return RedirectResponse("/signatures", 303)
        if action == "continue":
            return self._continue(visitor, session_id)
        try:
            frozen = site.requests.freeze(visitor.owner, session_id, form.get("kind", ""), visitor.name)
        except Conflict:
            return RedirectResponse(f"/documents/{session_id}", 303)
        asked = approval_parameters(site.pages.language(request), visitor.owner, frozen)
        authorization = site.client.begin(asked)
        site.requests.requested(visitor.owner, frozen)
        response = RedirectResponse(authorization.url, 303)
        site.visitors.remember(
            request, response, authorization, back="/", session_id=session_id, attempt=frozen.attempt
        )
        return response

    def _continue(self, visitor: Visitor, session_id: str) -> Response:
        """Takes an approved session up again; its page says how that went."""
        try:
            self._site.finishing.advance(visitor.owner, session_id)
        except NotFound:
            raise
        except TspError as waits:
            log.info("session waits: %s", waits.code)
        return RedirectResponse(f"/documents/{session_id}", 303)

    # --- what one gets --------------------------------------------------------------------------------

    def download(self, request: Request, visitor: Visitor) -> Response:
        """GET /documents/<id>/download"""
        label, pdf = self._site.requests.download(visitor.owner, request.path_params["id"])
        suffix = self._site.pages.text(request, "signed")
        return _attachment(pdf, f"{label.removesuffix('.pdf')}-{suffix}.pdf", "application/pdf")

    def evidence(self, request: Request, visitor: Visitor) -> Response:
        """GET /documents/<id>/evidence: the engine's record as canonical JSON (RFC 8785)."""
        row = self._site.requests.get(visitor.owner, request.path_params["id"])
        record = self._site.requests.result(row)["evidence"]
        body = json.dumps(record, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
        name = self._site.pages.text(request, "evidence")
        return _attachment(body, f"{name}-{row.evidence_id}.json", "application/json")

    def package(self, request: Request, visitor: Visitor) -> Response:
        """GET /documents/<id>/package: one file that proves the signature without this service (EVD-3)."""
        row = self._site.requests.get(visitor.owner, request.path_params["id"])
        result = self._site.requests.result(row)
        body = self._packages.build(result["leaf"], result["evidence"], base64.b64decode(result["cms"]))
        name = self._site.pages.text(request, "evidence-package")
        return _attachment(body, f"{name}-{row.evidence_id}.json", "application/json")

    def signatures(self, request: Request, visitor: Visitor) -> Response:
        """GET /signatures?page=<n>"""
        requests = self._site.requests
        wanted = _number(request.query_params.get("page"), 10_000)
        rows, pages = requests.listing(visitor.owner, wanted, PER_PAGE)
        entries = [(row, requests.label(row), KINDS[row.kind].name if row.kind in KINDS else "") for row in rows]
        return self._page(request, "sign/list.html", visitor, entries=entries, page_number=wanted, page_count=pages)

    def _page(
        self, request: Request, template: str, visitor: Visitor | None, status: int = 200, **context: object
    ) -> Response:
        site = self._site
        values: dict[str, Any] = {"code": None, "error": None, "names": [], **context}
        return site.pages.render(
            request,
            template,
            status,
            form_action=(site.idp_origin,),
            back=_document_path(request) if request.method == "POST" else None,
            visitor=visitor,
            max_bytes=site.requests.policy.limits.max_bytes,
            idp_url=site.idp_origin,
            **values,
        )


def _to_login(back: str) -> RedirectResponse:
    return RedirectResponse(f"/login?next={quote(back, safe='/')}", 303)


def _document_path(request: Request) -> str:
    """The page that a form of a document stands on."""
    session_id = request.path_params.get("id")
    return f"/documents/{session_id}" if session_id else "/upload"


def _number(text: str | None, most: int) -> int:
    """A number of the query from 1 to `most`; 1 for anything else."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 8 and 1 <= int(text) <= most else 1


def _attachment(content: bytes, name: str, media_type: str) -> Response:
    """A file to keep; the name in both forms of RFC 6266."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in " .-_()") else "_" for c in name)
    disposition = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
    return Response(
        content, media_type=media_type, headers={"content-disposition": disposition, "cache-control": "no-store"}
    )
