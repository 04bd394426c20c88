"""Mutations of octets, the same for the same seed: a fuzzer that needs nothing but the interpreter."""

import random
from collections.abc import Iterator, Sequence

from tsp.core import der
from tsp.core.errors import Invalid

_ODD_DER = (b"\x00", b"\x7f", b"\x80", b"\xff", b"\x30\x80", b"\x30\x84\xff\xff\xff\xff", b"\x05\x00", b"\x1f\x81\x00")
_ODD = (*_ODD_DER, b"%", b"=", b"/")
_DEEPEST = 200


def mutations(seeds: Sequence[bytes], count: int, seed: int) -> Iterator[bytes]:
    """`count` inputs from `seeds`, each changed in one to four places, now and then joined with another one."""
    chance = random.Random(seed)  # noqa: S311  (the same ones every time are wanted)
    for _ in range(count):
        data = chance.choice(seeds)
        if chance.random() < 0.1:
            other = chance.choice(seeds)
            data = data[: chance.randint(0, len(data))] + other[chance.randint(0, len(other)) :]
        for _ in range(chance.randint(1, 4)):
            data = chance.choice(_CHANGES)(data, chance)[:20_000]
        yield data


def _flip(data: bytes, chance: random.Random) -> bytes:
    if not data:
        return b"\x30"
    place = chance.randrange(len(data))
    return data[:place] + bytes((data[place] ^ 1 << chance.randrange(8),)) + data[place + 1 :]


def _set(data: bytes, chance: random.Random) -> bytes:
    place = chance.randint(0, len(data))
    return data[:place] + chance.choice(_ODD) + data[place + 1 :]


def _insert(data: bytes, chance: random.Random) -> bytes:
    place = chance.randint(0, len(data))
    return data[:place] + chance.choice((*_ODD, chance.randbytes(chance.randint(1, 8)))) + data[place:]


def _cut(data: bytes, chance: random.Random) -> bytes:
    first, second = sorted((chance.randint(0, len(data)), chance.randint(0, len(data))))
    return data[:first] + data[second:]


def _repeat(data: bytes, chance: random.Random) -> bytes:
    first, second = sorted((chance.randint(0, len(data)), chance.randint(0, len(data))))
    return data[:second] + data[first:second] * chance.choice((1, 2, 50)) + data[second:]


def _nest(data: bytes, chance: random.Random) -> bytes:
    for _ in range(chance.choice((1, 2, _DEEPEST))):
        data = der.tlv(chance.choice((0x30, 0x31, 0xA0, 0xA2)), data)
    return data


def _inside(data: bytes, chance: random.Random) -> bytes:
    """Changes a value somewhere inside and writes the lengths around it anew, so that the change is reached."""
    try:
        value = der.read_one(data)
        parts = list(der.children(value.content)) if value.tag & 0x20 else []
    except Invalid:
        return _flip(data, chance)
    if not parts or chance.random() < 0.2:
        content = chance.choice((_flip, _set, _insert, _cut, _repeat))(value.content, chance)
        return der.tlv(chance.choice((value.tag, value.tag, value.tag, chance.randrange(256))), content)
    chosen = chance.randrange(len(parts))
    encoded = [part.encoded for part in parts]
    what = chance.random()
    if what < 0.15:
        del encoded[chosen]
    elif what < 0.3:
        encoded.insert(chance.randint(0, len(encoded)), encoded[chosen])
    else:
        encoded[chosen] = _inside(encoded[chosen], chance)
    return der.tlv(value.tag, b"".join(encoded))


_CHANGES = (_flip, _set, _insert, _cut, _repeat, _nest, _inside, _inside, _inside)
