"""Transactions: durable or gone, and one winner where two processes write."""

import threading
from datetime import datetime

import pytest
from sqlalchemy import bindparam, insert, update

from tsp.core.clock import SettableClock
from tsp.core.database import Database, insert_if_free, insert_or_lock, table_of
from tsp.core.errors import Invalid, Unavailable
from tsp.core.statements import Prepared
from tsp.core.tables import Organisation


def _organisation(clock: SettableClock, name: str) -> Organisation:
    return Organisation(id=name, name=name, kind="bank", created=clock.now())


def test_write_is_all_or_nothing(database: Database, clock: SettableClock) -> None:
    with database.write() as session:
        session.add(_organisation(clock, "a"))
    with pytest.raises(KeyError), database.write() as session:
        session.add(_organisation(clock, "b"))
        raise KeyError
    with database.read() as session:
        assert [o.id for o in session.query(Organisation)] == ["a"]


def test_a_transaction_without_session_is_all_or_nothing(database: Database, clock: SettableClock) -> None:
    table = table_of(Organisation)
    a, b = ({"id": name, "name": name, "kind": "bank", "created": clock.now()} for name in "ab")
    with database.transaction() as connection:
        assert insert_if_free(connection, table, a)
        assert not insert_if_free(connection, table, a)
    with pytest.raises(KeyError), database.transaction() as connection:
        assert insert_if_free(connection, table, b)
        raise KeyError
    with database.read() as session:
        assert [(o.id, o.created) for o in session.query(Organisation)] == [("a", clock.now())]


def test_a_transaction_without_session_has_the_write_lock_from_its_beginning(database: Database) -> None:
    """SQLite has one lock for all that is written; PostgreSQL's are on what is read to be changed."""
    other = Database(database.url, busy_timeout=0.0)
    try:
        with database.transaction(), other.transaction():
            assert not database.is_sqlite
    except Unavailable as error:
        assert (error.code, database.is_sqlite) == ("database-unavailable", True)
    finally:
        other.close()


def test_a_prepared_statement_wants_all_values_and_converts_them(database: Database, clock: SettableClock) -> None:
    table = table_of(Organisation)
    adding = Prepared(insert(table), "id", "name", "kind", "created")
    renaming = Prepared(update(table).where(table.c.id == bindparam("_id"), table.c.kind == "bank"), "name")
    rows = [{"id": name, "name": name, "kind": "bank", "created": clock.now()} for name in "abc"]
    with database.transaction() as connection:
        adding.execute(connection, rows[0])
        adding.execute(connection, *rows[1:])
        assert renaming.execute(connection, {"_id": "b", "name": "B"}).rowcount == 1
        assert renaming.execute(connection, {"_id": "d", "name": "D"}).rowcount == 0
        several = renaming.execute(connection, {"_id": "a", "name": "A"}, {"_id": "c", "name": "C"})
        assert several.rowcount == 2
    with pytest.raises(KeyError, match="created"), database.transaction() as connection:
        adding.execute(connection, {"id": "d", "name": "d", "kind": "bank"})
    with pytest.raises(ValueError, match="naive"), database.transaction() as connection:
        adding.execute(connection, rows[0] | {"id": "d", "created": clock.now().replace(tzinfo=None)})
    with database.read() as session:
        found = [(o.id, o.name, o.created) for o in session.query(Organisation).order_by(Organisation.id)]
    assert found == [(name, name.upper(), clock.now()) for name in "abc"]


def test_times_come_back_aware(database: Database, clock: SettableClock) -> None:
    with database.write() as session:
        session.add(_organisation(clock, "a"))
    with database.read() as session:
        assert session.query(Organisation).one().created == clock.now()


def test_naive_times_are_refused(database: Database) -> None:
    naive = datetime(2026, 1, 1)  # noqa: DTZ001  (the point of the test)
    with pytest.raises(Exception, match="naive"), database.write() as session:
        session.add(Organisation(id="a", name="a", kind="bank", created=naive))


def test_text_that_a_database_cannot_take_is_the_callers_mistake(database: Database, clock: SettableClock) -> None:
    """SQLite takes it; PostgreSQL refuses NUL and what is longer than its column. Neither is a failure of ours."""
    for name in ("a\0b", "x" * 65):
        try:
            with database.write() as session:
                session.add(_organisation(clock, name))
        except Invalid as error:
            assert error.code == "request-malformed"
        else:
            assert database.is_sqlite


def test_read_modify_write_loses_nothing(database: Database, clock: SettableClock) -> None:
    with database.write() as session:
        session.add(_organisation(clock, "a"))
        session.flush()
        session.get_one(Organisation, "a").name = "0"

    def add_one() -> None:
        for _ in range(10):
            with database.write() as session:
                row = session.get_one(Organisation, "a", with_for_update=True)
                row.name = str(int(row.name) + 1)

    threads = [threading.Thread(target=add_one) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as session:
        assert session.get_one(Organisation, "a").name == "50"


def test_a_row_that_others_make_and_erase_is_always_there_for_who_locks_it(
    database: Database, clock: SettableClock
) -> None:
    seen: list[str] = []

    def make_and_erase() -> None:
        for _ in range(20):
            with database.write() as session:
                insert_or_lock(session, _organisation(clock, "a"))
                row = session.get_one(Organisation, "a", populate_existing=True)
                seen.append(row.id)
                session.delete(row)

    threads = [threading.Thread(target=make_and_erase) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == ["a"] * 100


def test_a_row_that_is_there_is_locked_as_it_is(database: Database, clock: SettableClock) -> None:
    with database.write() as session:
        session.add(_organisation(clock, "a"))
    with database.write() as session:
        other = _organisation(clock, "a")
        other.kind = "registers"
        insert_or_lock(session, other)
        assert session.get_one(Organisation, "a").kind == "bank"


def test_locked_database_is_unavailable_and_says_so(database: Database, clock: SettableClock) -> None:
    impatient = Database(database.url, busy_timeout=0.05)
    with database.write() as holder:
        holder.add(_organisation(clock, "a"))
        holder.flush()
        # The same key: SQLite locks the whole database, PostgreSQL waits for whoever holds this row.
        with pytest.raises(Unavailable, match="database-unavailable"), impatient.write() as session:
            session.add(_organisation(clock, "a"))
    impatient.close()


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("sqlite:////srv/enkrat.db", "sqlite /srv/enkrat.db"),
        ("postgresql+psycopg://tsp:p%40ss@db.example:5433/enkrat", "postgresql enkrat at db.example:5433"),
        ("postgresql+psycopg://tsp@/enkrat?host=/run/pg&password=p@ss", "postgresql enkrat at /run/pg"),
        ("postgresql+psycopg:///enkrat", "postgresql enkrat"),
    ],
)
def test_the_place_of_a_database_is_told_without_its_password(url: str, place: str) -> None:
    database = Database(url)
    assert database.place == place
    database.close()
