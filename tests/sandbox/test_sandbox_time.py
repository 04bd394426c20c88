"""The time servers' orders and answers; what clients make of them is in tests/tsa."""

from typing import Any

import pytest

from sandbox.time_server import Behaviour, TimeServer, time_app
from tests.sandbox.conftest import ClientFor
from tsp.core.clock import SettableClock

QUESTION = b"\x23" + bytes(39) + b"question"


def test_an_order_holds_until_the_next(clock: SettableClock, client_for: ClientFor) -> None:
    servers = [TimeServer(clock), TimeServer(clock)]
    client = client_for(time_app(servers))
    told = client.post("/api/time/1", json={"offset": 1.5, "leap": -1}).json()
    assert (told["offset"], told["leap"], told["down"]) == (1.5, -1, False)
    assert client.get("/api/time/1").json() == told
    assert servers[0].behaviour == Behaviour()
    assert client.post("/api/time/1", json={}).json() == Behaviour().model_dump()
    assert client.get("/api/time/2").status_code == 404


@pytest.mark.parametrize("order", [{"offsett": 1}, {"leap": 2}, {"down": "yes"}, {"stratum": 17}])
def test_a_wrong_order_changes_nothing(clock: SettableClock, client_for: ClientFor, order: dict[str, Any]) -> None:
    server = TimeServer(clock)
    assert client_for(time_app([server])).post("/api/time/0", json=order).status_code == 400
    assert server.behaviour == Behaviour()


def test_answers_repeat_the_question_and_a_drift_grows(clock: SettableClock) -> None:
    server = TimeServer(clock)
    right = server.answer(QUESTION)
    assert right is not None
    assert (len(right), right[0], right[24:32]) == (48, 0x24, b"question")
    server.order(Behaviour(drift_ppm=1000))
    assert server.answer(QUESTION) == right
    clock.advance(seconds=10)
    later = server.answer(QUESTION)
    assert later is not None
    seconds = (int.from_bytes(later[40:48], "big") - int.from_bytes(right[40:48], "big")) / 2**32
    assert seconds == pytest.approx(10.01, abs=1e-5)


@pytest.mark.parametrize("packet", [b"", QUESTION[:47], b"\x24" + QUESTION[1:]])
def test_what_is_no_question_is_not_answered(clock: SettableClock, packet: bytes) -> None:
    assert TimeServer(clock).answer(packet) is None
    silent = TimeServer(clock)
    silent.order(Behaviour(down=True))
    assert silent.answer(QUESTION) is None
