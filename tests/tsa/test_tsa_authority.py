"""When a time-stamp is given, and when the authority must refuse."""

import hashlib
import logging
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from sqlalchemy import select
from sqlalchemy.orm import Session

from hsm import KeySpec
from tests.small_pki import BEGIN
from tests.tsa import five_processes
from tests.tsa.conftest import POLICY, Unit, UnitFactory, ask, info_of, query, refusal_of
from tsp.core import der
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.errors import Invalid, TooMany, Unavailable
from tsp.tsa.authority import key_period, unit_of
from tsp.tsa.clock_guard import ClockGuard
from tsp.tsa.journal import Batch, Given, Journal, batch_digest
from tsp.tsa.tables import TimeStamp, last_given

ROOT = Path(__file__).resolve().parents[2]
DIGEST = hashlib.sha256(b"document").digest()
HALF = timedelta(milliseconds=500)


@pytest.mark.requirement("TSA-1", "OCSP-2")
def test_a_time_stamp_says_what_was_asked(unit: Unit) -> None:
    unit.clock.advance(seconds=1.2345678)
    response = ask(unit.client(), query(DIGEST, nonce=2**63 + 5, cert_req=True, req_policy=POLICY))
    info = info_of(response)
    assert info["message_imprint"]["hashed_message"].native == DIGEST
    assert info["gen_time"].native == datetime(2026, 11, 23, 10, 0, 1, 234000, tzinfo=UTC)
    assert info["nonce"].native == 2**63 + 5
    assert info["policy"].dotted == POLICY
    assert info["accuracy"].native == {"seconds": None, "millis": 500, "micros": None}
    assert info["ordering"].native is False
    assert info["extensions"].native is None
    assert info["tsa"].native is None


def test_certificates_come_only_when_asked_for(unit: Unit) -> None:
    client = unit.client()
    with_chain = ask(client, query(DIGEST, cert_req=True))["time_stamp_token"]["content"]["certificates"]
    assert {c.chosen.dump() for c in with_chain} == {unit.certificate, unit.authority.der}
    without = ask(client, query(DIGEST))["time_stamp_token"]["content"]["certificates"]
    assert without.native is None


@pytest.mark.requirement("TSA-1")
def test_the_token_has_one_signer_and_names_its_certificate(unit: Unit) -> None:
    signed = ask(unit.client(), query(DIGEST))["time_stamp_token"]["content"]
    assert signed["version"].native == "v3"
    (signer,) = signed["signer_infos"]
    attributes = {a["type"].native: a["values"][0] for a in signer["signed_attrs"]}
    assert set(attributes) == {"content_type", "message_digest", "signing_certificate_v2"}
    assert attributes["content_type"].native == "tst_info"
    (identifier,) = attributes["signing_certificate_v2"]["certs"]
    assert identifier["cert_hash"].native == hashlib.sha256(unit.certificate).digest()
    assert identifier["hash_algorithm"]["algorithm"].native == "sha256"
    assert b"sha256" not in identifier.dump()
    assert signer["signed_attrs"].dump(force=True) == signer["signed_attrs"].dump()


def test_an_unknown_policy_is_refused(unit: Unit) -> None:
    assert refusal_of(ask(unit.client(), query(DIGEST, req_policy="1.2.3.4"))) == {"unaccepted_policy"}


@pytest.mark.requirement("TSA-1")
@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512"])
def test_strong_hashes_are_stamped(unit: Unit, algorithm: str) -> None:
    digest = hashlib.new(algorithm, b"document").digest()
    imprint = info_of(ask(unit.client(), query(digest, algorithm)))["message_imprint"]
    assert (imprint["hash_algorithm"]["algorithm"].native, imprint["hashed_message"].native) == (algorithm, digest)
    assert [row.hash_name for row in rows(unit.database)] == [algorithm]


@pytest.mark.requirement("TSA-1")
@pytest.mark.parametrize("nonce", [0, -1, 2**511 - 1])
def test_the_nonce_comes_back_as_it_was(unit: Unit, nonce: int) -> None:
    assert info_of(ask(unit.client(), query(DIGEST, nonce=nonce)))["nonce"].native == nonce


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha224"])
def test_weak_hashes_are_refused(unit: Unit, algorithm: str) -> None:
    digest = hashlib.new(algorithm, b"document").digest()
    assert refusal_of(ask(unit.client(), query(digest, algorithm))) == {"bad_alg"}


@pytest.mark.requirement("TSA-1")
@pytest.mark.parametrize("jump", [0.6, -0.6, 3600, -86400])
def test_a_clock_that_jumps_stops_the_service_for_good(
    unit: Unit, jump: float, caplog: pytest.LogCaptureFixture
) -> None:
    client = unit.client()
    unit.clock.advance(days=2)
    assert info_of(ask(client, query(DIGEST)))
    unit.clock.jump(jump)
    assert refusal_of(ask(client, query(DIGEST))) == {"time_not_available"}
    unit.clock.jump(-jump)
    assert refusal_of(ask(client, query(DIGEST))) == {"time_not_available"}
    assert f"{round(jump * 1000)} ms" in caplog.text


def test_small_corrections_are_followed(unit: Unit) -> None:
    client = unit.client()
    unit.clock.jump(-0.4)
    assert info_of(ask(client, query(DIGEST)))["gen_time"].native == datetime(
        2026, 11, 23, 9, 59, 59, 600000, tzinfo=UTC
    )


def test_small_steps_do_not_add_up_unseen(clock: SettableClock) -> None:
    guard = ClockGuard(clock, HALF)
    for _ in range(5):
        clock.jump(0.1)
        assert guard.trusted
    clock.jump(0.1)
    assert not guard.trusted
    with pytest.raises(Unavailable, match="time-not-available"):
        guard.now()


@pytest.mark.requirement("TSA-1")
def test_a_clock_set_back_between_two_runs_is_noticed(unit: Unit) -> None:
    assert info_of(ask(unit.client(), query(DIGEST)))
    unit.clock.jump(-60)
    assert refusal_of(ask(unit.client(), query(DIGEST))) == {"time_not_available"}


@pytest.mark.parametrize(("day", "given"), [(364, True), (366, False), (-1, False)])
def test_nothing_is_stamped_outside_the_keys_period(make_unit: UnitFactory, day: int, given: bool) -> None:
    unit = make_unit(key_days=365)
    unit.clock.advance(seconds=(BEGIN + timedelta(days=day) - unit.clock.now()).total_seconds())
    response = ask(unit.client(), query(DIGEST))
    if given:
        assert info_of(response)
    else:
        assert refusal_of(response) == {"system_failure"}


def test_the_keys_period_is_the_certificates_where_none_is_stated(unit: Unit) -> None:
    from asn1crypto import x509

    begin, end = key_period(x509.Certificate.load(unit.certificate))
    assert (begin, end) == (BEGIN, datetime(2044, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    "certificate",
    [
        {"critical": False},
        {"purposes": [ExtendedKeyUsageOID.CODE_SIGNING]},
        {"purposes": [ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.CODE_SIGNING]},
    ],
)
def test_a_certificate_for_other_purposes_is_refused(make_unit: UnitFactory, certificate: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="tsu-certificate-unfit"):
        make_unit(**certificate).app()


def test_a_certificate_for_another_key_is_refused(make_unit: UnitFactory) -> None:
    one, two = make_unit(), make_unit()
    with pytest.raises(Invalid, match="tsu-certificate-other-key"):
        one.app(certificate=two.certificate)
    for certificate in (b"", b"none", one.certificate[:-1], one.certificate + b"\x00"):
        with pytest.raises(Invalid, match="tsu-certificate-unfit"):
            one.app(certificate=certificate)


def test_a_p384_unit_signs_with_sha384(make_unit: UnitFactory) -> None:
    unit = make_unit(KeySpec.P384)
    (signer,) = ask(unit.client(), query(DIGEST))["time_stamp_token"]["content"]["signer_infos"]
    assert signer["digest_algorithm"]["algorithm"].native == "sha384"
    assert signer["signature_algorithm"]["algorithm"].native == "sha384_ecdsa"


@pytest.mark.requirement("TSA-1")
def test_who_insists_on_a_qualified_time_stamp_gets_that_or_none(unit: Unit) -> None:
    wanted = [{"extn_id": "1.3.6.1.5.5.7.1.3", "extn_value": der.seq(der.seq(der.oid("0.4.0.19422.1.1")))}]
    asked = query(DIGEST, extensions=wanted)
    assert refusal_of(ask(unit.client(), asked)) == {"add_info_not_available"}
    assert rows(unit.database) == []
    (claim,) = info_of(ask(unit.client(qualified=True), asked))["extensions"]
    assert claim["extn_id"].dotted == "1.3.6.1.5.5.7.1.3"


@pytest.mark.requirement("TSA-1")
def test_a_qualified_unit_claims_it_in_every_token(unit: Unit) -> None:
    (extension,) = info_of(ask(unit.client(qualified=True), query(DIGEST)))["extensions"]
    assert extension["extn_id"].dotted == "1.3.6.1.5.5.7.1.3"


def test_a_token_that_is_gone_is_a_failure_of_ours(unit: Unit, caplog: pytest.LogCaptureFixture) -> None:
    client = unit.client()
    unit.token.close()
    response = ask(client, query(DIGEST))
    assert refusal_of(response) == {"system_failure"}
    assert "PIN" not in str(response.native)
    assert "Open it again" in caplog.text
    assert rows(unit.database) == []


def rows(database: Database) -> list[TimeStamp]:
    with database.read() as session:
        found = list(session.scalars(select(TimeStamp).order_by(TimeStamp.batch, TimeStamp.position)))
        session.expunge_all()
        return found


@pytest.mark.requirement("TSA-1", "SIG-6")
def test_every_time_stamp_is_on_record(unit: Unit) -> None:
    response = ask(unit.client(), query(DIGEST))
    (row,) = rows(unit.database)
    info = info_of(response)
    assert row.serial == f"{info['serial_number'].native:032x}"
    assert (row.hash_name, row.imprint) == ("sha256", DIGEST)
    assert row.token_digest == hashlib.sha256(response["time_stamp_token"].dump()).digest()
    assert row.batch == batch_digest([row.token_digest])
    assert row.given_at == unit.clock.now()
    with unit.database.read() as session:
        assert last_given(session, unit_of(unit.certificate)) == unit.clock.now()
        assert last_given(session, "another") is None


@pytest.mark.requirement("TSA-1", "OPS-2")
def test_many_at_once_share_commits_and_no_serial_comes_twice(unit: Unit) -> None:
    batches: list[Batch] = []

    def note(session: Session, batch: Batch) -> None:
        batches.append(batch)

    app_client = unit.client(on_batch=note, threads=16)
    together = threading.Barrier(16)

    def work(number: int) -> list[int]:
        together.wait()
        return [
            info_of(ask(app_client, query(hashlib.sha256(bytes((number, n))).digest())))["serial_number"].native
            for n in range(10)
        ]

    with ThreadPoolExecutor(16) as threads:
        serials = [s for ss in threads.map(work, range(16)) for s in ss]
    assert len(set(serials)) == 160
    assert all(0 <= s < 2**127 for s in serials)
    recorded = rows(unit.database)
    assert {r.serial for r in recorded} == {f"{s:032x}" for s in serials}
    assert sum(b.count for b in batches) == 160
    for batch in batches:
        members = [r for r in recorded if r.batch == batch.digest]
        assert [m.position for m in members] == list(range(batch.count))
        assert batch_digest([m.token_digest for m in members]) == batch.digest


@pytest.mark.requirement("TSA-1", "OPS-2")
def test_five_processes_never_give_the_same_serial(database: Database) -> None:
    command = [sys.executable, "-W", "error", "-m", five_processes.__name__, database.url]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(rows(database)) == five_processes.PROCESSES * five_processes.EACH


class Full(Exception):
    """Something unforeseen inside the transaction."""


@pytest.mark.requirement("TSA-1")
def test_no_answer_leaves_before_its_record_is_durable(unit: Unit, caplog: pytest.LogCaptureFixture) -> None:
    failing = [True]

    def maybe(session: Session, batch: Batch) -> None:
        if failing[0]:
            raise Full("disk of a person named Ana")

    client = unit.client(on_batch=maybe)
    with caplog.at_level(logging.ERROR):
        assert refusal_of(ask(client, query(DIGEST))) == {"system_failure"}
    assert rows(unit.database) == []
    failing[0] = False
    assert info_of(ask(client, query(DIGEST)))
    assert len(rows(unit.database)) == 1


def given(serial: int, moment: datetime) -> Given:
    return Given(serial, "1", moment, "sha256", DIGEST, hashlib.sha256(bytes([serial])).digest())


def test_a_serial_that_came_before_is_never_given_again(database: Database, clock: SettableClock) -> None:
    journal = Journal(database)
    journal.record(given(1, clock.now()))
    with pytest.raises(Unavailable, match="timestamp-not-recorded"):
        journal.record(given(1, clock.now()))
    journal.record(given(2, clock.now()))
    journal.close()
    assert {r.serial for r in rows(database)} == {f"{1:032x}", f"{2:032x}"}


def test_a_closed_journal_takes_nothing(database: Database, clock: SettableClock) -> None:
    journal = Journal(database)
    journal.close()
    journal.close()
    with pytest.raises(Unavailable, match="timestamp-closing"):
        journal.record(given(1, clock.now()))


def test_a_full_journal_says_so(database: Database, clock: SettableClock) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hold(session: Session, batch: Batch) -> None:
        begun.set()
        go_on.wait()

    journal = Journal(database, hold, waiting=1)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(journal.record, given(1, clock.now()))
        begun.wait()
        second = threads.submit(journal.record, given(2, clock.now()))
        while not journal._waiting:
            assert not second.done()
        with pytest.raises(TooMany):
            journal.record(given(3, clock.now()))
        go_on.set()
        first.result()
        second.result()
    journal.close()
    assert len(rows(database)) == 2


def test_an_unforeseen_error_is_told_by_a_reference_only(unit: Unit, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        public_spki = unit.key.public_spki

        def sign_digest(self, digest: bytes) -> bytes:
            raise ZeroDivisionError("secret words")

    response = ask(unit.client(signer=Broken()), query(DIGEST))
    assert refusal_of(response) == {"system_failure"}
    (text,) = response["status"]["status_string"].native
    assert "secret words" not in text
    assert text.split()[-1] in caplog.text
