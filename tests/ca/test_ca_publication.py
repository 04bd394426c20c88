"""The CRL of the authority for people: published by whoever holds its key, on time and at once after a revocation."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from asn1crypto import crl as asn1_crl
from starlette.testclient import TestClient

from hsm.errors import TokenGone
from tests.ca.ca_kit import NOW, SERVICE, SoftKey, authority, crl_findings, issuer
from tsp.ca.authority import IssuingKey
from tsp.ca.crl_reading import crl_facts
from tsp.ca.http import repository_app
from tsp.ca.lint_crl import lint_crl
from tsp.ca.publication import CrlPublisher, CrlTerms
from tsp.ca.revocation import revoke
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.errors import Unavailable

ISSUER = issuer("infrastructure")


def publisher(directory: Path, database: Database, clock: SettableClock, key: IssuingKey = ISSUER) -> CrlPublisher:
    return CrlPublisher(directory, {"infrastructure": key}, database, clock)


def revoked_serial(database: Database) -> int:
    """The serial number of a certificate that was issued and revoked."""
    whole = authority({"infrastructure": ISSUER})
    issued = whole.issue(whole.prepare("tsu", SERVICE, SoftKey().public_spki, now=NOW))
    with database.write() as session:
        session.add(whole.row(issued, None))
    with database.write() as session:
        revoke(session, "infrastructure", issued.serial, "superseded", NOW)
    return int(issued.serial, 16)


@pytest.mark.requirement("CA-4", "OCSP-2")
def test_a_list_is_published_and_renewed_well_before_its_end(
    database: Database, clock: SettableClock, tmp_path: Path
) -> None:
    at_work, file = publisher(tmp_path, database, clock), tmp_path / "infrastructure.crl"
    assert at_work.publish() == ["infrastructure"]
    first = file.read_bytes()
    number, this_update, next_update = crl_facts(first)
    assert (this_update, next_update - this_update) == (clock.now(), timedelta(hours=48))
    assert lint_crl(first, ISSUER.facts, ISSUER.public) == []
    assert crl_findings(first) == set()
    clock.advance(minutes=11 * 60)
    assert at_work.publish() == []
    clock.advance(minutes=60)
    assert at_work.publish() == ["infrastructure"]
    assert crl_facts(file.read_bytes())[0] > number


@pytest.mark.requirement("CA-4", "OCSP-2")
def test_a_revocation_is_published_at_once(database: Database, clock: SettableClock, tmp_path: Path) -> None:
    at_work, file = publisher(tmp_path, database, clock), tmp_path / "infrastructure.crl"
    at_work.publish()
    number, _, _ = crl_facts(file.read_bytes())
    serial = revoked_serial(database)
    assert at_work.publish() == ["infrastructure"]
    listed = asn1_crl.CertificateList.load(file.read_bytes())["tbs_cert_list"]["revoked_certificates"]
    assert [entry["user_certificate"].native for entry in listed] == [serial]
    assert crl_facts(file.read_bytes())[0] == number + 1
    assert at_work.publish() == []


@pytest.mark.parametrize("left", [None, b"", b"\x30\x03\x02\x01\x01"])
def test_a_lost_or_damaged_list_is_made_anew_with_a_higher_number(
    database: Database, clock: SettableClock, tmp_path: Path, left: bytes | None
) -> None:
    at_work, file = publisher(tmp_path, database, clock), tmp_path / "infrastructure.crl"
    at_work.publish()
    number, _, _ = crl_facts(file.read_bytes())
    clock.advance(seconds=2)
    file.unlink()
    if left is not None:
        file.write_bytes(left)
    assert at_work.publish() == ["infrastructure"]
    assert crl_facts(file.read_bytes())[0] > number


def test_of_five_contenders_one_publishes(database: Database, clock: SettableClock, tmp_path: Path) -> None:
    with ThreadPoolExecutor(5) as pool:
        done = list(pool.map(lambda _: publisher(tmp_path, database, clock).publish(), range(5)))
    assert sorted(done) == [[], [], [], [], ["infrastructure"]]


class _Gone:
    """A key whose token is not there."""

    public_spki = ISSUER.key.public_spki

    def sign_digest(self, digest: bytes) -> bytes:
        raise TokenGone("The token is gone.")


def test_without_its_token_the_standing_list_stays(database: Database, clock: SettableClock, tmp_path: Path) -> None:
    publisher(tmp_path, database, clock).publish()
    standing = (tmp_path / "infrastructure.crl").read_bytes()
    revoked_serial(database)
    without = publisher(tmp_path, database, clock, IssuingKey(ISSUER.facts, _Gone()))
    with pytest.raises(Unavailable, match="authority-unavailable"):
        without.publish()
    assert (tmp_path / "infrastructure.crl").read_bytes() == standing


def test_the_loop_outlives_a_failure_and_ends_when_told(
    database: Database, clock: SettableClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    looks = CrlTerms(look=timedelta(milliseconds=1))
    stop, tries = threading.Event(), []

    class Flaky:
        public_spki = ISSUER.key.public_spki

        def sign_digest(self, digest: bytes) -> bytes:
            tries.append(digest)
            if len(tries) == 1:
                raise TokenGone("The token is gone.")
            stop.set()
            return ISSUER.key.sign_digest(digest)

    key = IssuingKey(ISSUER.facts, Flaky())
    CrlPublisher(tmp_path, {"infrastructure": key}, database, clock, looks).run(stop)
    assert len(tries) == 2
    assert "authority-unavailable" in caplog.text
    assert (tmp_path / "infrastructure.crl").exists()


@pytest.mark.requirement("CA-4", "OCSP-2")
def test_the_repository_serves_it_as_soon_as_it_is_there(
    artefacts: Path, database: Database, clock: SettableClock
) -> None:
    with TestClient(repository_app(artefacts, clock)) as client:
        assert client.get("/qualified.crl").status_code == 404
        CrlPublisher(artefacts, {"qualified": issuer("qualified")}, database, clock).publish()
        answer = client.get("/qualified.crl")
    assert answer.content == (artefacts / "qualified.crl").read_bytes()
    assert answer.headers["content-type"] == "application/pkix-crl"
    assert answer.headers["cache-control"] == "public, max-age=3600, no-transform"
