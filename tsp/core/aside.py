"""Work that is done at the side while the caller does something else, on a processor that is free.

For work of a tenth of a millisecond that lets the interpreter's lock go (decision 0025). Whoever needs the
result does the work itself where no helper has begun: on a busy machine, or with a single processor,
nobody waits for a thread that does not get its turn.
"""

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

_Result = TypeVar("_Result")


class Pending(Generic[_Result]):
    """Work that was begun or soon will be; nobody misses its error where the result is not asked for."""

    __slots__ = ("_done", "_error", "_permission", "_result", "_work")

    def __init__(self, work: Callable[[], _Result]) -> None:
        self._work = work
        # Taking an element out of a list is atomic: the work is done once.
        self._permission = [True]
        self._error: BaseException | None = None
        self._done = threading.Lock()
        self._done.acquire()

    def run(self) -> None:
        """Does the work, unless somebody has begun it."""
        try:
            self._permission.pop()
        except IndexError:
            return
        try:
            self._result = self._work()
        except BaseException as error:  # noqa: BLE001  (it is raised where the result is asked for)
            self._error = error
        self._done.release()

    def result(self) -> _Result:
        """What the work gave, or its error; to be asked for once."""
        self.run()
        self._done.acquire()
        if self._error is not None:
            raise self._error
        return self._result


class Aside:
    """Helpers for all threads of a process: by default one less than there are processors, so perhaps none."""

    def __init__(self, helpers: int | None = None) -> None:
        self._queue: SimpleQueue[Pending[Any] | None] = SimpleQueue()
        count = (os.cpu_count() or 1) - 1 if helpers is None else helpers
        self._threads = [threading.Thread(target=self._serve, name="aside", daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def begin(self, work: Callable[[], _Result]) -> Pending[_Result]:
        """Has the work done, at the latest when its result is asked for."""
        pending = Pending(work)
        if self._threads:
            self._queue.put(pending)
        return pending

    def close(self) -> None:
        """Lets the helpers finish what was begun."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _serve(self) -> None:
        while (pending := self._queue.get()) is not None:
            pending.run()
            del pending  # not kept while waiting for the next one


#: Does everything where the result is asked for.
ALONE = Aside(0)
