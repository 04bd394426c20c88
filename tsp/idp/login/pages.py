"""The pages of a login: every step has one address, `/login?request=<id>`, and shows what is due.

    GET  /authorize                a service sends the browser (client_id, request_uri)
    GET  /authorize/resume         takes a request up again: after a registration, a raised level
    POST /authorize/resume         the same from the page that says that the time is up
    GET  /login                    the page of the step that is due
    POST /login/password, /login/method, /login/code, /login/another, /login/consent,
         /login/approve/send, /login/approve, /login/cancel

What is typed wrong shows the same page again; a step that is not due leads to the one that is.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from tsp.core.errors import NotFound, Refused, TooMany, TspError, http_status
from tsp.core.randomness import Randomness, new_token
from tsp.idp.accounts.assurance import Level
from tsp.idp.login.approvals import Approvals
from tsp.idp.login.book import LoginLimits, Outcome, finished
from tsp.idp.login.flow import LoggedIn, Logins
from tsp.idp.login.steps import Step
from tsp.idp.login.texts import KIND_NAMES
from tsp.idp.login.views import View, Views
from tsp.idp.oidc.claims import CLAIMS
from tsp.idp.oidc.errors import invalid_request
from tsp.idp.session import BROWSER_COOKIE, Sessions
from tsp.web import Pages

#: The mark of a browser in which somebody logged in before; it outlives the session and proves nothing else.
KNOWN_COOKIE = "known"
_YEAR = 365 * 24 * 3600
#: What a level is called (msgids).
LEVEL_NAMES = {Level.LOW: "low", Level.SUBSTANTIAL: "substantial", Level.HIGH: "high"}
APPROVAL_TITLES = {
    "advanced": "Approve the advanced electronic signature",
    "advanced-qualified": "Approve the advanced electronic signature with a qualified certificate",
    "qualified": "Approve the qualified electronic signature",
}
_TEMPLATES = {
    Step.PASSWORD: "idp/login.html",
    Step.METHOD: "idp/choose.html",
    Step.CODE: "idp/code.html",
    Step.LEVEL: "idp/level.html",
    Step.CONSENT: "idp/consent.html",
    Step.APPROVE: "idp/approve.html",
    Step.EXPIRED: "idp/expired.html",
}
#: Errors that a form shows beside itself; any other is a page of its own.
_SHOWN_ON_PAGE = frozenset(
    {
        "login-wrong",
        "too-many-attempts",
        "too-many-messages",
        "code-cooldown",
        "code-wrong",
        "code-expired",
        "code-used",
        "code-spent",
        "approval-wrong",
        "method-unknown",
    }
)

Call = Callable[[str, str | None], Outcome | LoggedIn]


@dataclass(frozen=True)
class LoginPages:
    """Parses, calls, and shows; no rules."""

    pages: Pages
    logins: Logins
    approvals: Approvals
    views: Views
    sessions: Sessions
    randomness: Randomness
    limits: LoginLimits

    # --- arriving -------------------------------------------------------------------------------

    def authorize(self, request: Request) -> Response:
        """GET /authorize: only a pushed request is accepted, so no parameter but its reference is looked at."""
        client_id, request_uri = request.query_params.get("client_id"), request.query_params.get("request_uri")
        if not client_id or not request_uri or len(request_uri) > 200 or len(client_id) > 64:
            raise invalid_request("A service has sent you here without a valid request. Go back and start again there.")
        browser = self.pages.cookie(request, BROWSER_COOKIE)
        known = browser if browser is not None and len(browser) == 43 else None
        token = known or new_token(self.randomness)
        outcome = self.logins.begin(request_uri, client_id, token, self.sessions.current(request))
        response = self._go(outcome)
        if known is None:
            self.pages.set_cookie(response, BROWSER_COOKIE, token)
        return response

    def resume(self, request: Request) -> Response:
        """GET /authorize/resume?request=<id>: the link that the account's pages end with."""
        return self._resumed(request, request.query_params.get("request", ""))

    def start_again(self, request: Request, form: dict[str, str]) -> Response:
        """POST /authorize/resume: what was typed before the time was up comes back."""
        response = self._resumed(request, form.get("request", ""))
        email = form.get("email", "")[:254]
        view = self._view(request, form.get("request", "")) if email else None
        return self._page(request, view, email=email) if view and view.step is Step.PASSWORD else response

    def _resumed(self, request: Request, login_id: str) -> Response:
        return self._go(self.logins.resume(login_id, self._browser(request), self.sessions.current(request)))

    # --- showing --------------------------------------------------------------------------------

    def show(self, request: Request) -> Response:
        """GET /login?request=<id>"""
        view = self._view(request, request.query_params.get("request", ""))
        if view.step is Step.DONE:
            return self._go(self.logins.go_on(view.login_id, self._browser(request)))
        return self._page(request, view)

    def _view(self, request: Request, login_id: str) -> View:
        view = self.views.view(login_id, self._browser(request))
        request.state.ui_locales = view.request.ui_locales
        if view.step is Step.FINISHED:
            raise finished()
        return view

    def _page(
        self, request: Request, view: View, *, error: TspError | None = None, email: str = "", status: int = 200
    ) -> Response:
        language = self.pages.language(request)
        client, details = view.client, view.request.signature
        headers = {"retry-after": str(error.retry_after)} if isinstance(error, TooMany) else {}
        return self.pages.render(
            request,
            _TEMPLATES[view.step],
            status,
            headers=headers,
            back=f"/login?request={view.login_id}",
            login_id=view.login_id,
            service_name=client.name(language),
            organisation=client.organisation_name,
            support=client.support_email,
            links=self._links(view),
            seconds_left=view.seconds_left,
            clock_words=self.pages.text(
                request, "The approval ends in {time}" if view.approving else "Sign-in ends in {time}"
            ),
            approving=view.approving,
            minutes=math.ceil((self.limits.approval if view.approving else self.limits.login) / 60),
            error=self._sentence(request, error),
            email=email or view.request.login_hint,
            choices=view.choices,
            chosen=view.chosen,
            sent=view.sent,
            resend_seconds=view.resend_seconds,
            standing=view.standing,
            levels=LEVEL_NAMES,
            can_rise=self._can_rise(view),
            released=_released(view),
            details=details,
            title=APPROVAL_TITLES[details.kind] if details else "",
            kind_name=KIND_NAMES[details.kind] if details else "",
            signatory=view.signatory,
            list_digest=view.list_digest,
            needs_password=view.needs_password,
        )

    def _links(self, view: View) -> dict[str, str]:
        """The service's own terms and policy where it has some (LOG-1)."""
        own = {"terms": view.client.terms_url, "privacy": view.client.policy_url}
        return {**self.pages.links, **{name: address for name, address in own.items() if address}}

    def _can_rise(self, view: View) -> bool:
        """Whether personal data and an identification key lead to what the service asks."""
        standing = view.standing
        return standing is not None and (standing.acr >= standing.required or standing.required <= Level.SUBSTANTIAL)

    def _sentence(self, request: Request, error: TspError | None) -> str | None:
        if error is None:
            return None
        sentence = self.pages.text(request, error.sentence)
        if isinstance(error, TooMany):
            wait = self.pages.text(request, "You can try again in %(seconds)s s.", seconds=error.retry_after)
            return f"{sentence} {wait}"
        return sentence

    # --- steps ----------------------------------------------------------------------------------

    def password(self, request: Request, form: dict[str, str]) -> Response:
        email, source = form.get("email", "")[:254], request.client.host if request.client else ""
        known = self.pages.cookie(request, KNOWN_COOKIE) or ""
        return self._step(
            request,
            form,
            lambda i, b: self.logins.password(i, b, email, form.get("password", ""), source, known),
            email=email,
        )

    def method(self, request: Request, form: dict[str, str]) -> Response:
        return self._step(request, form, lambda i, b: self.logins.choose(i, b, form.get("method", "")[:80]))

    def another(self, request: Request, form: dict[str, str]) -> Response:
        return self._step(request, form, self.logins.another_way)

    def code(self, request: Request, form: dict[str, str]) -> Response:
        return self._step(request, form, lambda i, b: self.logins.code(i, b, form.get("code", "")[:40]))

    def consent(self, request: Request, form: dict[str, str]) -> Response:
        allowed = form.get("decision") == "allow"
        return self._step(request, form, self.logins.consent if allowed else self.logins.cancel)

    def send_approval(self, request: Request, form: dict[str, str]) -> Response:
        return self._step(request, form, lambda i, b: self.approvals.send(i, b, form.get("method", "")[:80]))

    def approve(self, request: Request, form: dict[str, str]) -> Response:
        code, password = form.get("code", "")[:40], form.get("password", "")
        return self._step(request, form, lambda i, b: self.approvals.approve(i, b, code, password))

    def cancel(self, request: Request, form: dict[str, str]) -> Response:
        return self._step(request, form, self.logins.cancel)

    def _step(self, request: Request, form: dict[str, str], call: Call, *, email: str = "") -> Response:
        """Takes a step and goes where it leads; what was typed wrong shows the page of the step again."""
        login_id, browser = form.get("request", "")[:64], self._browser(request)
        try:
            done = call(login_id, browser)
        except (Refused, TooMany, NotFound) as error:
            if error.code not in _SHOWN_ON_PAGE:
                raise
            return self._page(
                request, self._view(request, login_id), error=error, email=email, status=http_status(error)
            )
        if isinstance(done, LoggedIn):
            response = self._go(done.outcome)
            self.sessions.attach(response, done.session_token)
            self.pages.set_cookie(response, KNOWN_COOKIE, done.known_mark, max_age=_YEAR)
            return response
        if done.step is Step.EXPIRED:
            return self._page(request, self._view(request, login_id), email=email)
        return self._go(done)

    def _go(self, outcome: Outcome) -> Response:
        """303 (RFC 9700, 4.12: never 307, which would carry the form along)."""
        return RedirectResponse(outcome.redirect or f"/login?request={outcome.login_id}", 303, _NO_STORE)

    def _browser(self, request: Request) -> str | None:
        return self.pages.cookie(request, BROWSER_COOKIE)


_NO_STORE = {"cache-control": "no-store"}


def _released(view: View) -> list[tuple[str, str, str | bool | None]]:
    """Claim, its name (msgid) and value for the consent page; a claim without a value is listed too."""
    if view.released is None:
        return []
    return [(name, CLAIMS[name], view.released.get(name)) for name in view.request.released_claims]


def login_routes(p: LoginPages) -> list[BaseRoute]:
    """The routes of the login's pages."""
    show, act = p.pages.view, p.pages.action
    return [
        Route("/authorize", show(p.authorize), methods=["GET"]),
        Route("/authorize/resume", show(p.resume), methods=["GET"]),
        Route("/authorize/resume", act(p.start_again), methods=["POST"]),
        Route("/login", show(p.show), methods=["GET"]),
        Route("/login/password", act(p.password), methods=["POST"]),
        Route("/login/method", act(p.method), methods=["POST"]),
        Route("/login/another", act(p.another), methods=["POST"]),
        Route("/login/code", act(p.code), methods=["POST"]),
        Route("/login/consent", act(p.consent), methods=["POST"]),
        Route("/login/approve/send", act(p.send_approval), methods=["POST"]),
        Route("/login/approve", act(p.approve), methods=["POST"]),
        Route("/login/cancel", act(p.cancel), methods=["POST"]),
    ]
