"""`engine-batch`: a thousand approved digests in one call of the engine, against as many bare cycles.

Each digest has a key, a certificate, a signature and an evidence of its own; when the call returns all of
it is durable. The yardstick makes nothing durable.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import tsp.schema  # noqa: F401  (every table that an installation has)
from benchmarks.kit import EngineFacts, Provider, certify_issuer, directory, new_token, open_token
from benchmarks.runner import Measured, Side, compare
from benchmarks.serving import new_database, served
from benchmarks.yardsticks import bare_cycle

_DOCUMENTS = 1000
_TURNS = 7


def measure() -> Iterator[Measured]:
    """How many percent of the bare cycles' pace a large batch keeps."""
    with directory() as place, ExitStack() as stack:
        for label in ("ca", "bare"):
            new_token(place, label)
        provider = Provider()
        with open_token("ca") as token:
            issuer = certify_issuer(token)
        facts = EngineFacts(place, "ca", issuer, provider.pinned, new_database(place / "engine.db"))
        engine = stack.enter_context(served(facts))
        bare = stack.enter_context(bare_cycle("bare"))

        def yardstick(_: object) -> None:
            for _turn in range(_DOCUMENTS):
                bare.run()

        yield compare(
            "engine-batch",
            Side(f"{_DOCUMENTS} bare cycles", yardstick),
            Side(f"EngineClient.sign of {_DOCUMENTS}", engine.client.sign, partial(provider.request, _DOCUMENTS)),
            unit="%",
            bound=50,
            turns=_TURNS,
            warming_up=1,
        )
