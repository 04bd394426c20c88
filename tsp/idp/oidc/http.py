"""The routes that machines call: discovery, keys, pushed requests, tokens, userinfo.

/.well-known/openid-configuration   OpenID Connect Discovery 4, RFC 8414
/jwks                               RFC 7517
/par                                RFC 9126
/token                              RFC 6749
/userinfo                           OpenID Connect Core 5.3, RFC 6750
"""

import logging
from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from hsm.errors import HsmError
from tsp.core.errors import Invalid, TspError
from tsp.idp.accounts.assurance import Level
from tsp.idp.oidc.claims import CLAIMS, SCOPES
from tsp.idp.oidc.clients import CLIENT_SCOPES
from tsp.idp.oidc.details import SIGNATURE
from tsp.idp.oidc.errors import error_response, invalid_request, invalid_token, oauth_error
from tsp.idp.oidc.keys import ALGORITHM, token_unavailable
from tsp.idp.oidc.provider import OpenIdProvider
from tsp.web.forms import read_form
from tsp.web.language import LANGUAGES

log = logging.getLogger("tsp.idp.oidc")

#: A pushed request with a hundred documents fits; nothing larger is read.
MAX_BODY = 256 * 1024
_NO_STORE = {"cache-control": "no-store", "pragma": "no-cache"}
_KEYS_CACHED = {"cache-control": "public, max-age=300", "access-control-allow-origin": "*"}

Call = Callable[[dict[str, str]], dict[str, Any]]


def discovery(provider: OpenIdProvider) -> dict[str, Any]:
    """The provider's metadata (OpenID Connect Discovery 3; RFC 8414, 9126 5, 9207 3, 9396 10)."""
    issuer = provider.issuer
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "userinfo_endpoint": f"{issuer}/userinfo",
        "jwks_uri": f"{issuer}/jwks",
        "pushed_authorization_request_endpoint": f"{issuer}/par",
        "end_session_endpoint": f"{issuer}/logout",
        "require_pushed_authorization_requests": True,
        "scopes_supported": sorted({*SCOPES, *CLIENT_SCOPES}),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "client_credentials"],
        "acr_values_supported": [level.uri for level in Level],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": [ALGORITHM],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": [ALGORITHM],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "authorization_details_types_supported": [SIGNATURE],
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "claim_types_supported": ["normal"],
        "claims_supported": ["sub", "acr", "amr", "auth_time", *CLAIMS],
        "claims_parameter_supported": True,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
        "ui_locales_supported": list(LANGUAGES),
    }


def oidc_routes(provider: OpenIdProvider) -> list[BaseRoute]:
    """The provider's endpoints for machines."""
    metadata = discovery(provider)
    keys = {"keys": [provider.keys.id_token.public_jwk]}

    async def show_metadata(_request: Request) -> Response:
        return JSONResponse(metadata, headers=_KEYS_CACHED)

    async def show_keys(_request: Request) -> Response:
        return JSONResponse(keys, headers=_KEYS_CACHED)

    async def userinfo(request: Request) -> Response:
        try:
            token = bearer_token(request)
            return JSONResponse(await run_in_threadpool(provider.userinfo, token), headers=_NO_STORE)
        except HsmError as error:
            return error_response(token_unavailable(error))
        except TspError as error:
            return challenge(error)

    return [
        Route("/.well-known/openid-configuration", show_metadata, methods=["GET"]),
        Route("/jwks", show_keys, methods=["GET"]),
        Route("/par", _form_endpoint(provider.push, 201), methods=["POST"]),
        Route("/token", _form_endpoint(provider.token, 200), methods=["POST"]),
        Route("/userinfo", userinfo, methods=["GET", "POST"]),
    ]


def _form_endpoint(call: Call, status: int) -> Callable[[Request], Any]:
    """An endpoint that takes a form and answers with JSON, errors in OAuth's words."""

    async def endpoint(request: Request) -> Response:
        try:
            form = await _read(request)
            return JSONResponse(await run_in_threadpool(call, form), status, _NO_STORE)
        except HsmError as error:
            return error_response(token_unavailable(error))
        except TspError as error:
            log.info("oauth error %s %s", error.code, {k: v for k, v in error.facts.items() if v is not None})
            return error_response(error)

    return endpoint


async def _read(request: Request) -> dict[str, str]:
    try:
        return await read_form(request, MAX_BODY)
    except Invalid as error:
        raise invalid_request(
            "The body must be application/x-www-form-urlencoded in UTF-8, of limited size, each parameter once.",
            reason=error.code,
        ) from error


def bearer_token(request: Request) -> str:
    """The token of the Authorization header (RFC 6750, 2.1). Raises `Refused` (invalid-token)."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip() or len(token) > 200:
        raise invalid_token("missing")
    return token.strip()


def challenge(error: TspError) -> JSONResponse:
    """The answer of a protected resource (RFC 6750, 3)."""
    response = error_response(error)
    if response.status_code in (401, 403):
        response.headers["www-authenticate"] = f'Bearer error="{oauth_error(error)}"'
    return response
