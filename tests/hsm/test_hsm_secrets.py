"""HMAC and authenticated encryption, computed in the token, against independent implementations."""

import hashlib
import hmac
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pkcs11 import Attribute, KeyType, ObjectClass

import hsm
from hsm import errors
from tests.conftest import TokenFactory

KEY = bytes(range(32))
MODEST = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def put_known_key(token: hsm.Token, label: str, kind: KeyType, uses: dict[Attribute, bool]) -> None:
    """A key with a known value, so that the token's results can be computed outside as well."""
    template: dict[Attribute, Any] = {
        Attribute.CLASS: ObjectClass.SECRET_KEY,
        Attribute.KEY_TYPE: kind,
        Attribute.LABEL: label,
        Attribute.TOKEN: True,
        Attribute.PRIVATE: True,
        Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: False,
        Attribute.VALUE: KEY,
        **uses,
    }
    with token._short.borrow() as session:
        session.raw.create_object(template)


@pytest.fixture
def mac_key(token_factory: TokenFactory) -> hsm.HmacKey:
    token = token_factory("secrets")
    put_known_key(token, "mac", KeyType.GENERIC_SECRET, {Attribute.SIGN: True})
    return token.hmac_key("mac")


@pytest.fixture
def seal_key(token_factory: TokenFactory) -> hsm.AeadKey:
    token = token_factory("secrets")
    put_known_key(token, "seal", KeyType.AES, {Attribute.ENCRYPT: True, Attribute.DECRYPT: True})
    return token.aead_key("seal")


@pytest.mark.requirement("SEC-1")
@MODEST
@given(data=st.binary(min_size=1, max_size=300))
def test_hmac_is_hmac_sha256(mac_key: hsm.HmacKey, data: bytes) -> None:
    assert mac_key.mac(data) == hmac.new(KEY, data, hashlib.sha256).digest()


def test_hmac_of_nothing_and_of_much(mac_key: hsm.HmacKey) -> None:
    for data in (b"", b"x" * 200_000):
        assert mac_key.mac(data) == hmac.new(KEY, data, hashlib.sha256).digest()


@pytest.mark.requirement("SEC-1")
@MODEST
@given(nonce=st.binary(min_size=12, max_size=12), plain=st.binary(max_size=300), aad=st.binary(max_size=80))
def test_encryption_is_aes_256_gcm(seal_key: hsm.AeadKey, nonce: bytes, plain: bytes, aad: bytes) -> None:
    sealed = seal_key.encrypt(nonce, plain, aad)
    assert sealed == AESGCM(KEY).encrypt(nonce, plain, aad)
    assert seal_key.decrypt(nonce, sealed, aad) == plain


@pytest.mark.requirement("SEC-1")
@MODEST
@given(data=st.data())
def test_altered_secrets_do_not_open(seal_key: hsm.AeadKey, data: st.DataObject) -> None:
    nonce, aad = bytes(12), b"account 17"
    sealed = seal_key.encrypt(nonce, b"a secret", aad)
    position = data.draw(st.integers(0, len(sealed) * 8 - 1))
    altered = bytearray(sealed)
    altered[position // 8] ^= 1 << position % 8
    for call in (
        lambda: seal_key.decrypt(nonce, bytes(altered), aad),
        lambda: seal_key.decrypt(nonce, sealed[: position // 8], aad),
        lambda: seal_key.decrypt(b"\x01" * 12, sealed, aad),
        lambda: seal_key.decrypt(nonce, sealed, b"account 18"),
    ):
        with pytest.raises(errors.DecryptionFailed):
            call()
    assert seal_key.decrypt(nonce, sealed, aad) == b"a secret"


def test_generated_secrets_differ_and_are_found_again(token_factory: TokenFactory) -> None:
    token = token_factory("secrets")
    one, two = token.generate_hmac_key("one"), token.generate_hmac_key("two")
    assert one.mac(b"x") == token.hmac_key("one").mac(b"x") != two.mac(b"x")
    sealed = token.generate_aead_key("seal").encrypt(bytes(12), b"x", b"")
    assert token.aead_key("seal").decrypt(bytes(12), sealed, b"") == b"x"
    with pytest.raises(errors.DecryptionFailed):
        token.generate_aead_key("other").decrypt(bytes(12), sealed, b"")


def test_a_nonce_has_twelve_bytes(seal_key: hsm.AeadKey) -> None:
    with pytest.raises(ValueError, match="12 bytes"):
        seal_key.encrypt(bytes(16), b"", b"")


def test_a_key_that_could_leave_is_refused(token_factory: TokenFactory) -> None:
    token = token_factory("secrets")
    put_known_key(token, "leaky", KeyType.AES, {Attribute.EXTRACTABLE: True})
    with pytest.raises(errors.KeyUnfit):
        token.aead_key("leaky")
