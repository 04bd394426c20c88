"""Blocking work of an event loop: in slices where it is quick, side by side where it is slow."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from tsp.core.errors import Invalid, Unavailable
from tsp.core.workers import PROBE, Workers


def thread() -> int:
    return threading.get_ident()


async def together(workers: Workers, work: Callable[[], object], times: int) -> list[object]:
    return list(await asyncio.gather(*(workers.run(work) for _ in range(times))))


def test_quick_work_of_one_turn_is_done_in_one_thread() -> None:
    workers = Workers(threads=8, waiting=100)

    async def crowd() -> bool:
        # A busy machine may hinder some of them; the least counts.
        for _ in range(1000):
            await workers.run(thread)
            if len(set(await together(workers, thread, 20))) == 1:
                return True
        return False

    assert asyncio.run(crowd())
    workers.close()


def test_work_that_was_thought_to_be_slow_is_found_to_be_quick_in_the_thick_of_it() -> None:
    workers = Workers(threads=8, waiting=100)

    async def crowds() -> bool:
        for _ in range(20 * PROBE):
            if len(set(await together(workers, thread, 20))) == 1:
                return True
        return False

    assert asyncio.run(crowds())
    workers.close()


def test_slow_work_is_done_side_by_side() -> None:
    workers = Workers(threads=4, waiting=100)
    all_here = threading.Barrier(4)
    assert sorted(map(str, asyncio.run(together(workers, all_here.wait, 4)))) == ["0", "1", "2", "3"]
    workers.close()


def test_what_gets_stuck_holds_up_nobody_else() -> None:
    workers = Workers(threads=2, waiting=100)
    begun, go_on = threading.Event(), threading.Event()

    def wait() -> bool:
        begun.set()
        return go_on.wait()

    async def crowd() -> list[object]:
        for _ in range(100):
            await workers.run(thread)
        stuck = asyncio.ensure_future(workers.run(wait))
        await asyncio.to_thread(begun.wait)
        done = [await workers.run(int, "2"), await workers.run(int, "3")]
        go_on.set()
        return [*done, await stuck]

    assert asyncio.run(crowd()) == [2, 3, True]
    workers.close()


def test_errors_come_back_to_whoever_asked_and_to_nobody_else() -> None:
    workers = Workers(threads=1, waiting=100)

    def fail() -> None:
        raise Invalid("other", "Wrong.")

    async def crowd() -> list[object]:
        return list(await asyncio.gather(*map(workers.run, (fail, thread, fail)), return_exceptions=True))

    first, second, third = asyncio.run(crowd())
    assert isinstance(first, Invalid)
    assert isinstance(second, int)
    assert isinstance(third, Invalid)
    workers.close()


def test_whoever_has_gone_is_not_waited_for() -> None:
    workers = Workers(threads=1, waiting=0)
    begun, go_on = threading.Event(), threading.Event()

    def wait() -> bool:
        begun.set()
        return go_on.wait()

    async def crowd() -> object:
        gone = asyncio.ensure_future(workers.run(wait))
        await asyncio.to_thread(begun.wait)
        gone.cancel()
        go_on.set()
        await asyncio.gather(gone, return_exceptions=True)
        return await workers.run(int, "2")

    assert asyncio.run(crowd()) == 2
    workers.close()


def test_nothing_is_taken_after_the_end() -> None:
    workers = Workers(threads=1, waiting=0)
    workers.close()
    with pytest.raises(Unavailable, match="closing"):
        asyncio.run(workers.run(thread))
