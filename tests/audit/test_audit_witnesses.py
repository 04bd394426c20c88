"""The log before its witnesses: published when co-signed, pending while they are away, an alarm when they object."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import delete, select, update
from starlette.testclient import TestClient

from sandbox import note
from tests.audit.audit_kit import Log
from tests.audit.outside_kit import WitnessHouse, down
from tsp.audit.checkpoint import Checkpoint, VerifierKey, open_checkpoint, read_note, sign_checkpoint
from tsp.audit.cosignature import CosignerKey, cosignature_of, cosignatures_of, read_answer
from tsp.audit.http import Watch, log_app
from tsp.audit.installation import time_stamp_source, witnesses
from tsp.audit.stepping import pause
from tsp.audit.tables import Cosignature, Entry, Publication, Tile, TreeHead, WitnessState, latest_published
from tsp.audit.tree import leaf_hash
from tsp.audit.verify import verify_database
from tsp.audit.witnesses import Witness, WitnessLimits, WitnessLine
from tsp.core.errors import Conflict, Invalid, NotFound, TspError, Unavailable
from tsp.core.settings import Witness as WitnessSection
from tsp.core.settings import load_settings
from tsp.web import Pages


@pytest.fixture
def house(log: Log, tmp_path: Path) -> WitnessHouse:
    log.witnessed()
    return WitnessHouse(tmp_path / "house", log.clock, log.key)


def line_to(log: Log, house: WitnessHouse, *, names: tuple[str, ...] = (), needed: int = 1) -> WitnessLine:
    return WitnessLine(
        house.witness,
        all_names=names or (house.key.name,),
        needed=needed,
        database=log.database,
        outbound=house.outbound,
        writer=log.writer("log"),
        clock=log.clock,
    )


@pytest.fixture
def line(log: Log, house: WitnessHouse) -> WitnessLine:
    return line_to(log, house)


def published(log: Log) -> int | None:
    with log.database.read() as session:
        head = latest_published(session)
        return head.size if head else None


def state(log: Log, house: WitnessHouse) -> WitnessState:
    with log.database.read() as session:
        return session.get_one(WitnessState, house.key.name)


@pytest.fixture
def client(log: Log, house: WitnessHouse) -> Iterator[TestClient]:
    pages = Pages(
        name="Enkrat", face="log", origin="http://testserver", support="a@enkrat.test", randomness=log.randomness
    )
    watch = Watch((house.key,), 1)
    with TestClient(log_app(pages, log.database, log.key, watch=watch, clock=log.clock)) as made:
        yield made


@pytest.mark.requirement("EVD-2", "EVD-5")
def test_nothing_is_published_before_a_witness_has_cosigned(
    log: Log, house: WitnessHouse, line: WitnessLine, client: TestClient
) -> None:
    (first, *_) = log.fill(3)
    assert client.get("/checkpoint").status_code == 503
    assert line.step()
    text = client.get("/checkpoint").text
    assert open_checkpoint(text, log.key).size == 3
    [seen] = cosignatures_of(read_note(text), [house.key])
    assert seen.at == log.clock.now()
    log.fill(4)
    assert client.get("/checkpoint").text == text
    assert client.get("/proof/inclusion", params={"leaf": first.hex()}).json()["checkpoint"] == text
    assert line.step()
    assert open_checkpoint(client.get("/checkpoint").text, log.key).size == 7
    assert not line.step()
    assert client.get("/checkpoint/3").text == text
    assert client.get("/checkpoint/4").json()["error"] == "checkpoint-unknown"
    assert client.get("/witnesses").text == house.key.encode() + "\n"


@pytest.mark.requirement("EVD-5")
def test_a_witness_that_is_down_delays_publication_and_nothing_else(
    log: Log, house: WitnessHouse, line: WitnessLine, client: TestClient
) -> None:
    log.fill(3)
    line.step()
    house.answer = down
    (waiting, *_) = log.fill(2)
    for _ in range(2):
        with pytest.raises(Unavailable, match="witness-down"):
            line.step()
    assert state(log, house).problem == "witness-down"
    assert client.get("/proof/inclusion", params={"leaf": waiting.hex()}).json()["error"] == "leaf-pending"
    page = client.get("/", params={"lang": "en"}).text
    assert "does not answer as it should; new entries wait" in page
    told = client.get("/status").json()
    assert (told["size"], told["waiting"], told["alarm"]) == (3, 2, False)
    house.answer = house.honest
    assert line.step()
    assert (published(log), state(log, house).problem) == (5, None)


@pytest.mark.requirement("EVD-5")
def test_a_cosignature_that_got_lost_is_given_again(log: Log, house: WitnessHouse, line: WitnessLine) -> None:
    """The witness has written it down and died, or the log was killed before it could keep it."""

    def lost(body: bytes) -> tuple[int, bytes]:
        assert house.honest(body)[0] == 200
        return down(body)

    log.fill(3)
    house.answer = lost
    with pytest.raises(Unavailable, match="witness-down"):
        line.step()
    log.fill(2)
    house.answer = house.honest
    assert line.step()
    assert (published(log), alarms(log)) == (5, [])


def alarms(log: Log) -> list[str]:
    with log.database.read() as session:
        return list(session.scalars(select(Entry.content).where(Entry.kind == "witness-alarm")))


@pytest.mark.requirement("EVD-2", "EVD-5", "SIG-6")
def test_a_rewritten_log_is_refused_and_everybody_is_told(
    log: Log, house: WitnessHouse, line: WitnessLine, client: TestClient
) -> None:
    log.fill(3)
    line.step()
    # With the log's own key and full access to its database: the first entry is another, everything recomputed.
    with log.database.write() as session:
        for table in (Cosignature, Publication, TreeHead, Tile):
            session.execute(delete(table))
        session.execute(update(Entry).values(position=None))
        first = session.scalars(select(Entry).order_by(Entry.id).limit(1)).one()
        first.leaf = first.leaf.replace(b'"counter":1', b'"counter":9')
        first.leaf_hash = leaf_hash(first.leaf)
    log.write(2)
    log.sequencer.step()
    with pytest.raises(Conflict, match="log-rewritten"):
        line.step()
    with pytest.raises(Conflict, match="log-rewritten"):
        line.step()
    assert published(log) is None
    assert state(log, house).problem == "log-rewritten"
    assert len(alarms(log)) == 1
    assert "trdi, da to ni dnevnik, ki ga je sopodpisala" in client.get("/").text
    house.answer = down
    with pytest.raises(Unavailable, match="witness-down"):
        line.step()
    assert state(log, house).problem == "log-rewritten"


@pytest.mark.requirement("EVD-2", "EVD-5")
def test_a_shrunken_log_is_refused_and_the_page_says_so(
    log: Log, house: WitnessHouse, line: WitnessLine, client: TestClient
) -> None:
    log.fill(3)
    line.step()
    log.fill(4)
    line.step()
    # An old copy of the database comes back: heads beyond 3 and what was said of them are gone.
    with log.database.write() as session:
        session.execute(delete(Cosignature))
        session.execute(delete(Publication).where(Publication.size > 3))
        session.execute(delete(TreeHead).where(TreeHead.size > 3))
        session.execute(update(WitnessState).values(size=0))
    with pytest.raises(Conflict, match="log-shrunken"):
        line.step()
    page = client.get("/", params={"lang": "en"}).text
    assert "A witness says that this log is not the one that it has co-signed" in page
    assert client.get("/status").json()["alarm"] is True
    assert len(alarms(log)) == 1


@pytest.mark.requirement("SIG-6", "EVD-5")
def test_a_cosignature_that_was_changed_in_the_database_is_caught(
    log: Log, house: WitnessHouse, line: WitnessLine
) -> None:
    for count in (3, 4):
        log.fill(count)
        assert line.step()
    sound = verify_database(log.database, log.key, witnesses=[house.key])
    assert (sound.sound, sound.cosignatures) == (True, 2)
    with log.database.write() as session:
        lines = {row.size: row.line for row in session.scalars(select(Cosignature))}
        session.execute(update(Cosignature).where(Cosignature.size == 7).values(line=lines[3]))
    [finding] = verify_database(log.database, log.key, witnesses=[house.key]).findings
    assert (finding.code, finding.facts) == ("cosignature", {"size": 7, "witness": house.key.name})
    with log.database.write() as session:
        session.execute(update(Cosignature).where(Cosignature.size == 7).values(line="— nobody"))
    assert not verify_database(log.database, log.key, witnesses=[house.key]).sound
    # What is said by a key that nobody knows is neither counted nor held against the log.
    assert verify_database(log.database, log.key).sound


@pytest.mark.requirement("EVD-2", "EVD-5")
def test_an_older_log_is_found_out_when_its_line_begins(log: Log, house: WitnessHouse, line: WitnessLine) -> None:
    log.fill(3)
    assert line.step()
    log.fill(4)
    assert line.step()
    # The database comes back as it was with three entries, all of them published: nothing waits for a witness.
    with log.database.write() as session:
        session.execute(delete(Cosignature).where(Cosignature.size > 3))
        session.execute(delete(Publication).where(Publication.size > 3))
        session.execute(delete(TreeHead).where(TreeHead.size > 3))
        session.execute(update(WitnessState).values(size=3))
    with pytest.raises(Conflict, match="log-shrunken"):
        line_to(log, house).step()
    assert len(alarms(log)) == 1


@pytest.mark.requirement("EVD-5")
@pytest.mark.parametrize(
    ("lie", "code"),
    [
        (b"", "witness-answer"),
        ("— witness.example/TEST AAAA\n".encode(), "witness-answer"),
        (b"\xff\xfe", "witness-answer"),
    ],
)
def test_a_lying_witness_publishes_nothing(
    log: Log, house: WitnessHouse, line: WitnessLine, lie: bytes, code: str
) -> None:
    log.fill(2)
    house.answer = lambda _body: (200, lie)
    with pytest.raises(Invalid, match=code):
        line.step()
    assert (published(log), state(log, house).problem) == (None, code)


@pytest.mark.requirement("EVD-5")
def test_forged_and_replayed_cosignatures_are_refused(
    log: Log, house: WitnessHouse, line: WitnessLine, tmp_path: Path
) -> None:
    log.fill(2)
    _, earlier = house.honest(b"old 0\n\n" + note_of(log).encode())
    log.fill(2)
    stranger = WitnessHouse(tmp_path / "stranger", log.clock, log.key, house.key.name)
    _, strange = stranger.honest(b"old 0\n\n" + note_of(log).encode())
    for lie in (earlier, strange):
        house.answer = lambda _body, lie=lie: (200, lie)
        with pytest.raises(Invalid, match="witness-answer"):
            line.step()
    house.answer = lambda _body: (409, b"1000000\n")
    with pytest.raises(Conflict, match="log-shrunken"):
        line.step()
    house.answer = lambda _body: (409, b"1\n")
    with pytest.raises(Invalid, match="witness-answer"):
        line.step()
    assert published(log) is None


def note_of(log: Log) -> str:
    with log.database.read() as session:
        text = session.scalars(select(TreeHead.note).order_by(TreeHead.size.desc()).limit(1)).one()
        assert text is not None
        return text


@pytest.mark.requirement("EVD-5")
def test_two_witnesses_meet_at_one_checkpoint_while_the_log_grows(log: Log, tmp_path: Path) -> None:
    log.witnessed(2)
    houses = [WitnessHouse(tmp_path / name, log.clock, log.key, name) for name in ("a.example", "b.example")]
    names = ("a.example", "b.example")
    one, two = (line_to(log, house, names=names, needed=2) for house in houses)
    log.fill(2)
    assert one.step()
    log.fill(2)
    assert published(log) is None
    assert two.step()
    assert published(log) == 2
    assert two.step()
    log.fill(1)
    assert one.step()
    assert published(log) == 4


@pytest.mark.requirement("EVD-5")
def test_with_fewer_witnesses_asked_for_the_log_goes_on(log: Log, tmp_path: Path) -> None:
    log.witnessed(2)
    house = WitnessHouse(tmp_path / "a", log.clock, log.key, "a.example")
    log.fill(2)
    assert line_to(log, house, names=("a.example", "b.example"), needed=2).step()
    assert published(log) is None
    log.fill(1)
    assert line_to(log, house).step()
    assert published(log) == 3


@pytest.mark.requirement("EVD-5")
def test_five_processes_bring_the_same_checkpoint_and_it_is_published_once(log: Log, house: WitnessHouse) -> None:
    log.fill(5)
    lines = [line_to(log, house) for _ in range(5)]
    start = threading.Barrier(5)

    def bring(one: WitnessLine) -> str:
        start.wait()
        try:
            one.step()
        except TspError as error:
            return error.code
        return "fine"

    with ThreadPoolExecutor(5) as pool:
        assert set(pool.map(bring, lines)) == {"fine"}
    assert (published(log), state(log, house).size, state(log, house).problem) == (5, 5, None)


def test_tries_are_bounded_and_pauses_grow() -> None:
    limits = WitnessLimits(interval=0.25, longest_pause=60)
    pauses = [pause(limits.interval, limits.longest_pause, failures) for failures in range(12)]
    assert pauses[:4] == [0.25, 0.5, 1.0, 2.0]
    assert pauses[-1] == pause(limits.interval, limits.longest_pause, 10_000) == 60


def test_a_running_line_publishes_and_ends_when_it_is_told(log: Log, house: WitnessHouse, line: WitnessLine) -> None:
    log.fill(2)
    stop, seen = threading.Event(), threading.Event()

    def answer(body: bytes) -> tuple[int, bytes]:
        seen.set()
        return house.honest(body)

    house.answer = answer
    thread = threading.Thread(target=line.run, args=(stop,))
    thread.start()
    assert seen.wait(20)
    stop.set()
    thread.join(20)
    assert not thread.is_alive()
    assert published(log) == 2


def test_keys_of_logs_and_of_witnesses_are_not_mixed_up(log: Log, house: WitnessHouse) -> None:
    assert CosignerKey.parse(house.key.encode()) == house.key
    for parse, word in ((VerifierKey.parse, house.key.encode()), (CosignerKey.parse, log.key.encode())):
        with pytest.raises(Invalid, match="log-key"):
            parse(word)
    # The log's own signature is none of a witness of the same name and key.
    text = sign_checkpoint(Checkpoint(log.key.name, 1, bytes(32)), log.key, log.signer.sign)
    assert cosignature_of(read_note(text), CosignerKey(log.key.name, log.key.public)) is None
    with pytest.raises(Invalid, match="cosignature-wrong"):
        read_answer("", text, house.key)


@pytest.mark.requirement("EVD-5")
def test_the_installation_knows_witnesses_and_authority(log: Log, house: WitnessHouse, tmp_path: Path) -> None:
    found = load_settings().model_copy(update={"var": tmp_path})
    with pytest.raises(NotFound, match="witness-key"):
        witnesses(found)
    with pytest.raises(NotFound, match="time-stamp-trust"):
        time_stamp_source(found)
    for directory, name, text in (("public", "sandbox-witness.vkey", house.key.encode()), ("ca", "root.pem", "x")):
        (tmp_path / directory).mkdir()
        (tmp_path / directory / name).write_text(text)
    assert witnesses(found) == [Witness("http://localhost:8415", house.key)]
    assert time_stamp_source(found) == ("http://localhost:8403", tmp_path / "ca" / "root.pem")
    twice = found.log.model_copy(update={"witnesses": found.log.witnesses * 2})
    with pytest.raises(Invalid, match="witness-twice"):
        witnesses(found.model_copy(update={"log": twice}))
    word = found.log.model_copy(
        update={"witnesses": [WitnessSection(url="https://w.example/x/", key=house.key.encode())]}
    )
    assert witnesses(found.model_copy(update={"log": word})) == [Witness("https://w.example/x", house.key)]


#: Written by Go's golang.org/x/mod/sumdb/note v0.43.0 and github.com/transparency-dev/formats/note v0.1.1, with
#: the Ed25519 seeds SHA-256("log") and SHA-256("witness").
FROM_GO = """log.example/TEST
3
AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=

— log.example/TEST gMYQGxetWuFQbysdJAz5SJUior9E4Xobx92TZFr4w4VR4OldUW6tq0obxad3d5sVtZhpukQR1NXthJf15aDgkP3lKQo=
— witness.example/TEST z6fC/AAAAABrB10hz5So+4oYijo1udRfXV7sOIeO6MzAT/dv48/rtuk9ISPN7fDs\
Xkg/Gi5jNaiud2KM14un10G/aTCrGmntGm31AQ==
"""
GO_LOG = "log.example/TEST+80c6101b+AZsfhHkc/HZjBFhU04netcqVRJ2HXydqg4QLBgqznPxx"
GO_WITNESS = "witness.example/TEST+cfa7c2fc+BGG3op9v3HIXXDPBmFc/0CioJHhGCXc+pyvvFPlBZdYO"


@pytest.mark.requirement("EVD-2", "EVD-5")
def test_notes_of_others_are_read_and_ours_are_the_same(log: Log) -> None:
    key = VerifierKey.parse(GO_LOG)
    checkpoint = open_checkpoint(FROM_GO, key)
    assert checkpoint == Checkpoint("log.example/TEST", 3, bytes(range(1, 33)))
    [seen] = cosignatures_of(read_note(FROM_GO), [CosignerKey.parse(GO_WITNESS)])
    assert seen.at == datetime(2026, 11, 25, 22, 11, 45, tzinfo=UTC)
    # Ed25519 signs without chance, so the same keys must give the same octets.
    assert key == log.key
    ours = sign_checkpoint(checkpoint, log.key, log.signer.sign)
    signer = Ed25519PrivateKey.from_private_bytes(sha256(b"witness").digest())
    ours += note.cosign(note.read_note(ours), "witness.example/TEST", signer, int(seen.at.timestamp()))
    assert ours == FROM_GO
