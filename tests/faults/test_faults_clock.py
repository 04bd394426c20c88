"""The wall clock jumps against the monotonic one: who must not believe it, what they say, and when they go on."""

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from tests.conftest import TokenFactory
from tests.engine.engine_kit import Provider, Room, certify_issuer
from tests.faults.faces import Faces, page_code
from tests.formats.pdf_samples import classic, objects
from tests.idp.login_kit import make_world
from tests.ocsp import conftest as ocsp
from tests.ocsp.conftest import GOOD, Responder
from tests.tsa import conftest as tsa
from tests.tsa.conftest import Unit
from tsp.audit.tables import last_recorded
from tsp.core.clock import SettableClock, SystemClock
from tsp.core.clock_guard import ClockGuard
from tsp.core.database import Database
from tsp.core.errors import Unavailable
from tsp.core.randomness import Randomness
from tsp.engine.activation import Activator
from tsp.engine.onetime import OneTimeSigner, Step
from tsp.notify.outbox import Outbox
from tsp.notify.runner import Runner, backlog
from tsp.sign.app import _Housekeeping

pytestmark = pytest.mark.requirement("OPS-1")
make_responder, responder, make_unit, unit = ocsp.make_responder, ocsp.responder, tsa.make_unit, tsa.unit
TEN = timedelta(seconds=10)
JUMPS = (3600.0, -3600.0, 11.0, -11.0)


@pytest.fixture
def guard(clock: SettableClock) -> ClockGuard:
    return ClockGuard(clock, TEN)


# --- the guard itself -------------------------------------------------------------------------------


@pytest.mark.parametrize("jump", JUMPS)
def test_no_time_is_given_until_the_jump_is_undone(
    clock: SettableClock, guard: ClockGuard, jump: float, caplog: pytest.LogCaptureFixture
) -> None:
    clock.advance(days=30)
    assert guard.now() == clock.now()
    clock.jump(jump)
    for _ in range(3):
        with pytest.raises(Unavailable) as caught:
            guard.now()
        clock.advance(days=1)
    assert (caught.value.code, caught.value.facts) == ("clock-unsound", {"off_by_ms": round(jump * 1000)})
    assert guard.trouble() == "clock-unsound"
    clock.jump(-jump)
    assert (guard.now(), guard.trouble(), guard.monotonic()) == (clock.now(), "", clock.monotonic())
    told = [record.levelno for record in caplog.records]
    assert told == [logging.ERROR, logging.WARNING]  # once when it goes, once when it is back


def test_small_corrections_are_followed_and_add_up(clock: SettableClock, guard: ClockGuard) -> None:
    for _ in range(9):
        clock.jump(1.0)
        assert guard.now() == clock.now()
    clock.jump(1.5)
    assert not guard.trusted


def test_a_guard_made_before_the_last_record_waits_for_the_clock(clock: SettableClock) -> None:
    """The clock was set back while nothing ran; when it is right again the guard begins there."""
    recorded = clock.now() + timedelta(hours=1)
    guard = ClockGuard(clock, TEN, recorded)
    assert not guard.trusted
    clock.jump(3600)
    assert guard.now() == clock.now()
    clock.jump(-3600)
    assert not guard.trusted


def test_the_machines_monotonic_clock_counts_sleep() -> None:
    import time

    clock = SystemClock()
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= clock.monotonic() <= time.clock_gettime(time.CLOCK_BOOTTIME)


# --- the roles --------------------------------------------------------------------------------------


@pytest.fixture
def provider(clock: SettableClock) -> Provider:
    return Provider(clock)


@pytest.fixture
def room(
    tmp_path: Path, database: Database, clock: SettableClock, token_factory: TokenFactory, provider: Provider
) -> Room:
    token = token_factory("ca")
    return Room(tmp_path, database, token, certify_issuer(token, clock), clock, provider.key)


def guarded(room: Room, guard: ClockGuard) -> dict[str, Any]:
    """The parts of an engine whose word depends on the time, as the composition makes them."""
    return {
        "clock": guard,
        "signer": OneTimeSigner(room.token, room.authority(), room.chains, guard),
        "activator": Activator(room.policy(), room.approval_key, guard),
    }


@pytest.mark.requirement("SIG-1", "SIG-3")
@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_the_engine_signs_nothing_while_its_clock_is_wrong(
    room: Room, provider: Provider, guard: ClockGuard, jump: float
) -> None:
    """An approval that has expired must not come to life again, and no certificate gets a wrong date."""
    request = provider.request("contract")
    with room.engine(**guarded(room, guard)) as engine:
        room.clock.jump(jump)
        with pytest.raises(Unavailable, match="clock-unsound"):
            engine.sign(request)
        assert (engine.status().clock_sound, engine.status().keys_alive) == (False, 0)
        with pytest.raises(Unavailable, match="clock-unsound"):
            engine.sweep()
        room.clock.jump(-jump)
        assert engine.status().clock_sound
        (result,) = engine.sign(request)
    assert result.evidence["attempt"]["number"] == 1


@pytest.mark.requirement("SIG-1")
@pytest.mark.parametrize("step", [Step.RESERVED, Step.GENERATED, Step.CERTIFIED, Step.SIGNED, Step.DESTROYED])
def test_a_jump_in_the_middle_of_a_keys_life_leaves_nothing(
    room: Room, provider: Provider, guard: ClockGuard, step: Step
) -> None:
    jumps = [3600.0]

    def on_step(seen: Step) -> None:
        if seen is step and jumps:
            room.clock.jump(jumps.pop())

    request = provider.request("contract")
    with room.engine(on_step=on_step, **guarded(room, guard)) as engine:
        with pytest.raises(Unavailable, match="clock-unsound"):
            engine.sign(request)
        assert engine.status().keys_alive == 0
        room.clock.jump(-3600)
        (result,) = engine.sign(request)
    assert result.evidence["attempt"]["number"] == 2


def test_the_engine_knows_what_it_recorded_before_it_was_started(room: Room, provider: Provider) -> None:
    with room.engine() as engine:
        engine.sign(provider.request("contract"))
    room.clock.jump(-3600)
    with room.database.read() as session:
        earliest = last_recorded(session, "engine")
        assert last_recorded(session, "nobody") is None
    assert earliest is not None
    with (
        room.engine(**guarded(room, ClockGuard(room.clock, TEN, earliest))) as engine,
        pytest.raises(Unavailable, match="clock-unsound"),
    ):
        engine.sign(provider.request("another"))


@pytest.mark.requirement("OCSP-1")
@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_the_responder_dates_no_status_with_a_wrong_clock(
    responder: Responder, clock: SettableClock, guard: ClockGuard, jump: float
) -> None:
    client = responder.client(guard=guard)
    clock.jump(jump)
    refused = ocsp.ask(client, responder.query(GOOD))
    assert refused.response_status.name == "TRY_LATER"
    clock.jump(-jump)
    assert ocsp.ask(client, responder.query(GOOD)).this_update_utc == clock.now()


def test_the_time_stamping_unit_tells_its_operator(unit: Unit) -> None:
    troubles: list[Any] = []
    client = unit.client(troubles=troubles)
    assert [tell() for tell in troubles] == [""]
    unit.clock.jump(3600)
    assert tsa.refusal_of(tsa.ask(client, tsa.query(bytes(32)))) == {"time_not_available"}
    unit.clock.jump(-3600)
    assert [tell() for tell in troubles] == ["clock-unsound"]  # for good: it is started anew by somebody who looked


@pytest.mark.requirement("LOG-3")
@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_no_code_and_no_session_lives_by_a_wrong_clock(
    tmp_path: Path,
    database: Database,
    token_factory: TokenFactory,
    clock: SettableClock,
    guard: ClockGuard,
    randomness: Randomness,
    jump: float,
) -> None:
    world = make_world(tmp_path, database, token_factory("identity"), cast("SettableClock", guard), randomness)
    for party in (world.portal, world.sign):
        party.clock = clock
    pushed = world.portal.begin().url
    clock.jump(jump)
    response, _ = world.portal.pushed()
    assert (response.status_code, response.json()["error"]) == (503, "temporarily_unavailable")
    assert page_code(world.http.get(pushed)) == "503 clock-unsound"
    assert page_code(world.http.get("/")) == "200"  # what depends on no time is there
    clock.jump(-jump)
    assert world.http.get(pushed).status_code == 303


def test_the_outbox_waits_and_loses_nothing(
    database: Database, token_factory: TokenFactory, clock: SettableClock, guard: ClockGuard, randomness: Randomness
) -> None:
    """A code that looks expired by a wrong clock is not thrown away."""
    from tests.notify.test_notify_runner import Postbox
    from tsp.core.sealing import Sealer

    sealer = Sealer(token_factory("identity").generate_aead_key("outbox"), randomness, "outbox")
    with database.write() as session:
        expires = clock.now() + timedelta(minutes=5)
        Outbox(sealer, randomness, clock).sms(session, "+38641123456", "123456", purpose="code", expires_at=expires)
    postbox = Postbox()
    runner = Runner(database, sealer, guard, randomness, {"sms": postbox})
    clock.jump(3600)
    with pytest.raises(Unavailable, match="clock-unsound"):
        runner.run_once()
    clock.jump(-3600)
    assert runner.run_once()
    assert len(postbox.letters) == 1
    with database.read() as session:
        assert backlog(session) == {"sent": 1}


@pytest.mark.requirement("SIG-7")
def test_no_document_is_erased_by_a_clock_that_jumped(faces: Faces, guard: ClockGuard) -> None:
    path = faces.ana.bring(classic(objects(pages=1)))
    site, clock = faces.street.site, faces.street.clock
    keeper = _Housekeeping(site.requests, site.finishing, guard, None)
    clock.jump(400 * 86_400)
    with pytest.raises(Unavailable, match="clock-unsound"):
        keeper.once()
    clock.jump(-400 * 86_400)
    keeper.once()
    faces.ana.approve(path)
    assert 'data-page="sign.result"' in faces.ana.get(path).text
    clock.advance(days=400)
    keeper.once()
    faces.ana.log_in()
    assert faces.ana.get(f"{path}/download").status_code == 404
