"""Several time sources compared: which of them agree, and how far our clock is from what they say.

The same idea as NTP's own selection (RFC 5905, 11.2.1): each answer is an interval, and true time lies where the
intervals of a majority overlap. A source whose interval lies elsewhere is a liar and is outvoted. The majority
is one of the *configured* sources: who silences half of them decides nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from tsp.core.clock import Clock
from tsp.core.errors import TspError
from tsp.core.outbound import Outbound
from tsp.core.randomness import Randomness
from tsp.tsa import sntp
from tsp.tsa.sntp import Reading

TIMEOUT_SECONDS: Final = 1.0
MAX_PACKET: Final = 1024


class Verdict(StrEnum):
    """What a comparison comes to."""

    SOUND = "sound"
    OFF = "off"  # a majority agrees, and our clock is too far from it
    VAGUE = "vague"  # a majority agrees, but knows it less well than our clock has to be right
    DISPUTED = "disputed"  # enough sources answered, and no majority agrees
    UNREACHED = "unreached"  # too few answered to say anything


class Source(NamedTuple):
    """A time server's address."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What one source said, or (`reading` None) why it said nothing that can be used."""

    source: Source
    reading: Reading | None
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The evidence of one check. `offset` is how far true time is from our clock, in seconds, and `uncertainty` how
    well that is known; `agreeing` are those of the majority; `leap` is what most of them announce."""

    at: datetime
    verdict: Verdict
    answers: tuple[Answer, ...]
    offset: float = 0.0
    uncertainty: float = 0.0
    agreeing: frozenset[Source] = field(default=frozenset())
    leap: int = 0


def compare(at: datetime, answers: Sequence[Answer], *, configured: int, tolerance: float) -> Comparison:
    """The verdict over answers of `configured` sources.

    Sound: more than half of them agree, and true time, wherever in their overlap it lies, is at most
    `tolerance` seconds from ours.
    """
    heard = [(a.source, a.reading) for a in answers if a.reading is not None]
    majority = configured // 2 + 1
    if len(heard) < majority:
        return Comparison(at, Verdict.UNREACHED, tuple(answers))
    low, high, agreeing = _overlap(heard)
    if len(agreeing) < majority:
        return Comparison(at, Verdict.DISPUTED, tuple(answers))
    offset, uncertainty = (low + high) / 2, (high - low) / 2
    verdict = Verdict.OFF if abs(offset) > tolerance else Verdict.VAGUE
    if abs(offset) + uncertainty <= tolerance:
        verdict = Verdict.SOUND
    announced = [reading.leap for source, reading in heard if source in agreeing]
    leap = next((sign for sign in (1, -1) if announced.count(sign) * 2 > len(announced)), 0)
    return Comparison(at, verdict, tuple(answers), offset, uncertainty, agreeing, leap)


def _overlap(heard: Sequence[tuple[Source, Reading]]) -> tuple[float, float, frozenset[Source]]:
    """The interval that most sources share, and who they are; of several the narrowest."""
    best: tuple[float, float, frozenset[Source]] = (0.0, 0.0, frozenset())
    for _, start in heard:
        # An overlap of most begins where one of the intervals begins.
        members = [(source, r) for source, r in heard if r.low <= start.low <= r.high]
        end = min(r.high for _, r in members)
        better = len(members) > len(best[2])
        narrower = len(members) == len(best[2]) and end - start.low < best[1] - best[0]
        if better or narrower:
            best = (start.low, end, frozenset(source for source, _ in members))
    return best


class TimeSources:
    """Asks the configured sources, one after the other, through the one door."""

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        outbound: Outbound,
        clock: Clock,
        randomness: Randomness,
        tolerance: float,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        if not sources:
            raise ValueError("no time source")
        self._sources = tuple(sources)
        self._outbound = outbound
        self._clock = clock
        self._randomness = randomness
        self._tolerance = tolerance
        self._timeout = timeout

    def check(self) -> Comparison:
        """Asks all of them. Never raises for what a source does; takes at most `timeout` for each."""
        answers = [self._ask(source) for source in self._sources]
        return compare(self._clock.now(), answers, configured=len(self._sources), tolerance=self._tolerance)

    def _ask(self, source: Source) -> Answer:
        nonce = self._randomness.bytes(sntp.NONCE)
        sent, began = self._clock.now(), self._clock.monotonic()
        try:
            packet = self._outbound.datagram(
                source.host, source.port, sntp.query(nonce), timeout=self._timeout, max_bytes=MAX_PACKET
            )
            took = self._clock.monotonic() - began
            return Answer(source, sntp.read(packet, nonce, sent=sent, took=took))
        except TspError as error:
            return Answer(source, None, str(error.facts.get("why") or error.facts.get("cause") or error.code))
