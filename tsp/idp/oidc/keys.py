"""Signing tokens with keys that stay in the HSM, and publishing their public halves.

joserfc asks an algorithm object to sign; ours hands the SHA-256 digest to the token and turns the
DER signature that comes back into R || S (RFC 7518, 3.4). What joserfc holds is the public key.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from joserfc import jws, jwt
from joserfc._rfc7515.model import JWSAlgModel
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from hsm.errors import HsmError
from tsp.core.errors import Refused, Unavailable
from tsp.core.jwk import public_key

ALGORITHM = "ES256"
ID_TOKEN_KEY = "idp-id-token"  # noqa: S105  (the key's label in the token)
APPROVAL_KEY = "idp-approval"


def token_unavailable(error: HsmError) -> Unavailable:
    """The token does not answer: in the words of the family."""
    return Unavailable(
        "token-unavailable",
        "The service is briefly unavailable. Nothing was lost; please try again in a moment.",
        cause=error.code,
    )


class DigestSigner(Protocol):
    """A P-256 key in a token (`hsm.SigningKey`)."""

    @property
    def public_spki(self) -> bytes: ...

    def sign_digest(self, digest: bytes) -> bytes: ...


class _TokenEs256(JWSAlgModel):
    """ES256 whose private key is in the HSM."""

    name = ALGORITHM
    description = "ECDSA using P-256 and SHA-256, made in the token"
    recommended = True
    key_type = "EC"

    def __init__(self, key: DigestSigner) -> None:
        self._key = key

    def sign(self, msg: bytes, key: Any) -> bytes:
        r, s = decode_dss_signature(self._key.sign_digest(hashlib.sha256(msg).digest()))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def verify(self, msg: bytes, sig: bytes, key: Any) -> bool:
        return jws.JWSRegistry.algorithms[ALGORITHM].verify(msg, sig, key)


class _Registry(jws.JWSRegistry):
    """Knows exactly one algorithm: the one key's."""

    def __init__(self, algorithm: JWSAlgModel) -> None:
        super().__init__(algorithms=[ALGORITHM])
        self._algorithm = algorithm

    def get_alg(self, name: str) -> JWSAlgModel:
        super().get_alg(name)
        return self._algorithm


class JwtKey:
    """One of the provider's signing keys. `kid` is its RFC 7638 thumbprint."""

    def __init__(self, key: DigestSigner) -> None:
        self._public = public_key(key.public_spki)
        if self._public.curve_name != "P-256":
            raise ValueError("a token signing key is a P-256 key")
        self.kid = str(self._public.kid)
        self._registry = _Registry(_TokenEs256(key))

    @property
    def public_jwk(self) -> dict[str, Any]:
        """The public half for a JWK set (RFC 7517)."""
        return dict(self._public.as_dict(private=False))

    def sign(self, typ: str, claims: dict[str, Any]) -> str:
        """A JWT of this `typ` (RFC 8725, 3.11: every kind of token has its own)."""
        header = {"alg": ALGORITHM, "typ": typ, "kid": self.kid}
        try:
            return jwt.encode(header, claims, self._public, registry=self._registry)
        except HsmError as error:
            raise token_unavailable(error) from error

    def verify(self, token: str, typ: str) -> dict[str, Any]:
        """The claims of a JWT that this key signed with this `typ`; times are the caller's to judge.

        Raises `Refused` (token-invalid).
        """
        return verify_jwt(token, KeySet([self._public]), {typ}).claims


@dataclass(frozen=True)
class VerifiedJwt:
    """The claims of a JWT whose signature is right, and the RFC 7638 thumbprint of the key that made it."""

    claims: dict[str, Any]
    thumbprint: str


def verify_jwt(token: str, keys: KeySet, types: Collection[str | None]) -> VerifiedJwt:
    """Checks an ES256 JWT under one of the keys; only the header's `kid` may choose among them.

    `types` are the accepted values of `typ` in lower case, None where it may be missing. A key that
    the token brings along (jwk, jku, x5c) is never looked at. Raises `Refused` (token-invalid).
    """
    try:
        read = jwt.decode(token, keys, algorithms=[ALGORITHM])
        key = keys.get_by_kid(read.header.get("kid"))
    except (JoseError, ValueError, RecursionError):
        raise Refused("token-invalid", "This token is not valid.", reason="signature") from None
    typ = read.header.get("typ")
    if (typ.lower() if isinstance(typ, str) else None) not in types:
        raise Refused("token-invalid", "This token is not valid.", reason="typ")
    return VerifiedJwt(dict(read.claims), key.thumbprint())
