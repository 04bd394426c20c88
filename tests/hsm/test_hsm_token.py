"""Opening, sharing, losing and closing a token; the pool; the errors' advice."""

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from pkcs11 import TokenFlag, exceptions

import hsm
from hsm import KeySpec, Token, errors, softhsm
from hsm.pool import translate
from tests.conftest import TokenFactory

PIN = "123456-test"
ROOT = Path(softhsm.__file__).parent.parent


def run(script: str, *arguments: object) -> str:
    """A script in a process of its own, where it may stop the module and fork."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *map(str, arguments)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def test_a_missing_module_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.ModuleMissing) as caught:
        Token.open(tmp_path / "none.so", "any", PIN)
    assert "none.so" in caught.value.advice


def test_a_file_that_is_no_module_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.so").write_text("no library")
    with pytest.raises(errors.ModuleMissing) as caught:
        Token.open(tmp_path / "text.so", "any", PIN)
    assert caught.value.code == "module-missing"


def test_a_missing_token_is_named(softhsm_directory: Path) -> None:
    with pytest.raises(errors.TokenMissing) as caught:
        Token.open(softhsm.find_module(), "nobody's", PIN)
    assert "nobody's" in caught.value.advice


def test_a_wrong_pin_is_told_and_counted(softhsm_directory: Path) -> None:
    softhsm.create_token(softhsm_directory, "wrong-pin", PIN, "654321-test")
    with pytest.raises(errors.PinWrong) as caught:
        Token.open(softhsm.find_module(), "wrong-pin", "not it")
    assert "not it" not in str(caught.value)
    with Token.open(softhsm.find_module(), "wrong-pin", PIN) as token:
        assert token.state().pin_ok


def test_a_second_opener_must_know_the_pin_too(token_factory: TokenFactory) -> None:
    token = token_factory("shared")
    with pytest.raises(errors.PinWrong):
        Token.open(softhsm.find_module(), token.label, "not it")
    with Token.open(softhsm.find_module(), token.label, PIN) as second:
        second.generate_signing_key("k", KeySpec.P256)
    token.signing_key("k").sign_digest(bytes(32))  # the first stays logged in
    token.close()
    with Token.open(softhsm.find_module(), token.label, PIN) as third:
        assert [k.label for k in third.private_keys()] == ["k"]


def test_a_closed_token_is_gone(token_factory: TokenFactory) -> None:
    token = token_factory("closed")
    key = token.generate_signing_key("k", KeySpec.P256)
    token.close()
    token.close()
    for use in (lambda: key.sign_digest(bytes(32)), token.private_keys, lambda: token.one_time_key().__enter__()):
        with pytest.raises(errors.TokenGone):
            use()
    assert not token.state().present


def test_the_state_says_what_an_operator_asks(token_factory: TokenFactory) -> None:
    token = token_factory("state")
    with token.one_time_key():
        state = token.state()
    assert (state.label, state.present, state.pin_ok, state.pin_tries) == (token.label, True, True, "full")
    assert (state.sessions, state.free_sessions, state.free_one_time) == (8, 8, 7)
    assert len(state.serial) == 16
    assert state.model.startswith("SoftHSM")


@pytest.mark.requirement("OPS-2")
def test_a_token_that_is_taken_away_is_told(token_factory: TokenFactory, softhsm_directory: Path) -> None:
    token = token_factory("taken")
    key = token.generate_signing_key("k", KeySpec.P256)
    mac = token.generate_hmac_key("m")
    seal = token.generate_aead_key("s")
    sealed = seal.encrypt(bytes(12), b"x", b"")
    key.sign_digest(bytes(32))
    serial = token.state().serial
    (directory,) = (softhsm_directory / "tokens").glob(f"*-{serial[:4]}-{serial[4:]}")
    shutil.rmtree(directory)
    for use in (
        lambda: key.sign_digest(bytes(32)),
        lambda: mac.mac(b"x"),
        lambda: seal.decrypt(bytes(12), sealed, b""),
        lambda: token.generate_signing_key("other", KeySpec.P256),
        lambda: token.signing_key("k"),
    ):
        with pytest.raises(errors.TokenGone) as caught:
            use()
        assert token.label in caught.value.advice
    assert not token.state().present


def test_who_waits_too_long_is_told(softhsm_directory: Path) -> None:
    softhsm.create_token(softhsm_directory, "busy", PIN, "654321-test")
    with Token.open(softhsm.find_module(), "busy", PIN, sessions=1, wait=0.01) as token:
        lasting = token.generate_signing_key("k", KeySpec.P256)
        with token.one_time_key() as key:
            with pytest.raises(errors.TokenBusy) as caught, token.one_time_key():
                pass
            lasting.sign_digest(bytes(32))  # short operations have sessions of their own
            key.sign_digest(bytes(32))
        assert "busy" in caught.value.advice
        with token.one_time_key() as again:
            again.sign_digest(bytes(32))


def test_who_waits_gets_the_session_that_comes_back(softhsm_directory: Path) -> None:
    softhsm.create_token(softhsm_directory, "queue", PIN, "654321-test")
    with Token.open(softhsm.find_module(), "queue", PIN, sessions=1, wait=30) as token:
        done = threading.Event()

        def second() -> None:
            with token.one_time_key() as key:
                key.sign_digest(bytes(32))
            done.set()

        thread = threading.Thread(target=second)
        with token.one_time_key():
            thread.start()
            assert not done.is_set()
        thread.join()
        assert done.is_set()


def test_a_token_needs_a_session(softhsm_directory: Path) -> None:
    with pytest.raises(ValueError, match="at least one session"):
        Token.open(softhsm.find_module(), "any", PIN, sessions=0)


def test_labels_are_given_once_and_fit(token_factory: TokenFactory, softhsm_directory: Path) -> None:
    token = token_factory("label")
    with pytest.raises(errors.TokenExists):
        softhsm.create_token(softhsm_directory, token.label, PIN, "654321-test")
    with pytest.raises(ValueError, match="32 bytes"):
        softhsm.create_token(softhsm_directory, "š" * 17, PIN, "654321-test")
    with pytest.raises(ValueError, match="4 to 255"):
        softhsm.create_token(softhsm_directory, "short", "123", "654321-test")


def test_a_token_label_may_be_slovene(softhsm_directory: Path) -> None:
    softhsm.create_token(softhsm_directory, "žig časa", PIN, "654321-test")
    with Token.open(softhsm.find_module(), "žig časa", PIN) as token:
        assert token.state().label == "žig časa"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (exceptions.PinLocked(), errors.PinLocked),
        (exceptions.PinIncorrect(), errors.PinWrong),
        (exceptions.PinLenRange(), errors.PinWrong),
        (exceptions.DeviceMemory(), errors.TokenFull),
        (exceptions.SessionCount(), errors.TokenFull),
        (exceptions.MechanismInvalid(), errors.MechanismMissing),
        (exceptions.DeviceRemoved(), errors.TokenGone),
        (exceptions.SessionHandleInvalid(), errors.TokenGone),
        (exceptions.GeneralError(), errors.TokenFailure),
    ],
)
def test_each_failure_has_a_name_and_advice(error: exceptions.PKCS11Error, expected: type[errors.HsmError]) -> None:
    told = translate(error, "ca")
    assert type(told) is expected
    assert "'ca'" in told.advice


def test_no_pkcs11_failure_is_without_a_name() -> None:
    kinds = [k for k in vars(exceptions).values() if isinstance(k, type) and issubclass(k, exceptions.PKCS11Error)]
    assert len(kinds) > 50
    for kind in kinds:
        assert translate(kind(), "ca").advice.endswith(".")


def test_a_pin_locked_at_login_is_told(softhsm_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SoftHSM never locks a PIN: its answer is replaced by the one of a device that does."""
    softhsm.create_token(softhsm_directory, "locked", PIN, "654321-test")

    class Locked:
        label, serial, flags = "locked", b"0123456789abcdef", TokenFlag(0)

        def open(self, **arguments: object) -> None:
            raise exceptions.PinLocked

    monkeypatch.setattr("hsm.token._find", lambda *_: Locked())
    with pytest.raises(errors.PinLocked) as caught:
        Token.open(softhsm.find_module(), "locked", PIN)
    assert "security officer" in caught.value.advice


LIFE = """
import sys
from pathlib import Path
from hsm import KeySpec, Token, errors, softhsm
first, second = Path(sys.argv[1]), Path(sys.argv[2])
softhsm.create_token(first, "one", "1234-pin", "4321-pin")
token = Token.open(softhsm.find_module(), "one", "1234-pin")
key = token.generate_signing_key("k", KeySpec.P256)
softhsm.create_token(second, "two", "1234-pin", "4321-pin")
try:
    key.sign_digest(bytes(32))
except errors.TokenGone:
    print("gone")
token.close()
with Token.open(softhsm.find_module(), "two", "1234-pin") as other:
    print(other.private_keys())
softhsm.configure(first)
with Token.open(softhsm.find_module(), "one", "1234-pin") as again:
    print([k.label for k in again.private_keys()])
softhsm.delete_token(first, "one")
module = softhsm.find_module()
for missing in (lambda: softhsm.delete_token(first, "one"), lambda: Token.open(module, "one", "1234-pin")):
    try:
        missing()
    except errors.TokenMissing:
        print("missing")
print(list((first / "tokens").iterdir()), oct((first / "softhsm2.conf").stat().st_mode & 0o777))
"""


def test_a_store_can_be_changed_and_a_token_erased(tmp_path: Path) -> None:
    told = run(LIFE, tmp_path / "first", tmp_path / "second").splitlines()
    assert told == ["gone", "[]", "['k']", "missing", "missing", "[] 0o600"]


FORK = """
import os, sys
from pathlib import Path
from hsm import Token, errors, softhsm
softhsm.create_token(Path(sys.argv[1]), "one", "1234-pin", "4321-pin")
token = Token.open(softhsm.find_module(), "one", "1234-pin")
child = os.fork()
if child == 0:
    try:
        token.private_keys()
    except errors.TokenGone:
        os._exit(7)
    os._exit(1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), token.private_keys())
"""


def test_a_forked_process_may_not_use_the_token(tmp_path: Path) -> None:
    assert run(FORK, tmp_path) == "7 []\n"


def test_every_error_says_what_it_is() -> None:
    named = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, hsm.HsmError)]
    codes = {e.fixed_code for e in named if hasattr(e, "fixed_code")}
    assert len(codes) == len(named) - 2 >= 12
