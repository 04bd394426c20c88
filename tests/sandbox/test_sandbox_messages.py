"""Waiting for messages instead of polling, and the switch that makes a server fail."""

import asyncio

import pytest
from starlette.testclient import TestClient

from sandbox.messages import MessageStore
from sandbox.outage import Outage
from sandbox.web import application
from tsp.core.clock import SettableClock


def _store(clock: SettableClock, limit: int = 10) -> MessageStore:
    return MessageStore(clock, str.lower, limit)


def test_messages_are_found_newest_first(clock: SettableClock) -> None:
    store = _store(clock)
    first = store.add("A@x", "one")
    store.add("b@x", "other")
    third = store.add("a@X", "two")
    assert [m.text for m in store.find("a@x")] == ["two", "one"]
    assert store.find("a@x", after=first.id) == [third]
    assert [m.text for m in store.find()] == ["two", "other", "one"]
    assert list(store.conversations()) == ["a@X", "b@x"]


def test_only_the_newest_are_kept(clock: SettableClock) -> None:
    store = _store(clock, limit=2)
    for text in ("one", "two", "three"):
        store.add("a@x", text)
    assert [(m.id, m.text) for m in store.find()] == [(3, "three"), (2, "two")]


def test_waiting_ends_with_the_first_message_that_fits(clock: SettableClock) -> None:
    async def run() -> None:
        store = _store(clock)
        waiting = asyncio.create_task(store.wait("a@x", 0, 30))
        others = asyncio.create_task(store.wait("b@x", 0, 30))
        store.add("b@x", "for somebody else")
        assert [m.text for m in await others] == ["for somebody else"]
        assert not waiting.done()
        store.add("a@x", "for us")
        assert [m.text for m in await waiting] == ["for us"]

    asyncio.run(run())


def test_waiting_in_vain_gives_an_empty_list(clock: SettableClock) -> None:
    store = _store(clock)
    assert asyncio.run(store.wait("a@x", 0, 0.01)) == []


def test_closing_ends_every_wait_at_once(clock: SettableClock) -> None:
    async def run() -> None:
        store = _store(clock)
        waiting = [asyncio.create_task(store.wait(to, 0, 3600)) for to in ("a@x", "b@x")]
        asyncio.get_running_loop().call_soon(store.close)
        assert await asyncio.gather(*waiting) == [[], []]

    asyncio.run(run())


def test_an_outage_ends_by_itself_or_by_order(clock: SettableClock) -> None:
    outage = Outage(clock)
    client = TestClient(application([outage.route()]), base_url="http://localhost")
    assert client.post("/api/down", json={"seconds": 30}).json() == {"down": True, "refused": 0}
    clock.advance(seconds=29)
    assert outage.turns_away()
    clock.advance(seconds=1)
    assert client.get("/api/down").json() == {"down": False, "refused": 1}
    client.post("/api/down", json={"down": True})
    clock.advance(days=400)
    assert outage.active
    assert client.post("/api/down", json={"down": False}).json()["down"] is False


@pytest.mark.parametrize("order", [{}, {"seconds": 0}, {"seconds": 1, "down": True}, {"down": "yes"}, {"on": True}, []])
def test_a_wrong_order_changes_nothing(clock: SettableClock, order: object) -> None:
    outage = Outage(clock)
    client = TestClient(application([outage.route()]), base_url="http://localhost")
    answer = client.post("/api/down", json=order)
    assert (answer.status_code, answer.json()["error"]) == (400, "member-invalid")
    assert not outage.active
