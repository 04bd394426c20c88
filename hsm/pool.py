"""A bounded pool of sessions on one token, and the one place where PKCS#11 errors get our names."""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any

import pkcs11
from pkcs11 import Attribute, ObjectClass, exceptions

from hsm.direct import Direct, Functions
from hsm.errors import (
    HsmError,
    KeyMissing,
    MechanismMissing,
    PinLocked,
    PinWrong,
    TokenBusy,
    TokenFailure,
    TokenFull,
    TokenGone,
)

_WRONG_PIN = (exceptions.PinIncorrect, exceptions.PinInvalid, exceptions.PinLenRange)
_FULL = (exceptions.DeviceMemory, exceptions.HostMemory, exceptions.SessionCount)
_NO_MECHANISM = (exceptions.MechanismInvalid, exceptions.FunctionNotSupported, exceptions.MechanismParamInvalid)
_GONE = (
    exceptions.DeviceRemoved,
    exceptions.DeviceError,
    exceptions.SessionClosed,
    exceptions.SessionHandleInvalid,
    exceptions.SlotIDInvalid,
    exceptions.TokenNotPresent,
    exceptions.TokenNotRecognised,
    exceptions.UserNotLoggedIn,
)
#: A cached object handle that no longer leads to a key.
STALE = (exceptions.ObjectHandleInvalid, exceptions.KeyHandleInvalid)


class PooledSession:
    """A session that one thread has to itself; knows the keys that it has found before."""

    def __init__(self, raw: Any, functions: Functions) -> None:
        self.raw = raw
        self.direct = Direct(functions, raw.handle)
        self.spoiled = False
        self._found: dict[tuple[str, ObjectClass], Any] = {}

    def key(self, label: str, kind: ObjectClass, *, afresh: bool = False) -> Any:
        """The token object of that label and class; searched once per session, or `afresh`."""
        found = None if afresh else self._found.get((label, kind))
        if found is None:
            objects = self.find({Attribute.CLASS: kind, Attribute.LABEL: label, Attribute.TOKEN: True})
            if not objects:
                raise KeyMissing(
                    f"The token has no key named '{label}'. Run the ceremony that makes it, "
                    "or check that this is the right token."
                )
            if len(objects) > 1:
                raise TokenFailure(
                    f"The token has {len(objects)} keys named '{label}'. Remove the ones that are not ours."
                )
            found = self._found[(label, kind)] = objects[0]
        return found

    def handle(self, label: str, kind: ObjectClass, *, afresh: bool = False) -> int:
        """The same, as the handle that `direct` wants."""
        return int(self.key(label, kind, afresh=afresh).handle)

    def find(self, template: dict[Attribute, Any]) -> list[Any]:
        # The search is read to its end at once: an open one would block the session.
        return list(self.raw.get_objects(template))


class SessionPool:
    """At most `limit` sessions, opened when first needed; who finds none free waits `wait` seconds."""

    def __init__(
        self,
        label: str,
        opener: Callable[[], PooledSession],
        require_alive: Callable[[], None],
        require_present: Callable[[], None],
        limit: int,
        wait: float,
    ) -> None:
        self._label = label
        self._opener = opener
        self._require_alive = require_alive
        #: Asks the device itself; raises `TokenGone`.
        self.require_present = require_present
        self.limit = limit
        self._wait = wait
        # A queue of the interpreter's own: quicker than a semaphore, which is written in Python.
        self._permits: SimpleQueue[None] = SimpleQueue()
        for _ in range(limit):
            self._permits.put(None)
        self._idle: deque[PooledSession] = deque()
        self._closed = False

    @property
    def free(self) -> int:
        """Sessions that could be borrowed at this moment."""
        return self._permits.qsize()

    def borrow(self) -> "_Borrowing":
        """One session for a `with` block alone. PKCS#11 errors of the block come out as `HsmError`.

        Raises `TokenBusy` after the waiting time, `TokenGone` where the token is closed or lost.
        """
        return _Borrowing(self)

    def take(self) -> PooledSession:
        """A session to be given back with `give_back`; raises as `borrow` says."""
        self._require_alive()
        if self._closed:
            raise TokenGone(f"Token '{self._label}' was closed. Open it again.")
        try:
            self._permits.get(timeout=self._wait)
        except Empty:
            raise TokenBusy(
                f"All {self.limit} sessions on token '{self._label}' were in use for {self._wait:g} seconds. "
                "Give it more sessions, or look for a token that has become slow."
            ) from None
        try:
            try:
                return self._idle.pop()
            except IndexError:
                return self._opener()
        except BaseException as error:
            self._permits.put(None)
            if isinstance(error, pkcs11.PKCS11Error):
                raise self.named(error) from error
            raise

    def give_back(self, session: PooledSession) -> None:
        """Ends what `take` began; a spoiled session is closed."""
        try:
            self._keep(session)
        finally:
            self._permits.put(None)

    def close(self) -> None:
        """Closes the idle sessions; borrowed ones are closed when they come back."""
        self._closed = True
        while self._idle:
            self._close(self._idle.pop())

    def named(self, error: pkcs11.PKCS11Error) -> HsmError:
        """Our error for a PKCS#11 error, after asking whether the token is still there."""
        if not isinstance(error, (*_WRONG_PIN, exceptions.PinLocked)):
            try:
                self.require_present()
            except HsmError as gone:
                return gone
        return translate(error, self._label)

    def _keep(self, session: PooledSession) -> None:
        try:
            self._require_alive()
        except TokenGone:
            return  # the module has stopped or this is a fork: the handle is not ours to close any more
        if session.spoiled or self._closed:
            self._close(session)
        else:
            self._idle.append(session)

    @staticmethod
    def _close(session: PooledSession) -> None:
        # A session that cannot be closed is dead already; its objects went with it.
        with suppress(pkcs11.PKCS11Error):
            session.raw.close()


class _Borrowing:
    """The block of `SessionPool.borrow`. A class, because a generator takes three times as long to enter and leave."""

    __slots__ = ("_pool", "_session")

    def __init__(self, pool: SessionPool) -> None:
        self._pool = pool

    def __enter__(self) -> PooledSession:
        self._session = self._pool.take()
        return self._session

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pool, session = self._pool, self._session
        try:
            if error is not None:
                if isinstance(error, pkcs11.PKCS11Error):
                    session.spoiled = True
                    raise pool.named(error) from error
                if isinstance(error, KeyMissing):
                    pool.require_present()  # a token that was taken away also looks empty
        finally:
            pool.give_back(session)


def translate(error: pkcs11.PKCS11Error, label: str) -> HsmError:
    """The error of our family that says what an operator does about a PKCS#11 error."""
    if isinstance(error, exceptions.PinLocked):
        return PinLocked(f"The PIN of token '{label}' is locked. The security officer must set a new one.")
    if isinstance(error, _WRONG_PIN):
        return PinWrong(
            f"Token '{label}' does not accept the PIN. Correct the PIN file; repeated wrong PINs lock the token."
        )
    if isinstance(error, _FULL):
        return TokenFull(
            f"Token '{label}' has no room left. Remove keys that are no longer used or allow more sessions."
        )
    if isinstance(error, _NO_MECHANISM):
        return MechanismMissing(f"Token '{label}' cannot do an operation that is needed here. Use a token that can.")
    if isinstance(error, _GONE):
        return TokenGone(
            f"Token '{label}' is gone. Check the device and its connection; once back it must be opened again."
        )
    name = type(error).__name__
    return TokenFailure(
        f"Token '{label}' failed ({name}). Look into the token's own log; restart the service if it stays."
    )
