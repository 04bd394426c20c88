"""The doctor finds what waits, what is full, old or wrong, and says what to do about it."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import text

from tests.audit.audit_kit import Log
from tests.ca.ca_kit import PERSON, SoftKey, authority, issuer
from tests.conftest import TokenFactory
from tests.engine.engine_kit import Provider, Room, certify_issuer
from tests.engine.test_engine_server import served
from tests.faults.faces import Faces
from tests.formats.pdf_samples import classic, objects
from tests.sign.street import QTSA
from tsp.audit.entries import Writer
from tsp.ca.issuance import Issuance
from tsp.ca.lists import count_revocation
from tsp.ca.publication import make_crl
from tsp.core.clock import SettableClock
from tsp.core.clock_guard import ClockGuard
from tsp.core.database import Database
from tsp.core.errors import Unavailable
from tsp.core.migrate import upgrade
from tsp.core.randomness import Randomness
from tsp.core.settings import Settings, load_settings
from tsp.doctor import installation, work
from tsp.doctor.diagnosis import Check, Diagnosis
from tsp.doctor.faces import engine
from tsp.doctor.faces import faces as examine_faces
from tsp.engine.installation import socket_path
from tsp.engine.onetime import Step
from tsp.notify.tables import Message, MessageState
from tsp.runtime import Runtime
from tsp.schema import METADATA

pytestmark = pytest.mark.requirement("OPS-1")
ROOT = Path(__file__).resolve().parents[2]


def settings_of(directory: Path, database: Database, more: str = "") -> Settings:
    """The demo's settings for this directory and database."""
    conf = directory / "doctor" / "conf" / "tsp.toml"
    conf.parent.mkdir(parents=True, exist_ok=True)
    place = f"[database]\nurl = {json.dumps(database.url)}\n"
    conf.write_text(f"{(ROOT / 'conf' / 'tsp.toml').read_text()}\n{place}{more}")
    settings = load_settings(conf)
    settings.var.mkdir(parents=True, exist_ok=True)
    return settings


@pytest.fixture
def runtime(tmp_path: Path, database: Database, clock: SettableClock) -> Runtime:
    return Runtime(settings_of(tmp_path, database), clock)


def one(check: Check, runtime: Runtime, subject: str) -> Diagnosis:
    """What a check says of one thing; a thing that is not well comes with advice."""
    (found,) = [d for d in check(runtime) if d.subject == subject]
    assert found.well or found.advice.endswith(".")
    return found


def test_an_outbox_that_grows_old_and_letters_that_died(runtime: Runtime, database: Database) -> None:
    def put(name: str, **values: Any) -> None:
        now = runtime.clock.now()
        row = {"channel": "sms", "purpose": "code", "sealed": b"x", "created": now, "due": now, "attempts": 0}
        with database.write() as session:
            session.add(Message(id=name.ljust(22, "-"), **{**row, "state": MessageState.WAITING, **values}))

    assert one(work.outbox, runtime, "outbox").seen == "nothing waits"
    put("a", cause="peer-unavailable")
    assert one(work.outbox, runtime, "outbox").well
    _advance(runtime, minutes=20)
    put("b", channel="mail")
    old = one(work.outbox, runtime, "outbox")
    assert (old.well, old.seen) == (False, "the oldest message waits for 20 min (sms, peer-unavailable)")
    assert one(work.outbox, runtime, "dead letters").well
    for name in "cd":
        put(name, state=MessageState.FAILED, ended=runtime.clock.now(), cause="smtp-recipient-550")
    dead = one(work.outbox, runtime, "dead letters")
    assert (dead.well, dead.seen) == (False, "2 x smtp-recipient-550")
    _advance(runtime, minutes=1500)
    assert one(work.outbox, runtime, "dead letters").well


def test_a_log_that_nobody_orders(
    runtime: Runtime, database: Database, clock: SettableClock, randomness: Randomness
) -> None:
    log = Log(database, clock, randomness)
    log.fill(3)
    assert one(work.log, runtime, "checkpoint").seen == "covers every entry"
    log.write(1)
    assert one(work.log, runtime, "checkpoint").well
    clock.advance(minutes=5)
    late = one(work.log, runtime, "checkpoint")
    assert (late.well, late.seen) == (False, "the oldest entry without one is 5 min old")
    log.sequencer.step()
    assert one(work.log, runtime, "checkpoint").well


def test_an_entry_that_has_its_place_but_no_signature_over_it(
    runtime: Runtime, database: Database, clock: SettableClock, randomness: Randomness, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(database, clock, randomness)
    log.write(1)
    monkeypatch.setattr(log.sequencer, "_sign_newest", lambda: None)
    log.sequencer.step()
    clock.advance(minutes=5)
    assert not one(work.log, runtime, "checkpoint").well


def test_a_clock_set_back_behind_the_log(
    runtime: Runtime, database: Database, clock: SettableClock, randomness: Randomness
) -> None:
    Log(database, clock, randomness).write(1)
    assert one(work.clock, runtime, "clock").well
    clock.jump(-3600)
    behind = one(work.clock, runtime, "clock")
    assert (behind.well, behind.seen) == (False, "3,600 s before the log's newest entry")
    assert "time sources" in behind.advice


@pytest.mark.requirement("SIG-7")
def test_documents_that_wait(tmp_path: Path, faces: Faces) -> None:
    runtime = Runtime(settings_of(tmp_path, faces.street.database), faces.street.clock)
    path, other = (faces.ana.bring(classic(objects(pages=1))) for _ in "ab")
    faces.street.door.down.add(QTSA)
    faces.ana.approve(path)
    faces.street.engine.failure = Unavailable("engine-unavailable", "Signing is briefly unavailable.")
    faces.ana.approve(other)
    assert one(work.sessions, runtime, "signing sessions").well
    _advance(runtime, minutes=16)
    waiting = one(work.sessions, runtime, "signing sessions")
    assert waiting.seen == "1 wait: engine-unavailable, 1 wait: peer-unavailable"
    assert not waiting.well
    faces.street.door.down.clear()
    assert faces.street.site.finishing.resume() == 1
    assert one(work.sessions, runtime, "signing sessions").seen == "1 wait: engine-unavailable"


@pytest.mark.requirement("SIG-1")
def test_an_approval_that_a_dead_engine_had_in_use(runtime: Runtime, room: Room, provider: Provider) -> None:
    class Killed(BaseException):
        """Stands for the end of a process."""

    def die(_step: Step) -> None:
        raise Killed

    with room.engine(on_step=die) as dead, pytest.MonkeyPatch.context() as patch:
        patch.setattr(dead, "_give_back", lambda *_: None)
        with pytest.raises(Killed):
            dead.sign(provider.request("contract"))
    assert one(work.approvals, runtime, "approvals in use").well  # its lease still runs
    _advance(runtime, minutes=16)
    left = one(work.approvals, runtime, "approvals in use")
    assert (left.well, left.seen) == (False, "1 that no engine works on")
    with room.engine() as alive:
        assert alive.sweep() == 1
    assert one(work.approvals, runtime, "approvals in use").well


def test_a_certificate_whose_process_died_while_it_signed(
    runtime: Runtime, database: Database, clock: SettableClock
) -> None:
    class Dying(SoftKey):
        def sign_digest(self, digest: bytes) -> bytes:
            raise KeyboardInterrupt

    whole = authority({"nonqualified": issuer("nonqualified", Dying())}, clock=clock)
    writer = Writer("certification", runtime.randomness, clock)
    desk = Issuance(whole, database, clock, runtime.randomness, writer)
    intent = desk.prepare("authentication", PERSON, SoftKey().public_spki)
    with pytest.raises(KeyboardInterrupt):
        desk.issue(intent.id)
    making, subject = work.certificates_in_the_making, "certificates in the making"
    assert one(making, runtime, subject).well  # it may still be at it
    _advance(runtime, minutes=20)
    left = one(making, runtime, subject)
    assert (left.well, left.seen) == (False, f"1 that a process left: {intent.id}")
    desk.withdraw(intent.id)
    assert one(making, runtime, subject).well


@pytest.fixture
def provider(clock: SettableClock) -> Provider:
    return Provider(clock)


@pytest.fixture
def room(
    tmp_path: Path, database: Database, clock: SettableClock, token_factory: TokenFactory, provider: Provider
) -> Room:
    token = token_factory("ca")
    return Room(tmp_path, database, token, certify_issuer(token, clock), clock, provider.key)


def test_an_engine_that_is_not_there_is_suspended_or_mistrusts_its_clock(
    runtime: Runtime, room: Room, clock: SettableClock
) -> None:
    path = socket_path(runtime.settings)
    gone = one(engine, runtime, "engine")
    assert (gone.seen, gone.advice) == (
        "engine-unavailable",
        "Start it: `tsp serve --role engine`, each further one with its `--number`.",
    )
    guard = ClockGuard(clock, timedelta(seconds=10))
    with room.engine(clock=guard) as made, served(made, path):
        assert one(engine, runtime, "engine").seen == "ready, private keys alive: 0"
        clock.jump(3600)
        assert one(engine, runtime, "engine").seen == "clock-unsound"
        clock.jump(-3600)
        made._suspended = True  # as after a destruction that was not proven
        suspended = one(engine, runtime, "engine")
        assert (suspended.well, suspended.seen) == (False, "suspended: the end of a one-time key was not proven")


def test_a_face_that_says_what_is_wrong_with_it(tmp_path: Path, database: Database, clock: SettableClock) -> None:
    said: dict[str, Any] = {"status": 503, "body": b'{"role": "tsa", "troubles": ["token-gone", "clock-unsound"]}'}
    with _speaking(said) as port:
        settings = settings_of(tmp_path, database)
        text = (settings.root / "conf" / "tsp.toml").read_text().replace("localhost:8403", f"localhost:{port}")
        (settings.root / "conf" / "tsp.toml").write_text(text)
        runtime = Runtime(load_settings(settings.root / "conf" / "tsp.toml"), clock)

        def tsa() -> Diagnosis:
            return one(lambda r: (d for d in examine_faces(r)), runtime, "face tsa")

        troubled = tsa()
        assert (troubled.well, troubled.seen) == (
            False,
            f"http://localhost:{port} answers 503 token-gone clock-unsound",
        )
        assert "Bring the token back" in troubled.advice and "time sources" in troubled.advice
        said |= {"status": 502, "body": b"<html>a proxy's own words</html>"}
        assert tsa().advice == "Look at the role's log."
        said |= {"status": 200, "body": b"{}"}
        assert tsa().well


@contextmanager
def _speaking(said: dict[str, Any]) -> Iterator[int]:
    """A server that answers everything as told; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(said["status"])
            self.end_headers()
            self.wfile.write(said["body"])

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  (the standard library's name)
            pass

    with ExitStack() as stack:
        server = stack.enter_context(HTTPServer(("127.0.0.1", 0), Handler))
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        stack.callback(thread.join)
        stack.callback(server.shutdown)
        yield int(server.server_address[1])


@pytest.mark.parametrize(
    ("more", "well"), [("free_bytes = 0\nfree_percent = 0", True), ("free_bytes = 10" + "0" * 17, False)]
)
def test_a_disk_that_is_nearly_full(
    tmp_path: Path, database: Database, clock: SettableClock, more: str, well: bool
) -> None:
    runtime = Runtime(settings_of(tmp_path, database, f"[doctor]\n{more}\n"), clock)
    found = one(installation.disk, runtime, "disk")
    assert found.well is well
    assert "MB free of" in found.seen
    assert "uploads and signatures are refused" in found.advice


def test_a_schema_of_another_release(tmp_path: Path, bare_database: Database, clock: SettableClock) -> None:
    from tsp import schema
    from tsp.core.migrate import upgrade

    upgrade(bare_database, schema.METADATA)
    runtime = Runtime(settings_of(tmp_path, bare_database), clock)
    assert one(installation.database, runtime, "schema").well
    with bare_database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    old = one(installation.database, runtime, "schema")
    assert not old.well
    assert old.seen.startswith("0000 of ")
    assert "tsp migrate" in old.advice


def _advance(runtime: Runtime, *, minutes: float) -> None:
    assert isinstance(runtime.clock, SettableClock)
    runtime.clock.advance(minutes=minutes)


def test_a_revoked_authority_that_is_not_on_the_roots_list_is_seen(
    bare_database: Database, tmp_path: Path, clock: SettableClock
) -> None:
    upgrade(bare_database, METADATA)
    runtime = Runtime(settings_of(tmp_path, bare_database), clock)
    assert one(installation.database, runtime, "root CRL, complete").well
    with bare_database.write() as session:
        count_revocation(session, "root", 0)
    assert not one(installation.database, runtime, "root CRL, complete").well


def test_every_part_of_a_list_is_looked_at(runtime: Runtime, tmp_path: Path, clock: SettableClock) -> None:
    directory = runtime.settings.var / "ca"
    directory.mkdir(parents=True)
    key = issuer("qualified")
    for name, hours in (("qualified-part-1", 48), ("qualified-part-12", 12), ("qualified-part-1-delta", 1)):
        crl = make_crl(key, number=1, now=clock.now(), validity=timedelta(hours=hours))
        (directory / f"{name}.crl").write_bytes(crl)
    (directory / "nonqualified.crl").write_bytes(b"half")
    found = {d.subject: d.well for d in installation.certificates(runtime)}
    lists = {name: well for name, well in found.items() if name.startswith(("qualified", "nonqualified"))}
    assert lists == {"qualified-part-1 CRL": True, "qualified-part-12 CRL": False, "nonqualified CRL": False}
