"""Migrations: from nothing to exactly the tables of the code, on the database that the run is for."""

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect

from tsp.core.database import Database
from tsp.core.migrate import newest_revision, revision, upgrade
from tsp.schema import METADATA


def test_upgrade_from_empty_ends_at_the_newest_revision_and_may_be_repeated(bare_database: Database) -> None:
    assert inspect(bare_database.engine).get_table_names() == []
    assert revision(bare_database) is None
    for _ in range(2):
        upgrade(bare_database, METADATA)
        assert revision(bare_database) == newest_revision()
    assert set(inspect(bare_database.engine).get_table_names()) == {*METADATA.tables, "alembic_version"}


def test_migrations_give_exactly_the_tables_of_the_code(bare_database: Database) -> None:
    upgrade(bare_database, METADATA)
    with bare_database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, METADATA) == []


def test_a_difference_would_be_seen(database: Database) -> None:
    """The comparison itself: one index fewer in the database is found."""
    with database.engine.begin() as connection:
        connection.exec_driver_sql("DROP INDEX ix_approval_state")
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        found = compare_metadata(context, METADATA)
        connection.rollback()
    assert [(kind, index.name) for kind, index in found] == [("add_index", "ix_approval_state")]
