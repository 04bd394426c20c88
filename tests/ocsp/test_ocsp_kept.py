"""What is remembered is told again, and never a moment longer than it is true."""

import base64
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography.x509 import ocsp
from cryptography.x509.ocsp import OCSPCertStatus
from sqlalchemy import event, text

from tests.conftest import DatabaseFactory
from tests.ocsp.conftest import GOOD, NEVER, Responder, ask
from tests.ocsp.test_ocsp_http import TYPE
from tsp.ca.tables import Certificate, serial_text
from tsp.core.asgi import Reply, Request
from tsp.core.clock import SettableClock, SystemClock
from tsp.core.database import Database
from tsp.core.migrate import upgrade
from tsp.ocsp.kept import MAX_KEY, KeptAnswers, Publishable
from tsp.ocsp.responder import Answer
from tsp.ocsp.watch import FileWatch, StatusWatch, watch_of
from tsp.schema import METADATA


def path_of(request: bytes) -> str:
    return "/" + quote(base64.b64encode(request), safe="")


def count_questions(database: Database) -> list[str]:
    """Every statement that goes to the database through the platform's own connections, from now on."""
    asked: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *told: asked.append(told[2]))
    return asked


def eventually(look: Callable[[], bool]) -> None:
    """PostgreSQL's news comes a moment after the commit; it must come."""
    clock = SystemClock()
    until = clock.monotonic() + 20
    while not look():
        assert clock.monotonic() < until, "no news of the change"


@pytest.mark.requirement("OCSP-1", "OCSP-2")
def test_a_kept_answer_needs_neither_database_nor_signature(responder: Responder) -> None:
    client, request = responder.client(reuse_seconds=60), responder.query(GOOD)
    eventually(lambda: client.get(path_of(request)).content == client.get(path_of(request)).content)
    asked = count_questions(responder.database)
    first = client.get(path_of(request))
    assert [client.get(path_of(request)).content for _ in range(3)] == [first.content] * 3
    assert [statement for statement in asked if "FROM certificate " in statement] == []
    responder.token.close()
    assert client.get(path_of(request)).content == first.content


@pytest.mark.requirement("OCSP-1", "CA-4")
@pytest.mark.parametrize("nonce", [None, bytes(32)], ids=["kept", "nonce"])
def test_a_revocation_is_told_by_every_process(responder: Responder, clock: SettableClock, nonce: bytes | None) -> None:
    # Two applications on one database are what two processes are.
    clients = [responder.client(reuse_seconds=60) for _ in range(2)]
    request = responder.query(GOOD, nonce=nonce)
    for client in clients:
        assert ask(client, request).certificate_status is OCSPCertStatus.GOOD
        assert ask(client, request).certificate_status is OCSPCertStatus.GOOD
    responder.revoke(GOOD, clock.now(), "superseded")
    for client in clients:
        if responder.database.is_sqlite:
            assert ask(client, request).certificate_status is OCSPCertStatus.REVOKED
        else:
            eventually(lambda asked=client: ask(asked, request).certificate_status is OCSPCertStatus.REVOKED)  # type: ignore[misc]
        assert ask(client, request).certificate_status is OCSPCertStatus.REVOKED


@pytest.mark.requirement("OCSP-1")
def test_without_a_lease_every_status_is_read_anew(responder: Responder, clock: SettableClock) -> None:
    client, request = responder.client(reuse_seconds=60, lease_seconds=0), responder.query(GOOD)
    assert ask(client, request).certificate_status is OCSPCertStatus.GOOD
    responder.revoke(GOOD, clock.now(), "superseded")
    assert ask(client, request).certificate_status is OCSPCertStatus.REVOKED


def test_answers_to_one_question_in_many_spellings_are_one_answer(responder: Responder) -> None:
    client, request = responder.client(reuse_seconds=60), responder.query(GOOD)
    posted = client.post("/", content=request, headers=TYPE)
    got = client.get(path_of(request))
    assert (got.content, got.headers["etag"]) == (posted.content, posted.headers["etag"])


@pytest.mark.requirement("OCSP-2")
def test_who_has_the_answer_is_not_sent_it_again(responder: Responder, clock: SettableClock) -> None:
    client, path = responder.client(reuse_seconds=60), path_of(responder.query(GOOD))
    whole = client.get(path)
    tag, modified = whole.headers["etag"], whole.headers["last-modified"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        reply = client.get(path, headers={"if-none-match": known})
        assert (reply.status_code, reply.content) == (304, b"")
        assert "content-length" not in reply.headers
        assert "content-type" not in reply.headers
        for name in ("etag", "cache-control", "expires", "last-modified"):
            assert reply.headers[name] == whole.headers[name]
    assert client.get(path, headers={"if-modified-since": modified}).status_code == 304
    for headers in (
        {"if-none-match": '"other"'},
        {"if-none-match": ""},
        {"if-none-match": '"other"', "if-modified-since": modified},
        {"if-modified-since": "yesterday"},
    ):
        assert client.get(path, headers=headers).status_code == 200
    # A precondition of a POST is not one about what is kept, and an answer for one caller has no tag.
    posted = client.post("/", content=responder.query(GOOD), headers={**TYPE, "if-none-match": tag})
    assert posted.status_code == 200
    assert client.get(path_of(responder.query(NEVER)), headers={"if-none-match": "*"}).status_code == 200
    clock.advance(seconds=61)
    assert client.get(path, headers={"if-none-match": tag}).status_code == 200


@pytest.mark.requirement("OCSP-2")
def test_the_time_to_keep_an_answer_shrinks_with_its_age(responder: Responder, clock: SettableClock) -> None:
    client, path = responder.client(reuse_seconds=600), path_of(responder.query(GOOD))
    first = client.get(path)
    clock.advance(seconds=300)
    later = client.get(path)
    assert later.content == first.content
    ages = [int(r.headers["cache-control"].split(",")[0].removeprefix("max-age=")) for r in (first, later)]
    assert ages == [1800, 1650]


def test_a_clock_that_is_not_believed_tells_nothing_again(responder: Responder) -> None:
    class Doubtful(SettableClock):
        sound = True

        def now(self):  # type: ignore[no-untyped-def]
            from tsp.core.errors import Unavailable

            if not self.sound:
                raise Unavailable("clock-unsound", "Not now.")
            return super().now()

    guard = Doubtful(responder.clock.now())
    client, request = responder.client(reuse_seconds=60, guard=guard), responder.query(GOOD)
    assert ask(client, request).certificate_status is OCSPCertStatus.GOOD
    guard.sound = False
    assert ask(client, request).response_status is ocsp.OCSPResponseStatus.TRY_LATER


def answer_at(moment: timedelta, clock: SettableClock) -> Publishable:
    begin = clock.now() + moment
    return Publishable(Answer(b"answer"), begin, begin + timedelta(hours=1))


def test_kept_answers_end_with_their_state_their_time_and_their_number(clock: SettableClock) -> None:
    kept = KeptAnswers(timedelta(seconds=60), most=2)
    answer = answer_at(timedelta(0), clock)
    kept.keep(b"a", (1, 1), answer)
    assert kept.find(b"a", (1, 1), clock.now()) is answer
    for state, moment in (((2, 1), 0), ((1, 2), 0), ((1, 1), 60), ((1, 1), -1)):
        kept.keep(b"a", (1, 1), answer)
        assert kept.find(b"a", state, clock.now() + timedelta(seconds=moment)) is None
        assert kept.find(b"a", (1, 1), clock.now()) is None
    for key in (b"a", b"b", b"c", b"d" * (MAX_KEY + 1)):
        kept.keep(key, (1, 1), answer)
    assert [kept.find(key, (1, 1), clock.now()) is not None for key in (b"a", b"b", b"c")] == [False, True, True]


def test_a_reply_is_made_anew_each_second(clock: SettableClock) -> None:
    async def receive() -> dict[str, object]:
        return {}

    request = Request({"type": "http", "method": "GET", "headers": []}, receive)
    answer = answer_at(timedelta(0), clock)

    def reply() -> Reply:
        now = clock.now()
        return answer.reply(request, now, now.replace(microsecond=0))

    first = reply()
    clock.advance(seconds=0.5)
    assert reply() is first
    clock.advance(seconds=0.5)
    assert reply() is not first


class Counting:
    """A database with one certificate, and the watch over it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        now = SystemClock().now()
        facts = {"issuer": "qualified", "profile": "advanced", "not_before": now, "not_after": now, "issued_at": now}
        with database.write() as session:
            session.add(Certificate(serial=serial_text(GOOD), subject_digest="", der=b"", **facts))
        self.watch: StatusWatch = watch_of(database, SystemClock(), lease=0.5)

    def run(self, statement: str) -> None:
        with self.database.write() as session:
            session.execute(text(statement))


@pytest.mark.requirement("OCSP-1")
@pytest.mark.parametrize("migrated", [False, True], ids=["made", "migrated"])
def test_any_change_of_a_certificate_is_counted_whoever_makes_it(
    make_database: DatabaseFactory, bare_database: Database, migrated: bool
) -> None:
    database = bare_database if migrated else make_database()
    if migrated:
        upgrade(database, METADATA)
    counting = Counting(database)
    eventually(lambda: counting.watch.revision() == 0)
    # Of what no answer tells, none is counted: each would end all that is remembered.
    counting.run("UPDATE certificate SET shard = 1")
    for number, statement in enumerate(
        (
            "UPDATE certificate SET reason = 'superseded'",
            "UPDATE certificate SET issuer = 'other'",
            "DELETE FROM certificate",
        ),
        1,
    ):
        counting.run(statement)
        if database.is_sqlite:
            assert counting.watch.revision() == number
        eventually(lambda n=number: counting.watch.revision() == n)  # type: ignore[misc]
    counting.watch.close()


@pytest.mark.requirement("OCSP-1")
def test_a_database_that_does_not_count_confirms_nothing(bare_database: Database) -> None:
    upgrade(bare_database, METADATA)
    for statement in (
        ["DROP TRIGGER certificate_update", "DROP TRIGGER certificate_delete"]
        if bare_database.is_sqlite
        else ["DROP TRIGGER certificate_changed ON certificate"]
    ):
        with bare_database.write() as session:
            session.execute(text(statement))
    counting = Counting(bare_database)
    assert [counting.watch.revision() for _ in range(3)] == [None, None, None]
    counting.watch.close()


def test_a_change_that_is_taken_back_is_none(database: Database) -> None:
    counting = Counting(database)
    with pytest.raises(ZeroDivisionError), database.write() as session:
        session.execute(text("UPDATE certificate SET reason = 'superseded'"))
        raise ZeroDivisionError
    eventually(lambda: counting.watch.revision() == 0)
    counting.watch.close()


def test_a_database_that_cannot_be_asked_confirms_nothing(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'one.db'}")
    database.create_all()
    watch = FileWatch(database)
    assert watch.revision() == 0
    # Another file comes into its place, as when a backup is put back.
    other = Database(f"sqlite:///{tmp_path / 'two.db'}")
    other.create_all()
    with other.write() as session:
        session.execute(text("INSERT INTO certificate_revision VALUES (1, 7)"))
    other.close()
    for end in ("-wal", "-shm"):
        (tmp_path / f"one.db{end}").unlink(missing_ok=True)
    (tmp_path / "two.db").replace(tmp_path / "one.db")
    assert watch.revision() == 7
    (tmp_path / "one.db").unlink()
    assert watch.revision() is None
    (tmp_path / "one.db").write_bytes(b"no database" * 1000)
    assert watch.revision() is None
    watch.close()
    database.close()
    assert isinstance(watch.revision(), int | None)
    watch.close()


def test_a_file_that_is_locked_confirms_nothing(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'one.db'}")
    database.create_all()
    database.close()
    watch = FileWatch(database)
    holder = sqlite3.connect(tmp_path / "one.db", isolation_level=None)
    holder.execute("PRAGMA locking_mode=EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    assert watch.revision() is None
    holder.close()
    assert watch.revision() == 0
    watch.close()
