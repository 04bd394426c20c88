"""Logout at the wish of a service (OpenID Connect RP-Initiated Logout 1.0) or of the person.

A service that shows an ID Token of the person who is logged in here ends the session at once;
without one the person is asked first, because any page could send a browser here.
"""

from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from tsp.core.errors import Invalid, Refused
from tsp.idp.oidc.clients import Client
from tsp.idp.oidc.provider import OpenIdProvider
from tsp.idp.oidc.redirects import with_query
from tsp.idp.session import Sessions
from tsp.web import Pages
from tsp.web.forms import read_form

#: What the confirmation page carries along.
_CARRIED = ("client_id", "post_logout_redirect_uri", "state")
_MAX_VALUE = 8000


@dataclass(frozen=True)
class _Hint:
    """What an ID Token of ours says about who asks."""

    client: Client
    subject: str


@dataclass(frozen=True)
class LogoutPages:
    """Ends the session of this browser."""

    pages: Pages
    provider: OpenIdProvider
    sessions: Sessions

    def show(self, request: Request) -> Response:
        """GET /logout"""
        wish = {name: value for name, value in request.query_params.items() if len(value) <= _MAX_VALUE}
        hint = self._hint(wish.get("id_token_hint"))
        if "id_token_hint" in wish and hint is None:
            raise Invalid("logout-hint", "This sign-out link is not valid. Sign out at the service instead.")
        if hint is not None and wish.get("client_id", hint.client.client_id) != hint.client.client_id:
            raise Invalid("logout-hint", "This sign-out link is not valid. Sign out at the service instead.")
        client = hint.client if hint else self.provider.clients.get(wish.get("client_id", ""))
        current = self.sessions.current(request)
        own = current is not None and hint is not None and hint.subject == self._subject(hint, current.account_id)
        if current is None or own:
            return self._end(request, wish, client if hint else None)
        return self.pages.render(
            request,
            "idp/logout.html",
            service_name=client.name(self.pages.language(request)) if client else "",
            carried={name: wish[name] for name in _CARRIED if name in wish},
        )

    def confirm(self, request: Request, form: dict[str, str]) -> Response:
        """POST /logout/confirm: the person said yes."""
        return self._end(request, form, self.provider.clients.get(form.get("client_id", "")))

    def _end(self, request: Request, wish: dict[str, str], client: Client | None) -> Response:
        """Ends the session; goes back only to an address that this client registered."""
        address = wish.get("post_logout_redirect_uri", "")
        if client is not None and address in client.post_logout_redirect_uris:
            state = [("state", wish["state"])] if "state" in wish else []
            response: Response = RedirectResponse(with_query(address, state), 303)
        else:
            response = self.pages.render(request, "idp/logged_out.html", back="/")
        self.sessions.end(request, response)
        return response

    def _hint(self, token: str | None) -> _Hint | None:
        """Client and subject of an ID Token of ours, also of one that has expired; None for anything else."""
        if not token:
            return None
        try:
            claims = self.provider.keys.id_token.verify(token, "jwt")
        except Refused:
            return None
        client = self.provider.clients.get(str(claims.get("aud")))
        if client is None or claims.get("iss") != self.provider.issuer:
            return None
        return _Hint(client, str(claims.get("sub")))

    def _subject(self, hint: _Hint, account_id: str) -> str:
        return self.provider.subject(hint.client.sector, account_id)


def logout_routes(p: LogoutPages) -> list[BaseRoute]:
    """The routes of logout. A service may also post; the browser then comes again by GET with its cookies."""

    async def posted(request: Request) -> Response:
        form = await read_form(request, 4 * _MAX_VALUE)
        return RedirectResponse(f"/logout?{urlencode(form)}", 303)

    return [
        Route("/logout", p.pages.view(p.show), methods=["GET"]),
        Route("/logout", posted, methods=["POST"]),
        Route("/logout/confirm", p.pages.action(p.confirm), methods=["POST"]),
    ]
