"""One PKCS#11 token: opened with its PIN, used through a bounded pool of sessions."""

import hashlib
import hmac
import itertools
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass, TokenFlag

from hsm import loader
from hsm.direct import PROTECTION
from hsm.encoding import CURVE, public_key_info
from hsm.errors import (
    HsmError,
    KeyExists,
    KeyUnfit,
    PinAtLastTry,
    PinLocked,
    PinWrong,
    TokenGone,
    TokenMissing,
)
from hsm.keys import KeyHandleInfo, OneTimeKey, SigningKey, generate_pair, read_attributes
from hsm.pool import PooledSession, SessionPool, translate
from hsm.secrets import AeadKey, HmacKey
from hsm.spec import KeySpec

_SPEC_OF_CURVE = {curve: spec for spec, curve in CURVE.items()}


@dataclass(frozen=True, slots=True)
class TokenState:
    """What an operator wants to know of a token at a glance.

    `pin_ok` says that the login stands: it holds as long as the token is present and this object open.
    `free_sessions` and `sessions` count the pool for short operations, `free_one_time` the pool
    for one-time keys (as large). `pin_tries` is "full", "low", "final" or "locked".
    """

    label: str
    serial: str
    manufacturer: str
    model: str
    present: bool
    pin_ok: bool
    pin_tries: str
    sessions: int
    free_sessions: int
    free_one_time: int


class Token:
    """An open token. Everything here may be called from several threads, but not after a fork."""

    def __init__(self, login: "_Login", sessions: int, wait: float) -> None:
        self._login = login
        self._closed = False
        self.label = login.label
        self.serial = login.serial
        # One-time keys hold their session for a whole block, in which the same thread may need
        # another one to sign with a lasting key: two pools, so that they cannot wait for each other.
        self._short = SessionPool(self.label, login.session, login.require_alive, self._require_present, sessions, wait)
        self._held = SessionPool(self.label, login.session, login.require_alive, self._require_present, sessions, wait)
        with self._short.borrow() as session:
            self._id_prefix = bytes(session.raw.generate_random(64))
            self._had_private_objects = _sees_private_objects(session)
        self._id_counter = itertools.count(1)
        self._making = threading.Lock()

    @classmethod
    def open(cls, module: Path, label: str, pin: str, *, sessions: int = 8, wait: float = 10.0) -> Self:
        """Logs in to the token named `label`.

        `sessions` bounds the parallel operations, and again the parallel one-time keys; `wait` is how many
        seconds a caller waits for a free one. Raises `ModuleMissing`, `TokenMissing`, `PinWrong`, `PinLocked`, and
        `PinAtLastTry` before a try that could lock the token.
        """
        if sessions < 1:
            raise ValueError("a token needs at least one session")
        login = _log_in(module, label, pin)
        try:
            return cls(login, sessions, wait)
        except BaseException:
            login.release()
            raise

    def close(self) -> None:
        """Gives up the token; the last one of this process to close it logs out. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._login.alive:
            for pool in (self._short, self._held):
                pool.close()
        self._login.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def generate_signing_key(self, label: str, spec: KeySpec) -> SigningKey:
        """A lasting pair, made in the token, sensitive and not extractable. Raises `KeyExists`."""
        with self._making, self._short.borrow() as session:
            self._require_new(session, label)
            generate_pair(session, spec, label, self._new_id())
        return self.signing_key(label)

    def signing_key(self, label: str) -> SigningKey:
        """The lasting pair of that name. Raises `KeyMissing`; `KeyUnfit` where it is not protected."""
        with self._short.borrow() as session:
            attributes = read_attributes(session.key(label, ObjectClass.PRIVATE_KEY, afresh=True))
            public = session.key(label, ObjectClass.PUBLIC_KEY, afresh=True)
            curve, point = bytes(public[Attribute.EC_PARAMS]), bytes(public[Attribute.EC_POINT])
        if attributes.extractable or not attributes.sensitive:
            raise KeyUnfit(f"Key '{label}' could leave the token. Make a new key in the token and retire this one.")
        spec = _SPEC_OF_CURVE.get(curve)
        if spec is None:
            raise KeyUnfit(f"Key '{label}' is on a curve that is not used here. Make a new key in the token.")
        return SigningKey(label, spec, public_key_info(spec, point), attributes, self._short)

    def generate_hmac_key(self, label: str) -> HmacKey:
        """A 256-bit HMAC key, made in the token. Raises `KeyExists`."""
        self._generate_secret(
            label, KeyType.GENERIC_SECRET, Mechanism.GENERIC_SECRET_KEY_GEN, MechanismFlag.SIGN | MechanismFlag.VERIFY
        )
        return HmacKey(label, self._short)

    def hmac_key(self, label: str) -> HmacKey:
        """The HMAC key of that name. Raises `KeyMissing`."""
        self._require_secret(label, KeyType.GENERIC_SECRET)
        return HmacKey(label, self._short)

    def generate_aead_key(self, label: str) -> AeadKey:
        """An AES-256-GCM key, made in the token. Raises `KeyExists`."""
        self._generate_secret(label, KeyType.AES, Mechanism.AES_KEY_GEN, MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT)
        return AeadKey(label, self._short)

    def aead_key(self, label: str) -> AeadKey:
        """The AES-256-GCM key of that name. Raises `KeyMissing`."""
        self._require_secret(label, KeyType.AES)
        return AeadKey(label, self._short)

    @contextmanager
    def one_time_key(self, spec: KeySpec = KeySpec.P256) -> Iterator[OneTimeKey]:
        """A pair that lives for the block alone, as a session object, and signs at most once.

        However the block ends, the key is destroyed and looked for from another session; where
        that is not proven, `DestructionFailed` is raised (also over an error of the block).
        """
        with self._held.borrow() as session:
            key = OneTimeKey(spec, self._new_id(), session, self._short)
            try:
                key.generate()
                yield key
            finally:
                key.destroy()

    @contextmanager
    def one_time_keys(self, count: int, spec: KeySpec = KeySpec.P256) -> Iterator[list[OneTimeKey]]:
        """The same for several pairs that live at the same time, in one session: nobody waits while holding one."""
        with self._held.borrow() as session, ExitStack() as ends:
            keys = []
            for _ in range(count):
                key = OneTimeKey(spec, self._new_id(), session, self._short)
                ends.callback(key.destroy)
                key.generate()
                keys.append(key)
            yield keys

    def private_keys(self) -> list[KeyHandleInfo]:
        """Every private key that the token knows now: lasting ones and one-time keys of this process.

        Raises `TokenGone`: a token that was taken away looks empty, which must not be told as "no keys".
        """
        with self._short.borrow() as session:
            found = [
                KeyHandleInfo(str(key[Attribute.LABEL]), bytes(key[Attribute.ID]), bool(key[Attribute.TOKEN]))
                for key in session.find({Attribute.CLASS: ObjectClass.PRIVATE_KEY})
            ]
            self._require_present()
        return found

    def lost(self) -> bool:
        """Whether what was opened leads nowhere any more: the token was taken away, or the login has ended.

        A token that comes back does not change that: it has to be opened again, by a process that is new to it.
        """
        try:
            self._require_present()
            with self._short.borrow() as session:
                return self._had_private_objects and not _sees_private_objects(session)
        except TokenGone:
            return True
        except HsmError:
            return False  # busy, or a failure of another kind, which its user is told

    def state(self) -> TokenState:
        """The state now; never raises for a token that is gone, `present` is False then."""
        flags: TokenFlag | None = None
        info = self._login.token
        with suppress(HsmError, pkcs11.PKCS11Error):
            self._require_open()
            info = self._login.token.slot.get_token()
            flags = info.flags if info.serial == self._login.token.serial else None
        present = flags is not None and not self._closed
        return TokenState(
            label=self.label,
            serial=self.serial,
            manufacturer=self._login.token.manufacturer_id,
            model=self._login.token.model,
            present=present,
            pin_ok=present,
            pin_tries=_tries(flags),
            sessions=self._short.limit,
            free_sessions=self._short.free,
            free_one_time=self._held.free,
        )

    def _generate_secret(self, label: str, kind: KeyType, mechanism: Mechanism, use: MechanismFlag) -> None:
        with self._making, self._short.borrow() as session:
            self._require_new(session, label)
            session.raw.generate_key(
                kind, 256, id=self._new_id(), label=label, store=True, capabilities=use, mechanism=mechanism,
                template=PROTECTION,
            )  # fmt: skip

    def _require_secret(self, label: str, kind: KeyType) -> None:
        with self._short.borrow() as session:
            key = session.key(label, ObjectClass.SECRET_KEY, afresh=True)
            fit = key[Attribute.KEY_TYPE] == kind and key[Attribute.SENSITIVE] and not key[Attribute.EXTRACTABLE]
        if not fit:
            raise KeyUnfit(f"Key '{label}' is of another kind or could leave the token. Make it anew in the token.")

    @staticmethod
    def _require_new(session: PooledSession, label: str) -> None:
        if session.find({Attribute.LABEL: label, Attribute.TOKEN: True}):
            raise KeyExists(
                f"The token already has a key named '{label}'. Use it, or retire it under another name first."
            )

    def _new_id(self) -> bytes:
        """A CKA_ID that no other key has: random for this opening, counted within it."""
        return self._id_prefix + next(self._id_counter).to_bytes(8, "big")

    def _require_open(self) -> None:
        if self._closed:
            raise TokenGone(f"Token '{self.label}' was closed. Open it again.")
        self._login.require_alive()

    def _require_present(self) -> None:
        """Asks the module for the token itself; `TokenGone` where it is not there any more."""
        self._require_open()
        try:
            present = self._login.token.slot.get_token().serial == self._login.token.serial
        except pkcs11.PKCS11Error:
            present = False
        if not present:
            raise TokenGone(
                f"Token '{self.label}' is gone. Check the device and its connection; once back it must be opened again."
            )


class _Login:
    """A token's login, which PKCS#11 shares among all sessions of one process."""

    def __init__(self, module: loader.Module, token: Any, pin: str) -> None:
        self.module = module
        self.token = token
        self.label: str = token.label
        self.serial: str = token.serial.decode("ascii", "replace")
        self.generation = module.generation
        self.process = os.getpid()
        self.users = 0
        self._pin_digest = hashlib.sha256(pin.encode()).digest()
        _require_a_try(token)
        try:
            self._anchor = token.open(rw=True, user_pin=pin)
        except pkcs11.PKCS11Error as error:
            raise translate(error, self.label) from error

    @property
    def alive(self) -> bool:
        return self.generation == self.module.generation and self.process == os.getpid()

    def require_alive(self) -> None:
        if not self.alive:
            raise TokenGone(
                f"Token '{self.label}' was opened before its module was restarted or before this process was forked. "
                "Open it again here."
            )

    def require_pin(self, pin: str) -> None:
        """The module would not ask again for a PIN; a second opener must know it all the same."""
        if not hmac.compare_digest(hashlib.sha256(pin.encode()).digest(), self._pin_digest):
            raise PinWrong(f"Token '{self.label}' does not accept the PIN. Correct the PIN file.")

    def session(self) -> PooledSession:
        return PooledSession(self.token.open(rw=True), self.module.direct)

    def release(self) -> None:
        with _logins_lock:
            self.users -= 1
            if self.users > 0:
                return
            if _logins.get(_key(self.module, self.token)) is self:
                del _logins[_key(self.module, self.token)]
            if self.alive:
                with suppress(pkcs11.PKCS11Error):
                    self._anchor.close()  # logs out


_logins: dict[tuple[Path, bytes], _Login] = {}
_logins_lock = threading.Lock()


def _key(module: loader.Module, token: Any) -> tuple[Path, bytes]:
    return module.path, token.serial


def _log_in(path: Path, label: str, pin: str) -> _Login:
    module = loader.load(path)
    with _logins_lock:
        token = _find(module, label)
        login = _logins.get(_key(module, token))
        if login is not None and login.alive:
            login.require_pin(pin)
        else:
            login = _logins[_key(module, token)] = _Login(module, token, pin)
        login.users += 1
        return login


def _find(module: loader.Module, label: str) -> Any:
    try:
        found = [token for token in module.tokens() if token.label == label]
    except pkcs11.PKCS11Error as error:
        raise translate(error, label) from error
    if len(found) > 1:
        raise TokenMissing(f"More than one token is named '{label}'. Give each token a name of its own.")
    if not found:
        raise TokenMissing(
            f"No token is named '{label}'. Make it with the ceremony, or check that the token directory "
            "or the device is the right one."
        )
    return found[0]


@dataclass(frozen=True, slots=True)
class TokenGlance:
    """What a token tells anybody, without a PIN. `pin_tries` as in `TokenState`."""

    label: str
    serial: str
    pin_tries: str


def glance(path: Path, label: str) -> TokenGlance:
    """Looks at the token named `label` without logging in. Raises `ModuleMissing`, `TokenMissing`."""
    token = _find(loader.load(path), label)
    return TokenGlance(token.label, token.serial.decode("ascii", "replace"), _tries(token.flags))


def _require_a_try(token: Any) -> None:
    tries = _tries(token.flags)
    if tries == "locked":
        raise PinLocked(f"The PIN of token '{token.label}' is locked. The security officer must set a new one.")
    if tries == "final":
        raise PinAtLastTry(
            f"Token '{token.label}' locks at the next wrong PIN, so it is not tried here. Log in once with the "
            "vendor's tool and the right PIN, which gives the tries back, and correct the PIN file."
        )


def _sees_private_objects(session: PooledSession) -> bool:
    return bool(session.find({Attribute.PRIVATE: True, Attribute.TOKEN: True}))


def _tries(flags: TokenFlag | None) -> str:
    if flags is None:
        return "full"
    if flags & TokenFlag.USER_PIN_LOCKED:
        return "locked"
    if flags & TokenFlag.USER_PIN_FINAL_TRY:
        return "final"
    return "low" if flags & TokenFlag.USER_PIN_COUNT_LOW else "full"
