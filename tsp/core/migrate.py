"""Brings a database to the schema of this release, without losing a row."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData

from tsp.core.database import Database

_SCRIPTS = Path(__file__).with_name("migrations")


def _config(database: Database, metadata: MetaData) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.attributes["engine"] = database.engine
    config.attributes["metadata"] = metadata
    return config


def upgrade(database: Database, metadata: MetaData) -> None:
    """Runs every migration that the database has not seen; does nothing at the newest revision."""
    command.upgrade(_config(database, metadata), "head")


def add_revision(database: Database, metadata: MetaData, message: str) -> None:
    """Writes the file of a new migration from the difference between tables and database (for developers)."""
    command.revision(_config(database, metadata), message=message, autogenerate=True)


def revision(database: Database) -> str | None:
    """The database's revision; None for an empty database."""
    with database.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def newest_revision() -> str | None:
    """The revision of this release."""
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    return ScriptDirectory.from_config(config).get_current_head()
