"""Threads for the blocking work of an event loop: few changes of thread, however many requests there are.

Every change between threads of one interpreter costs as much as a signature of a fast token. So what gathered in
one turn of the loop goes over in slices, and what a slice gave comes back at once. Work that waits for a device far
away is not sliced: then as much is under way at the same time as there are threads.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, Final, NamedTuple

from tsp.core.errors import TooMany, Unavailable

#: Work that takes less (in seconds) is done in one thread: more would only wait for each other.
QUICK: Final = 0.0005
#: After so many slices of slow work one is done alone, to see whether the work is still slow.
PROBE: Final = 500
#: The longest that the first of a slice may wait for the last, in seconds.
_SLICE: Final = 0.02
#: After this time (in seconds) work that was thought to be quick holds up nobody else any longer.
STUCK: Final = 0.1


class _Item(NamedTuple):
    done: "asyncio.Future[Any]"
    work: Callable[..., Any]
    arguments: tuple[Any, ...]


class _Outcome(NamedTuple):
    value: Any
    error: BaseException | None


class Workers:
    """A bounded number of threads for blocking work, and a bounded queue before them. For one event loop."""

    def __init__(self, threads: int, waiting: int) -> None:
        self._most = threads
        self._limit = threads + waiting
        # All but the queue of jobs is only ever touched by the event loop's own thread.
        self._taken = 0
        self._waiting: deque[_Item] = deque()
        self._working = 0
        self._due = False
        self._closed = False
        #: How long a piece of work takes where nothing else hinders it: the least of late. Slow until known otherwise.
        self._each = QUICK
        #: Slices so far, and since the last one that had all threads for itself.
        self._slices = 0
        self._since_alone = PROBE
        self._handed = 0.0
        self._looking = False
        self._jobs: SimpleQueue[tuple[asyncio.AbstractEventLoop, list[_Item], int] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    async def run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """`work(*arguments)` in one of the threads. Raises `TooMany` (busy) where the queue is full."""
        if self._closed:
            raise Unavailable("closing", "The service is being shut down. Please try again in a moment.")
        if self._taken >= self._limit:
            raise TooMany("busy", "The service is busy. Please try again in a moment.", retry_after=1)
        loop = asyncio.get_running_loop()
        item = _Item(loop.create_future(), work, arguments)
        self._waiting.append(item)
        if not self._due:
            self._due = True
            loop.call_soon(self._hand_over, loop)
        self._taken += 1
        try:
            return await item.done
        finally:
            self._taken -= 1

    def close(self) -> None:
        """Waits for the work that has begun."""
        self._closed = True
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due = False
        if self._working and time.monotonic() - self._handed > STUCK:
            self._each, self._since_alone = max(self._each, QUICK), 0
        quick = self._each < QUICK
        # Side by side nothing can be measured: each waits for the others. So now and then one goes alone.
        most = 1 if quick or self._since_alone >= PROBE else self._most
        while self._waiting and self._working < most and not self._closed:
            size = max(1, min(len(self._waiting), int(_SLICE / self._each))) if quick else 1
            items = [self._waiting.popleft() for _ in range(size)]
            self._slices += 1
            self._since_alone += 1
            alone = self._slices if self._working == 0 else 0
            self._working += 1
            if self._working > len(self._threads):
                self._threads.append(threading.Thread(target=self._serve, name="worker", daemon=True))
                self._threads[-1].start()
            self._handed = time.monotonic()
            self._jobs.put((loop, items, alone))
        if self._waiting and most == 1 and not self._looking:
            self._looking = True
            loop.call_later(STUCK, self._look_again, loop)

    def _look_again(self, loop: asyncio.AbstractEventLoop) -> None:
        self._looking = False
        self._hand_over(loop)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            loop, items, alone = job
            began = time.monotonic()
            outcomes = [_do(item) for item in items]
            try:
                took = (time.monotonic() - began) / len(items)
                loop.call_soon_threadsafe(self._bring_back, loop, items, outcomes, took, alone)
            except RuntimeError:
                return  # the loop has ended, and everybody who waited with it

    def _bring_back(
        self,
        loop: asyncio.AbstractEventLoop,
        items: Sequence[_Item],
        outcomes: Sequence[_Outcome],
        each: float,
        alone: int,
    ) -> None:
        """`each` is how long one of them took, `alone` the slice's number where it began with nothing under way."""
        self._working -= 1
        if alone == self._slices:  # and nothing has begun since
            # What has become slow is believed after some hundred times: an average would mislead.
            self._each = min(each, self._each * 1.02)
            self._since_alone = 0
        for item, outcome in zip(items, outcomes, strict=True):
            if item.done.done():  # whoever asked has gone
                continue
            if outcome.error is None:
                item.done.set_result(outcome.value)
            else:
                item.done.set_exception(outcome.error)
        self._hand_over(loop)


def _do(item: _Item) -> _Outcome:
    try:
        return _Outcome(item.work(*item.arguments), None)
    except Exception as error:  # noqa: BLE001  (whoever waits for it gets it)
        return _Outcome(None, error)
