"""Five processes of one unit that stamp at the same time into one database: `python -m … <database URL>`."""

import os
import sys
import traceback
from datetime import timedelta

from tests.ca.ca_kit import SoftKey
from tests.small_pki import Ca
from tests.tsa.conftest import POLICY, query
from tsp.core.clock import SystemClock
from tsp.core.database import Database
from tsp.core.randomness import SystemRandomness
from tsp.tsa.authority import TimeStampAuthority
from tsp.tsa.clock_guard import ClockGuard
from tsp.tsa.journal import Journal

PROCESSES = 5
EACH = 10


def stamp(url: str, key: SoftKey, certificate: bytes) -> None:
    """What one process does; everything that it uses is opened after the fork."""
    database = Database(url)
    journal, clock = Journal(database), SystemClock()
    authority = TimeStampAuthority(
        signer=key,
        certificate=certificate,
        chain=[],
        policy=POLICY,
        accuracy_ms=500,
        guard=ClockGuard(clock, timedelta(seconds=10)),
        randomness=SystemRandomness(),
        journal=journal,
    )
    for _ in range(EACH):
        authority.answer(query())
    journal.close()
    database.close()


def main(url: str) -> int:
    """How many of the processes failed."""
    key = SoftKey()
    certificate = Ca("TEST Root").tsu(key.public_spki)
    children = []
    for _ in range(PROCESSES):
        child = os.fork()
        if child == 0:
            try:
                stamp(url, key, certificate)
            except BaseException:  # noqa: BLE001  (a child must never return into the parent's code)
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(child)
    return sum(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0 for child in children)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
