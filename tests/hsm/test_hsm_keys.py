"""Lasting keys: made in the token, found again, used from many threads."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from asn1crypto.keys import PublicKeyInfo
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from hypothesis import given
from hypothesis import strategies as st

from hsm import KeySpec, SigningKey, encoding, errors
from tests.conftest import TokenFactory

DIGESTS = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}


def verify(spki: bytes, signature: bytes, digest: bytes, algorithm: hashes.HashAlgorithm) -> None:
    public = serialization.load_der_public_key(spki)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(signature, digest, ec.ECDSA(utils.Prehashed(algorithm)))


@pytest.mark.requirement("CA-1", "SEC-1")
@pytest.mark.parametrize("spec", [KeySpec.P256, KeySpec.P384])
@pytest.mark.parametrize("name", DIGESTS)
def test_ec_signatures_verify_outside(token_factory: TokenFactory, spec: KeySpec, name: str) -> None:
    key = token_factory("keys").generate_signing_key("issuing", spec)
    digest = hashlib.new(name, b"to be signed").digest()
    signature = key.sign_digest(digest)
    verify(key.public_spki, signature, digest, DIGESTS[name])
    with pytest.raises(InvalidSignature):
        verify(key.public_spki, signature, bytes(len(digest)), DIGESTS[name])


def test_ed25519_signatures_verify_outside(token_factory: TokenFactory) -> None:
    key = token_factory("keys").generate_signing_key("checkpoint", KeySpec.ED25519)
    public = serialization.load_der_public_key(key.public_spki)
    assert isinstance(public, ed25519.Ed25519PublicKey)
    public.verify(key.sign(b"a checkpoint"), b"a checkpoint")
    assert len(key.sign(b"")) == 64


def test_a_key_is_found_again_by_its_label(token_factory: TokenFactory) -> None:
    token = token_factory("keys")
    made = token.generate_signing_key("one", KeySpec.P384)
    token.generate_signing_key("two", KeySpec.P256)
    found = token.signing_key("one")
    assert (found.label, found.spec, found.public_spki) == ("one", KeySpec.P384, made.public_spki)
    assert {(k.label, k.on_token) for k in token.private_keys()} == {("one", True), ("two", True)}
    assert len({k.id for k in token.private_keys()}) == 2


@pytest.mark.requirement("SEC-1")
@pytest.mark.parametrize("spec", list(KeySpec))
def test_a_key_can_never_leave_the_token(token_factory: TokenFactory, spec: KeySpec) -> None:
    key = token_factory("keys").generate_signing_key("kept", spec)
    assert key.attributes.born_and_kept_inside
    assert key.attributes.token


def test_names_are_given_once(token_factory: TokenFactory) -> None:
    token = token_factory("keys")
    token.generate_signing_key("taken", KeySpec.P256)
    for again in (
        lambda: token.generate_signing_key("taken", KeySpec.P384),
        lambda: token.generate_hmac_key("taken"),
        lambda: token.generate_aead_key("taken"),
    ):
        with pytest.raises(errors.KeyExists) as caught:
            again()
        assert "taken" in caught.value.advice
    assert len(token.private_keys()) == 1


def test_a_missing_key_is_named(token_factory: TokenFactory) -> None:
    token = token_factory("keys")
    for search in (token.signing_key, token.hmac_key, token.aead_key):
        with pytest.raises(errors.KeyMissing) as caught:
            search("absent")
        assert "absent" in caught.value.advice


def test_secret_keys_of_another_kind_are_refused(token_factory: TokenFactory) -> None:
    token = token_factory("keys")
    token.generate_hmac_key("mac")
    token.generate_aead_key("seal")
    with pytest.raises(errors.KeyUnfit):
        token.aead_key("mac")
    with pytest.raises(errors.KeyUnfit):
        token.hmac_key("seal")


def test_wrong_use_is_a_programming_error(token_factory: TokenFactory) -> None:
    token = token_factory("keys")
    ec_key = token.generate_signing_key("ec", KeySpec.P256)
    ed_key = token.generate_signing_key("ed", KeySpec.ED25519)
    with pytest.raises(ValueError, match="sign digests"):
        ec_key.sign(b"message")
    with pytest.raises(ValueError, match="signs messages"):
        ed_key.sign_digest(bytes(32))
    with pytest.raises(ValueError, match="32, 48 or 64"):
        ec_key.sign_digest(b"not a digest")


@pytest.mark.requirement("OPS-2")
def test_sixteen_threads_sign_with_eight_sessions(token_factory: TokenFactory) -> None:
    token = token_factory("keys")
    keys = [token.generate_signing_key(f"k{n}", KeySpec.P256) for n in range(2)]
    together = threading.Barrier(16)

    def work(number: int) -> list[tuple[SigningKey, bytes, bytes]]:
        together.wait()
        done = []
        for turn in range(25):
            digest = hashlib.sha256(f"{number}/{turn}".encode()).digest()
            key = keys[turn % 2]
            done.append((key, digest, key.sign_digest(digest)))
        return done

    with ThreadPoolExecutor(16) as threads:
        results = [r for rs in threads.map(work, range(16)) for r in rs]
    assert len(results) == 400
    for key, digest, signature in results:
        verify(key.public_spki, signature, digest, hashes.SHA256())
    assert token.state().free_sessions == 8


@given(st.integers(0, 2**256 - 1), st.integers(0, 2**256 - 1))
def test_ecdsa_signatures_are_strict_der(r: int, s: int) -> None:
    made = encoding.ecdsa_signature(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
    assert made == utils.encode_dss_signature(r, s)


@given(st.integers(0, 2**384 - 1), st.integers(0, 2**384 - 1))
def test_long_ecdsa_signatures_are_strict_der(r: int, s: int) -> None:
    made = encoding.ecdsa_signature(r.to_bytes(48, "big") + s.to_bytes(48, "big"))
    assert made == utils.encode_dss_signature(r, s)


@given(st.sampled_from(list(KeySpec)), st.binary(max_size=140), st.booleans())
def test_public_keys_are_encoded_or_refused(spec: KeySpec, point: bytes, wrapped: bool) -> None:
    given_point = bytes((4, len(point))) + point if wrapped and len(point) < 128 else point
    try:
        made = encoding.public_key_info(spec, given_point)
    except errors.TokenFailure:
        return
    assert PublicKeyInfo.load(made, strict=True).dump(force=True) == made


@pytest.mark.parametrize(
    ("spec", "private"), [(KeySpec.P256, ec.SECP256R1()), (KeySpec.P384, ec.SECP384R1()), (KeySpec.ED25519, None)]
)
def test_public_keys_equal_the_librarys(spec: KeySpec, private: ec.EllipticCurve | None) -> None:
    der, spki = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    if private is None:
        edwards = ed25519.Ed25519PrivateKey.generate().public_key()
        point, expected = edwards.public_bytes_raw(), edwards.public_bytes(der, spki)
    else:
        public = ec.generate_private_key(private).public_key()
        point = public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        expected = public.public_bytes(der, spki)
    assert encoding.public_key_info(spec, point) == expected
    assert encoding.public_key_info(spec, bytes((4, len(point))) + point) == expected
    with pytest.raises(errors.TokenFailure):
        encoding.public_key_info(spec, point[1:])
