"""A PostgreSQL server of the tests' own: in a temporary directory, on a Unix socket, gone afterwards.

The server wants no safety from the disk (fsync off), as nothing in it outlives the tests, and it
sorts and compares by code points as SQLite does. It refuses to run as root: then it runs as the
user `postgres` that the system's package makes.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import NullPool, create_engine, text

from tsp import schema
from tsp.core.database import Database

_SETTINGS = "listen_addresses='' fsync=off synchronous_commit=off full_page_writes=off max_connections=200"
_SYSTEM_USER = "postgres"
_BARE, _TABLES = "template0", "with_tables"
_END_OTHERS = """
    SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
#: Rows of a test are few: deleting them takes milliseconds, a new database or TRUNCATE a hundred times as long.
_EMPTY_ALL = """
    SET LOCAL session_replication_role = replica;
    DO $$ DECLARE one record; BEGIN
        FOR one IN SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' LOOP
            EXECUTE 'DELETE FROM ' || quote_ident(one.name);
        END LOOP;
        FOR one IN SELECT sequencename AS name FROM pg_sequences WHERE last_value IS NOT NULL LOOP
            EXECUTE 'ALTER SEQUENCE ' || quote_ident(one.name) || ' RESTART';
        END LOOP;
    END $$
"""
_TABLE_NAMES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"


class Cluster:
    """A running server. Databases with tables are lent, emptied and lent again: making one is slow."""

    def __init__(self) -> None:
        self._programs = _find_programs()
        self._directory = Path(tempfile.mkdtemp(prefix="enkrat-pg-"))
        self._count = 0
        self._free: list[str] = []
        if os.geteuid() == 0:
            shutil.chown(self._directory, _SYSTEM_USER)
        self._run(
            "initdb",
            "-D",
            self._directory / "data",
            "-U",
            "enkrat",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-locale",
            "--no-sync",
        )
        self.start()
        self._server = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        self.create(_TABLES)
        made = Database(self.url(_TABLES))
        schema.METADATA.create_all(made.engine)
        made.close()

    def start(self) -> None:
        """Starts the server; returns when it takes connections."""
        data, log = self._directory / "data", self._directory / "log"
        options = " ".join(f"-c {setting}" for setting in _SETTINGS.split())
        self._run("pg_ctl", "-D", data, "-l", log, "-w", "-o", f"-k {self._directory} {options}", "start")

    def stop(self) -> None:
        """Ends the server as an operator does: sessions are cut off, what was committed stays."""
        self._run("pg_ctl", "-D", self._directory / "data", "-m", "fast", "-w", "stop")
        self._server.dispose()

    def url(self, name: str) -> str:
        """The SQLAlchemy URL of a database. The server asks for no password; one is there to be kept secret."""
        return f"postgresql+psycopg://enkrat:never-shown@/{name}?host={quote(str(self._directory))}"

    def lend(self) -> str:
        """The name of a database that has every table of the platform and no rows; `take_back` returns it."""
        if not self._free:
            self._count += 1
            self.create(f"lent_{self._count}", _TABLES)
            self._free.append(f"lent_{self._count}")
        return self._free.pop()

    def take_back(self, name: str) -> None:
        """Ends what still goes on in a database and empties it; one whose tables were changed is removed."""
        engine = create_engine(self.url(name), poolclass=NullPool)
        try:
            with engine.begin() as connection:
                connection.exec_driver_sql(_END_OTHERS)
                connection.exec_driver_sql(_EMPTY_ALL)
                known = set(connection.exec_driver_sql(_TABLE_NAMES).scalars())
        finally:
            engine.dispose()
        if known == set(schema.METADATA.tables):
            self._free.append(name)
        else:
            self.drop(name)

    def create(self, name: str, template: str = _BARE) -> str:
        """Makes a database of this name from a template, by default without any table; its name."""
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop(self, name: str) -> None:
        """Removes a database, whoever still holds a connection to it."""
        self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def close(self) -> None:
        """Ends the server and removes what it wrote."""
        self._server.dispose()
        self._run("pg_ctl", "-D", self._directory / "data", "-m", "immediate", "-w", "stop")
        shutil.rmtree(self._directory)

    def _execute(self, statement: str) -> None:
        with self._server.connect() as connection:
            connection.execute(text(statement))

    def _run(self, program: str, *arguments: str | Path) -> None:
        other_user = ("setpriv", f"--reuid={_SYSTEM_USER}", f"--regid={_SYSTEM_USER}", "--init-groups", "--")
        command = [*(other_user if os.geteuid() == 0 else ()), str(self._programs / program), *map(str, arguments)]
        done = subprocess.run(
            command,
            cwd=self._directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        log = self._directory / "log"
        told = log.read_text() if log.exists() else ""
        assert done.returncode == 0, f"{program} ended with {done.returncode}: {done.stdout}{done.stderr}{told}"


def _find_programs() -> Path:
    """Where initdb and pg_ctl are: the newest of the system's packages, or a directory of the PATH."""
    packaged = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    found = max(packaged, key=lambda path: float(path.parts[-3]), default=None) or shutil.which("initdb")
    assert found, "PostgreSQL's initdb is missing; install it with: scripts/setup --test"
    return Path(found).parent
