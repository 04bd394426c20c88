"""Migrations: from nothing to exactly the tables of the code, on the database that the run is for."""

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect

from tests.small_pki import Ca
from tsp.ca.inventory import Question, search
from tsp.core.database import Database
from tsp.core.migrate import _config, newest_revision, revision, upgrade
from tsp.schema import METADATA

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)


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


@pytest.mark.requirement("CA-5")
def test_certificates_of_earlier_releases_are_found_by_their_subject(bare_database: Database) -> None:
    root = Ca("TEST Root")
    command.upgrade(_config(bare_database, METADATA), "0004")
    row = {
        "serial": f"{7:032x}",
        "issuer": "root",
        "profile": "root-ca",
        "not_before": NOW,
        "not_after": NOW,
        "der": root.der,
        "issued_at": NOW,
    }
    columns = [sa.column(name, METADATA.tables["certificate"].c[name].type) for name in row]
    with bare_database.engine.begin() as connection:
        connection.execute(sa.insert(sa.table("certificate", *columns)).values(row))
    upgrade(bare_database, METADATA)
    with bare_database.read() as session:
        [found] = search(session, Question(subject=root.certificate.subject.rfc4514_string()), NOW).certificates
    assert found.serial == row["serial"]
