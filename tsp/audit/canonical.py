"""Canonical JSON (RFC 8785) for the values that records here are made of.

The subset leaves out what makes canonical JSON hard: no floats, no null. Two programs that follow
RFC 8785 get the same octets for the same record, today and in ten years.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

Json: TypeAlias = "str | int | bool | Sequence[Json] | Mapping[str, Json]"

#: Integers that every JSON reader keeps exactly (RFC 8785, 3.2.2.3: IEEE 754 doubles).
_LARGEST = 2**53 - 1
_DEPTH = 32
_PLAIN = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))


def canonical(value: Json) -> bytes:
    """The one encoding of `value` as UTF-8.

    Raises `ValueError` for floats, null, keys that are no strings, integers beyond 2^53 - 1, text
    that is not Unicode, and nesting over 32 levels.
    """
    if _is_plain(value, _DEPTH):
        try:
            return _PLAIN.encode(value).encode()
        except UnicodeEncodeError:
            raise ValueError("text with lone surrogates") from None
    return _encode(value, _DEPTH).encode()


def _is_plain(value: object, depth: int) -> bool:
    """Whether the interpreter's own encoder writes `value` as RFC 8785 wants it: ASCII keys, and nothing to refuse."""
    kind = type(value)
    items: Iterable[object]
    if kind is dict:
        for key in value:  # type: ignore[attr-defined]  # a dict by its type
            if type(key) is not str or not key.isascii():
                return False
        items = value.values()  # type: ignore[attr-defined]
    elif kind is list or kind is tuple:
        items = value  # type: ignore[assignment]  # a list or tuple by its type
    else:
        return _is_plain_leaf(value)
    if depth <= 1:
        return False
    for item in items:  # noqa: SIM110  (a generator takes twice as long, and records are written on the hot path)
        # Most are texts: a call for each takes longer than the encoder.
        if type(item) is not str and not _is_plain(item, depth - 1):
            return False
    return True


def _is_plain_leaf(value: object) -> bool:
    kind = type(value)
    return kind is str or kind is bool or (kind is int and -_LARGEST <= value <= _LARGEST)  # type: ignore[operator]


def _encode(value: object, depth: int) -> str:
    if depth == 0:
        raise ValueError("nested too deep for a record")
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        if abs(value) > _LARGEST:
            raise ValueError("integer beyond what JSON keeps exactly")
        return str(value)
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("a record's keys are strings")
        ordered = sorted(value.items(), key=lambda item: _utf16(item[0]))
        return "{" + ",".join(f"{_text(key)}:{_encode(item, depth - 1)}" for key, item in ordered) + "}"
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return "[" + ",".join(_encode(item, depth - 1) for item in value) + "]"
    raise ValueError(f"{type(value).__name__} has no place in a record")


def _utf16(key: str) -> bytes:
    """RFC 8785, 3.2.3: members are sorted by UTF-16 code units."""
    return key.encode("utf-16-be", "surrogatepass")


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("text with lone surrogates") from None
    return json.dumps(value, ensure_ascii=False)
