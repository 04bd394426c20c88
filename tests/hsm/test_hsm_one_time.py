"""One-time keys: one signature, then gone, whatever happens in between."""

import hashlib
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from pkcs11 import Attribute, exceptions

import hsm
from hsm import KeySpec, errors, softhsm
from hsm.direct import PROTECTION, Direct
from tests.conftest import TokenFactory

DIGEST = hashlib.sha256(b"document").digest()


def verify(spki: bytes, signature: bytes, digest: bytes = DIGEST) -> None:
    public = serialization.load_der_public_key(spki)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(signature, digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))


@pytest.mark.requirement("SIG-1", "EVD-1")
@pytest.mark.parametrize("spec", [KeySpec.P256, KeySpec.P384])
def test_a_key_signs_once_and_is_gone(token_factory: TokenFactory, spec: KeySpec) -> None:
    token = token_factory("once")
    with token.one_time_key(spec) as key:
        assert [(k.label, k.on_token) for k in token.private_keys()] == [("one-time", False)]
        verify(key.public_spki, key.sign_digest(DIGEST))
        assert key.record is None
    assert key.record == hsm.DestructionRecord(destroyed_call_ok=True, found_after=0, checked=True)
    assert key.record.proven
    assert token.private_keys() == []


@pytest.mark.requirement("SIG-1", "EVD-1")
def test_the_token_says_how_the_key_is_kept(token_factory: TokenFactory) -> None:
    with token_factory("once").one_time_key() as key:
        assert key.attributes == hsm.Attributes(
            local=True,
            sensitive=True,
            always_sensitive=True,
            extractable=False,
            never_extractable=True,
            token=False,
        )


@pytest.mark.requirement("SIG-1")
def test_a_second_signature_is_refused(token_factory: TokenFactory) -> None:
    token = token_factory("once")
    with token.one_time_key() as key:
        key.sign_digest(DIGEST)
        with pytest.raises(errors.KeySpent):
            key.sign_digest(DIGEST)
    with token.one_time_key() as unused:
        pass
    with pytest.raises(errors.KeySpent):
        unused.sign_digest(DIGEST)


@pytest.mark.requirement("SIG-1")
def test_of_many_threads_one_gets_the_signature(token_factory: TokenFactory) -> None:
    together = threading.Barrier(8)

    def attempt(key: hsm.OneTimeKey) -> bytes | None:
        together.wait()
        try:
            return key.sign_digest(DIGEST)
        except errors.KeySpent:
            return None

    with token_factory("once").one_time_key() as key, ThreadPoolExecutor(8) as threads:
        signatures = [s for s in threads.map(attempt, [key] * 8) if s is not None]
    assert len(signatures) == 1
    verify(key.public_spki, signatures[0])


@pytest.mark.requirement("SIG-1")
@pytest.mark.parametrize("error", [RuntimeError("body"), KeyboardInterrupt(), GeneratorExit()])
def test_a_failing_body_leaves_no_key(token_factory: TokenFactory, error: BaseException) -> None:
    token = token_factory("once")
    held: list[hsm.OneTimeKey] = []

    def run() -> None:
        with token.one_time_key() as key:
            held.append(key)
            raise error

    with pytest.raises(type(error)):
        run()
    assert held[0].record is not None
    assert held[0].record.proven
    assert token.private_keys() == []
    assert token.state().free_one_time == 8


@pytest.mark.requirement("SIG-1")
def test_destruction_may_come_early(token_factory: TokenFactory) -> None:
    token = token_factory("once")
    with token.one_time_key() as key:
        key.sign_digest(DIGEST)
        record = key.destroy()
        assert token.private_keys() == []
        with pytest.raises(errors.KeySpent):
            key.sign_digest(DIGEST)
    assert key.record is record


class Stubborn:
    """The token's calls for a private key whose destruction does not happen: with an error, or silently."""

    def __init__(self, key: hsm.OneTimeKey, error: Exception | None) -> None:
        self._real = key._calls
        self._stays = key._private
        self._error = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def destroy(self, handle: int) -> None:
        if handle != self._stays:
            self._real.destroy(handle)
        elif self._error is not None:
            raise self._error


@pytest.mark.requirement("SIG-1", "EVD-1")
@pytest.mark.parametrize(
    ("error", "reported"), [(exceptions.GeneralError("C_DestroyObject"), False), (None, True)], ids=["error", "silent"]
)
def test_a_key_that_stays_is_found_and_told(
    token_factory: TokenFactory, error: Exception | None, reported: bool
) -> None:
    token = token_factory("once")
    held: list[hsm.OneTimeKey] = []

    def run() -> None:
        with token.one_time_key() as key:
            held.append(key)
            key._calls = Stubborn(key, error)  # type: ignore[assignment]

    with pytest.raises(errors.DestructionFailed) as caught:
        run()
    assert caught.value.record == hsm.DestructionRecord(destroyed_call_ok=reported, found_after=1, checked=True)
    assert "stop signing" in caught.value.advice
    # Closing the session that made it ended the key all the same.
    assert token.private_keys() == []
    assert token.state().free_one_time == 8
    with pytest.raises(errors.DestructionFailed):
        held[0].destroy()


def test_a_failed_destruction_outranks_the_bodys_error(token_factory: TokenFactory) -> None:
    token = token_factory("once")

    def run() -> None:
        with token.one_time_key() as key:
            key._calls = Stubborn(key, None)  # type: ignore[assignment]
            raise RuntimeError("body")

    with pytest.raises(errors.DestructionFailed) as caught:
        run()
    assert isinstance(caught.value.__context__, RuntimeError)


def test_a_token_closed_under_a_living_key_is_told(token_factory: TokenFactory) -> None:
    token = token_factory("once")
    other = hsm.Token.open(softhsm.find_module(), token.label, "123456-test")

    def run() -> None:
        with token.one_time_key():
            token.close()

    with pytest.raises(errors.DestructionFailed) as caught:
        run()
    assert caught.value.record == hsm.DestructionRecord(destroyed_call_ok=True, found_after=0, checked=False)
    assert other.private_keys() == []
    other.close()


@pytest.mark.requirement("SIG-1")
def test_one_rare_failure_of_the_generator_is_forgiven(
    token_factory: TokenFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = Direct.generate_pair, []

    def flaky(*arguments: Any) -> tuple[int, int]:
        calls.append(arguments)
        made = real(*arguments)
        if len(calls) == 1:
            raise exceptions.GeneralError("after the key was made")
        return made

    monkeypatch.setattr(Direct, "generate_pair", flaky)
    token = token_factory("once")
    with token.one_time_key() as key:
        assert len(token.private_keys()) == 1
        verify(key.public_spki, key.sign_digest(DIGEST))
    assert len(calls) == 2


@pytest.mark.requirement("SIG-1")
@pytest.mark.parametrize("error", [exceptions.GeneralError("always"), exceptions.DeviceMemory("full")])
def test_a_generator_that_fails_leaves_no_key(
    token_factory: TokenFactory, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    real = Direct.generate_pair

    def broken(*arguments: Any) -> tuple[int, int]:
        real(*arguments)
        raise error

    token = token_factory("once")
    monkeypatch.setattr(Direct, "generate_pair", broken)
    with pytest.raises(errors.HsmError) as caught, token.one_time_key():
        pass
    assert type(caught.value) in (errors.TokenFailure, errors.TokenFull)
    assert token.private_keys() == []
    assert token.state().free_one_time == 8


def test_a_key_without_the_demanded_protection_is_refused(
    token_factory: TokenFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PROTECTION, Attribute.EXTRACTABLE, True)
    token = token_factory("once")
    with pytest.raises(errors.KeyUnfit), token.one_time_key():
        pass
    assert token.private_keys() == []


def test_ed25519_is_no_one_time_key(token_factory: TokenFactory) -> None:
    with pytest.raises(ValueError, match="EC keys"), token_factory("once").one_time_key(KeySpec.ED25519):
        pass


@pytest.mark.requirement("SIG-1", "OPS-2")
def test_sixteen_threads_each_with_keys_of_their_own(token_factory: TokenFactory) -> None:
    token = token_factory("once")
    lasting = token.generate_signing_key("issuing", KeySpec.P256)
    together = threading.Barrier(16)

    def work(number: int) -> list[bytes]:
        together.wait()
        seen = []
        for _ in range(20):
            with token.one_time_key() as key:
                verify(lasting.public_spki, lasting.sign_digest(DIGEST))
                verify(key.public_spki, key.sign_digest(DIGEST))
            assert key.record is not None
            assert key.record.proven
            seen.append(key.public_spki)
        return seen

    with ThreadPoolExecutor(16) as threads:
        spkis = [s for ss in threads.map(work, range(16)) for s in ss]
    assert len(set(spkis)) == 16 * 20
    assert [k.label for k in token.private_keys()] == ["issuing"]


VICTIM = """
import sys
from pathlib import Path
from hsm import Token, softhsm
softhsm.configure(Path(sys.argv[1]))
token = Token.open(softhsm.find_module(), sys.argv[2], "123456-test")
with token.one_time_key() as key:
    key.sign_digest(bytes(32))
    print(len(token.private_keys()), flush=True)
    sys.stdin.read()
"""


def stored_objects(directory: Path) -> dict[Path, bytes]:
    """What the token store keeps; `token.object` holds no keys, it counts the logins."""
    return {p: p.read_bytes() for p in directory.rglob("*.object") if p.name != "token.object"}


@pytest.mark.requirement("SIG-1")
def test_a_killed_process_leaves_no_key(token_factory: TokenFactory, softhsm_directory: Path) -> None:
    token = token_factory("once")
    token.generate_signing_key("lasting", KeySpec.P256)
    before = stored_objects(softhsm_directory)
    with subprocess.Popen(
        [sys.executable, "-c", VICTIM, str(softhsm_directory), token.label],
        cwd=Path(softhsm.__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == "2\n"
        assert [k.label for k in token.private_keys()] == ["lasting"]  # a session object is nobody else's
        victim.send_signal(signal.SIGKILL)
        assert victim.wait() == -signal.SIGKILL
    assert [k.label for k in token.private_keys()] == ["lasting"]
    assert stored_objects(softhsm_directory) == before
