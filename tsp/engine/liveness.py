"""Whether a worker lives: it holds a lock on a file of its own, which the kernel lets go when it dies.

A lease alone proves nothing (a stopped process may wake up), a process id neither (it is given anew).
Names begin with the installation's place, kept in a file that outlives the machine's restart, so that
nobody declares a worker of another machine dead.
"""

import fcntl
import os
import re
from pathlib import Path
from types import TracebackType
from typing import Self

from tsp.core.files import write_atomic
from tsp.core.randomness import Randomness, new_code

_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"
_NAME = re.compile(r"engine-([a-z0-9]{8})-[a-z0-9]{16}")


class Liveness:
    """This worker's own lock, and the look at those of others, in the directory `run`.

    Use as a context manager: the name counts as alive from `__enter__` to the end of the block or
    of the process, whatever ends it.
    """

    def __init__(self, run: Path, randomness: Randomness) -> None:
        self._run = run
        self._place = _place_of(run.parent / "engine.place", randomness)
        self.name = f"engine-{self._place}-{new_code(randomness, 16, _LETTERS)}"
        self._handle: int | None = None

    def __enter__(self) -> Self:
        self._run.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Locked under another name first: whoever sees the file sees it locked.
        made = self._run / f".{self.name}.new"
        self._handle = os.open(made, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        made.rename(self._file(self.name))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            self._file(self.name).unlink(missing_ok=True)
            os.close(self._handle)
            self._handle = None

    def is_dead(self, name: str) -> bool:
        """Whether the worker `name` is proven dead: of this place, and nobody holds its lock."""
        found = _NAME.fullmatch(name)
        if found is None or found[1] != self._place:
            return False
        try:
            handle = os.open(self._file(name), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(handle)
        return True

    def tidy(self) -> None:
        """Removes the lock files of the dead."""
        for file in self._run.glob("engine-*-*.lock"):
            if self.is_dead(file.stem):
                file.unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self._run / f"{name}.lock"


def _place_of(file: Path, randomness: Randomness) -> str:
    """The installation's place: made once, the same for every worker on it."""
    if not file.is_file():
        made = file.with_name(f".{file.name}.{new_code(randomness, 8, _LETTERS)}")
        write_atomic(made, new_code(randomness, 8, _LETTERS).encode())
        try:
            # Unlike a rename, a link never takes the place of one that another worker made just now.
            os.link(made, file)
        except FileExistsError:
            pass
        finally:
            made.unlink()
    return file.read_text().strip()
