"""Two steps that survive the process: an intent is durable before the key is touched, and redeemed once."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import func, select

from hsm.errors import TokenGone
from tests.ca.ca_kit import CREATOR, NOW, PERSON, SoftKey, authority, issuer
from tsp.audit.entries import Writer
from tsp.audit.tables import Entry
from tsp.ca.authority import IssuedCertificate
from tsp.ca.issuance import Issuance
from tsp.ca.tables import Certificate, CertificateIntent, left_intents, open_intents, status
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.errors import Conflict, Invalid, NotFound, Refused, TspError, Unavailable
from tsp.core.randomness import SystemRandomness

SPKI = SoftKey().public_spki


def issuance(
    database: Database,
    clock: SettableClock,
    key: Any = None,
    *,
    name: str = "certification",
    one_time: bool = False,
) -> Issuance:
    """One process's issuance; those with the same key share their authority's key, not its memory."""
    issuers = {"nonqualified": issuer("nonqualified", key)} if key else None
    whole, randomness = authority(issuers, clock=clock), SystemRandomness()
    return Issuance(whole, database, clock, randomness, Writer(name, randomness, clock), one_time=one_time)


def entries(database: Database) -> list[tuple[str, dict[str, Any]]]:
    with database.read() as session:
        found = session.scalars(select(Entry).order_by(Entry.id))
        return [(entry.kind, json.loads(entry.content)["facts"]) for entry in found]


@pytest.mark.requirement("CA-1", "CA-5", "EVD-2")
def test_intent_is_durable_and_becomes_one_certificate(database: Database, clock: SettableClock) -> None:
    desk = issuance(database, clock)
    intent = desk.prepare("authentication", PERSON, SPKI, subject_ref="account-1")
    with database.read() as session:
        (stored,) = open_intents(session)
        assert (stored.state, stored.serial, stored.digest) == ("prepared", intent.serial, intent.digest)
        assert status(session, "nonqualified", intent.serial) is None
    issued = desk.issue(intent.id)
    with database.read() as session:
        row = session.get(Certificate, intent.serial)
        assert row is not None
        assert (row.der, row.subject_ref, row.profile) == (issued.der, "account-1", "authentication")
        ended = session.get(CertificateIntent, intent.id)
        assert ended is not None
        assert (ended.state, ended.tbs, ended.ended_at) == ("issued", None, clock.now())
        assert open_intents(session) == []
    assert entries(database) == [
        (
            "certificate-prepared",
            {"intent": intent.id, "certificate": intent.serial, "sha256": intent.digest},
        ),
        (
            "certificate-issued",
            {"intent": intent.id, "certificate": intent.serial, "sha256": sha256(issued.der).hexdigest()},
        ),
    ]


@pytest.mark.requirement("CA-1")
def test_another_process_redeems_what_one_prepared(database: Database, clock: SettableClock) -> None:
    key = SoftKey()
    intent = issuance(database, clock, key).prepare("advanced-seal", CREATOR, SPKI)
    clock.advance(minutes=23 * 60)
    issued = issuance(database, clock, key, name="certification.2").issue(intent.id)
    assert (issued.serial, issued.not_before) == (intent.serial, NOW)


@pytest.mark.requirement("CA-1", "EVD-2")
def test_of_five_contenders_for_one_intent_one_issues(database: Database, clock: SettableClock) -> None:
    key = SoftKey()
    intent = issuance(database, clock, key).prepare("authentication", PERSON, SPKI)
    start = threading.Barrier(5)
    contenders = [Database(database.url) for _ in range(5)]

    def contend(own: Database) -> IssuedCertificate | TspError:
        desk = issuance(own, clock, key)
        start.wait()
        try:
            return desk.issue(intent.id)
        except Conflict as error:
            return error

    with ThreadPoolExecutor(5) as pool:
        outcomes = list(pool.map(contend, contenders))
    for own in contenders:
        own.close()
    assert sum(isinstance(outcome, IssuedCertificate) for outcome in outcomes) == 1
    assert {outcome.code for outcome in outcomes if isinstance(outcome, TspError)} == {"certificate-issued-already"}
    assert key.signed == 1
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(Certificate)) == 1
    assert [kind for kind, _ in entries(database)] == ["certificate-prepared", "certificate-issued"]


@pytest.mark.parametrize(
    ("profile", "life"), [("authentication", {"minutes": 24 * 60}), ("advanced", {"minutes": 5, "seconds": 59})]
)
def test_intent_does_not_outlive_its_time(
    database: Database, clock: SettableClock, profile: str, life: dict[str, int]
) -> None:
    desk = issuance(database, clock, one_time=True)
    first, second = (desk.prepare(profile, PERSON, SPKI) for _ in range(2))
    clock.advance(**life)
    assert desk.issue(first.id).serial == first.serial
    clock.advance(seconds=2)
    with pytest.raises(Refused, match="prepared-too-old"):
        desk.issue(second.id)
    third = desk.prepare(profile, PERSON, SPKI)
    with database.read() as session:
        lapsed = session.get(CertificateIntent, second.id)
        assert lapsed is not None
        assert (lapsed.state, lapsed.tbs) == ("lapsed", None)
        assert [one.id for one in open_intents(session)] == [third.id]
    with pytest.raises(Refused, match="prepared-too-old"):
        desk.issue(second.id)


def test_unknown_intent_is_told(database: Database, clock: SettableClock) -> None:
    with pytest.raises(NotFound, match="intent-unknown"):
        issuance(database, clock).issue("nothing")
    with pytest.raises(NotFound, match="intent-unknown"):
        issuance(database, clock).withdraw("nothing")


@pytest.mark.requirement("CA-1", "EVD-2")
def test_withdrawn_intent_is_never_issued(database: Database, clock: SettableClock) -> None:
    desk = issuance(database, clock)
    intent = desk.prepare("authentication", PERSON, SPKI)
    assert desk.withdraw(intent.id) == intent.serial
    with pytest.raises(Conflict, match="certificate-issued-already"):
        desk.issue(intent.id)
    with pytest.raises(Conflict, match="intent-ended"):
        desk.withdraw(intent.id)
    with database.read() as session:
        ended = session.get(CertificateIntent, intent.id)
        assert ended is not None
        assert (ended.state, ended.tbs) == ("withdrawn", None)
    assert entries(database)[-1] == ("certificate-withdrawn", {"intent": intent.id, "certificate": intent.serial})


def test_what_is_withdrawn_while_it_is_signed_is_not_handed_out(database: Database, clock: SettableClock) -> None:
    class Meanwhile(SoftKey):
        def sign_digest(self, digest: bytes) -> bytes:
            issuance(database, clock).withdraw(intent.id)
            return super().sign_digest(digest)

    desk = issuance(database, clock, Meanwhile())
    intent = desk.prepare("authentication", PERSON, SPKI)
    with pytest.raises(Conflict, match="intent-withdrawn"):
        desk.issue(intent.id)
    with database.read() as session:
        assert session.get(Certificate, intent.serial) is None
    assert [kind for kind, _ in entries(database)] == ["certificate-prepared", "certificate-withdrawn"]


@pytest.mark.requirement("CA-1", "EVD-2")
def test_failure_ends_the_intent_for_good(database: Database, clock: SettableClock) -> None:
    class Gone(SoftKey):
        def sign_digest(self, digest: bytes) -> bytes:
            raise TokenGone("Plug the token in again.")

    desk = issuance(database, clock, Gone())
    intent = desk.prepare("authentication", PERSON, SPKI)
    with pytest.raises(Unavailable, match="authority-unavailable"):
        desk.issue(intent.id)
    with pytest.raises(Conflict, match="certificate-issued-already"):
        desk.issue(intent.id)
    with database.read() as session:
        ended = session.get(CertificateIntent, intent.id)
        assert ended is not None
        assert (ended.state, ended.tbs) == ("failed", None)
        assert session.get(Certificate, intent.serial) is None
    assert entries(database)[-1] == (
        "certificate-failed",
        {"intent": intent.id, "certificate": intent.serial, "cause": "authority-unavailable"},
    )


def test_process_that_dies_while_signing_leaves_an_intent_that_nobody_redeems(
    database: Database, clock: SettableClock
) -> None:
    class Killed(SoftKey):
        def sign_digest(self, digest: bytes) -> bytes:
            raise KeyboardInterrupt

    key = Killed()
    desk = issuance(database, clock, key)
    intent = desk.prepare("authentication", PERSON, SPKI)
    with pytest.raises(KeyboardInterrupt):
        desk.issue(intent.id)
    with pytest.raises(Conflict, match="certificate-issued-already"):
        issuance(database, clock, key).issue(intent.id)
    with database.read() as session:
        assert [(one.id, one.state) for one in open_intents(session)] == [(intent.id, "redeemed")]
        assert left_intents(session, clock.now()) == []
        assert [one.id for one in left_intents(session, clock.now() + timedelta(seconds=1))] == [intent.id]
    assert issuance(database, clock).withdraw(intent.id) == intent.serial
    with database.read() as session:
        assert open_intents(session) == []


@pytest.mark.requirement("CA-1")
@pytest.mark.parametrize("digest", ["as it was", "changed too"])
def test_stored_octets_that_were_changed_are_not_signed(database: Database, clock: SettableClock, digest: str) -> None:
    key = SoftKey()
    desk = issuance(database, clock, key)
    intent = desk.prepare("authentication", PERSON, SPKI)
    with database.write() as session:
        row = session.get(CertificateIntent, intent.id)
        assert row is not None
        assert row.tbs is not None
        # The key usage of an authority in the place of the login's.
        row.tbs = row.tbs.replace(b"\x03\x02\x07\x80", b"\x03\x02\x02\x04")
        if digest == "changed too":
            row.digest = sha256(row.tbs).hexdigest()
    with pytest.raises(Unavailable, match=r"intent-damaged|certificate-unsound"):
        desk.issue(intent.id)
    assert key.signed == 0


@pytest.mark.requirement("CA-4", "SIG-3")
def test_key_outside_of_a_token_is_never_said_to_be_in_a_device(database: Database, clock: SettableClock) -> None:
    desk = issuance(database, clock)
    with pytest.raises(Refused, match="key-not-in-device"):
        desk.prepare("qualified-seal", CREATOR, SPKI)
    assert desk.issue(desk.prepare("qualified-seal", CREATOR, SPKI, in_device=True).id).profile == "qualified-seal"


@pytest.mark.requirement("SIG-1")
@pytest.mark.parametrize("kind", ["advanced", "advanced-qualified", "qualified"])
@pytest.mark.parametrize("in_device", [True, False])
def test_operators_have_no_way_to_the_certificate_of_a_signature(
    database: Database, clock: SettableClock, kind: str, in_device: bool
) -> None:
    with pytest.raises(Refused, match="kind-for-one-time-keys"):
        issuance(database, clock).prepare(kind, PERSON, SPKI, in_device=in_device)


@pytest.mark.parametrize("kind", ["tsu", "qtsu", "ocsp-responder", "trust-list"])
def test_keys_of_the_providers_services_are_in_tokens(database: Database, clock: SettableClock, kind: str) -> None:
    with pytest.raises(Refused, match="key-not-in-device"):
        issuance(database, clock).prepare(kind, CREATOR, SPKI, issuer="infrastructure")


def test_what_the_authority_refuses_leaves_nothing(database: Database, clock: SettableClock) -> None:
    with pytest.raises(Invalid, match="subject-unfit"):
        issuance(database, clock).prepare("advanced-seal", PERSON, SPKI)
    with database.read() as session:
        assert open_intents(session) == []
    assert entries(database) == []


def test_entries_hold_no_name(database: Database, clock: SettableClock) -> None:
    desk = issuance(database, clock)
    desk.issue_now("authentication", PERSON, SPKI, subject_ref="account-1")
    with database.read() as session:
        written = "".join(session.scalars(select(Entry.content)))
    assert not [trace for trace in ("Ančka", "12345678", "account-1") if trace in written]
