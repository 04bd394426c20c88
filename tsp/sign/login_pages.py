"""Login at this site and the way back from the identity provider, for logins and approvals alike."""

import contextlib
import json
import logging
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from tsp.core.errors import Conflict, Refused, TspError
from tsp.sign.finishing import Finishing
from tsp.sign.oidc_client import OidcClient, Tokens
from tsp.sign.requests import Frozen, SigningRequests
from tsp.sign.visitors import Returned, Visitor, Visitors
from tsp.web import Pages
from tsp.web.security import safe_path

log = logging.getLogger("tsp.sign")

SUBSTANTIAL, HIGH = "http://eidas.europa.eu/LoA/substantial", "http://eidas.europa.eu/LoA/high"
_LEVELS = (SUBSTANTIAL, HIGH)
_MAX_ANSWER = 2000
#: The `token_type` of an approval (SAD).
_APPROVAL = "sad"


@dataclass(frozen=True)
class Site:
    """What the pages of this site work with. `idp_origin` is where forms may lead, `validate_url` the checking page."""

    pages: Pages
    visitors: Visitors
    requests: SigningRequests
    finishing: Finishing
    client: OidcClient
    idp_origin: str
    validate_url: str


def login_parameters(language: str) -> dict[str, str]:
    """What a login asks for: name and surname, and an assurance that may sign (SIG-3)."""
    wanted = {"given_name": None, "family_name": None, "acr": {"essential": True, "values": list(_LEVELS)}}
    return {
        "scope": "openid",
        "acr_values": " ".join(_LEVELS),
        "claims": json.dumps({"id_token": wanted}),
        "ui_locales": language,
    }


def approval_parameters(language: str, owner: str, frozen: Frozen) -> dict[str, str]:
    """What an approval asks for: this person, this document, this kind (RFC 9396)."""
    wanted = {
        "sub": {"essential": True, "value": owner},
        "given_name": None,
        "family_name": None,
        "acr": {"essential": True, "values": list(_LEVELS)},
    }
    return {
        "scope": "openid",
        "claims": json.dumps({"id_token": wanted}),
        "authorization_details": json.dumps(frozen.authorization_details()),
        "ui_locales": language,
    }


class LoginPages:
    """/login, /callback, /approved, /logout."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def log_in(self, request: Request) -> Response:
        """GET /login?next=/path: off to the identity provider."""
        site = self._site
        back = safe_path(request.query_params.get("next"))
        if site.visitors.current(request) is not None:
            return RedirectResponse(back, 303)
        authorization = site.client.begin(login_parameters(site.pages.language(request)))
        response = RedirectResponse(authorization.url, 303)
        site.visitors.remember(request, response, authorization, back=back)
        return response

    def come_back(self, request: Request) -> Response:
        """GET /callback: the identity provider's answer (RFC 6749, 4.1.2; RFC 9207)."""
        answer = {name: value[:_MAX_ANSWER] for name, value in request.query_params.items()}
        returned = self._site.visitors.take(request, answer.get("state", ""))
        self._site.client.check_issuer(answer.get("iss"))
        if returned.session_id is not None and returned.attempt is not None:
            return self._approval(request, answer, returned, returned.session_id, returned.attempt)
        return self._login(answer, returned)

    def log_out(self, request: Request, form: dict[str, str]) -> Response:
        """POST /logout: here, and at the identity provider too."""
        site = self._site
        try:
            there = site.client.logout_url(f"{site.pages.origin}/")
        except TspError:
            there = None  # the provider is down; here the login ends all the same
        response = RedirectResponse(there or "/", 303)
        site.visitors.end(request, response)
        return response

    def _login(self, answer: dict[str, str], returned: Returned) -> Response:
        if error := answer.get("error"):
            if error == "access_denied":
                return RedirectResponse("/", 303)
            raise _login_error(error)
        tokens = self._tokens(answer, returned)
        response = RedirectResponse(safe_path(returned.back), 303)
        self._site.visitors.begin(response, tokens)
        return response

    def _approval(
        self, request: Request, answer: dict[str, str], returned: Returned, session_id: str, attempt: str
    ) -> Response:
        site = self._site
        visitor = site.visitors.current(request)
        response = RedirectResponse(f"/documents/{session_id}", 303)
        if "error" in answer:
            if visitor is not None:
                self._declined(answer["error"], visitor, session_id, attempt)
            return response
        tokens = self._tokens(answer, returned)
        owner = self._approver(tokens, visitor)
        row = site.requests.get(owner, session_id)
        asked = site.requests.frozen(row).authorization_details()
        if tokens.token_type != _APPROVAL or tokens.authorization_details != asked:
            raise Refused("login-refused", "Signing in did not succeed. Please begin again.", reason="other-approval")
        site.requests.approved(owner, session_id, attempt, tokens.access_token)
        if visitor is None:
            site.visitors.begin(response, tokens)
        try:
            site.finishing.advance(owner, session_id)
        except TspError as waits:
            log.info("session waits: %s", waits.code)  # the document's page says so and offers to go on
        return response

    def _declined(self, error: str, visitor: Visitor, session_id: str, attempt: str) -> None:
        """No approval; a newer attempt in another window is left alone."""
        problem = "approval-declined" if error == "access_denied" else "approval-failed"
        with contextlib.suppress(Conflict):
            self._site.requests.declined(visitor.owner, session_id, attempt, problem)

    def _tokens(self, answer: dict[str, str], returned: Returned) -> Tokens:
        """The tokens behind the code, with everything that this site asked for."""
        tokens = self._site.client.finish(
            code=answer.get("code", ""), iss=answer.get("iss"), nonce=returned.nonce, verifier=returned.verifier
        )
        claims = tokens.id_claims
        if claims.get("acr") not in _LEVELS:
            raise _login_error("unmet_authentication_requirements")
        names = (claims.get("given_name"), claims.get("family_name"))
        if not all(isinstance(name, str) and 1 <= len(name) <= 200 for name in names):
            raise Refused(
                "names-missing",
                "This service needs your name and surname. Allow them when you sign in, or add your personal data "
                "to your account first.",
            )
        return tokens

    def _approver(self, tokens: Tokens, visitor: Visitor | None) -> str:
        owner = str(tokens.id_claims["sub"])
        if visitor is not None and visitor.owner != owner:
            raise Refused(
                "other-person", "The approval was given by another person than the one who brought the document."
            )
        return owner


def _login_error(error: str) -> Refused:
    if error == "unmet_authentication_requirements":
        return Refused(
            "assurance-too-low",
            "To sign, your account needs the level of assurance substantial or high. Raise it in your account, "
            "then sign in again.",
        )
    return Refused("login-refused", "Signing in did not succeed. Please begin again.", reason="provider")
