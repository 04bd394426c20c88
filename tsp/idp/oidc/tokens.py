"""The contents of the tokens: pure functions of what happened, the key's owner and the moment."""

import base64
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from tsp.idp.accounts.assurance import Means
from tsp.idp.credentials.keys import Mac, framed
from tsp.idp.oidc.claims import ClaimValues
from tsp.idp.oidc.grants import Approval, Grant

ID_TOKEN_TYPE = "JWT"  # noqa: S105  (a media type)
APPROVAL_TYPE = "sad+jwt"
APPROVAL_AUDIENCE = "enkrat-engine"
#: The approval lives this long after the person gave it, however late the client fetches it.
APPROVAL_LIFETIME = timedelta(minutes=5)
ID_TOKEN_LIFETIME = timedelta(minutes=5)

#: RFC 8176 values of each means, and which kinds of factor it proves.
_AMR: Mapping[Means, tuple[tuple[str, ...], frozenset[str]]] = {
    Means.PASSWORD: (("pwd",), frozenset({"knowledge"})),
    Means.EMAIL_CODE: (("otp",), frozenset()),
    Means.SMS_CODE: (("sms",), frozenset({"possession"})),
    Means.ONEPASS_CODE: (("otp",), frozenset({"possession"})),
    Means.ONEPASS_PUSH: (("swk",), frozenset({"possession"})),
    Means.PASSKEY: (("swk", "user"), frozenset({"knowledge", "possession"})),
    Means.PASSKEY_ATTESTED: (("hwk", "user"), frozenset({"knowledge", "possession"})),
    Means.CERTIFICATE: (("swk",), frozenset({"possession"})),
    Means.CERTIFICATE_CARD: (("sc",), frozenset({"knowledge", "possession"})),
}


def amr(means: frozenset[Means]) -> list[str]:
    """The authentication methods references of what was proven; `mfa` only where two kinds of factor were."""
    values = list(dict.fromkeys(value for m in sorted(means) for value in _AMR[m][0]))
    kinds = frozenset[str]().union(*(_AMR[m][1] for m in means))
    return [*values, "mfa"] if len(kinds) > 1 else values


def pairwise_subject(key: Mac, sector: str, account_id: str) -> str:
    """The person's `sub` for one sector: an HMAC made in the token (OpenID Connect Core, 8.1).

    The same for ever for the same account, without a way back, and never another account's.
    """
    digest = key.mac(framed("pairwise-sub", sector, account_id))
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def id_token(
    grant: Grant, *, issuer: str, client_id: str, subject: str, claims: ClaimValues, now: datetime
) -> dict[str, Any]:
    """The claims of an ID Token (OpenID Connect Core, 2)."""
    values: dict[str, Any] = {
        **claims,
        "iss": issuer,
        "sub": subject,
        "aud": client_id,
        "iat": _seconds(now),
        "exp": _seconds(now + ID_TOKEN_LIFETIME),
        "auth_time": _seconds(grant.auth_time),
        "acr": grant.acr.uri,
        "amr": amr(grant.means),
    }
    if grant.nonce is not None:
        values["nonce"] = grant.nonce
    return values


def approval_expiry(approval: Approval) -> datetime:
    return approval.approved_at + APPROVAL_LIFETIME


def signature_activation_data(
    grant: Grant,
    approval: Approval,
    *,
    issuer: str,
    client_id: str,
    key_thumbprint: str,
    subject: str,
    now: datetime,
) -> dict[str, Any]:
    """The claims of the approval (SAD) that the engine checks by itself.

    ETSI TS 119 431-1, SIG-6.3.1-11 and -12: it holds the signing session's id (`sid_sign`) and that
    of the identity verification (`idv`). It is bound to the client's key (RFC 7800, `cnf`) and to
    each document's two digests.
    """
    return {
        "iss": issuer,
        "aud": APPROVAL_AUDIENCE,
        "jti": approval.jti,
        "iat": _seconds(now),
        "exp": _seconds(approval_expiry(approval)),
        "client_id": client_id,
        "cnf": {"jkt": key_thumbprint},
        "sub": subject,
        "acr": grant.acr.uri,
        "amr": amr(grant.means),
        "auth_time": _seconds(grant.auth_time),
        "idv": approval.verification_id,
        "sid_sign": approval.details.session,
        "kind": approval.details.kind,
        "documents": [d.model_dump() for d in approval.details.documents],
        "subject": approval.signatory.model_dump(),
    }


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())
