"""`python -m benchmarks [--only NAME]`: measures, writes var/bench/results.json and prints a table.

The exit code says whether everything could be measured, not whether the bounds are met: a busy
machine must not fail a build, and a shortfall stands in the table and the file.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from benchmarks import (
    crl_million,
    engine_batch,
    engine_signature,
    key_cycle,
    pades,
    services,
    status_million,
    table_size,
    worker_memory,
)
from benchmarks.runner import Measured, table, write

OUTPUT = Path(__file__).resolve().parent.parent / "var" / "bench" / "results.json"

#: Every benchmark by its name; one may give more than one line.
BENCHMARKS: dict[str, Callable[[], Iterator[Measured]]] = {
    **{name: partial(pades.measure, name) for name in pades.SAMPLES},
    "key-cycle": key_cycle.measure,
    "engine-signature": engine_signature.measure,
    "engine-batch": engine_batch.measure,
    "worker-memory": worker_memory.measure,
    "table-size": table_size.measure,
    "services": services.measure,
    "crl-million": crl_million.measure,
    "status-million": status_million.measure,
}


def main() -> int:
    """Runs what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", metavar="NAME", default="*", help="a name, or a pattern such as 'pades-bb-*'")
    only = parser.parse_args().only
    chosen = [name for name in BENCHMARKS if fnmatchcase(name, only)]
    if not chosen:
        parser.error(f"no benchmark is named {only}; there are {', '.join(BENCHMARKS)}")
    measured: list[Measured] = []
    for name in chosen:
        print(f"measuring {name}", file=sys.stderr, flush=True)
        measured += BENCHMARKS[name]()
        # After each: whoever ends a long run keeps what was measured.
        write(measured, OUTPUT)
    print(table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
