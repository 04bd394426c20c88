"""Every query of the product is served by an index: the watch that all database tests carry can see one that is not."""

import pytest
from sqlalchemy import select, text

from tests.query_plans import Watch
from tsp.core.database import Database
from tsp.engine.tables import Approval, Signature

PLACE = "tsp/engine/invented.py"


@pytest.fixture
def database(bare_database: Database) -> Database:
    """Watched by nobody yet."""
    bare_database.create_all()
    return bare_database


def findings(database: Database, source: str) -> list[str]:
    """What the watch says of code that stands in the product."""
    watch = Watch(database)
    file = __file__.replace("tests/core/test_query_plans.py", PLACE)
    names = {"database": database, "select": select, "text": text, "Approval": Approval, "Signature": Signature}
    exec(compile(source, file, "exec"), names)  # noqa: S102  (the only way to be in a file of the product)
    return watch.findings


def asked(query: str) -> str:
    return f"with database.read() as session:\n    session.execute({query}).all()\n"


def test_a_query_that_no_index_serves_is_seen(database: Database) -> None:
    (finding,) = findings(database, asked("select(Approval.jti).where(Approval.client == 'somebody')"))
    assert finding.startswith(f"{PLACE} <module> reads all of approval: SELECT")


def test_a_change_that_no_index_serves_is_seen(database: Database) -> None:
    source = """
with database.write() as session:
    session.execute(text("UPDATE signature SET ordinal = ordinal WHERE signed_at IS NULL"))
"""
    (finding,) = findings(database, source)
    assert "reads all of signature" in finding


def test_what_an_index_serves_is_fine(database: Database) -> None:
    assert findings(database, asked("select(Signature.cms).where(Signature.jti == 'some approval')")) == []


def test_the_queries_of_tests_are_their_own_affair(database: Database) -> None:
    watch = Watch(database)
    with database.read() as session:
        session.execute(select(Approval.state).where(Approval.client == "somebody else")).all()
    assert watch.findings == []
