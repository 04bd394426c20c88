"""`crl-million`: a list of a million revoked certificates, read from the database, signed and published.

Measured in a fresh process each time, as the engine would do it: `CrlPublisher.publish`, from the first query to the
file in its place, with every entry looked at again. There is no yardstick: the bounds are seconds and octets.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import tsp.schema  # noqa: F401  (every table that an installation has)
from benchmarks.filling import revoke_all
from benchmarks.kit import directory
from benchmarks.runner import Measured, limited, progress
from benchmarks.serving import new_database

ENTRIES = 1_000_000
_TURNS = 3
_SECONDS, _OCTETS = 10.0, 300 * 2**20


def measure() -> Iterator[Measured]:
    """How long it takes, and how much memory the process had at most."""
    with directory() as place:
        path = place / "revoked.db"
        url = new_database(path)
        progress(f"filling {ENTRIES:,} revoked certificates")
        revoke_all(path, ENTRIES)
        told = [_published(place, url) for _ in range(_TURNS)]
    seconds, peak = (median(one[name] for one in told) for name in ("seconds", "peak"))
    size = told[0]["octets"] / 2**20
    yield limited("crl-million", f"{size:.0f} MB list", seconds, "s", bound=_SECONDS, turns=_TURNS)
    yield limited("crl-million-memory", "peak RSS", peak / 2**20, "MB", bound=_OCTETS / 2**20, turns=_TURNS)


def _published(place: Path, url: str) -> dict[str, float]:
    progress("publishing in a fresh process")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.crl_process", str(place), url],
        check=True,
        capture_output=True,
        text=True,
    )
    told: dict[str, float] = json.loads(done.stdout)
    assert told["entries"] == ENTRIES, "a list that is not whole"
    return told
