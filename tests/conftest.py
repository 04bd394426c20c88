"""Fixtures that every test may use: a clock that stands, a fresh database, a fresh token."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import hypothesis

# pyHanko gives asn1crypto names for the qualified statements. It must do so before asn1crypto builds its reverse
# maps, or what was read under those names cannot be written again, whichever test comes first.
import pyhanko.sign.ades.qualified_asn1  # noqa: F401
import pytest

import hsm
from hsm import softhsm
from tests.outside_lint import Collector
from tests.postgresql import Cluster
from tests.query_plans import Watch
from tests.zygote import Zygote
from tsp.ca import authority
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.randomness import Randomness, SystemRandomness

# A busy machine must not decide whether a property holds.
hypothesis.settings.register_profile("house", deadline=None)
hypothesis.settings.load_profile("house")

TokenFactory = Callable[[str], hsm.Token]
DatabaseFactory = Callable[[], Database]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database",
        choices=("sqlite", "postgresql"),
        default="sqlite",
        help="what the database fixtures give; `-m database` selects the tests that use them",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if {"make_database", "bare_database"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.database)


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """Sees every certificate that authorities of this process hand out."""
    made, checked = Collector(), authority.check_issued
    authority.check_issued = made.around(checked)
    yield made
    authority.check_issued = checked


@pytest.fixture(autouse=True)
def _outside_linter(collector: Collector) -> Iterator[None]:
    """Whatever a test issues stands before the outside linter (issues are told once for each shape)."""
    yield
    assert collector.findings() == [], "the outside linter finds this, and tests/false_findings.py does not explain it"


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock(datetime(2026, 11, 23, 10, 0, tzinfo=UTC))


@pytest.fixture
def randomness() -> Randomness:
    return SystemRandomness()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Cluster]:
    """One PostgreSQL server for the whole process, started by the first test that needs it."""
    cluster = Cluster()
    yield cluster
    cluster.close()


@pytest.fixture
def make_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DatabaseFactory]:
    """Makes databases without rows, of the kind that the run is for."""
    on_postgresql = request.config.getoption("--database") == "postgresql"
    cluster: Cluster | None = request.getfixturevalue("postgresql") if on_postgresql else None
    made: list[Database] = []
    lent: list[str] = []
    watches: list[Watch] = []

    def make() -> Database:
        if cluster:
            lent.append(cluster.lend())
            made.append(Database(cluster.url(lent[-1])))
        else:
            made.append(Database(f"sqlite:///{tmp_path / f'test{len(made)}.db'}"))
            made[-1].create_all()
        watches.append(Watch(made[-1]))
        return made[-1]

    yield make
    findings = [finding for watch in watches for finding in watch.findings]
    for database in made:
        database.close()
    for name in lent:
        assert cluster is not None
        cluster.take_back(name)
    assert findings == [], "a query of the product is not served by an index (tests/query_plans.py)"


@pytest.fixture
def bare_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without any table, of the kind that the run is for."""
    if request.config.getoption("--database") == "sqlite":
        made = Database(f"sqlite:///{tmp_path / 'bare.db'}")
        yield made
        made.close()
        return
    cluster: Cluster = request.getfixturevalue("postgresql")
    made = Database(cluster.url(cluster.create("bare")))
    yield made
    made.close()
    cluster.drop("bare")


@pytest.fixture
def database(make_database: DatabaseFactory) -> Database:
    """A database with every table and no rows."""
    return make_database()


@pytest.fixture(scope="session")
def softhsm_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One token store for the whole process: the module reads its configuration once."""
    directory = tmp_path_factory.mktemp("softhsm")
    softhsm.configure(directory)
    return directory


@pytest.fixture
def token_factory(softhsm_directory: Path) -> Iterator[TokenFactory]:
    """Makes tokens with the given label and closes them after the test."""
    opened: list[hsm.Token] = []
    module = softhsm.find_module()

    def make(label: str) -> hsm.Token:
        unique = f"{label}-{len(list(softhsm_directory.rglob('token.object')))}"
        softhsm.create_token(softhsm_directory, unique, pin="123456-test", so_pin="654321-test")
        token = hsm.Token.open(module, unique, "123456-test")
        opened.append(token)
        return token

    yield make
    for token in opened:
        token.close()


@pytest.fixture(scope="session")
def zygote(softhsm_directory: Path) -> Iterator[Zygote]:
    """Forks processes that a test may kill."""
    made = Zygote()
    yield made
    made.close()


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Octets are named by their argument: keys made anew in every process must not change a test's name."""
    return argname if isinstance(val, bytes) else None
