"""Roll-over of an issuing authority while it certifies: before and after, other people's tools need the root alone."""

import asyncio
import dataclasses
import json
import subprocess
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from asn1crypto import cms as asn1_cms
from asn1crypto import crl as asn1_crl
from asn1crypto import ocsp as asn1_ocsp
from asn1crypto import pem as asn1_pem
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from pyhanko_certvalidator import CertificateValidator, ValidationContext
from starlette.testclient import TestClient

import hsm
from hsm import softhsm
from hsm.errors import TokenGone
from tests.ca.ca_kit import PERSON, ROOT, URLS, profiles
from tests.engine.engine_kit import digest_of
from tsp.audit.entries import Writer
from tsp.ca.authority import Authority
from tsp.ca.ceremony import CeremonyRoom, run_ceremony
from tsp.ca.generation_watch import GenerationWatch
from tsp.ca.generations import responder_name
from tsp.ca.http import repository_app
from tsp.ca.issuance import Issuance
from tsp.ca.plan import ISSUERS, SUBSCRIBER_ISSUERS, CeremonyPlan
from tsp.ca.publication import CrlPublisher
from tsp.ca.responders import ResponderRenewal
from tsp.ca.roll_over import RollOverPlan, last_start, load_roll_over, next_generation, run_roll_over
from tsp.ca.store import CaStore
from tsp.ca.upkeep import register, renewable, verify_ceremony
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.errors import Conflict, Invalid, Refused, Unavailable
from tsp.engine.onetime import OneTimeSigner, Order, SignedOnce
from tsp.ocsp.http import Terms, database_responder, service
from tsp.ocsp.renewal import Delegations
from tsp.ocsp.responder import Delegation

PLAN = ROOT / "conf" / "roll-over.toml"
TERMS = Terms(timedelta(hours=1), timedelta(0))
ORDER = Order("advanced-qualified", PERSON, bytes.fromhex(digest_of("contract")))


@pytest.fixture
def roll_over() -> RollOverPlan:
    return load_roll_over(PLAN)[0]


@pytest.fixture
def held(plan: CeremonyPlan, room: CeremonyRoom) -> CeremonyRoom:
    """A room after its ceremony, the root's token open again."""
    run_ceremony(plan, room)
    return reopened(room)


def reopened(room: CeremonyRoom) -> CeremonyRoom:
    root = hsm.Token.open(softhsm.find_module(), room.tokens["root"].label, "123456-test")
    return dataclasses.replace(room, tokens={**room.tokens, "root": root})


TERMS = Terms(timedelta(hours=1))


class Installation:
    """What engine, OCSP and repository do with the ceremony's directory, in one process."""

    def __init__(self, room: CeremonyRoom, plan: CeremonyPlan, database: Database) -> None:
        self.room, self.database, self.clock = room, database, room.clock
        self.writer = Writer("engine", room.randomness, room.clock)
        key = room.tokens["ca"].signing_key
        self.watch = GenerationWatch(room.directory, SUBSCRIBER_ISSUERS, key, room.clock)
        self.every = GenerationWatch(room.directory, ISSUERS, key, room.clock)
        self.publisher = CrlPublisher(room.directory, self.watch.issuers, database, room.clock)
        self.publisher.publish()
        self.authority = Authority(room.profiles, self.watch.issuers, URLS, room.clock, room.randomness, qscd=True)
        self.signer = OneTimeSigner(room.tokens["ca"], self.authority, self.watch.chains, room.clock)
        present = self.delegations()
        self.responder = database_responder(present, database, room.clock, TERMS)
        self.renewed = Delegations(self.responder, self.delegations, present)
        authority = Authority(room.profiles, self.every.issuers, URLS, room.clock, room.randomness)
        issuance = Issuance(authority, database, room.clock, room.randomness, self.writer)
        self.renewal = ResponderRenewal(room.directory, lambda: plan, issuance, room.clock)

    def delegations(self) -> list[Delegation]:
        store, key = CaStore(self.room.directory), self.room.tokens["ocsp"].signing_key
        return [Delegation(n, store.certificate(n), store.ocsp[n], key(responder_name(n))) for n in store.issuers]

    def sign(self) -> SignedOnce:
        made = self.signer.sign(ORDER, on_planned=lambda _prepared, _spki: None, on_step=lambda _step: None)
        with self.database.write() as session:
            session.add(self.authority.row(made.issued, "account"))
        return made

    def status(self, certificate: bytes, issuer: bytes) -> bytes:
        one, by = x509.load_der_x509_certificate(certificate), x509.load_der_x509_certificate(issuer)
        asked = ocsp.OCSPRequestBuilder().add_certificate(one, by, hashes.SHA256()).build().public_bytes(Encoding.DER)
        headers = {"content-type": "application/ocsp-request"}
        with TestClient(service(self.responder, self.database, self.clock, TERMS)) as client:
            return client.post("/", content=asked, headers=headers).content

    def look(self) -> list[str]:
        self.renewed.look()
        self.every.look(lambda: None)
        return self.watch.look(self.publisher.publish)


def believed(here: Installation, made: SignedOnce, directory: Path) -> None:
    """openssl and pyHanko's validator accept signature and certificate; they have the root, the rest is published."""
    store, name = CaStore(here.room.directory), made.issued.issuer
    with TestClient(repository_app(here.room.directory, here.clock)) as client:
        above, listed, ends = (client.get(f"/{file}").content for file in (f"{name}.cer", f"{name}.crl", "root.crl"))
    assert f"{URLS.repository}/{name}.crl".encode() in made.issued.der
    answer = here.status(made.issued.der, above)
    assert ocsp.load_der_ocsp_response(answer).certificate_status is ocsp.OCSPCertStatus.GOOD
    context = ValidationContext(
        trust_roots=[asn1_x509.Certificate.load(store.root)],
        other_certs=[asn1_x509.Certificate.load(above)],
        ocsps=[asn1_ocsp.OCSPResponse.load(answer)],
        crls=[asn1_crl.CertificateList.load(one) for one in (listed, ends)],
        revocation_mode="require",
        allow_fetching=False,
        moment=here.clock.now(),
    )
    leaf = asn1_x509.Certificate.load(made.issued.der)
    asyncio.run(CertificateValidator(leaf, validation_context=context).async_validate_usage({"non_repudiation"}))
    files = {
        "root.pem": (here.room.directory / "root.pem").read_bytes(),
        "lists.pem": b"".join(pem("X509 CRL", one) for one in (listed, ends)),
        "signed": made.signed_attributes,
        "cms": made.cms,
        "answer": answer,
        "above.pem": pem("CERTIFICATE", above),
        "leaf.pem": pem("CERTIFICATE", made.issued.der),
    }
    for file, content in files.items():
        (directory / file).write_bytes(content)
    moment = str(int(here.clock.now().timestamp()))
    run = ["verify", "-x509_strict", "-attime", moment, "-CAfile", "root.pem", "-untrusted", "above.pem"]
    assert "OK" in openssl(directory, *run, "-CRLfile", "lists.pem", "-crl_check_all", "leaf.pem")
    told = openssl(
        directory, "ocsp", "-sha256", "-respin", "answer", "-issuer", "above.pem", "-cert", "leaf.pem",
        "-CAfile", "root.pem", "-verify_other", "above.pem", "-attime", moment, "-no_nonce",
    )  # fmt: skip
    # It holds the times of the status against the real clock, whatever -attime says; the validator above does not.
    assert "Response verify OK" in told
    assert "\ngood\n" in told or "leaf.pem: good" in told
    carried = asn1_cms.ContentInfo.load(made.cms)["content"]["certificates"]
    assert above in [one.chosen.dump() for one in carried]


def pem(kind: str, der: bytes) -> bytes:
    return bytes(asn1_pem.armor(kind, der))


def openssl(directory: Path, *arguments: str) -> str:
    done = subprocess.run(["openssl", *arguments], cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.requirement("CA-1", "OCSP-1", "OCSP-2", "SIG-1")
def test_an_authority_rolls_over_while_it_certifies(
    plan: CeremonyPlan,
    roll_over: RollOverPlan,
    held: CeremonyRoom,
    database: Database,
    clock: SettableClock,
    tmp_path: Path,
) -> None:
    here = Installation(held, plan, database)
    with database.write() as session:
        register(session, held.directory, clock.now(), here.writer)
    clock.advance(minutes=1)
    before = here.sign()
    believed(here, before, tmp_path)

    transcript = run_roll_over(plan, roll_over, held)
    with pytest.raises(TokenGone):
        held.tokens["root"].signing_key("root-ca")
    with database.write() as session:
        assert register(session, held.directory, clock.now(), here.writer) == 2
    # At once it is published and its responder answers, but the old generation certifies until the lead is over.
    assert here.look() == []
    assert (held.directory / "qualified-2.crl").exists()
    clock.advance(minutes=9)
    assert here.look() == []
    between = here.sign()
    clock.advance(minutes=1)
    assert here.look() == ["qualified-2"]
    after = here.sign()
    assert [made.issued.issuer for made in (before, between, after)] == ["qualified", "qualified", "qualified-2"]
    assert transcript["use_from"] == clock.now().isoformat()
    for made in (before, between, after):
        believed(here, made, tmp_path)
    assert verify_ceremony(held.directory, clock.now()) == []
    clock.advance(days=60)
    assert here.renewal.renew() == 4
    here.renewed.look()
    assert sorted(here.publisher.publish()) == ["nonqualified", "qualified", "qualified-2"]
    store = CaStore(held.directory)
    for name in ("qualified", "qualified-2"):
        answer = here.status(store.ocsp[name], store.certificate(name))
        assert ocsp.load_der_ocsp_response(answer).certificate_status is ocsp.OCSPCertStatus.GOOD
        responder = asn1_x509.Certificate.load(store.ocsp[name])
        assert responder.issuer == asn1_x509.Certificate.load(store.certificate(name)).subject


def test_what_was_prepared_before_the_change_is_issued_by_the_old_key(
    plan: CeremonyPlan, roll_over: RollOverPlan, held: CeremonyRoom, database: Database, clock: SettableClock
) -> None:
    here = Installation(held, plan, database)
    with held.tokens["ca"].one_time_key() as key:
        prepared = here.authority.prepare("qualified", PERSON, key.public_spki, now=clock.now())
        run_roll_over(plan, roll_over, held)
        clock.advance(minutes=10)
        assert here.look() == ["qualified-2"]
        with pytest.raises(Refused, match="prepared-too-old"):
            here.authority.issue(prepared)
        late = here.authority.prepare("qualified", PERSON, key.public_spki, now=clock.now())
        named = here.authority.prepare("qualified", PERSON, key.public_spki, now=clock.now(), issuer="qualified")
        assert (here.authority.issue(late).issuer, here.authority.issue(named).issuer) == ("qualified-2", "qualified")


def test_what_cannot_be_published_does_not_certify(
    plan: CeremonyPlan, roll_over: RollOverPlan, held: CeremonyRoom, database: Database, clock: SettableClock
) -> None:
    here = Installation(held, plan, database)
    run_roll_over(plan, roll_over, held)
    clock.advance(minutes=10)

    def full() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        here.watch.look(full)
    assert here.sign().issued.issuer == "qualified"
    tried, stop = [], threading.Event()

    def twice() -> None:
        tried.append(1)
        if len(tried) == 2:
            stop.set()
        raise OSError(28, "No space left on device")

    here.watch.run(stop, twice, seconds=0.001)
    assert len(tried) == 2
    assert here.look() == ["qualified-2"]


def test_a_roll_over_is_made_once_and_in_order(
    plan: CeremonyPlan, roll_over: RollOverPlan, held: CeremonyRoom, clock: SettableClock
) -> None:
    wrong = [
        ({"generation": 3}, "the next generation of qualified is qualified-2"),
        ({"role": "root"}, "the root does not roll over"),
        ({"mode": "production"}, "mode is not"),
        ({"common_name": "Enkrat Qualified CA 2"}, "every name says TEST"),
        ({"common_name": "Enkrat TEST Qualified CA"}, "every common name"),
        ({"responder_common_name": roll_over.common_name}, "every common name"),
    ]
    for changes, why in wrong:
        with pytest.raises(Invalid, match=why):
            run_roll_over(plan, roll_over.model_copy(update=changes), held)
        held = reopened(held)
    assert not [key for key in held.tokens["ca"].private_keys() if "-2" in key.label]
    run_roll_over(plan, roll_over, held)
    held = reopened(held)
    with pytest.raises(Conflict, match="ceremony-done"):
        run_roll_over(plan, roll_over, held)
    third = {"generation": 3, "common_name": "TEST Q 3", "responder_common_name": "TEST OCSP Q 3"}
    run_roll_over(plan, roll_over.model_copy(update=third), reopened(held))
    store = CaStore(held.directory)
    assert store.issuers == (*ISSUERS, "qualified-2", "qualified-3")
    assert store.in_use(clock.now() + timedelta(hours=1))["qualified"] == "qualified-3"


def test_a_roll_over_that_broke_off_counts_for_nothing_and_says_what_to_erase(
    plan: CeremonyPlan, roll_over: RollOverPlan, held: CeremonyRoom
) -> None:
    held.tokens["ca"].generate_signing_key("qualified-2-ca", hsm.KeySpec.P256)
    with pytest.raises(Conflict, match="qualified-2-ca"):
        run_roll_over(plan, roll_over, held)
    assert CaStore(held.directory).issuers == ISSUERS


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"use_from": 5}', '{"use_from": "2026-11-23T10:00:00"}'])
def test_a_damaged_transcript_of_a_roll_over_is_named(artefacts: Path, text: str) -> None:
    (artefacts / "roll-over-qualified-2.json").write_text(text)
    with pytest.raises(Unavailable, match=r"roll-over-qualified-2\.json"):
        CaStore(artefacts)


def test_exchanged_artefacts_of_a_roll_over_are_found(
    plan: CeremonyPlan, roll_over: RollOverPlan, held: CeremonyRoom, clock: SettableClock
) -> None:
    run_roll_over(plan, roll_over, held)
    (held.directory / "ocsp-qualified-2.pem").write_bytes((held.directory / "ocsp-qualified.pem").read_bytes())
    assert verify_ceremony(held.directory, clock.now()) == [
        "ocsp-qualified-2.pem is not what the transcript says",
        "ocsp-qualified-2.pem is not signed by qualified-2",
        "ocsp-qualified-2.pem has another key than the ceremony made",
    ]


@pytest.mark.requirement("CA-1")
def test_a_roll_over_is_due_before_the_authority_could_not_certify_a_whole_life(
    artefacts: Path, clock: SettableClock
) -> None:
    store, known = CaStore(artefacts), profiles()
    assert next_generation(store, "infrastructure") == "infrastructure-2"
    name, last = last_start(store, "infrastructure", known)
    # Ten years of the authority, less the four of a time-stamping unit.
    assert (name, (last - clock.now()).days) == ("infrastructure", 3652 - 1461 - 1)
    _, people = last_start(store, "nonqualified", known)
    assert people > last
    assert renewable(store, clock.now()) == list(ISSUERS)
    assert renewable(store, clock.now() + timedelta(days=3652 - 84)) == []


def test_transcript_tells_what_was_made(plan: CeremonyPlan, roll_over: RollOverPlan, held: CeremonyRoom) -> None:
    run_roll_over(plan, roll_over, held)
    told = json.loads((held.directory / "roll-over-qualified-2.json").read_bytes())
    assert set(told["artefacts"]) == {"qualified-2.pem", "ocsp-qualified-2.pem"}
    assert told["certificates"]["ocsp-qualified-2"]["issuer"] == "qualified-2"
    assert told["keys"]["qualified-2"]["label"] == "qualified-2-ca"
    assert told["keys"]["qualified-2"]["attributes"]["extractable"] is False
