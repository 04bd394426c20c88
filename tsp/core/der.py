"""DER by concatenation: the fast way for hot paths (X.690, clauses 8 and 10).

Every function returns the complete encoding of one value as bytes, so structures are built by
nesting calls and constant parts can be encoded once and kept. Property tests hold each function
equal to asn1crypto's encoding. `read_tlv` and `children` take strict DER apart again.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from tsp.core.errors import Invalid

NULL = b"\x05\x00"
TRUE = b"\x01\x01\xff"


def tlv(tag: int, content: bytes) -> bytes:
    """Tag (one octet), length in its shortest form, content."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    if size < 0x100:
        return bytes((tag, 0x81, size)) + content
    if size < 0x10000:
        return bytes((tag, 0x82, size >> 8, size & 0xFF)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def seq(*parts: bytes) -> bytes:
    """SEQUENCE (OF)."""
    return tlv(0x30, b"".join(parts))


def set_of(*parts: bytes) -> bytes:
    """SET OF: members in the order that DER asks for (X.690, 11.6)."""
    return tlv(0x31, b"".join(sorted(parts)))


def integer(value: int) -> bytes:
    """INTEGER, shortest two's complement."""
    size = (value.bit_length() if value >= 0 else (value + 1).bit_length()) // 8 + 1
    return tlv(0x02, value.to_bytes(size, "big", signed=True))


def enumerated(value: int) -> bytes:
    """ENUMERATED."""
    return b"\x0a" + integer(value)[1:]


def boolean(value: bool) -> bytes:
    """BOOLEAN; DER leaves defaults out, so callers encode only what differs from them."""
    return tlv(0x01, b"\xff" if value else b"\x00")


def oid(dotted: str) -> bytes:
    """OBJECT IDENTIFIER from its dotted form."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    if first > 2 or (first < 2 and second > 39) or min(first, second, *rest) < 0:
        raise ValueError(f"not an object identifier: {dotted}")
    return tlv(0x06, b"".join(_base128(arc) for arc in (first * 40 + second, *rest)))


def _base128(arc: int) -> bytes:
    septets = [arc & 0x7F]
    while arc := arc >> 7:
        septets.append(arc & 0x7F | 0x80)
    return bytes(reversed(septets))


def octet_string(value: bytes) -> bytes:
    """OCTET STRING."""
    return tlv(0x04, value)


def bit_string(value: bytes, unused: int = 0) -> bytes:
    """BIT STRING of whole octets, or with `unused` trailing bits."""
    return tlv(0x03, bytes((unused,)) + value)


def named_bits(*positions: int) -> bytes:
    """BIT STRING with named bits: trailing zero bits are dropped (X.690, 11.2.2)."""
    if not positions:
        return bit_string(b"")
    size = max(positions) // 8 + 1
    value = 0
    for position in positions:
        value |= 1 << (size * 8 - 1 - position)
    return bit_string(value.to_bytes(size, "big"), size * 8 - 1 - max(positions))


def utf8(value: str) -> bytes:
    """UTF8String."""
    return tlv(0x0C, value.encode())


def printable(value: str) -> bytes:
    """PrintableString; the caller answers for the alphabet."""
    return tlv(0x13, value.encode("ascii"))


def ia5(value: str) -> bytes:
    """IA5String."""
    return tlv(0x16, value.encode("ascii"))


def utc_time(moment: datetime) -> bytes:
    """UTCTime to the second."""
    return tlv(0x17, _utc(moment).strftime("%y%m%d%H%M%SZ").encode())


def generalized_time(moment: datetime) -> bytes:
    """GeneralizedTime in UTC; a fraction of a second only where there is one, without trailing zeros."""
    moment = _utc(moment)
    text = f"{moment.year:04d}" + moment.strftime("%m%d%H%M%S")
    if moment.microsecond:
        text += "." + f"{moment.microsecond:06d}".rstrip("0")
    return tlv(0x18, (text + "Z").encode())


def x509_time(moment: datetime) -> bytes:
    """Time as RFC 5280, 4.1.2.5 wants it: UTCTime to 2049, GeneralizedTime from 2050, whole seconds."""
    moment = _utc(moment).replace(microsecond=0)
    return utc_time(moment) if 1950 <= moment.year < 2050 else generalized_time(moment)


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("naive datetime")
    return moment.astimezone(UTC)


def explicit(number: int, inner: bytes) -> bytes:
    """[number] EXPLICIT around a complete value."""
    return tlv(0xA0 | number, inner)


def implicit(number: int, inner: bytes) -> bytes:
    """[number] IMPLICIT in place of the value's own tag; keeps primitive or constructed."""
    return bytes((0x80 | number | inner[0] & 0x20,)) + inner[1:]


class Tlv(NamedTuple):
    """One value taken apart: its tag octet, its content, and the whole encoding."""

    tag: int
    content: bytes
    encoded: bytes


def read_tlv(data: bytes, offset: int = 0) -> tuple[Tlv, int]:
    """The value at `offset` and the offset behind it; raises as `span` does."""
    start, end = span(data, offset)
    return Tlv(data[offset], data[start:end], data[offset:end]), end


def span(data: bytes, offset: int) -> tuple[int, int]:
    """Where the content of the value at `offset` begins and ends.

    Raises `Invalid` (der-malformed) for anything that is not DER with one-octet tags: truncated,
    indefinite or needlessly long lengths.
    """
    start = offset + 2
    if start > len(data):
        raise _malformed("truncated")
    size = data[offset + 1]
    if data[offset] & 0x1F == 0x1F:
        raise _malformed("long tag")
    if size & 0x80:
        count = size & 0x7F
        raw = data[start : start + count]
        if not 1 <= count <= 4 or len(raw) < count or raw[0] == 0:
            raise _malformed("length")
        size = int.from_bytes(raw, "big")
        if size < 0x80:
            raise _malformed("length not shortest")
        start += count
    end = start + size
    if end > len(data):
        raise _malformed("truncated")
    return start, end


def read_one(data: bytes) -> Tlv:
    """Exactly one value with nothing behind it; `Invalid` (der-malformed) otherwise."""
    value, end = read_tlv(data)
    if end != len(data):
        raise _malformed("trailing octets")
    return value


def children(content: bytes) -> Iterator[Tlv]:
    """The values inside a constructed one, in order."""
    offset, size = 0, len(content)
    while offset < size:
        start = offset + 2
        # Nearly all values of requests are this short.
        if start <= size and (length := content[offset + 1]) < 0x80 and content[offset] & 0x1F != 0x1F:
            end = start + length
            if end <= size:
                yield Tlv(content[offset], content[start:end], content[offset:end])
                offset = end
                continue
        value, offset = read_tlv(content, offset)
        yield value


def join(parts: Iterable[bytes]) -> bytes:
    """SEQUENCE OF from any iterable."""
    return seq(*parts)


def _malformed(why: str) -> Invalid:
    return Invalid("der-malformed", "The data are not valid DER.", why=why)
