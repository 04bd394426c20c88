"""The error family in OAuth's words: one table, used by every endpoint that answers a client.

Codes of the family that are OAuth's own carry its name with hyphens. Sentences go out as
`error_description`, which allows printable ASCII without quotation marks and backslashes
(RFC 6749, 5.2).
"""

from collections.abc import Mapping

from starlette.responses import JSONResponse

from tsp.core.errors import Fact, Invalid, Refused, TooMany, TspError, Unavailable, http_status

#: error code -> HTTP status (RFC 6749 5.2, RFC 6750 3.1, RFC 9126 2.3, RFC 9396 5, OpenID Connect Core 3.1.2.6,
#: OpenID Connect Core Unmet Authentication Requirements 1.0).
_STATUS: Mapping[str, int] = {
    "invalid_request": 400,
    "invalid_client": 401,
    "invalid_grant": 400,
    "unauthorized_client": 400,
    "unsupported_grant_type": 400,
    "unsupported_response_type": 400,
    "invalid_scope": 400,
    "invalid_authorization_details": 400,
    "request_not_supported": 400,
    "request_uri_not_supported": 400,
    "invalid_token": 401,
    "insufficient_scope": 403,
    "access_denied": 403,
    "login_required": 400,
    "consent_required": 400,
    "interaction_required": 400,
    "unmet_authentication_requirements": 400,
}


def invalid_request(sentence: str, **facts: Fact) -> Invalid:
    """A request that lacks something, says it twice or says it wrongly."""
    return Invalid("invalid-request", sentence, **facts)


def invalid_client(reason: str, **facts: Fact) -> Refused:
    """The client did not prove who it is. The answer does not say what failed; the log does."""
    return Refused("invalid-client", "Client authentication failed.", reason=reason, **facts)


def invalid_grant(reason: str, **facts: Fact) -> Refused:
    """The code cannot be redeemed. The answer does not say why; the log does."""
    return Refused(
        "invalid-grant",
        "This code is unknown, expired, already used, or was given to another client or for another verifier.",
        reason=reason,
        **facts,
    )


def invalid_scope(sentence: str) -> Invalid:
    return Invalid("invalid-scope", sentence)


def invalid_details(sentence: str) -> Invalid:
    """authorization_details that are not exactly what their type allows (RFC 9396, 5)."""
    return Invalid("invalid-authorization-details", sentence)


def invalid_token(reason: str) -> Refused:
    return Refused("invalid-token", "This access token is unknown, expired or revoked.", reason=reason)


def oauth_error(error: TspError) -> str:
    """The OAuth name of an error."""
    name = error.code.replace("-", "_")
    if name in _STATUS:
        return name
    if isinstance(error, Unavailable | TooMany):
        return "temporarily_unavailable"
    if isinstance(error, Invalid):
        return "invalid_request"
    return "access_denied"


def error_response(error: TspError) -> JSONResponse:
    """The error as the JSON that RFC 6749 5.2 and RFC 9126 2.3 describe."""
    name = oauth_error(error)
    headers = {"cache-control": "no-store", "pragma": "no-cache"}
    if isinstance(error, TooMany):
        headers["retry-after"] = str(error.retry_after)
    return JSONResponse(
        {"error": name, "error_description": _description(error.sentence)},
        _STATUS.get(name) or http_status(error),
        headers,
    )


def _description(sentence: str) -> str:
    return "".join(c if " " <= c <= "~" and c not in '"\\' else "?" for c in sentence)
