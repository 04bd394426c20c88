"""What protects a page in the browser: headers for every answer, and the two checks of every form."""

import hmac
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tsp.core.errors import Refused


def content_security_policy(form_action: Iterable[str] = ()) -> str:
    """Nothing from elsewhere, nothing inline. `form_action` are origins that a form's answer may redirect to:

    browsers apply form-action to redirects too, so an authorization server has to name its relying parties.
    """
    targets = " ".join(dict.fromkeys(("'self'", *form_action)))
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
        f"connect-src 'self'; form-action {targets}; frame-ancestors 'none'; base-uri 'none'"
    )


def origin_of(url: str) -> str:
    """scheme://host[:port] of an absolute URL; ValueError for anything else."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or "@" in parts.netloc:
        raise ValueError("not an absolute http(s) address")
    return f"{parts.scheme}://{parts.netloc}"


def standing_headers(*, https: bool) -> dict[str, str]:
    """Headers of every answer of a face, pages and files alike.

    Referrer-Policy is same-origin and not no-referrer: with the latter browsers send `Origin: null`
    with our own forms (Fetch, "append a request Origin header"), and the Origin check would refuse them.
    """
    headers = {
        "x-content-type-options": "nosniff",
        "referrer-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        "content-security-policy": content_security_policy(),
    }
    if https:
        headers["strict-transport-security"] = "max-age=63072000; includeSubDomains"
    return headers


class SecurityHeaders:
    """Middleware that adds the standing headers, and no-store where an answer says nothing about caching."""

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        self._app = app
        self._headers = standing_headers(https=https)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)


def check_origin(headers: Headers, origin: str) -> None:
    """Refuses a form that the browser says was sent from another site (OWASP ASVS 5.0, 3.5.1)."""
    sent = headers.get("origin")
    if sent is not None:
        if sent != origin:
            raise _expired("origin")
    elif headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise _expired("fetch-site")


def check_token(cookie: str | None, field: str | None) -> None:
    """Refuses a form whose hidden field does not repeat the cookie (double submit, constant time)."""
    if not cookie or not field or not hmac.compare_digest(cookie.encode(), field.encode()):
        raise _expired("token")


def _expired(reason: str) -> Refused:
    return Refused(
        "form-expired",
        "This page was open for too long. Please load it again and repeat the step; nothing was done.",
        reason=reason,
    )


def safe_path(path: str | None, default: str = "/") -> str:
    """`path` if it is a path of this site and nothing else (no scheme, no host, no tricks), else `default`."""
    if not path or len(path) > 2000 or not path.startswith("/") or path.startswith("//"):
        return default
    if "\\" in path or any(ord(c) <= 32 or ord(c) == 127 for c in path):
        return default
    return path
