"""`worker-memory`: what an engine's process holds in memory after many signatures, against after few."""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import tsp.schema  # noqa: F401  (every table that an installation has)
from benchmarks.kit import EngineFacts, Provider, certify_issuer, directory, new_token, open_token
from benchmarks.runner import Measured, grown, progress
from benchmarks.serving import new_database, resident, served
from benchmarks.yardsticks import bare_cycle
from hsm import softhsm

_FEW, _MANY = 100, 10_000


def measure() -> Iterator[Measured]:
    """How many times the memory of a young worker an old one has."""
    with directory() as place:
        new_token(place, "ca")
        provider = Provider()
        with open_token("ca") as token:
            issuer = certify_issuer(token)
        facts = EngineFacts(place, "ca", issuer, provider.pinned, new_database(place / "engine.db"))
        with served(facts) as engine:
            young = 0
            for made in range(1, _MANY + 1):
                engine.client.sign(provider.request())
                if made == _FEW:
                    young = engine.resident()
                if made % 2000 == 0:
                    progress(f"{made} signatures, {engine.resident() >> 20} MB")
            yield grown(
                "worker-memory",
                (f"RSS after {_FEW}", young),
                (f"RSS after {_MANY}", engine.resident()),
                bound=1.05,
            )
        yield _of_the_token_alone(place)


def _of_the_token_alone(place: Path) -> Measured:
    """The same for bare cycles in a process of their own, for information: what of the growth is the token's."""
    new_token(place, "bare")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        young, old = process.submit(_bare_cycles, place).result()
    return grown(
        "worker-memory-token-alone",
        (f"RSS after {_FEW} bare cycles", young),
        (f"RSS after {_MANY}", old),
        bound=None,
    )


def _bare_cycles(place: Path) -> tuple[int, int]:
    """What this process has in memory after few and after many cycles."""
    softhsm.configure(place)
    young = 0
    with bare_cycle("bare") as bare:
        for made in range(1, _MANY + 1):
            bare.run()
            if made == _FEW:
                young = resident(os.getpid())
    return young, resident(os.getpid())
