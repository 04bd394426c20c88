"""Envelope encryption: what was sealed comes back, and only where it belongs."""

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from tsp.core.errors import Invalid
from tsp.core.randomness import SystemRandomness, new_code
from tsp.core.sealing import Sealer


class _SoftwareKey:
    def __init__(self) -> None:
        self._key = AESGCM(b"k" * 32)

    def encrypt(self, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
        return self._key.encrypt(nonce, plaintext, aad)

    def decrypt(self, nonce: bytes, ciphertext: bytes, aad: bytes) -> bytes:
        return self._key.decrypt(nonce, ciphertext, aad)


sealer = Sealer(_SoftwareKey(), SystemRandomness(), "test")


@pytest.mark.requirement("SEC-1")
@given(st.binary(max_size=5000), st.text(max_size=50))
def test_sealed_comes_back_and_never_looks_the_same(plaintext: bytes, context: str) -> None:
    sealed = sealer.seal(plaintext, context)
    assert sealer.open(sealed, context) == plaintext
    assert sealer.seal(plaintext, context) != sealed


@pytest.mark.requirement("SEC-1")
def test_sealed_opens_nowhere_else() -> None:
    sealed = sealer.seal(b"secret", "account/1")
    with pytest.raises(Invalid, match="sealed-damaged"):
        sealer.open(sealed, "account/2")
    with pytest.raises(Invalid, match="sealed-damaged"):
        Sealer(_SoftwareKey(), SystemRandomness(), "other").open(sealed, "account/1")


@given(st.integers(0, 110), st.integers(1, 255))
def test_every_changed_octet_is_noticed(position: int, flip: int) -> None:
    sealed = bytearray(sealer.seal(b"x" * 20, "a"))
    sealed[position % len(sealed)] ^= flip
    with pytest.raises(Invalid, match="sealed-damaged"):
        sealer.open(bytes(sealed), "a")


@given(st.integers(1, 40))
def test_codes_have_the_length_and_alphabet_asked_for(length: int) -> None:
    code = new_code(SystemRandomness(), length, "ABC")
    assert len(code) == length
    assert set(code) <= set("ABC")
