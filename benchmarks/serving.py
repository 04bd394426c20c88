"""The engine as an installation has it: in a process of its own, behind its socket."""

import multiprocessing
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path

from benchmarks.kit import EngineFacts, living_engine
from tsp.core.database import Database
from tsp.core.randomness import SystemRandomness
from tsp.engine.protocol import EngineClient
from tsp.engine.server import serve_engine


@dataclass(frozen=True)
class Served:
    """A client of the engine, and the engine's process id."""

    client: EngineClient
    process: int

    def resident(self) -> int:
        """The octets that the engine's process has in memory now."""
        return resident(self.process)


def resident(process: int) -> int:
    """The octets that a process has in memory now."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) * 1024


def new_database(path: Path) -> str:
    """A database with every table of an installation; its URL."""
    database = Database(f"sqlite:///{path}")
    database.create_all()
    database.close()
    return database.url


@contextmanager
def served(facts: EngineFacts) -> Iterator[Served]:
    """The engine in a process of its own; ended in order after the block."""
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    # A Unix socket's path has at most 107 octets, so it does not stand under the project.
    with tempfile.TemporaryDirectory() as run:
        path = Path(run) / "engine.sock"
        process = context.Process(target=_serve, args=(facts, path, ready))
        process.start()
        try:
            assert ready.wait(60), "the engine did not start"
            assert process.pid is not None
            yield Served(EngineClient(path, timeout=120.0), process.pid)
        finally:
            process.terminate()
            process.join()


def _serve(facts: EngineFacts, path: Path, ready: Event) -> None:
    """The engine's process, until SIGTERM."""
    with living_engine(facts) as engine:
        serve_engine(engine, path, SystemRandomness(), ready=ready.set)
