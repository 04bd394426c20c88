"""`engine-signature`: one approved signature through the engine's socket and database, against the bare necessities.

Ours is a client's call of `EngineClient.sign`; the engine is a process of its own, as in an installation.
The yardstick is the bare cycle and then the very rows that the engine writes for a signature, in as many
commits, by the driver alone, into a database on the same disk. Which rows these are is recorded beforehand
from an engine like the measured one, so the yardstick follows the engine.
"""

from collections.abc import Iterator
from contextlib import ExitStack

import tsp.schema  # noqa: F401  (every table that an installation has)
from benchmarks.kit import EngineFacts, Provider, certify_issuer, directory, living_engine, new_token, open_token
from benchmarks.runner import WARMING_UP, Measured, Side, compare
from benchmarks.serving import new_database, served
from benchmarks.yardsticks import BareCommits, Recorder, Transaction, bare_cycle

_TURNS = 150


def measure() -> Iterator[Measured]:
    """How many percent of the bare pace one signature through the engine keeps."""
    with directory() as place, ExitStack() as stack:
        for label in ("ca", "bare"):
            new_token(place, label)
        provider = Provider()
        with open_token("ca") as token:
            issuer = certify_issuer(token)
        urls = {name: new_database(place / f"{name}.db") for name in ("recorded", "engine", "bare")}
        recorded = _recorded(EngineFacts(place, "ca", issuer, provider.pinned, urls["recorded"]), provider)
        engine = stack.enter_context(served(EngineFacts(place, "ca", issuer, provider.pinned, urls["engine"])))
        bare = stack.enter_context(bare_cycle("bare"))
        commits = BareCommits(place / "bare.db")
        stack.callback(commits.close)

        def yardstick(transactions: list[Transaction]) -> None:
            bare.run()
            commits.run(transactions)

        yield compare(
            "engine-signature",
            Side("bare cycle + bare commits", yardstick, lambda: next(recorded)),
            Side("EngineClient.sign", engine.client.sign, provider.request),
            unit="%",
            bound=35,
            turns=_TURNS,
        )


def _recorded(facts: EngineFacts, provider: Provider) -> Iterator[list[Transaction]]:
    """What an engine writes for one signature after the other, beginning with an empty database."""
    recorder = Recorder()
    made = []
    with living_engine(facts, watch=recorder.watch) as engine:
        for _ in range(WARMING_UP + _TURNS):
            engine.sign(provider.request())
            made.append(recorder.take())
    return iter(made)
