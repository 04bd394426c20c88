"""The authorization request as a client pushes it: read, checked, frozen (RFC 9126, OpenID Connect Core 3.1.2.1).

Pure: the form and the client in, the request or an error of the family out.
"""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from tsp.core.errors import Invalid, Refused
from tsp.idp.accounts.assurance import Level
from tsp.idp.oidc.claims import CLAIMS, SCOPES
from tsp.idp.oidc.clients import Client
from tsp.idp.oidc.details import SignatureDetails, load_json, parse_details
from tsp.idp.oidc.errors import invalid_request, invalid_scope

#: The longest value of every parameter but authorization_details, in characters.
MAX_VALUE = 2000
PROMPTS = frozenset({"none", "login", "consent", "select_account"})

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_VISIBLE = re.compile(r"[ -~]{1,512}")
_NUMBER = re.compile(r"[0-9]{1,9}")


class AuthorizationRequest(BaseModel):
    """What a client asks for, in good order. `required_level` is the lowest acr that may answer it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    client_id: str
    redirect_uri: str
    scopes: tuple[str, ...]
    state: str | None
    nonce: str | None
    code_challenge: str
    required_level: Level
    max_age: int | None
    prompts: tuple[str, ...]
    ui_locales: str
    login_hint: str
    #: The person whom the client expects (`sub` asked for with a value); another login is a failed one.
    subject: str | None
    id_token_claims: tuple[str, ...]
    userinfo_claims: tuple[str, ...]
    signature: SignatureDetails | None

    @property
    def released_claims(self) -> tuple[str, ...]:
        """Everything that leaves about the person, for the consent page; in the order of the catalogue."""
        asked = {*self.id_token_claims, *self.userinfo_claims}
        return tuple(name for name in CLAIMS if name in asked)


def parse_request(form: Mapping[str, str], client: Client, *, max_documents: int) -> AuthorizationRequest:
    """The request in this form.

    Raises `Invalid` and `Refused` with OAuth's codes: invalid-request, unauthorized-client,
    unsupported-response-type, invalid-scope, invalid-authorization-details, request-not-supported,
    unmet-authentication-requirements.
    """
    _check_frame(form, client)
    scopes = _scopes(form, client)
    claims = _claims_parameter(form)
    signature = _signature(form, client, max_documents)
    allowed = client.claims
    from_scopes = [c for s in scopes for c in SCOPES[s]]
    return AuthorizationRequest(
        client_id=client.client_id,
        redirect_uri=form["redirect_uri"],
        scopes=scopes,
        state=_visible(form, "state"),
        nonce=_visible(form, "nonce"),
        code_challenge=_challenge(form),
        required_level=_required_level(claims, client, signature),
        max_age=_max_age(form),
        prompts=_prompts(form),
        ui_locales=form.get("ui_locales", "")[:200],
        login_hint=form.get("login_hint", "")[:254],
        subject=_subject(claims),
        id_token_claims=tuple(c for c in CLAIMS if c in claims["id_token"] and c in allowed),
        userinfo_claims=tuple(c for c in CLAIMS if (c in claims["userinfo"] or c in from_scopes) and c in allowed),
        signature=signature,
    )


def _check_frame(form: Mapping[str, str], client: Client) -> None:
    """What has to be right before anything else is looked at."""
    if "request" in form:
        raise Invalid("request-not-supported", "Request objects are not supported; push the parameters themselves.")
    if "request_uri" in form:
        raise invalid_request("request_uri must not stand in a pushed request (RFC 9126, 2.1).")
    if "authorization_code" not in client.grants:
        raise Refused("unauthorized-client", "This client may not ask for logins.")
    if form.get("redirect_uri") not in client.redirect_uris:
        raise invalid_request("redirect_uri is missing or is not one that was registered for this client.")
    if form.get("response_type") != "code":
        raise Invalid("unsupported-response-type", "The only supported response_type is code.")
    if form.get("response_mode", "query") != "query":
        raise invalid_request("The only supported response_mode is query.")
    for name, value in form.items():
        if len(value) > MAX_VALUE and name not in ("authorization_details", "client_assertion"):
            raise invalid_request("A parameter is too long.", parameter=name[:40])


def _scopes(form: Mapping[str, str], client: Client) -> tuple[str, ...]:
    asked = tuple(dict.fromkeys(form.get("scope", "").split()))
    if "openid" not in asked:
        raise invalid_scope("scope must contain openid.")
    if any(scope not in SCOPES or scope not in client.scopes for scope in asked):
        raise invalid_scope("scope asks for something that this client is not registered for.")
    return asked


def _challenge(form: Mapping[str, str]) -> str:
    """PKCE with S256 and nothing else (RFC 7636; FAPI 2.0, 5.3.2.2)."""
    challenge = form.get("code_challenge", "")
    if form.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(challenge):
        raise invalid_request("code_challenge with code_challenge_method S256 is needed (RFC 7636).")
    return challenge


def _visible(form: Mapping[str, str], name: str) -> str | None:
    value = form.get(name)
    if value is None or _VISIBLE.fullmatch(value):
        return value
    raise invalid_request(f"{name} must be 1 to 512 printable ASCII characters.")


def _max_age(form: Mapping[str, str]) -> int | None:
    value = form.get("max_age")
    if value is None:
        return None
    if not _NUMBER.fullmatch(value):
        raise invalid_request("max_age must be a number of seconds.")
    return int(value)


def _prompts(form: Mapping[str, str]) -> tuple[str, ...]:
    asked = tuple(dict.fromkeys(form.get("prompt", "").split()))
    if set(asked) - PROMPTS:
        raise invalid_request("prompt knows none, login, consent and select_account.")
    if "none" in asked and len(asked) > 1:
        raise invalid_request("prompt none stands alone.")
    return asked


def _claims_parameter(form: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The members `id_token` and `userinfo` of the claims parameter (OpenID Connect Core, 5.5)."""
    malformed = invalid_request("claims is not the JSON object that OpenID Connect Core 5.5 describes.")
    parsed: Any = load_json(form["claims"], malformed) if "claims" in form else {}
    if not isinstance(parsed, dict):
        raise malformed
    read: dict[str, dict[str, Any]] = {}
    for place in ("id_token", "userinfo"):
        member = parsed.get(place) or {}
        if not isinstance(member, dict) or not all(v is None or isinstance(v, dict) for v in member.values()):
            raise malformed
        read[place] = {name: wish or {} for name, wish in member.items()}
    return read


def _required_level(
    claims: Mapping[str, Mapping[str, Any]], client: Client, signature: SignatureDetails | None
) -> Level:
    """The lowest level that may answer: the client's minimum, an essential acr, and what a signature needs (SIG-3).

    Levels are ordered: a higher one satisfies a request for a lower one. acr_values and an acr that
    is not essential are wishes; every login reaches as high as the account can without them.
    """
    needed = [client.minimum_acr]
    if signature is not None:
        needed.append(Level.SUBSTANTIAL)
    acr = claims["id_token"].get("acr", {})
    if acr.get("essential") is True:
        values = acr["values"] if "values" in acr else [acr.get("value")]
        levels = [level for level in Level if isinstance(values, list) and level.uri in values]
        if not levels:
            raise Refused(
                "unmet-authentication-requirements",
                "None of the essential acr values can be met; known are http://eidas.europa.eu/LoA/low, "
                "substantial and high.",
            )
        needed.append(min(levels))
    return max(needed)


def _subject(claims: Mapping[str, Mapping[str, Any]]) -> str | None:
    value = claims["id_token"].get("sub", {}).get("value")
    if value is None or (isinstance(value, str) and 1 <= len(value) <= 255):
        return value
    raise invalid_request("The value of the claim sub must be a string.")


def _signature(form: Mapping[str, str], client: Client, max_documents: int) -> SignatureDetails | None:
    text = form.get("authorization_details")
    if text is None:
        return None
    return parse_details(text, allowed_kinds=client.signature_kinds, max_documents=max_documents)
