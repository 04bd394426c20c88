"""The pages of a person's certificates and of revocation.

/certificates            those that can be revoked        idp.certificates
/certificates/all        every one, also for single signatures  idp.certificates-all
/certificates/<serial>.pem    one of them, to keep
/certificates/revoke     one of them: reason, password    idp.certificate-revoke
/revoke                  by PUK: address, then code       idp.revoke, idp.revoke-code
/revoke/done             what was done                    idp.revoke-done
"""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from tsp.ca.inventory import state_of
from tsp.ca.revocation import REASONS_OF, typed_serial
from tsp.ca.store import to_pem
from tsp.ca.tables import Certificate
from tsp.core.clock import Clock
from tsp.core.errors import Conflict, Invalid, NotFound, Refused, TooMany, TspError, http_status
from tsp.core.randomness import Randomness, new_token
from tsp.idp.accounts.contacts import read_email
from tsp.idp.accounts.identity_pages import CurrentAccount
from tsp.idp.accounts.service import AccountSession
from tsp.idp.accounts.waiting import Waiting, sentence_of
from tsp.idp.certificates.puk import PukRevocation
from tsp.idp.certificates.service import OwnCertificates
from tsp.idp.certificates.words import KINDS, OTHER_KIND, REASONS
from tsp.web import Pages

LIST, ALL, REVOKE, BY_PUK, DONE = (
    "/certificates",
    "/certificates/all",
    "/certificates/revoke",
    "/revoke",
    "/revoke/done",
)
COOKIE = "revocation"
_KEEP_SECONDS = 3600
_MAX_TYPED = 320


@dataclass(frozen=True)
class CertificatePages:
    """Parses, calls, shows; no rules."""

    pages: Pages
    own: OwnCertificates
    by_puk: PukRevocation
    clock: Clock
    randomness: Randomness
    current_account: CurrentAccount

    # --- with a login ---------------------------------------------------------------------------

    def show_list(self, request: Request) -> Response:
        """GET /certificates"""
        account = self.current_account(request)
        done = {name for name in ("revoked", "already") if name in request.query_params}
        return self.pages.render(
            request,
            "idp/certificates.html",
            page="idp.certificates",
            logged_in=account is not None,
            done=done,
            certificates=[] if account is None else [self._shown(request, row) for row in self.own.list(account)],
        )

    def show_all(self, request: Request) -> Response:
        """GET /certificates/all?after="""
        account = self.current_account(request)
        if account is None:
            return RedirectResponse(LIST, 303)
        page, now = self.own.all(account, request.query_params.get("after", "")), self.clock.now()
        rows = [{**self._shown(request, row), "state": state_of(row, now).value} for row in page.certificates]
        return self.pages.render(
            request,
            "idp/certificates_all.html",
            page="idp.certificates-all",
            back=LIST,
            certificates=rows,
            older=f"{ALL}?after={page.after}" if page.after else "",
        )

    def download(self, request: Request) -> Response:
        """GET /certificates/<serial>.pem"""
        account = self.current_account(request)
        if account is None:
            return RedirectResponse(LIST, 303)
        row = self.own.one(account, request.path_params["serial"])
        headers = {"content-disposition": f'attachment; filename="{row.serial}.pem"', "cache-control": "no-store"}
        return Response(to_pem(row.der), media_type="application/x-pem-file", headers=headers)

    def show_revoke(self, request: Request) -> Response:
        """GET /certificates/revoke?serial="""
        account = self.current_account(request)
        if account is None:
            return RedirectResponse(LIST, 303)
        return self._revoke(request, account, request.query_params.get("serial", ""))

    def submit_revoke(self, request: Request, form: dict[str, str]) -> Response:
        """POST /certificates/revoke"""
        account = self.current_account(request)
        if account is None or "cancel" in form:
            return RedirectResponse(LIST, 303)
        serial, reason = form.get("serial", ""), form.get("reason", "")
        try:
            done = self.own.revoke(account, serial, reason, form.get("password", ""))
        except (Refused, TooMany, Conflict) as error:
            return self._revoke(request, account, serial, reason, error)
        except Invalid as error:
            if error.code != "revocation-reason-unknown":
                raise
            chosen = Refused("reason-missing", "Choose the reason for the revocation.")
            return self._revoke(request, account, serial, "", chosen)
        return RedirectResponse(f"{LIST}?{'already' if done.already else 'revoked'}=1", 303)

    def _revoke(
        self, request: Request, account: AccountSession, serial: str, reason: str = "", error: TspError | None = None
    ) -> Response:
        number = typed_serial(serial)
        row = next((row for row in self.own.list(account) if row.serial == number), None)
        if row is None:
            raise NotFound("certificate-unknown", "There is no such certificate.")
        return self.pages.render(
            request,
            "idp/certificate_revoke.html",
            http_status(error) if error else 200,
            headers=_retry(error),
            back=LIST,
            page="idp.certificate-revoke",
            certificate=self._shown(request, row),
            reasons=self._reasons(request),
            reason=reason,
            error=sentence_of(self.pages, request, error),
        )

    def _shown(self, request: Request, row: Certificate) -> dict[str, object]:
        return {
            "serial": row.serial,
            "kind": self.pages.text(request, KINDS.get(row.profile, OTHER_KIND)),
            "not_before": row.not_before,
            "not_after": row.not_after,
        }

    def _reasons(self, request: Request) -> list[tuple[str, str]]:
        return [(reason, self.pages.text(request, REASONS[reason])) for reason in REASONS_OF["subject"]]

    # --- by PUK ---------------------------------------------------------------------------------

    def show_puk(self, request: Request) -> Response:
        """GET /revoke"""
        return self._address(request, "")

    def submit_puk(self, request: Request, form: dict[str, str]) -> Response:
        """POST /revoke: the address, or code and PUK"""
        if "cancel" in form:
            return RedirectResponse("/", 303)
        email = form.get("email", "")[:_MAX_TYPED]
        token = self.pages.cookie(request, COOKIE) or ""
        if "code" not in form or "resend" in form:
            return self._send(request, email, token)
        try:
            self.by_puk.revoke(email, token, form.get("code", ""), form.get("puk", ""), form.get("reason", ""))
        except (Refused, TooMany, NotFound) as error:
            return self._code(request, email, token, form.get("reason", ""), error)
        except Invalid as error:
            if error.code != "revocation-reason-unknown":
                raise
            chosen = Refused("reason-missing", "Choose the reason for the revocation.")
            return self._code(request, email, token, "", chosen)
        response = RedirectResponse(DONE, 303)
        self.pages.clear_cookie(response, COOKIE)
        return response

    def show_done(self, request: Request) -> Response:
        """GET /revoke/done"""
        return self.pages.render(request, "idp/revoke_done.html", page="idp.revoke-done")

    def _send(self, request: Request, email: str, token: str) -> Response:
        try:
            read_email(email)
        except Invalid as wrong:
            return self._address(request, email, wrong)
        fresh = token or new_token(self.randomness)
        error: TspError | None = None
        try:
            self.by_puk.send(email, fresh)
        except TooMany as busy:
            error = busy
        response = self._code(request, email, fresh, "", error)
        self.pages.set_cookie(response, COOKIE, fresh, max_age=_KEEP_SECONDS)
        return response

    def _address(self, request: Request, email: str, error: TspError | None = None) -> Response:
        return self.pages.render(
            request,
            "idp/revoke.html",
            http_status(error) if error else 200,
            page="idp.revoke",
            email=email,
            error=sentence_of(self.pages, request, error),
        )

    def _code(self, request: Request, email: str, token: str, reason: str, error: TspError | None) -> Response:
        waiting = Waiting.of(self.by_puk.state(token), self.clock.now())
        return self.pages.render(
            request,
            "idp/revoke_code.html",
            http_status(error) if error else 200,
            headers=_retry(error),
            back=BY_PUK,
            page="idp.revoke-code",
            email=email,
            waiting=waiting,
            reasons=self._reasons(request),
            reason=reason,
            error=sentence_of(self.pages, request, error),
        )


def certificate_routes(shown: CertificatePages) -> list[Route]:
    """The routes of the pages."""
    view, action = shown.pages.view, shown.pages.action
    return [
        Route(LIST, view(shown.show_list), methods=["GET"]),
        Route(ALL, view(shown.show_all), methods=["GET"]),
        Route(f"{LIST}/{{serial}}.pem", view(shown.download), methods=["GET"]),
        Route(REVOKE, view(shown.show_revoke), methods=["GET"]),
        Route(REVOKE, action(shown.submit_revoke), methods=["POST"]),
        Route(BY_PUK, view(shown.show_puk), methods=["GET"]),
        Route(BY_PUK, action(shown.submit_puk), methods=["POST"]),
        Route(DONE, view(shown.show_done), methods=["GET"]),
    ]


def _retry(error: TspError | None) -> dict[str, str] | None:
    return {"retry-after": str(error.retry_after)} if isinstance(error, TooMany) else None
