"""`worker-memory`: what an engine's process holds in memory after many signatures, against after few."""

from collections.abc import Iterator

import tsp.schema  # noqa: F401  (every table that an installation has)
from benchmarks.kit import EngineFacts, Provider, certify_issuer, directory, new_token, open_token
from benchmarks.runner import Measured, grown, progress
from benchmarks.serving import new_database, served

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
