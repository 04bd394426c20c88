"""Every face over one database, and the ways to take away what lies below it."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.conftest import DatabaseFactory, TokenFactory
from tests.faults.faces import Faces, open_faces
from tests.sign import conftest as sign
from tests.sign.street import Town
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.isolated import Isolated
from tsp.core.randomness import Randomness

town, isolated = sign.town, sign.isolated


@pytest.fixture
def database(make_database: DatabaseFactory) -> Iterator[Database]:
    """A database with every table, opened as an installation opens its own."""
    made = make_database()
    made.close()
    with closing(Database(made.url, existing=True)) as existing:
        yield existing


@pytest.fixture
def faces(
    town: Town,
    tmp_path: Path,
    database: Database,
    clock: SettableClock,
    isolated: Isolated,
    token_factory: TokenFactory,
    randomness: Randomness,
) -> Iterator[Faces]:
    with ExitStack() as stack:
        yield open_faces(
            stack,
            town,
            directory=tmp_path,
            database=database,
            clock=clock,
            isolated=isolated,
            token_factory=token_factory,
            randomness=randomness,
        )
