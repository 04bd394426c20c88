"""Reads a revocation list from its first octet to its last without holding it: lists of millions are looked at too.

Another way than the builder's: everything is found by its place, entries are walked over one by one, and what
stands around them is read by another parser.
"""

import mmap
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from asn1crypto import core, x509

from tsp.core.errors import Invalid

Octets = bytes | mmap.mmap
#: reasonCode, not critical, as the only extension of an entry: what may stand behind the date.
_WHY: Final = {b"", *(bytes.fromhex("300c300a0603551d1504030a01") + bytes((code,)) for code in (1, 2, 3, 4, 5, 9, 10))}
_MONTH_TO_SECOND: Final = rb"(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:[01]\d|2[0-3])[0-5]\d[0-5]\dZ"
#: UTCTime to 2049, GeneralizedTime from 2050 (RFC 5280, 5.1.2.6).
_TIME: Final = re.compile(
    rb"\x17\x0d\d\d" + _MONTH_TO_SECOND + rb"|\x18\x0f(?:20[5-9]\d|2[1-9]\d\d|[3-9]\d{3})" + _MONTH_TO_SECOND
)
_LONGEST_ENTRY: Final = 64


class Span(NamedTuple):
    """One value: its tag, where it begins, where its content begins, and where it ends."""

    tag: int
    begin: int
    content: int
    end: int


@dataclass(frozen=True, slots=True)
class CrlReading:
    """A list taken apart. `extensions` are by OID, each with whether it is critical and its value (DER)."""

    data: Octets
    tbs: Span
    version: bytes | None
    algorithm: bytes
    issuer: bytes
    this_update: datetime
    next_update: datetime | None
    entries: Span | None
    extensions: dict[str, tuple[bool, bytes]]
    extension_count: int
    outer_algorithm: bytes
    signature: bytes

    @classmethod
    def of(cls, data: Octets) -> "CrlReading":
        """Raises `Invalid` (crl-malformed) for anything that is not one CertificateList in DER."""
        try:
            return _read(data)
        except (ValueError, TypeError, IndexError, OverflowError) as error:
            raise _malformed(type(error).__name__) from error

    @property
    def number(self) -> int | None:
        """cRLNumber."""
        return self.integer("2.5.29.20")

    def integer(self, dotted: str) -> int | None:
        """The value of an extension that is an INTEGER; `Invalid` (crl-malformed) where it is none."""
        if dotted not in self.extensions:
            return None
        try:
            value: int = core.Integer.load(self.extensions[dotted][1], strict=True).native
        except (ValueError, TypeError) as error:
            raise _malformed("number") from error
        return value

    def count(self) -> int:
        """How many entries there are; each is looked at. `Invalid` (crl-malformed) where one is not as it must be."""
        return sum(1 for _ in self.serials())

    def serials(self) -> Iterator[bytes]:
        """The serial numbers as they are encoded; each entry is looked at.

        Raises `Invalid` (crl-malformed): a number that is not positive, a date or a reason that RFC 5280 does not
        allow, anything behind them.
        """
        if self.entries is None:
            return
        data, at, end = self.data, self.entries.content, self.entries.end
        while at < end:
            one = data[at : at + _LONGEST_ENTRY]
            try:
                size, serial = _entry(one)
            except IndexError:
                raise _malformed("entry") from None
            if at + size > end:
                raise _malformed("entry")
            yield serial
            at += size


def _entry(one: bytes) -> tuple[int, bytes]:
    """Octets and serial number of the entry that begins here; IndexError where there are not enough of them."""
    size = one[1] + 2
    number = one[3] + 4
    serial = one[4:number]
    date = number + one[number + 1] + 2
    if (
        one[0] != 0x30
        or not 20 <= size <= _LONGEST_ENTRY
        or one[2] != 0x02
        or not 1 <= len(serial) <= 20
        or serial[0] & 0x80
        or (serial[0] == 0 and (len(serial) == 1 or not serial[1] & 0x80))
        or not _TIME.fullmatch(one, number, date)
        or one[date:size] not in _WHY
    ):
        raise _malformed("entry")
    return size, serial


@contextmanager
def open_crl(path: Path) -> Iterator[CrlReading]:
    """The list in a file. `Invalid` (crl-malformed) where there is none in it, `OSError` where it cannot be read."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise _malformed("empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield CrlReading.of(data)


def crl_facts(data: Octets) -> tuple[int, datetime, datetime]:
    """Number, thisUpdate and nextUpdate of one of our lists; `Invalid` (crl-malformed) where it has not all of them."""
    reading = CrlReading.of(data)
    number = reading.number
    if number is None or reading.next_update is None:
        raise _malformed("number or next update")
    return number, reading.this_update, reading.next_update


def _read(data: Octets) -> CrlReading:
    outer = _span(data, 0, len(data))
    if outer.tag != 0x30 or outer.end != len(data):
        raise ValueError("not one sequence")
    tbs, algorithm, signature = _inside(data, outer)
    if (tbs.tag, algorithm.tag, signature.tag) != (0x30, 0x30, 0x03) or data[signature.content] != 0:
        raise ValueError("not a signed list")
    fields = _inside(data, tbs)
    version = fields.pop(0) if fields[0].tag == 0x02 else None
    if [f.tag for f in fields[:2]] != [0x30, 0x30]:
        raise ValueError("no algorithm or issuer")
    inner, issuer, since = fields[:3]
    rest = fields[3:]
    until = rest.pop(0) if rest and rest[0].tag in (0x17, 0x18) else None
    entries = rest.pop(0) if rest and rest[0].tag == 0x30 else None
    wrapped = rest.pop(0) if rest and rest[0].tag == 0xA0 else None
    if rest:
        raise ValueError("more fields than there are")
    found = list(x509.Extensions.load(data[wrapped.content : wrapped.end], strict=True)) if wrapped else []
    extensions: dict[str, tuple[bool, bytes]] = {}
    for one in found:
        extensions.setdefault(one["extn_id"].dotted, (one["critical"].native, one["extn_value"].contents))
    return CrlReading(
        data=data,
        tbs=tbs,
        version=None if version is None else data[version.begin : version.end],
        algorithm=data[inner.begin : inner.end],
        issuer=data[issuer.begin : issuer.end],
        this_update=_moment(data, since),
        next_update=None if until is None else _moment(data, until),
        entries=entries,
        extensions=extensions,
        extension_count=len(found),
        outer_algorithm=data[algorithm.begin : algorithm.end],
        signature=data[signature.content + 1 : signature.end],
    )


def _moment(data: Octets, span: Span) -> datetime:
    text = data[span.begin : span.end]
    if not _TIME.fullmatch(text):
        raise ValueError("not a time of RFC 5280")
    moment: datetime = (core.UTCTime if span.tag == 0x17 else core.GeneralizedTime).load(text).native
    return moment


def _inside(data: Octets, outer: Span) -> list[Span]:
    """The values inside one; never the entries of a list, whose number has no limit."""
    spans: list[Span] = []
    at = outer.content
    while at < outer.end:
        if len(spans) == 8:
            raise ValueError("too many fields")
        spans.append(_span(data, at, outer.end))
        at = spans[-1].end
    return spans


def _span(data: Octets, begin: int, limit: int) -> Span:
    tag, size, content = data[begin], data[begin + 1], begin + 2
    if size & 0x80:
        count = size & 0x7F
        raw = data[content : content + count]
        if not 1 <= count <= 8 or len(raw) < count or raw[0] == 0:
            raise ValueError("length")
        size = int.from_bytes(raw, "big")
        if size < 0x80:
            raise ValueError("length not shortest")
        content += count
    if content + size > limit:
        raise ValueError("truncated")
    return Span(tag, begin, content, content + size)


def _malformed(why: str) -> Invalid:
    return Invalid("crl-malformed", "The data are not a certificate revocation list.", why=why)
