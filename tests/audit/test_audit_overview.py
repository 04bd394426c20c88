"""The log's page: witnesses, time-stamp, and keys alive as the token told, never made up."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.audit.audit_kit import Log
from tests.audit.outside_kit import SoftAuthority, WitnessHouse
from tsp.audit.http import Watch, log_app
from tsp.audit.overview import note_keys_alive
from tsp.audit.tables import KeyCount
from tsp.audit.time_stamps import CheckpointStamper
from tsp.audit.verify_evidence import Wrong, check_time_stamp
from tsp.audit.witnesses import WitnessLine
from tsp.web import Pages


@pytest.fixture
def house(log: Log, tmp_path: Path) -> WitnessHouse:
    log.witnessed()
    return WitnessHouse(tmp_path / "house", log.clock, log.key)


@pytest.fixture
def client(log: Log, house: WitnessHouse) -> Iterator[TestClient]:
    pages = Pages(
        name="Enkrat", face="log", origin="http://testserver", support="a@enkrat.test", randomness=log.randomness
    )
    with TestClient(log_app(pages, log.database, log.key, watch=Watch((house.key,), 1), clock=log.clock)) as made:
        yield made


@pytest.fixture
def published(log: Log, house: WitnessHouse) -> None:
    log.fill(3)
    line = WitnessLine(
        house.witness,
        all_names=[house.key.name],
        needed=1,
        database=log.database,
        outbound=house.outbound,
        writer=log.writer("log"),
        clock=log.clock,
    )
    assert line.step()


def count(log: Log, worker: str, keys: int) -> None:
    with log.database.write() as session:
        note_keys_alive(session, worker, "enkrat-ca", keys, log.clock.now())


@pytest.mark.requirement("EVD-2", "EVD-5")
@pytest.mark.usefixtures("published")
def test_the_page_names_witness_time_stamp_and_size_in_both_languages(
    log: Log, house: WitnessHouse, client: TestClient, tmp_path: Path
) -> None:
    before = client.get("/").text
    assert "3 vpisi" in before
    assert house.key.encode() in before
    assert "še ne" in before
    authority = SoftAuthority(log.clock)
    stamper = CheckpointStamper(log.database, authority.port(tmp_path), log.clock)
    assert stamper.step() == 3
    page = client.get("/", params={"lang": "en"}).text
    for words in ("3 entries", house.key.name, "in order", "over 3 entries", "Private keys alive"):
        assert words in page
    for seconds, sl, en in ((5, "pred 5 sekundami", "5 seconds ago"), (595, "pred 10 minutami", "10 minutes ago")):
        log.clock.advance(seconds=seconds)
        assert sl in client.get("/", params={"lang": "sl"}).text
        assert en in client.get("/", params={"lang": "en"}).text
    told = client.get("/status").json()
    assert (told["size"], told["cosigned_by"], told["time_stamp"]["size"]) == (3, 1, 3)
    assert told["witnesses"][0]["cosigned_at"] == "2026-11-23T10:00:00.000000Z"
    token = client.get("/checkpoint/3.tst").content
    text = client.get("/checkpoint/3").text.partition("\n\n")[0] + "\n"
    assert check_time_stamp(token, text.encode(), [authority.certificate])[0] == datetime(
        2026, 11, 23, 10, 0, tzinfo=UTC
    )
    with pytest.raises(Wrong, match="not about this checkpoint"):
        check_time_stamp(token, b"another", [authority.certificate])
    assert client.get("/checkpoint/2.tst").json()["error"] == "checkpoint-not-stamped"


@pytest.mark.requirement("EVD-5")
@pytest.mark.usefixtures("published")
def test_keys_alive_are_told_while_somebody_has_looked_and_unknown_after(log: Log, client: TestClient) -> None:
    assert client.get("/status").json()["keys_alive"] is None
    assert "še ni bil vprašan" in client.get("/").text
    count(log, "one", 0)
    assert "0 živih zasebnih ključev" in client.get("/").text
    log.clock.advance(seconds=30)
    count(log, "two", 1)
    told = client.get("/status").json()
    assert (told["keys_alive"], told["keys_read_at"]) == (1, "2026-11-23T10:00:00.000000Z")
    count(log, "two", 0)
    assert client.get("/status").json()["keys_alive"] == 0
    log.clock.advance(seconds=61)
    told = client.get("/status").json()
    assert (told["keys_alive"], told["keys_read_at"]) == (None, "2026-11-23T10:00:30.000000Z")
    page = client.get("/", params={"lang": "en"}).text
    assert "Unknown: the signing module was last asked at" in page
    assert "private keys of signatories alive" not in page


def test_counts_of_workers_that_are_long_gone_are_dropped(log: Log) -> None:
    count(log, "old", 0)
    log.clock.advance(seconds=86_401)
    count(log, "new", 0)
    with log.database.read() as session:
        assert session.get(KeyCount, "old") is None
        assert session.get(KeyCount, "new") is not None


@pytest.mark.requirement("EVD-2")
def test_a_log_without_witnesses_says_so(log: Log) -> None:
    pages = Pages(
        name="Enkrat", face="log", origin="http://testserver", support="a@enkrat.test", randomness=log.randomness
    )
    log.fill(1)
    with TestClient(log_app(pages, log.database, log.key)) as client:
        assert "ne spremlja nobena priča" in client.get("/").text
        assert client.get("/status").json()["witnesses"] == []
        assert client.get("/witnesses").text == ""
