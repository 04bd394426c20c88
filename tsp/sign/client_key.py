"""JSON Web Tokens that the site signs with its own key in the token: client assertions and engine proofs."""

import base64
import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from hsm.errors import HsmError
from tsp.core.errors import Unavailable
from tsp.core.jwk import public_key
from tsp.core.randomness import Randomness, new_id
from tsp.sign.ports import DigestSigner

#: A client assertion is used at once; a minute forgives a slow network (RFC 7523, 3).
ASSERTION_SECONDS = 60
PROOF_TYPE = "engine-proof+jwt"


def base64url(data: bytes) -> str:
    """Base64url without padding (RFC 7515, 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class ClientKey:
    """The key that makes this site this client."""

    def __init__(self, key: DigestSigner, client_id: str, randomness: Randomness) -> None:
        self.client_id = client_id
        self._key = key
        self._randomness = randomness
        public = public_key(key.public_spki)
        self.thumbprint = public.thumbprint()
        self._jwk = {name: public.as_dict(private=False)[name] for name in ("crv", "kty", "x", "y")}

    def assertion(self, audience: str, now: datetime) -> str:
        """Client authentication by private_key_jwt (RFC 7523, 3); the audience is the issuer alone.

        FAPI 2.0 Security Profile, 5.3.3.1: one string, so that no other server can use it.
        """
        issued = int(now.timestamp())
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": audience,
            "jti": new_id(self._randomness),
            "iat": issued,
            "exp": issued + ASSERTION_SECONDS,
        }
        return self._sign({"alg": "ES256", "typ": "JWT", "kid": self.thumbprint}, claims)

    def engine_proof(self, approval: str, digests: Sequence[str], now: datetime) -> str:
        """Shows the engine that the holder of the approval's key (`cnf.jkt`) asks for exactly these digests."""
        claims = {
            "sad_hash": base64url(hashlib.sha256(approval.encode()).digest()),
            "digests": list(digests),
            "iat": int(now.timestamp()),
        }
        return self._sign({"alg": "ES256", "typ": PROOF_TYPE, "jwk": self._jwk}, claims)

    def _sign(self, header: dict[str, Any], claims: dict[str, Any]) -> str:
        """A compact JWS (RFC 7515, 5.1); the token's DER signature becomes R || S (RFC 7518, 3.4)."""
        parts = [base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims)]
        signing_input = ".".join(parts).encode()
        try:
            r, s = decode_dss_signature(self._key.sign_digest(hashlib.sha256(signing_input).digest()))
        except HsmError as error:
            raise Unavailable(
                "site-key-unavailable",
                "The service is briefly unavailable. Nothing was lost; please try again in a moment.",
                cause=error.code,
            ) from error
        return ".".join([*parts, base64url(r.to_bytes(32, "big") + s.to_bytes(32, "big"))])
