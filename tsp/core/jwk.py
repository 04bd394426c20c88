"""Public EC keys as JSON Web Keys (RFC 7517, 7518), with the RFC 7638 thumbprint as `kid`."""

import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key
from joserfc.jwk import ECKey


def public_key(public_spki: bytes) -> ECKey:
    """The key of a DER SubjectPublicKeyInfo; `kid` is its thumbprint."""
    loaded = load_der_public_key(public_spki)
    if not isinstance(loaded, EllipticCurvePublicKey):
        raise TypeError("only EC keys are published")
    key = ECKey.import_key(loaded)
    return ECKey.import_key({**key.as_dict(private=False), "kid": key.thumbprint(), "alg": "ES256", "use": "sig"})


def public_jwk(public_spki: bytes) -> str:
    """The same as a JSON text."""
    fields: dict[str, Any] = dict(public_key(public_spki).as_dict(private=False))
    return json.dumps(fields, sort_keys=True) + "\n"
