"""The quick reader of signed tokens judges as joserfc does."""

import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from tsp.core import jws

KEY, OTHER = ECKey.generate_key("P-256", private=True), ECKey.generate_key("P-256", private=True)
VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.integers(-(2**53), 2**53) | st.booleans()
CLAIMS = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=10), VALUES, max_size=5)


def public(key: ECKey) -> EllipticCurvePublicKey:
    found = key.public_key
    assert isinstance(found, EllipticCurvePublicKey)
    return found


def read(token: str, key: ECKey) -> dict[str, Any] | None:
    """The claims as this reader finds them; None where it refuses."""
    try:
        return jws.claims(jws.take_apart(token), public(key))
    except (ValueError, RecursionError):
        return None


def read_by_joserfc(token: str, key: ECKey) -> dict[str, Any] | None:
    try:
        return dict(jwt.decode(token, key, algorithms=["ES256"]).claims)
    except (JoseError, ValueError, TypeError, RecursionError):
        return None


@given(CLAIMS)
def test_what_joserfc_signed_is_read_as_it_was_meant(claims: dict[str, Any]) -> None:
    token = jwt.encode({"alg": "ES256", "typ": "sad+jwt"}, claims, KEY)
    parts = jws.take_apart(token)
    assert parts.header == {"alg": "ES256", "typ": "sad+jwt"}
    assert jws.claims(parts, public(KEY)) == read_by_joserfc(token, KEY)
    assert read(token, OTHER) is None


TOKEN = jwt.encode({"alg": "ES256", "typ": "sad+jwt"}, {"jti": "approval-1", "pages": 3}, KEY)


@given(st.integers(0, len(TOKEN) - 1), st.sampled_from("Aaz09-_.=+/ \n"))
def test_a_changed_token_is_never_believed_where_joserfc_does_not(place: int, letter: str) -> None:
    changed = TOKEN[:place] + letter + TOKEN[place + 1 :]
    found = read(changed, KEY)
    assert found is None or found == read_by_joserfc(changed, KEY)


@given(st.text(max_size=60) | st.from_regex(r"[A-Za-z0-9_-]{0,20}\.[A-Za-z0-9_-]{0,20}\.[A-Za-z0-9_-]{0,90}"))
def test_anything_is_read_or_refused(text: str) -> None:
    assert read(text, KEY) is None


@pytest.mark.parametrize(
    "header",
    [{"alg": "none"}, {"alg": "HS256"}, {"alg": "ES256", "crit": ["exp"]}, {"alg": "ES256", "b64": False}, []],
    ids=["none", "hmac", "crit", "b64", "list"],
)
def test_another_way_of_signing_is_refused(header: object) -> None:
    encoded = urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    assert read(f"{encoded}.{TOKEN.split('.', 1)[1]}", KEY) is None
