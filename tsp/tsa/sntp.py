"""SNTP: what a time server is asked and what its answer says (RFC 5905, RFC 4330, 5). Pure but for the two clocks.

An answer is turned into an interval in which the difference between the server's time and ours must lie,
whatever way the packets went: half the round trip, and what the server itself says of its distance to UTC.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from tsp.core.errors import Invalid

PORT: Final = 123
PACKET: Final = 48
NONCE: Final = 8
#: Seconds from the beginning of NTP's era 0 (1900) to 1970.
_TO_1970: Final = 2_208_988_800
_ERA: Final = 1 << 32
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CLIENT: Final = 0x23  # no warning, version 4, mode 3
_SERVER_MODE: Final = 4
_UNSYNCHRONISED: Final = 3
_MAX_STRATUM: Final = 15


@dataclass(frozen=True, slots=True)
class Reading:
    """One answer. Seconds: the server's time is ours plus `offset`, within `uncertainty` to either side.

    `leap` is 1 or -1 where the server announces a second more or less at the end of the UTC day, else 0.
    """

    offset: float
    uncertainty: float
    stratum: int
    leap: int

    @property
    def low(self) -> float:
        return self.offset - self.uncertainty

    @property
    def high(self) -> float:
        return self.offset + self.uncertainty


def query(nonce: bytes) -> bytes:
    """A client's packet. Where it would say its time it says `nonce` (8 random octets): an answer that repeats it is
    to this very question, and nobody learns our clock."""
    if len(nonce) != NONCE:
        raise ValueError("a nonce has 8 octets")
    return bytes((_CLIENT,)) + bytes(PACKET - NONCE - 1) + nonce


def read(packet: bytes, nonce: bytes, *, sent: datetime, took: float) -> Reading:
    """The reading of an answer to `query(nonce)`, sent at our `sent`, `took` seconds before it came.

    `took` is measured with the clock that cannot be set. Raises `Invalid` (sntp-unfit) for everything that a
    client must not use (RFC 4330, 5): another question's answer, a server that is not synchronised or sends
    us away (stratum 0), times that run backwards.
    """
    if len(packet) < PACKET:
        raise _unfit("short")
    leap, version, mode = packet[0] >> 6, packet[0] >> 3 & 7, packet[0] & 7
    stratum = packet[1]
    if mode != _SERVER_MODE or version not in (3, 4) or packet[24:32] != nonce:
        raise _unfit("other-answer")
    if leap == _UNSYNCHRONISED or not 1 <= stratum <= _MAX_STRATUM:
        raise _unfit("not-synchronised")
    if packet[40:48] == bytes(8) or packet[32:40] == bytes(8):
        raise _unfit("no-time")
    received, answered = timestamp(packet[32:40], sent), timestamp(packet[40:48], sent)
    inside = (answered - received).total_seconds()
    if inside < 0 or took < 0:
        raise _unfit("backwards")
    offset = ((received - sent) + (answered - (sent + timedelta(seconds=took)))).total_seconds() / 2
    distance = _short(packet[4:8]) / 2 + _short(packet[8:12])
    return Reading(offset, max(took - inside, 0.0) / 2 + distance, stratum, {1: 1, 2: -1}.get(leap, 0))


def timestamp(octets: bytes, near: datetime) -> datetime:
    """An NTP timestamp (seconds and fraction in 64 bits) as the moment nearest to `near`: eras have 136 years."""
    value = int.from_bytes(octets, "big")
    seconds, fraction = value >> 32, value & (_ERA - 1)
    guess = int((near - _EPOCH).total_seconds()) + _TO_1970
    era = round((guess - seconds) / _ERA)
    micros = (fraction * 1_000_000 + (_ERA >> 1)) >> 32
    try:
        return _EPOCH + timedelta(seconds=seconds + era * _ERA - _TO_1970, microseconds=micros)
    except OverflowError:
        raise _unfit("no-time") from None


def _short(octets: bytes) -> float:
    """NTP short format: seconds in 16.16 bits."""
    return int.from_bytes(octets, "big") / 65_536


def _unfit(why: str) -> Invalid:
    return Invalid("sntp-unfit", "A time server's answer cannot be used.", why=why)
