"""The keys of a time-stamping unit follow each other: made ahead, taken up without a restart, refused at their end."""

import dataclasses
import hashlib
import threading
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta

import pytest
from asn1crypto import cms, x509
from cryptography import x509 as cryptography_x509
from starlette.testclient import TestClient

from tests.ca.ca_kit import etsi_findings
from tests.ca.conftest import plan, room
from tests.tsa.conftest import POLICY, TimeStampResp, query
from tsp.audit.entries import Writer
from tsp.ca.authority import Authority, IssuingKey
from tsp.ca.ceremony import CeremonyRoom, run_ceremony
from tsp.ca.issuance import Issuance
from tsp.ca.plan import CeremonyPlan
from tsp.ca.store import CaStore
from tsp.ca.tables import Certificate, serial_text, status
from tsp.ca.units import AHEAD, UnitRenewal, present, units
from tsp.ca.upkeep import verify_ceremony
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.errors import Invalid, Unavailable
from tsp.tsa.authority import Signer
from tsp.tsa.http import tsa_app
from tsp.tsa.roll_over import RollOver

__all__ = ["plan", "room"]
DATA = b"document"
YEAR = timedelta(days=365)


@pytest.fixture
def renewal(plan: CeremonyPlan, room: CeremonyRoom, clock: SettableClock, database: Database) -> UnitRenewal:
    run_ceremony(plan, room)
    return UnitRenewal(
        room.directory,
        plan,
        issuance(room, renewal_keys(room), clock, database),
        clock,
        lambda name: nullcontext(room.tokens[name]),
    )


def renewal_keys(room: CeremonyRoom) -> dict[str, IssuingKey]:
    role = "infrastructure"
    key = room.tokens["ca"].signing_key(f"{role}-ca")
    return {role: IssuingKey.of(role, CaStore(room.directory).infrastructure, key)}


def issuance(room: CeremonyRoom, issuers: dict[str, IssuingKey], clock: SettableClock, database: Database) -> Issuance:
    authority = Authority(room.profiles, issuers, room.urls, clock, room.randomness)
    return Issuance(authority, database, clock, room.randomness, Writer("ceremony", room.randomness, clock))


def stamp(client: TestClient) -> tuple[str, cms.ContentInfo]:
    """The status of a reply, and its token."""
    asked = query(hashlib.sha256(DATA).digest(), cert_req=True)
    told = client.post("/", content=asked, headers={"content-type": "application/timestamp-query"}).content
    response = TimeStampResp.load(told, strict=True)
    return response["status"]["status"].native, response["time_stamp_token"]


def signer_of(token: cms.ContentInfo) -> str:
    """The common name of whoever signed a token."""
    (info,) = token["content"]["signer_infos"]
    serial = info["sid"].chosen["serial_number"].native
    certificates = [choice.chosen for choice in token["content"]["certificates"]]
    return str(next(c for c in certificates if c.serial_number == serial).subject.native["common_name"])


@pytest.mark.requirement("TSA-1")
def test_the_next_key_is_there_before_the_last_one_ends(
    renewal: UnitRenewal, room: CeremonyRoom, clock: SettableClock, database: Database
) -> None:
    assert renewal.renew() == []
    clock.advance(days=(YEAR - AHEAD).days)
    assert renewal.renew() == ["tsu-2", "qtsu-2"]
    assert renewal.renew() == []
    for kind, number in (("tsu", "TSU 1.2"), ("qtsu", "QTSU 1.2")):
        old, new = units(room.directory, kind)
        assert (old.name, new.name) == (kind, f"{kind}-2")
        assert new.begin == clock.now()
        assert new.end - new.begin == YEAR - timedelta(seconds=1)
        certificates = [x509.Certificate.load(unit.certificate) for unit in (old, new)]
        # The key ends three years before its certificate, whose name and key are its own.
        assert certificates[1].not_valid_after - new.end > 2 * YEAR
        assert certificates[1].subject.native["common_name"] == f"Enkrat TEST {number}"
        assert certificates[0].public_key.dump() != certificates[1].public_key.dump()
        assert room.tokens[kind].signing_key(new.name).public_spki == certificates[1].public_key.dump()
        assert etsi_findings(new.certificate) == etsi_findings(old.certificate)
        with database.read() as session:
            known = status(session, "infrastructure", serial_text(certificates[1].serial_number))
        assert known is not None
        assert not known.revoked
    assert verify_ceremony(room.directory, clock.now()) == []
    clock.advance(days=(YEAR - AHEAD).days)
    assert renewal.renew() == ["tsu-3", "qtsu-3"]
    assert [unit.name for unit in units(room.directory, "tsu")] == ["tsu", "tsu-2", "tsu-3"]


@pytest.mark.requirement("TSA-1", "OPS-2")
def test_a_try_that_failed_is_taken_up_by_the_next(
    renewal: UnitRenewal, room: CeremonyRoom, clock: SettableClock, database: Database
) -> None:
    clock.advance(days=YEAR.days)
    closed = Database(f"sqlite:///{room.directory / 'elsewhere' / 'none.db'}")
    with pytest.raises(Unavailable):
        dataclasses.replace(renewal, issuance=issuance(room, renewal_keys(room), clock, closed)).renew()
    left = room.tokens["tsu"].signing_key("tsu-2").public_spki
    assert [unit.name for unit in units(room.directory, "tsu")] == ["tsu"]
    assert renewal.renew() == ["tsu-2", "qtsu-2"]
    assert x509.Certificate.load(units(room.directory, "tsu")[1].certificate).public_key.dump() == left
    with database.read() as session:
        assert session.query(Certificate).count() == 2


def roll_over(room: CeremonyRoom, key: Callable[[str], Signer] | None = None) -> RollOver:
    open_key = key or room.tokens["tsu"].signing_key
    return RollOver(room.directory, "tsu", open_key, [CaStore(room.directory).infrastructure], room.clock)


def client_of(room: CeremonyRoom, database: Database, keys: RollOver) -> TestClient:
    app = tsa_app(
        signer=keys.signer,
        certificate=keys.present.certificate,
        chain=keys.chain,
        policy=POLICY,
        accuracy_ms=500,
        max_clock_jump_ms=500,
        database=database,
        clock=room.clock,
        randomness=room.randomness,
        ready=keys.follow,
    )
    return TestClient(app, base_url="http://localhost:8403")


@pytest.mark.requirement("TSA-1")
def test_time_stamps_go_on_with_the_next_key_without_a_restart(
    renewal: UnitRenewal, room: CeremonyRoom, clock: SettableClock, database: Database
) -> None:
    keys = roll_over(room)
    clock.advance(days=(YEAR - AHEAD).days)
    with client_of(room, database, keys) as client:
        assert signer_of(stamp(client)[1]) == "Enkrat TEST TSU 1"
        assert not keys.look()
        renewal.renew()
        assert signer_of(stamp(client)[1]) == "Enkrat TEST TSU 1"
        assert keys.look()
        assert not keys.look()
        granted, token = stamp(client)
        assert (granted, signer_of(token)) == ("granted", "Enkrat TEST TSU 1.2")
    # Who begins now begins with the second key, which outlives the first and ends as well.
    clock.advance(days=AHEAD.days + 1)
    with client_of(room, database, roll_over(room)) as client:
        assert signer_of(stamp(client)[1]) == "Enkrat TEST TSU 1.2"
    clock.advance(days=YEAR.days)
    with client_of(room, database, roll_over(room)) as client:
        assert stamp(client)[0] == "rejection"


def test_a_successor_that_does_not_fit_leaves_the_present_key(
    renewal: UnitRenewal, room: CeremonyRoom, clock: SettableClock, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    clock.advance(days=YEAR.days - 1)
    keys = roll_over(room, lambda _name: room.tokens["tsu"].signing_key("tsu"))
    with client_of(room, database, keys) as client:
        renewal.renew()
        with pytest.raises(Invalid, match="tsu-certificate-other-key"):
            keys.look()
        (room.directory / "tsu-2.pem").write_bytes(b"nothing")

        class Once(threading.Event):
            """Looks once."""

            def wait(self, timeout: float | None = None) -> bool:
                stopped = self.is_set()
                self.set()
                return stopped

        keys.run(Once())
        assert "ca-store-damaged" in caplog.text
        assert signer_of(stamp(client)[1]) == "Enkrat TEST TSU 1"


def test_a_damaged_file_is_told_by_its_name(renewal: UnitRenewal, room: CeremonyRoom, clock: SettableClock) -> None:
    (room.directory / "tsu-2.pem").write_bytes(b"nothing")
    with pytest.raises(Unavailable, match="ca-store-damaged") as caught:
        units(room.directory, "tsu")
    assert caught.value.facts == {"file": "tsu-2.pem"}
    # What is not numbered is not a unit's.
    (room.directory / "tsu-2.pem").rename(room.directory / "tsu-old.pem")
    (only,) = units(room.directory, "tsu")
    assert cryptography_x509.load_der_x509_certificate(only.certificate)
    assert present([only], clock.now() - timedelta(days=1)) is only
