"""A log in the test's database."""

import pytest

from tests.audit.audit_kit import Log
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.randomness import Randomness


@pytest.fixture
def log(database: Database, clock: SettableClock, randomness: Randomness) -> Log:
    return Log(database, clock, randomness)
