"""The database lost and back, under every face: what is answered meanwhile, and that it goes on by itself."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.faults.faces import Faces, moved_away, page_code
from tests.formats.pdf_samples import classic, objects
from tests.postgresql import Cluster
from tsp.core.database import Database, ping
from tsp.core.errors import Unavailable

Outage = Callable[[], AbstractContextManager[None]]

WELL = {
    "sign": "200",
    "idp": "201",
    "idp page": "303",
    "tsa": "granted",
    "ocsp": "SUCCESSFUL",
    "log": "200",
    "log page": "200",
}
AWAY = {
    "sign": "503 database-unavailable",
    "idp": "503 temporarily_unavailable",
    "idp page": "",
    "tsa": "system_failure",
    "ocsp": "TRY_LATER",
    "log": "503 database-unavailable",
    "log page": "503 database-unavailable",
}


@pytest.fixture
def outage(database: Database, request: pytest.FixtureRequest) -> Outage:
    """Takes the database away for the length of a block: the file, or the server."""

    @contextmanager
    def server_stopped() -> Iterator[None]:
        cluster: Cluster = request.getfixturevalue("postgresql")
        cluster.stop()
        try:
            yield
        finally:
            cluster.start()

    if database.is_sqlite:
        return lambda: moved_away(Path(database.engine.url.database or ""))
    return server_stopped


@pytest.mark.requirement("OPS-1", "SIG-7")
def test_every_face_says_so_and_goes_on_when_the_database_is_back(faces: Faces, outage: Outage) -> None:
    assert faces.answers() == WELL
    pushed = faces.world.portal.begin().url
    path = faces.ana.bring(classic(objects(pages=1)))
    with outage():
        assert faces.answers() == AWAY
        assert faces.idp_page(pushed) == "503 database-unavailable"
        assert "503" in faces.sign()
        assert faces.ana.upload(classic(objects(pages=1))).status_code == 503
        assert faces.answers() == AWAY  # the second question is answered like the first
    assert faces.answers() == WELL
    assert faces.idp_page(pushed) == "303"
    faces.ana.approve(path)
    assert 'data-page="sign.result"' in faces.ana.get(path).text


@pytest.mark.requirement("SIG-1", "SIG-7")
def test_a_database_lost_while_the_engine_signs_costs_a_retry(faces: Faces, outage: Outage) -> None:
    path = faces.ana.bring(classic(objects(pages=1)))
    engine = faces.street.engine
    with pytest.MonkeyPatch.context() as patch, _at_the_third_step(faces, outage, patch):
        away = faces.ana.press(path, "approve", kind="qualified")
        answer = faces.ana.get(faces.street.provider.answer(away.headers["location"]))
        assert (answer.status_code, answer.headers["location"]) == (303, path)
        assert page_code(faces.ana.get(path)) == "503 database-unavailable"
    assert engine.calls == 1
    faces.street.clock.advance(seconds=181)  # the site's lease, which could not be given back, and the engine's
    faces.street.engine.engine.sweep()
    faces.ana.press(path, "continue")
    assert 'data-page="sign.result"' in faces.ana.get(path).text
    with faces.street.database.read() as session:
        assert session.scalar(text("SELECT count(*) FROM signature")) == 1
        assert session.scalar(text("SELECT count(*) FROM evidence")) == 1


@contextmanager
def _at_the_third_step(faces: Faces, outage: Outage, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """The database goes in the middle of the key's life, and comes back at the block's end."""
    engine, seen, begun = faces.street.engine.engine, list[object](), outage()

    def on_step(step: object) -> None:
        seen.append(step)
        if len(seen) == 3:
            begun.__enter__()

    patch.setattr(engine, "_on_step", on_step)
    try:
        yield
    finally:
        assert len(seen) >= 3
        begun.__exit__(None, None, None)


@pytest.mark.requirement("OPS-1")
def test_the_background_waits_without_spinning_and_goes_on(faces: Faces, outage: Outage) -> None:
    """The sequencer is the busiest of those that work without being asked."""
    faces.log.write(3)
    steps: list[str] = []
    stop, tried, placed = threading.Event(), threading.Event(), threading.Event()
    real = faces.log.sequencer.step

    def counted() -> int:
        try:
            done = real()
        except Unavailable as error:
            steps.append(error.code)
            tried.set()
            raise
        if done == 3:
            placed.set()
        return done

    faces.log.sequencer.step = counted  # type: ignore[method-assign]
    thread = threading.Thread(target=faces.log.sequencer.run, args=(stop,))
    with outage():
        thread.start()
        assert tried.wait(20)
    assert placed.wait(20)
    stop.set()
    thread.join(20)
    assert set(steps) == {"database-unavailable"}
    assert len(steps) <= 20


@pytest.mark.requirement("OPS-1")
def test_no_empty_database_appears_where_one_was_lost(tmp_path: Path) -> None:
    path = tmp_path / "lost.db"
    with closing(Database(f"sqlite:///{path}", existing=True)) as database:
        with pytest.raises(Unavailable, match="database-unavailable"):
            ping(database)
        assert not path.exists()


@pytest.mark.requirement("OPS-1")
def test_nothing_is_written_into_a_file_that_was_replaced(tmp_path: Path) -> None:
    """A restored copy takes the place of the file that a process has open."""
    path, copy = tmp_path / "a.db", tmp_path / "copy.db"
    with closing(Database(f"sqlite:///{path}", existing=False)) as database:
        with database.write() as session:
            session.execute(text("CREATE TABLE t (n INTEGER)"))
        with closing(sqlite3.connect(copy)) as made:
            made.execute("CREATE TABLE t (n INTEGER)")
            made.commit()
        copy.replace(path)
        with database.write() as session:
            session.execute(text("INSERT INTO t VALUES (1)"))
    with closing(sqlite3.connect(path)) as reader:
        assert reader.execute("SELECT n FROM t").fetchall() == [(1,)]


@pytest.mark.requirement("OPS-1")
def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    path.write_bytes(b"this is a text, and long enough to be taken for a database's first page " * 20)
    with (
        closing(Database(f"sqlite:///{path}", existing=True)) as database,
        pytest.raises(Unavailable, match="database-unavailable"),
    ):
        ping(database)
