"""Time sources: what one answer says, which of several are believed, and what the time-stamping unit makes of it."""

import json
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from tests.tsa.conftest import Unit, ask, info_of, query, refusal_of
from tsp.audit.entries import Writer, record
from tsp.audit.tables import Entry
from tsp.core.clock import Clock, SettableClock, SystemClock
from tsp.core.errors import Invalid, Unavailable
from tsp.core.outbound import Outbound
from tsp.core.randomness import SystemRandomness
from tsp.core.settings import Time, default_config, load_settings
from tsp.runtime import TOKEN_OF_ROLE
from tsp.tsa import sntp
from tsp.tsa.installation import source, terms_of
from tsp.tsa.sntp import Reading
from tsp.tsa.time_guard import GuardTerms, TimeGuard, evidence
from tsp.tsa.time_sources import Answer, Comparison, Source, TimeSources, Verdict, compare

ROOT = Path(__file__).resolve().parents[2]
NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
NONCE = b"12345678"
EPOCH = datetime(1900, 1, 1, tzinfo=UTC)


def ntp(moment: datetime) -> bytes:
    return (((moment - EPOCH) // timedelta(microseconds=1) << 32) // 1_000_000 % (1 << 64)).to_bytes(8, "big")


def packet(
    received: datetime, answered: datetime, *, first: int = 0x24, stratum: int = 2, nonce: bytes = NONCE
) -> bytes:
    head = struct.pack("!BBBbIII", first, stratum, 6, -20, 0, 0, 0)
    return head + ntp(received) + nonce + ntp(received) + ntp(answered)


@given(
    st.floats(-1e6, 1e6), st.floats(0, 2), st.floats(0, 2), st.floats(0, 0.5),
    st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)  # fmt: skip
def test_true_time_lies_in_the_interval_whatever_way_packets_go(
    offset: float, there: float, back: float, inside: float, sent: datetime
) -> None:
    received = sent + timedelta(seconds=offset + there)
    answered = received + timedelta(seconds=inside)
    reading = sntp.read(packet(received, answered), NONCE, sent=sent, took=there + inside + back)
    assert reading.low - 1e-5 <= offset <= reading.high + 1e-5
    assert reading.uncertainty == pytest.approx((there + back) / 2, abs=1e-5)


def test_a_server_tells_of_its_own_doubt() -> None:
    doubtful = packet(NOON, NOON)[:4] + struct.pack("!II", 1 << 16, 2 << 16) + packet(NOON, NOON)[12:]
    assert sntp.read(doubtful, NONCE, sent=NOON, took=0).uncertainty == 2.5


def test_the_era_that_begins_in_2036_is_understood() -> None:
    beyond = datetime(2036, 2, 7, 6, 28, 17, tzinfo=UTC)
    assert sntp.timestamp(ntp(beyond), NOON) == beyond
    assert sntp.timestamp(ntp(NOON), beyond) == NOON


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "short"),
        (packet(NOON, NOON)[:47], "short"),
        (packet(NOON, NOON, nonce=bytes(8)), "other-answer"),
        (packet(NOON, NOON, first=0x23), "other-answer"),
        (packet(NOON, NOON, first=0x14), "other-answer"),
        (packet(NOON, NOON, first=0xE4), "not-synchronised"),
        (packet(NOON, NOON, stratum=0), "not-synchronised"),
        (packet(NOON, NOON, stratum=16), "not-synchronised"),
        (packet(NOON, NOON)[:32] + bytes(16), "no-time"),
        (packet(NOON, NOON - timedelta(seconds=1)), "backwards"),
    ],
)
def test_what_a_client_must_not_use_is_refused(answer: bytes, why: str) -> None:
    with pytest.raises(Invalid, match="sntp-unfit") as caught:
        sntp.read(answer, NONCE, sent=NOON, took=0.01)
    assert caught.value.facts["why"] == why


@given(st.binary(max_size=100), st.floats(0, 10))
def test_any_answer_is_read_or_refused_by_name(data: bytes, took: float) -> None:
    for answer in (data, b"\x24\x02" + data[2:24] + bytes(22)[len(data[2:24]) :] + NONCE + data[24:]):
        try:
            reading = sntp.read(answer, NONCE, sent=NOON, took=took)
        except Invalid as error:
            assert error.code == "sntp-unfit"
        else:
            assert reading.uncertainty >= 0


SOURCES = [Source(f"time{n}", 123) for n in range(5)]


def heard(*readings: tuple[float, float] | None) -> list[Answer]:
    return [
        Answer(where, Reading(r[0], r[1], 2, 0)) if r else Answer(where, None, "TimeoutError")
        for where, r in zip(SOURCES, readings, strict=False)
    ]


@pytest.mark.requirement("TSA-1")
@pytest.mark.parametrize(
    ("answers", "verdict", "agreeing"),
    [
        (heard((0.01, 0.02), (-0.01, 0.02), (0, 0.02)), Verdict.SOUND, {0, 1, 2}),
        (heard((0.01, 0.02), (9, 0.02), (0, 0.02)), Verdict.SOUND, {0, 2}),
        (heard((0.01, 0.02), None, (0, 0.02)), Verdict.SOUND, {0, 2}),
        (heard((0.01, 0.02), (0, 0.02), (9, 0.1), (9, 0.1), (0, 0.1)), Verdict.SOUND, {0, 1, 4}),
        (heard((0.3, 0.02), (0.3, 0.02), (0, 0.02)), Verdict.OFF, {0, 1}),
        (heard((-0.3, 0.02), (-0.3, 0.02), None), Verdict.OFF, {0, 1}),
        (heard((0, 0.2), (0, 0.2), (0, 0.2)), Verdict.VAGUE, {0, 1, 2}),
        (heard((0, 0.01), (1, 0.01), (2, 0.01)), Verdict.DISPUTED, set()),
        (heard((0, 0.01), (1, 0.01), None), Verdict.DISPUTED, set()),
        (heard((0, 0.01), None, None), Verdict.UNREACHED, set()),
        (heard(None, None, None), Verdict.UNREACHED, set()),
        # Half is no majority.
        (heard((0, 0.01), (0, 0.01), (1, 0.01), (1, 0.01)), Verdict.DISPUTED, set()),
    ],
)
def test_liars_are_outvoted(answers: list[Answer], verdict: Verdict, agreeing: set[int]) -> None:
    found = compare(NOON, answers, configured=len(answers), tolerance=0.1)
    assert found.verdict is verdict
    assert found.agreeing == {SOURCES[n] for n in agreeing}


def test_a_liar_that_claims_doubt_moves_nothing() -> None:
    found = compare(NOON, heard((0.01, 0.02), (0, 0.02), (50, 60)), configured=3, tolerance=0.1)
    assert (found.verdict, found.offset, found.uncertainty) == (
        Verdict.SOUND,
        pytest.approx(0.005),
        pytest.approx(0.015),
    )


class Said:
    """Sources that say what the test wants; `while_asked` runs in between."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.found = Comparison(NOON, Verdict.SOUND, ())
        self.while_asked: Callable[[], None] = lambda: None

    def check(self) -> Comparison:
        self.while_asked()
        return replace(self.found, at=self._clock.now())

    def say(self, verdict: Verdict, leap: int = 0) -> None:
        self.found = Comparison(NOON, verdict, (), leap=leap)


class Bench:
    """A guard whose sources and clock are in the test's hand."""

    def __init__(self, clock: SettableClock) -> None:
        self.clock = clock
        self.said = Said(clock)
        self.checks: list[Comparison] = []
        self.guard = TimeGuard(clock, self.said, GuardTerms(jump=timedelta(seconds=0.4)), self.checks.append)

    def cause(self) -> str:
        """Why there is no time."""
        with pytest.raises(Unavailable, match="time-not-available") as caught:
            self.guard.now()
        return str(caught.value.facts.get("cause", "jump"))


@pytest.fixture
def bench(clock: SettableClock) -> Bench:
    return Bench(clock)


@pytest.mark.requirement("TSA-1")
def test_there_is_no_time_before_the_first_good_check(bench: Bench) -> None:
    assert bench.cause() == "not-confirmed"
    for verdict in (Verdict.UNREACHED, Verdict.VAGUE, Verdict.DISPUTED, Verdict.OFF):
        bench.said.say(verdict)
        bench.guard.check()
        assert bench.cause() == "not-confirmed"
    bench.said.say(Verdict.SOUND)
    bench.guard.check()
    assert bench.guard.now() == bench.clock.now()
    assert [c.verdict.value for c in bench.checks] == ["unreached", "vague", "disputed", "off", "sound"]


@pytest.mark.requirement("TSA-1")
@pytest.mark.parametrize("verdict", [Verdict.OFF, Verdict.DISPUTED])
def test_a_clock_that_is_off_stops_the_unit_until_it_is_right_again(bench: Bench, verdict: Verdict) -> None:
    bench.guard.check()
    bench.said.say(verdict)
    bench.guard.check()
    assert bench.cause() == "not-confirmed"
    bench.said.say(Verdict.SOUND)
    bench.guard.check()
    assert bench.guard.trusted


@pytest.mark.requirement("TSA-1")
def test_sources_that_cannot_be_reached_are_borne_for_a_while(bench: Bench) -> None:
    bench.guard.check()
    bench.said.say(Verdict.UNREACHED)
    bench.clock.advance(seconds=600)
    bench.guard.check()
    assert bench.guard.trusted
    bench.clock.advance(seconds=1)
    assert bench.cause() == "last-check-too-old"


@pytest.mark.requirement("TSA-1")
def test_a_jump_between_checks_stops_at_once_and_a_good_check_ends_it(bench: Bench) -> None:
    bench.guard.check()
    bench.clock.jump(3)
    assert bench.cause() == "jump"
    bench.clock.jump(-3)
    assert bench.cause() == "jump"
    bench.guard.check()
    assert bench.guard.trusted


def test_a_jump_while_the_sources_answer_is_not_confirmed(bench: Bench) -> None:
    bench.said.while_asked = lambda: bench.clock.jump(3)
    bench.guard.check()
    assert bench.cause() == "not-confirmed"


def test_a_check_without_evidence_does_not_count(clock: SettableClock) -> None:
    def fail(found: Comparison) -> None:
        raise Unavailable("database-unavailable", "Later.")

    guard = TimeGuard(clock, Said(clock), GuardTerms(jump=timedelta(seconds=0.4)), fail)
    guard.check()
    assert not guard.trusted


@pytest.mark.requirement("TSA-1")
@pytest.mark.parametrize(("leap", "stepped"), [(1, True), (1, False), (-1, True)])
def test_nothing_is_stamped_around_a_leap_second(bench: Bench, leap: int, stepped: bool) -> None:
    bench.clock.advance(seconds=(datetime(2026, 12, 31, 23, 59, tzinfo=UTC) - bench.clock.now()).total_seconds())
    bench.said.say(Verdict.SOUND, leap)
    bench.guard.check()
    bench.clock.advance(seconds=58.9)
    assert bench.guard.trusted
    bench.clock.advance(seconds=0.2)
    assert bench.cause() == "leap-second"
    bench.clock.advance(seconds=1)
    bench.said.say(Verdict.SOUND)
    bench.guard.check()  # in the very second: too early to be sure
    assert not bench.guard.trusted
    if stepped:
        bench.clock.jump(-leap)
    bench.clock.advance(seconds=3)
    assert not bench.guard.trusted
    bench.guard.check()
    assert bench.guard.trusted
    facts = evidence(bench.checks[0])
    assert (facts["leap"], facts["leap_at"]) == (leap, "2027-01-01T00:00:00+00:00")


def test_the_looking_goes_on_by_itself_and_soon_where_there_is_no_time(clock: SettableClock) -> None:
    done: list[Comparison] = []
    came, stop, said = threading.Event(), threading.Event(), Said(clock)

    def note(found: Comparison) -> None:
        done.append(found)
        if len(done) == 1:
            raise ZeroDivisionError("unforeseen")
        came.set()

    terms = GuardTerms(jump=timedelta(seconds=0.4), look=timedelta(milliseconds=1))
    guard = TimeGuard(clock, said, terms, note)
    thread = threading.Thread(target=guard.run, args=(stop,))
    thread.start()
    assert came.wait(20)
    stop.set()
    thread.join()
    assert guard.trusted


class Servers:
    """`python -m sandbox time` as a process: three time servers, and how to give them orders."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "sandbox", "time"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        assert self.process.stdout is not None
        told = json.loads(self.process.stdout.readline().removeprefix("ready "))
        self.addresses: list[str] = told["servers"]
        self._http = httpx2.Client(base_url=told["http"], trust_env=False)

    def order(self, *behaviours: dict[str, Any]) -> None:
        for number in range(3):
            body = behaviours[number] if number < len(behaviours) else {}
            assert self._http.post(f"/api/time/{number}", json=body).status_code == 200

    def sources(self, *, tolerance: float = 0.2, timeout: float = 2.0) -> TimeSources:
        return TimeSources(
            [source(address) for address in self.addresses],
            outbound=Outbound(frozenset(self.addresses)),
            clock=SystemClock(),
            randomness=SystemRandomness(),
            tolerance=tolerance,
            timeout=timeout,
        )

    def end(self) -> int:
        self._http.close()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=20)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@pytest.fixture(scope="module")
def all_servers() -> Iterator[Servers]:
    servers = Servers()
    yield servers
    assert servers.end() == 0


@pytest.fixture
def servers(all_servers: Servers) -> Servers:
    all_servers.order()
    return all_servers


@pytest.mark.requirement("TSA-1")
@pytest.mark.parametrize(
    ("orders", "verdict", "agreeing"),
    [
        ([], Verdict.SOUND, 3),
        ([{"offset": 3600.0}], Verdict.SOUND, 2),
        ([{"synchronised": False}], Verdict.SOUND, 2),
        ([{"stratum": 0}], Verdict.SOUND, 2),
        ([{"listening": False}], Verdict.SOUND, 2),
        ([{"leap": 1}, {"leap": 1}], Verdict.SOUND, 3),
        ([{"offset": 5.0}, {"offset": 5.0}, {"offset": 5.0}], Verdict.OFF, 3),
        ([{"offset": -5.0}, {"offset": 5.0}], Verdict.DISPUTED, 0),
        ([{"dispersion": 1.0}, {"dispersion": 1.0}, {"dispersion": 1.0}], Verdict.VAGUE, 3),
    ],
)
def test_servers_that_answer_are_compared(
    servers: Servers, orders: list[dict[str, Any]], verdict: Verdict, agreeing: int
) -> None:
    servers.order(*orders)
    found = servers.sources().check()
    assert (found.verdict, len(found.agreeing)) == (verdict, agreeing)
    assert found.leap == (1 if {"leap": 1} in orders else 0)


def test_a_drift_is_found_when_it_has_become_too_much(servers: Servers) -> None:
    # A second for every second. Each drift begins with its own order, so the servers must admit some doubt to agree.
    servers.order(*[{"drift_ppm": 1e6, "dispersion": 0.4}] * 3)
    sources = servers.sources(tolerance=1.0)
    for _ in range(20_000):
        found = sources.check()
        if found.verdict is Verdict.OFF:
            break
    assert found.verdict is Verdict.OFF
    assert found.offset > 1.0


def test_servers_that_are_silent_are_missed(servers: Servers) -> None:
    servers.order({"down": True})
    found = servers.sources(timeout=0.5).check()
    assert found.verdict is Verdict.SOUND
    assert found.answers[0].cause == "TimeoutError"
    servers.order({"down": True}, {"down": True})
    assert servers.sources(timeout=0.1).check().verdict is Verdict.UNREACHED


def test_unlisted_private_addresses_are_not_asked(servers: Servers) -> None:
    sources = TimeSources(
        [source(servers.addresses[0])],
        outbound=Outbound(),
        clock=SystemClock(),
        randomness=SystemRandomness(),
        tolerance=1,
    )
    assert sources.check().answers[0].cause == "address-refused"


@pytest.mark.requirement("TSA-1", "EVD-2")
def test_the_unit_stops_with_time_not_available_and_goes_on_by_itself(unit: Unit, servers: Servers) -> None:
    clock = SystemClock()
    writer = Writer("tsa", unit.randomness, clock)

    def log_check(found: Comparison) -> None:
        with unit.database.write() as session:
            record(session, writer=writer, kind="time-checked", payload=evidence(found))

    guard = TimeGuard(clock, servers.sources(), GuardTerms(jump=timedelta(seconds=60)), log_check)
    client = unit.client(clock=clock, guard=guard)
    assert refusal_of(ask(client, query())) == {"time_not_available"}
    for orders, given_out in (([], True), ([{"offset": 7.0}] * 2, False), ([{"offset": 7.0}], True)):
        servers.order(*orders)
        guard.check()
        response = ask(client, query())
        assert info_of(response) if given_out else refusal_of(response) == {"time_not_available"}
    with unit.database.read() as session:
        contents = [json.loads(e.content) for e in session.scalars(select(Entry).order_by(Entry.counter))]
    assert [c["facts"]["verdict"] for c in contents] == ["sound", "off", "sound"]
    liar, *honest = contents[2]["facts"]["sources"]
    assert not liar["agrees"]
    assert 6_000_000 < liar["offset_us"] < 8_000_000
    assert all(one["agrees"] for one in honest)


def test_the_two_services_share_nothing_that_must_differ() -> None:
    settings = load_settings(default_config())
    one, other = terms_of(settings, "tsa"), terms_of(settings, "qtsa")
    assert (one.qualified, other.qualified) == (False, True)
    assert one.unit != other.unit
    assert one.policy != other.policy
    assert settings.urls.tsa != settings.urls.qtsa
    assert TOKEN_OF_ROLE["tsa"] != TOKEN_OF_ROLE["qtsa"]


@pytest.mark.requirement("TSA-1")
@pytest.mark.parametrize(("count", "enough"), [(0, False), (2, False), (3, True)])
def test_production_stamps_as_qualified_with_three_sources_only(count: int, enough: bool) -> None:
    demo = load_settings(default_config())
    time = Time(sources=[f"time{n}.example.si" for n in range(count)])
    settings = demo.model_copy(update={"mode": "production", "time": time})
    assert not terms_of(settings, "tsa").qualified
    if enough:
        assert terms_of(settings, "qtsa").qualified
        return
    with pytest.raises(Invalid, match="time-sources-missing"):
        terms_of(settings, "qtsa")
