"""Loads a PKCS#11 module so that several threads may use it.

python-pkcs11 0.10 calls C_Initialize(NULL), which promises the module a single-threaded caller
(PKCS #11 v2.40 section 5.4), and then lets go of the interpreter lock. The subclass here hands over
CKF_OS_LOCKING_OK instead, so that the module protects itself with the system's own mutexes.
"""

import ctypes
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import pkcs11
from pkcs11 import _pkcs11

from hsm.direct import Functions
from hsm.errors import ModuleMissing, TokenFailure

_CKF_OS_LOCKING_OK = 0x2
_CKR_OK = 0
# Positions in CK_FUNCTION_LIST, counted after its version field.
_C_INITIALIZE, _C_FINALIZE, _C_INIT_TOKEN = 0, 1, 9
_FUNCTIONS = 68
_LABEL_LENGTH = 32


class _InitArgs(ctypes.Structure):
    """CK_C_INITIALIZE_ARGS without mutex callbacks."""

    _fields_: ClassVar[Any] = [
        ("callbacks", ctypes.c_void_p * 4),
        ("flags", ctypes.c_ulong),
        ("reserved", ctypes.c_void_p),
    ]


class _FunctionList(ctypes.Structure):
    """CK_FUNCTION_LIST (PKCS #11 v2.40, section 3.6)."""

    _fields_: ClassVar[Any] = [
        ("major", ctypes.c_ubyte),
        ("minor", ctypes.c_ubyte),
        ("functions", ctypes.c_void_p * _FUNCTIONS),
    ]


class _Library(_pkcs11.lib):
    """python-pkcs11's library, initialised with operating system locking."""

    initialized: bool = False

    def initialize(self) -> None:
        if self.initialized:
            return
        arguments = _InitArgs(flags=_CKF_OS_LOCKING_OK)
        call = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_void_p)(self._function(_C_INITIALIZE))
        result = call(ctypes.addressof(arguments))
        if result != _CKR_OK:
            raise TokenFailure(
                f"The PKCS#11 module {self.so} does not start (C_Initialize gave 0x{result:x}). Check its "
                "configuration, that this process may read its token directory, and that nothing else in the "
                "process has loaded it."
            )
        self.initialized = True

    def finalize(self) -> None:
        if self.initialized:
            self.initialized = False
            ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_void_p)(self._function(_C_FINALIZE))(None)

    def init_token(self, slot: int, so_pin: str, label: str) -> int:
        """C_InitToken, which python-pkcs11 does not offer; returns the CK_RV."""
        call = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)(
            self._function(_C_INIT_TOKEN)
        )
        pin = so_pin.encode()
        return int(call(slot, pin, len(pin), label.encode().ljust(_LABEL_LENGTH)))

    def functions(self) -> Sequence[int]:
        """The addresses of the module's functions, in the standard's order."""
        library = ctypes.CDLL(self.so)
        listed = ctypes.POINTER(_FunctionList)()
        if library.C_GetFunctionList(ctypes.byref(listed)) != _CKR_OK:
            raise TokenFailure(f"The PKCS#11 module {self.so} gives no function list. Check that the file is a module.")
        return [int(address or 0) for address in listed.contents.functions]

    def _function(self, position: int) -> int:
        return self.functions()[position]


class Module:
    """One loaded module of this process. `generation` counts its starts: what was opened under an
    earlier one is dead, and its handles may by now belong to somebody else."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.generation = 1
        try:
            self.library = _Library(str(path))
        except pkcs11.PKCS11Error as error:
            raise ModuleMissing(
                f"{path} cannot be loaded as a PKCS#11 module ({error}). Install the token's driver "
                "or correct the path."
            ) from error
        #: For the calls that go past python-pkcs11.
        self.direct = Functions(self.library.functions())
        # Never collected: at interpreter exit python-pkcs11 would unload the module under its own feet.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.library))

    def start(self) -> None:
        """Initialises the module again after `stop`; nothing to do while it runs."""
        if not self.library.initialized:
            self.library.initialize()

    def stop(self) -> None:
        """C_Finalize: closes every session of this process; all open tokens are gone."""
        if self.library.initialized:
            self.generation += 1
            self.library.finalize()

    def tokens(self) -> list[Any]:
        """The tokens in all slots. A slot whose token is broken or missing does not hide the others."""
        found = []
        for slot in self.library.get_slots(token_present=True):
            with suppress(pkcs11.PKCS11Error):
                found.append(slot.get_token())
        return found


_modules: dict[Path, Module] = {}
_lock = threading.Lock()


def load(path: Path) -> Module:
    """The module at `path`, loaded and initialised once per process. Raises `ModuleMissing`."""
    real = path.resolve()
    with _lock:
        if real not in _modules:
            if not real.is_file():
                raise ModuleMissing(
                    f"There is no PKCS#11 module at {path}. Install the token's driver (for tests: softhsm2) "
                    "or correct the path."
                )
            _modules[real] = Module(real)
        module = _modules[real]
        module.start()
        return module


def stop_all() -> None:
    """Stops every loaded module, so that the next `load` reads its configuration afresh."""
    with _lock:
        for module in _modules.values():
            module.stop()
