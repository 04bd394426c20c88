"""Tokens: signed in the HSM, read by another library's rules; their contents as pure functions."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

import hsm
from hsm.errors import TokenGone
from tests.conftest import TokenFactory
from tsp.core.errors import Refused, Unavailable
from tsp.idp.accounts.assurance import Means
from tsp.idp.oidc.keys import JwtKey, verify_jwt
from tsp.idp.oidc.tokens import amr, pairwise_subject


class SoftKey:
    """A P-256 key with the token's interface, for the tests that need many signatures."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.public_spki = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def sign_digest(self, digest: bytes) -> bytes:
        return self._key.sign(digest, ec.ECDSA(Prehashed(SHA256())))


SOFT = JwtKey(SoftKey())
CLAIM_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.requirement("SEC-1", "OID-1")
def test_a_jwt_signed_in_the_token_is_a_jwt_for_everybody(token_factory: TokenFactory) -> None:
    key = JwtKey(token_factory("identity").generate_signing_key("idp-id-token", hsm.KeySpec.P256))
    for number in range(20):
        token = key.sign("JWT", {"sub": "Žnidaršič", "n": number})
        read = jwt.decode(token, ECKey.import_key(key.public_jwk), algorithms=["ES256"])
        assert read.header == {"alg": "ES256", "typ": "JWT", "kid": key.kid}
        assert read.claims == {"sub": "Žnidaršič", "n": number}
        assert key.verify(token, "jwt") == read.claims


@given(st.dictionaries(st.text("abcdef", min_size=1), CLAIM_VALUES, max_size=5))
def test_what_is_signed_is_what_is_read(claims: dict[str, object]) -> None:
    assert SOFT.verify(SOFT.sign("sad+jwt", claims), "sad+jwt") == json.loads(json.dumps(claims))


@pytest.mark.requirement("SEC-1")
@given(st.integers(0, 2), st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_octet_is_noticed(part: int, position: int, change: int) -> None:
    parts = [base64.urlsafe_b64decode(p + "=" * (-len(p) % 4)) for p in SOFT.sign("JWT", {"sub": "a"}).split(".")]
    altered = bytearray(parts[part])
    altered[position % len(altered)] ^= change
    parts[part] = bytes(altered)
    with pytest.raises(Refused):
        SOFT.verify(".".join(base64.urlsafe_b64encode(p).rstrip(b"=").decode() for p in parts), "jwt")


@pytest.mark.requirement("OID-1")
def test_one_kind_of_token_is_never_another() -> None:
    with pytest.raises(Refused):
        SOFT.verify(SOFT.sign("sad+jwt", {}), "jwt")
    with pytest.raises(Refused):
        verify_jwt(SOFT.sign("JWT", {}), KeySet([ECKey.generate_key("P-256")]), {"jwt"})


def test_a_token_that_is_gone_is_told_as_a_pause() -> None:
    class Gone(SoftKey):
        def sign_digest(self, digest: bytes) -> bytes:
            raise TokenGone("Plug it in again.")

    with pytest.raises(Unavailable) as refused:
        JwtKey(Gone()).sign("JWT", {})
    assert refused.value.facts == {"cause": "token-gone"}


def test_only_p256_keys_sign_tokens() -> None:
    class Large(SoftKey):
        def __init__(self) -> None:
            key = ec.generate_private_key(ec.SECP384R1())
            self.public_spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    with pytest.raises(ValueError, match="P-256"):
        JwtKey(Large())


@pytest.mark.requirement("OID-2")
def test_amr_says_mfa_only_where_two_kinds_of_factor_were_proven() -> None:
    assert amr(frozenset({Means.PASSWORD})) == ["pwd"]
    assert amr(frozenset({Means.PASSWORD, Means.EMAIL_CODE})) == ["otp", "pwd"]
    assert amr(frozenset({Means.SMS_CODE, Means.ONEPASS_CODE})) == ["otp", "sms"]
    assert amr(frozenset({Means.PASSWORD, Means.SMS_CODE})) == ["pwd", "sms", "mfa"]
    assert amr(frozenset({Means.PASSKEY}))[-1] == "mfa"
    assert all(amr(frozenset({means})) for means in Means)


@pytest.mark.requirement("OID-1")
def test_the_mark_of_a_person_is_lasting_and_different_everywhere(token_factory: TokenFactory) -> None:
    key = token_factory("identity").generate_hmac_key("index-hmac")
    marks = {pairwise_subject(key, sector, account) for sector in ("a", "ab", "b") for account in ("1", "b1", "2")}
    assert len(marks) == 9
    assert pairwise_subject(key, "a", "1") in marks
    assert all(len(mark) == 43 for mark in marks)
