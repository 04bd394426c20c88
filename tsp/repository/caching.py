"""Answers that caches may keep (RFC 9110, 13)."""

import hashlib
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from tsp.ca.http import is_known

#: Pages are asked for again each time, and sent again only where they changed.
_CACHING = {"cache-control": "public, no-cache"}
#: RFC 9110, 15.4.5: what a 304 repeats of the answer that it stands for.
_KEPT = {"cache-control", "etag", "vary", "content-language", "content-security-policy"}


def cacheable(view: Callable[[Request], Response]) -> Callable[[Request], Response]:
    """A view whose answer caches may keep and ask about (RFC 9110, 13): no cookie, a tag, 304 for who has it.

    Only for pages without a form: the token of a form would be everybody's.
    """

    def answer(request: Request) -> Response:
        response = view(request)
        if response.status_code != 200:
            return response
        del response.headers["set-cookie"]
        etag = f'"{hashlib.sha256(bytes(response.body)).hexdigest()}"'
        response.headers.update({**_CACHING, "etag": etag})
        if is_known(request.headers, etag):
            known = Response(status_code=304, headers={k: v for k, v in response.headers.items() if k in _KEPT})
            del known.headers["content-length"]
            return known
        return response

    return answer
