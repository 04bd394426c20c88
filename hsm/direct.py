"""The few PKCS#11 calls of a one-time key's life, made on the module's own functions.

python-pkcs11 makes a Python class and several questions to the token out of every object that it hands
over. For lasting keys that happens once; for keys that live for a millisecond it was a third of their
time (decision 0020). Here an object is its handle. Everything else stays with python-pkcs11, whose
sessions these calls work in and whose exceptions they raise.
"""

import ctypes
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from pkcs11 import Attribute, Mechanism, ObjectClass, exceptions

_ULONG = ctypes.c_ulong
_POINTER = ctypes.c_void_p
_ULONG_OCTETS = ctypes.sizeof(_ULONG)
_OK = 0
#: Results that have a name of their own in `hsm.pool`; any other is a PKCS11Error without one.
_ERRORS: Mapping[int, type[exceptions.PKCS11Error]] = {
    0x02: exceptions.HostMemory,
    0x03: exceptions.SlotIDInvalid,
    0x05: exceptions.GeneralError,
    0x06: exceptions.FunctionFailed,
    0x11: exceptions.AttributeSensitive,
    0x12: exceptions.AttributeTypeInvalid,
    0x30: exceptions.DeviceError,
    0x31: exceptions.DeviceMemory,
    0x32: exceptions.DeviceRemoved,
    0x54: exceptions.FunctionNotSupported,
    0x60: exceptions.KeyHandleInvalid,
    0x70: exceptions.MechanismInvalid,
    0x71: exceptions.MechanismParamInvalid,
    0x82: exceptions.ObjectHandleInvalid,
    0xB0: exceptions.SessionClosed,
    0xB1: exceptions.SessionCount,
    0xB3: exceptions.SessionHandleInvalid,
    0xD1: exceptions.TemplateInconsistent,
    0xE0: exceptions.TokenNotPresent,
    0xE1: exceptions.TokenNotRecognised,
    0x101: exceptions.UserNotLoggedIn,
}
#: An uncompressed point on P-384 as OCTET STRING has 99 octets; r || s has 96.
_LONGEST = 256
_FOUND_AT_MOST = 16
#: Eight octets of the opening, and eight that count.
_ID_LENGTH = 16
ONE_TIME_LABEL = "one-time"
#: What is demanded of every private key besides being sensitive.
PROTECTION: dict[Attribute, bool] = {
    Attribute.EXTRACTABLE: False,
    Attribute.MODIFIABLE: False,
    Attribute.COPYABLE: False,
}
Value = bool | int | bytes


class _Attribute(ctypes.Structure):
    """CK_ATTRIBUTE."""

    _fields_ = (("type", _ULONG), ("value", _POINTER), ("length", _ULONG))


class _Mechanism(ctypes.Structure):
    """CK_MECHANISM without parameter."""

    _fields_ = (("mechanism", _ULONG), ("parameter", _POINTER), ("length", _ULONG))


class _Template:
    """A list of attributes with room for their values, built once and used again."""

    def __init__(self, values: Mapping[Attribute, Value]) -> None:
        octets = [_octets(value) for value in values.values()]
        # One piece of memory for all values: what a token wrote is read at once.
        self.values = ctypes.create_string_buffer(b"".join(octets), sum(map(len, octets)))
        places = list(accumulate(map(len, octets), initial=ctypes.addressof(self.values)))
        self.list = (_Attribute * len(values))(
            *(
                _Attribute(int(kind), place, len(value))
                for kind, place, value in zip(values, places, octets, strict=False)
            )
        )
        self.address = ctypes.addressof(self.list)
        self.size = len(values)
        #: The list as it goes to the token.
        self.image = bytes(self.list)
        self._id = places[list(values).index(Attribute.ID)] if Attribute.ID in values else 0

    def set_id(self, key_id: bytes) -> None:
        """Puts in this CKA_ID."""
        if len(key_id) != _ID_LENGTH:
            raise ValueError(f"the CKA_ID of a one-time key has {_ID_LENGTH} octets")
        ctypes.memmove(self._id, key_id, _ID_LENGTH)

    def renew(self) -> None:
        """Puts the list back as it was before a token wrote lengths into it."""
        ctypes.memmove(self.address, self.image, len(self.image))


def _octets(value: Value) -> bytes:
    if isinstance(value, bytes):
        return value
    return bytes((value,)) if isinstance(value, bool) else bytes(_ULONG(value))


class Functions:
    """The functions of one loaded module that are called here, by their addresses in its list.

    A call lets other threads run while the token works.
    """

    def __init__(self, addresses: Sequence[int]) -> None:
        def bind(position: int, *arguments: Any) -> Any:
            return ctypes.CFUNCTYPE(_ULONG, *arguments)(addresses[position])

        # Positions in CK_FUNCTION_LIST (PKCS #11 v2.40, pkcs11f.h), counted after its version field.
        self.destroy = bind(22, _ULONG, _ULONG)
        self.get_attributes = bind(24, _ULONG, _ULONG, _POINTER, _ULONG)
        self.find_begin = bind(26, _ULONG, _POINTER, _ULONG)
        self.find = bind(27, _ULONG, _POINTER, _ULONG, _POINTER)
        self.find_end = bind(28, _ULONG)
        self.sign_begin = bind(42, _ULONG, _POINTER, _ULONG)
        self.sign = bind(43, _ULONG, ctypes.c_char_p, _ULONG, _POINTER, _POINTER)
        self.generate_pair = bind(
            59, _ULONG, _POINTER, _POINTER, _ULONG, _POINTER, _ULONG, _POINTER, _POINTER
        )  # fmt: skip


class Direct:
    """The calls in one session, which the calling thread has to itself; every one raises `pkcs11.PKCS11Error`.

    What a call hands to the token stands in memory that is kept for the next one: nothing of it is secret.
    """

    def __init__(self, functions: Functions, session: int) -> None:
        self._functions = functions
        self._session = session
        self._pairs: dict[bytes, tuple[_Template, _Template]] = {}
        self._flags: dict[tuple[Attribute, ...], _Template] = {}
        self._point = _Template({Attribute.EC_POINT: bytes(_LONGEST)})
        self._id = _Template({Attribute.ID: bytes(_ID_LENGTH)})
        self._handles = (_ULONG * _FOUND_AT_MOST)()
        self._signature = ctypes.create_string_buffer(_LONGEST)
        self._length = _ULONG()
        self._making = _Mechanism(int(Mechanism.EC_KEY_PAIR_GEN), None, 0)
        self._signing = _Mechanism(int(Mechanism.ECDSA), None, 0)
        # Where all this stands: asking for an address takes as long as some of the calls.
        self._at_handles = ctypes.addressof(self._handles)
        self._at_signature = ctypes.addressof(self._signature)
        self._at_length = ctypes.addressof(self._length)
        self._at_making = ctypes.addressof(self._making)
        self._at_signing = ctypes.addressof(self._signing)

    def generate_pair(self, curve: bytes, key_id: bytes) -> tuple[int, int]:
        """C_GenerateKeyPair for a pair that lives in this session and signs: the public handle and the private one."""
        if curve not in self._pairs:
            self._pairs[curve] = _Template(_public(curve)), _Template(_private())
        public, private = self._pairs[curve]
        public.set_id(key_id)
        private.set_id(key_id)
        first = self._at_handles
        _require(
            self._functions.generate_pair(
                self._session, self._at_making, public.address, public.size,
                private.address, private.size, first, first + _ULONG_OCTETS,
            )
        )  # fmt: skip
        return self._handles[0], self._handles[1]

    def flags(self, handle: int, kinds: tuple[Attribute, ...]) -> list[bool]:
        """C_GetAttributeValue for several CK_BBOOL at once; fails where the object lacks one of them."""
        asked = self._flags.get(kinds)
        if asked is None:
            asked = self._flags[kinds] = _Template(dict.fromkeys(kinds, False))
        result = self._functions.get_attributes(self._session, handle, asked.address, asked.size)
        # Every length as it was: the token wrote one octet for each.
        complete = bytes(asked.list) == asked.image
        if not complete:
            asked.renew()
        _require(result)
        if not complete:
            raise exceptions.AttributeTypeInvalid
        return [value != 0 for value in asked.values.raw]

    def point(self, handle: int) -> bytes:
        """C_GetAttributeValue for CKA_EC_POINT."""
        asked = self._point.list[0]
        asked.length = _LONGEST
        _require(self._functions.get_attributes(self._session, handle, self._point.address, 1))
        return self._point.values.raw[: asked.length]

    def sign(self, handle: int, digest: bytes) -> bytes:
        """C_SignInit and C_Sign with CKM_ECDSA: r || s."""
        functions, session, length = self._functions, self._session, self._length
        length.value = _LONGEST
        _require(functions.sign_begin(session, self._at_signing, handle))
        _require(functions.sign(session, digest, len(digest), self._at_signature, self._at_length))
        return self._signature.raw[: length.value]

    def destroy(self, handle: int) -> None:
        """C_DestroyObject."""
        _require(self._functions.destroy(self._session, handle))

    def count(self, key_id: bytes) -> int:
        """How many objects of this CKA_ID the session sees; more than 16 count as 16."""
        functions, session = self._functions, self._session
        self._id.set_id(key_id)
        _require(functions.find_begin(session, self._id.address, 1))
        # Ended whatever the search says: an open one would block the session.
        self._length.value = 0
        searched = functions.find(session, self._at_handles, _FOUND_AT_MOST, self._at_length)
        ended = functions.find_end(session)
        _require(searched)
        _require(ended)
        return int(self._length.value)


def _require(result: int) -> None:
    if result != _OK:
        raise _ERRORS.get(result, exceptions.PKCS11Error)(f"CKR 0x{result:x}")


def _public(curve: bytes) -> dict[Attribute, Value]:
    return {
        Attribute.CLASS: int(ObjectClass.PUBLIC_KEY),
        Attribute.EC_PARAMS: curve,
        Attribute.ENCRYPT: False,
        Attribute.WRAP: False,
        Attribute.VERIFY: True,
        **_shared(),
    }


def _private() -> dict[Attribute, Value]:
    return {
        Attribute.CLASS: int(ObjectClass.PRIVATE_KEY),
        Attribute.PRIVATE: True,
        Attribute.SENSITIVE: True,
        Attribute.DECRYPT: False,
        Attribute.UNWRAP: False,
        Attribute.SIGN: True,
        Attribute.DERIVE: False,
        **_shared(),
        **PROTECTION,
    }


def _shared() -> dict[Attribute, Value]:
    return {
        Attribute.ID: bytes(_ID_LENGTH),
        Attribute.LABEL: ONE_TIME_LABEL.encode(),
        Attribute.TOKEN: False,
    }
