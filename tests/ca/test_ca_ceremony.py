"""The ceremony in real tokens: once, whole or not at all, and every artefact under the eyes of outside tools."""

import dataclasses
import json
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import x509
from sqlalchemy import select

from hsm.errors import TokenGone
from tests.ca.ca_kit import ARC, DEFAULT_ARC, NOW, crl_findings, etsi_findings, pkix_findings, profiles
from tests.conftest import TokenFactory
from tests.false_findings import unexplained
from tsp.audit.entries import Writer
from tsp.audit.tables import Entry
from tsp.ca.authority import Authority, IssuingKey
from tsp.ca.ceremony import CeremonyRoom, run_ceremony
from tsp.ca.crl import RevokedCertificate
from tsp.ca.crl_reading import crl_facts
from tsp.ca.issuance import Issuance
from tsp.ca.plan import ENTRIES, ISSUERS, CeremonyPlan
from tsp.ca.responders import ResponderRenewal
from tsp.ca.store import CaStore, sha256_hex
from tsp.ca.tables import serial_text, status
from tsp.ca.upkeep import renew_responders, renew_root_crl, verify_ceremony
from tsp.core.clock import SettableClock, SystemClock
from tsp.core.database import Database
from tsp.core.errors import Conflict, Invalid, NotFound, Unavailable
from tsp.core.files import write_private

AUTHORITIES = ("root", *ISSUERS)


def openssl(*arguments: str | Path, **options: Any) -> str:
    done = subprocess.run(["openssl", *arguments], check=True, capture_output=True, **options)
    return done.stdout.decode()


@pytest.mark.requirement("CA-1", "CA-4", "TSA-1", "OCSP-1")
def test_ceremony_makes_the_hierarchy(plan: CeremonyPlan, room: CeremonyRoom) -> None:
    transcript = run_ceremony(plan, room)
    store = CaStore(room.directory)
    for name in ENTRIES:
        certificate = x509.Certificate.load(store.certificate(name))
        assert certificate.subject.native == {
            "country_name": "SI",
            "organization_name": "Enkrat TEST d.o.o.",
            "organization_identifier": "VATSI-10000003",
            "common_name": plan.entries[name].common_name,
        }
        assert transcript["certificates"][name]["serial"] == f"{certificate.serial_number:032x}"
        assert transcript["certificates"][name]["sha256"] == sha256_hex(store.certificate(name))
    assert json.loads((room.directory / "transcript.json").read_bytes()) == transcript
    for file, digest in transcript["artefacts"].items():
        assert sha256_hex((room.directory / file).read_bytes()) == digest
    assert all(facts["attributes"]["never_extractable"] for facts in transcript["keys"].values())
    assert verify_ceremony(room.directory, room.clock.now()) == []


@pytest.mark.requirement("CA-1", "CA-2", "CA-3", "CA-4")
def test_outside_linter_finds_nothing(plan: CeremonyPlan, artefacts: Path) -> None:
    store = CaStore(artefacts)
    for name in ENTRIES:
        assert pkix_findings(store.certificate(name)) == set()
        if name not in AUTHORITIES:
            assert unexplained(etsi_findings(store.certificate(name)), store.certificate(name)) == set()
    assert crl_findings(store.root_crl) == set()


@pytest.mark.requirement("CA-1", "TSA-1")
def test_openssl_accepts_every_artefact(plan: CeremonyPlan, artefacts: Path, tmp_path: Path) -> None:
    here = artefacts
    moment = str(int(NOW.timestamp()) + 60)
    crl = tmp_path / "crl.pem"
    crl.write_text(openssl("crl", "-inform", "DER", "-in", here / "root.crl"))
    verify = ["verify", "-x509_strict", "-attime", moment, "-CAfile", here / "root.pem"]
    for name in ISSUERS:
        assert openssl(*verify, "-CRLfile", crl, "-crl_check", here / f"{name}.pem").endswith("OK\n")
    for name in ("tsu", "qtsu", "ocsp-qualified", "ocsp-infrastructure"):
        above = here / f"{plan.entries[name].issuer}.pem"
        purpose = ["-purpose", "timestampsign"] if name in ("tsu", "qtsu") else []
        assert openssl(*verify, *purpose, "-untrusted", above, here / f"{name}.pem").endswith("OK\n")
    assert "OCSP helper : Yes" in openssl("x509", "-in", here / "ocsp-qualified.pem", "-noout", "-purpose")


@pytest.mark.parametrize("arc", [ARC, DEFAULT_ARC])
def test_certtool_builds_the_chain(plan: CeremonyPlan, room: CeremonyRoom, arc: str) -> None:
    # certtool judges by the machine's own clock.
    run_ceremony(plan, dataclasses.replace(room, clock=SystemClock(), profiles=profiles(arc)))
    here = room.directory
    chain = b"".join((here / f"{name}.pem").read_bytes() for name in ("tsu", "infrastructure"))
    result = subprocess.run(
        ["certtool", "--verify", "--load-ca-certificate", here / "root.pem"],
        input=chain,
        capture_output=True,
        check=True,
    )
    assert b"Chain verification output: Verified. The certificate is trusted." in result.stdout
    shown = subprocess.run(["certtool", "-i"], input=chain, capture_output=True, check=True)
    text = (shown.stdout + shown.stderr).decode()
    assert "Time stamping." in text
    # GnuTLS keeps arcs in 64 bits and cannot show a policy under 2.25; it verifies the chain all the same.
    assert ("certificate policies import: ASN1 parser" in text) == (arc == DEFAULT_ARC)


def test_second_ceremony_is_refused(plan: CeremonyPlan, room: CeremonyRoom, token_factory: TokenFactory) -> None:
    run_ceremony(plan, room)
    before = {path.name: path.read_bytes() for path in room.directory.iterdir()}
    again = dataclasses.replace(room, tokens={name: token_factory(name) for name in room.tokens})
    with pytest.raises(Conflict, match="ceremony-done"):
        run_ceremony(plan, again)
    assert {path.name: path.read_bytes() for path in room.directory.iterdir()} == before
    assert not again.tokens["ca"].private_keys()


@pytest.mark.parametrize("left", ["token", "file"])
def test_broken_ceremony_is_not_taken_up_again(plan: CeremonyPlan, room: CeremonyRoom, left: str) -> None:
    if left == "token":
        from hsm import KeySpec

        room.tokens["tsu"].generate_signing_key("tsu", KeySpec.P256)
    else:
        room.directory.mkdir()
        (room.directory / "qualified.pem").write_text("half")
    with pytest.raises(Conflict, match="ceremony-unfinished"):
        run_ceremony(plan, room)
    assert not room.tokens["ca"].private_keys()


def test_token_that_is_gone_is_explained_and_nothing_written(plan: CeremonyPlan, room: CeremonyRoom) -> None:
    room.tokens["ocsp"].close()
    with pytest.raises(Unavailable, match="token-unavailable"):
        run_ceremony(plan, room)
    assert not room.directory.exists()


def test_root_token_is_closed_afterwards_and_pin_kept_in_a_demo(plan: CeremonyPlan, room: CeremonyRoom) -> None:
    run_ceremony(plan, room)
    with pytest.raises(TokenGone):
        room.tokens["root"].signing_key("root-ca")
    assert room.root_pin.exists()
    assert room.tokens["ca"].signing_key("qualified-ca")


@pytest.fixture(scope="module")
def custodian(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A custodian's key file and certificate, made by openssl."""
    here = tmp_path_factory.mktemp("custodian")
    openssl(
        "req", "-x509", "-newkey", "rsa:3072", "-nodes", "-keyout", here / "key.pem", "-out", here / "cert.pem",
        "-subj", "/CN=Custodian",
    )  # fmt: skip
    return here / "key.pem", (here / "cert.pem").read_bytes()


def test_sealed_pin_opens_for_its_custodian_only(
    plan: CeremonyPlan, room: CeremonyRoom, custodian: tuple[Path, bytes]
) -> None:
    key, certificate = custodian
    sealing = plan.model_copy(update={"root_pin": "seal", "custodians": ("custodian.pem",)})
    transcript = run_ceremony(sealing, dataclasses.replace(room, custodians=(certificate,)))
    sealed = room.directory / "root-pin.p7m"
    assert not room.root_pin.exists()
    assert b"123456-test" not in sealed.read_bytes()
    assert openssl("cms", "-decrypt", "-inform", "DER", "-in", sealed, "-inkey", key) == "123456-test"
    assert transcript["artefacts"]["root-pin.p7m"] == sha256_hex(sealed.read_bytes())
    assert "123456" not in json.dumps(transcript)


def test_custodians_must_be_there_and_fit(plan: CeremonyPlan, room: CeremonyRoom) -> None:
    sealing = plan.model_copy(update={"root_pin": "seal", "custodians": ("custodian.pem",)})
    with pytest.raises(Invalid, match="custodian-unfit"):
        run_ceremony(sealing, room)
    assert room.root_pin.exists()


def test_weak_custodian_is_refused(plan: CeremonyPlan, room: CeremonyRoom, tmp_path: Path) -> None:
    weak = ["-newkey", "rsa:2048", "-nodes", "-keyout", tmp_path / "k", "-out", tmp_path / "c", "-subj", "/CN=C"]
    openssl("req", "-x509", *weak)
    sealing = plan.model_copy(update={"root_pin": "seal", "custodians": ("c",)})
    with pytest.raises(Invalid, match="custodian-unfit"):
        run_ceremony(sealing, dataclasses.replace(room, custodians=((tmp_path / "c").read_bytes(),)))


@pytest.mark.parametrize("file", ["tsu.pem", "root.pem"])
def test_changed_artefact_is_found(artefacts: Path, file: str) -> None:
    with (artefacts / file).open("ab") as artefact:
        artefact.write(b"\n")
    assert verify_ceremony(artefacts, NOW) == [f"{file} is not what the transcript says"]


def test_unreadable_artefact_is_named(artefacts: Path) -> None:
    with (artefacts / "root.crl").open("ab") as artefact:
        artefact.write(b"\n")
    with pytest.raises(Unavailable, match=r"root\.crl is missing or damaged"):
        verify_ceremony(artefacts, NOW)


def test_exchanged_certificate_is_found(artefacts: Path) -> None:
    (artefacts / "tsu.pem").write_bytes((artefacts / "ocsp-qualified.pem").read_bytes())
    assert verify_ceremony(artefacts, NOW) == [
        "tsu.pem is not what the transcript says",
        "tsu.pem is not signed by infrastructure",
        "tsu.pem has another key than the ceremony made",
    ]


def test_missing_and_damaged_stores_are_named(plan: CeremonyPlan, room: CeremonyRoom) -> None:
    with pytest.raises(NotFound, match="ceremony-missing"):
        CaStore(room.directory)
    run_ceremony(plan, room)
    (room.directory / "qualified.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(Unavailable, match=r"qualified\.pem"):
        CaStore(room.directory)
    (room.directory / "transcript.json").write_text("{}")
    with pytest.raises(Unavailable, match="transcript"):
        verify_ceremony(room.directory, room.clock.now())


def test_chains_lead_to_the_root(artefacts: Path) -> None:
    store = CaStore(artefacts)
    for name in ENTRIES:
        chain = [x509.Certificate.load(der) for der in store.chain(name)]
        assert chain[0].dump() == store.certificate(name)
        assert chain[-1].dump() == store.root
        for below, above in pairwise(chain):
            assert below.issuer == above.subject
    assert store.ocsp == {role: store.certificate(f"ocsp-{role}") for role in ISSUERS}
    assert [len(store.chain(name)) for name in ("root", "qualified", "tsu", "ocsp-nonqualified")] == [1, 2, 3, 3]


@pytest.mark.requirement("CA-1")
def test_crl_is_renewed_with_the_next_number(
    plan: CeremonyPlan, room: CeremonyRoom, token_factory: TokenFactory, clock: SettableClock
) -> None:
    key = room.tokens["root"]
    kept = _keep_open(key)
    run_ceremony(plan, kept_room := dataclasses.replace(room, tokens={**room.tokens, "root": kept}))
    store = CaStore(kept_room.directory)
    clock.advance(days=364)
    root = IssuingKey.of("root", store.root, key.signing_key("root-ca"))
    revoked = [RevokedCertificate(77, clock.now(), "cACompromise")]
    crl = renew_root_crl(room.directory, root, clock, number=2, days=365, revoked=revoked)
    assert crl_facts(store.root_crl)[0] == 1
    assert crl_facts(crl)[0] == 2
    assert CaStore(room.directory).root_crl == crl
    assert crl_findings(crl) == set()
    assert verify_ceremony(room.directory, clock.now()) == []
    clock.advance(days=366)
    assert verify_ceremony(room.directory, clock.now()) == ["root.crl has expired; renew it with the root's token"]


def _keep_open(token: Any) -> Any:
    """The same token for a ceremony that cannot close it: the test needs it afterwards."""

    class Kept:
        def __getattr__(self, name: str) -> Any:
            return (lambda: None) if name == "close" else getattr(token, name)

    return Kept()


@pytest.mark.requirement("OCSP-1")
def test_responders_are_certified_anew_with_the_same_keys(
    plan: CeremonyPlan, room: CeremonyRoom, clock: SettableClock, database: Database
) -> None:
    run_ceremony(plan, room)
    before = CaStore(room.directory)
    clock.advance(days=80)
    issuers = {
        role: IssuingKey.of(role, before.certificate(role), room.tokens["ca"].signing_key(f"{role}-ca"))
        for role in ISSUERS
    }
    authority = Authority(room.profiles, issuers, room.urls, clock, room.randomness)
    writer = Writer("certification", room.randomness, clock)
    issuance = Issuance(authority, database, clock, room.randomness, writer)
    rows = renew_responders(room.directory, plan, issuance, clock)
    after = CaStore(room.directory)
    for issuer, row in zip(ISSUERS, rows, strict=True):
        old, new = (x509.Certificate.load(store.ocsp[issuer]) for store in (before, after))
        assert new.public_key.dump() == old.public_key.dump()
        assert new.subject == old.subject
        assert new.serial_number != old.serial_number
        assert new.not_valid_before == clock.now()
        assert (row.der, row.issuer) == (after.ocsp[issuer], issuer)
    assert verify_ceremony(room.directory, clock.now()) == []


@pytest.mark.requirement("OCSP-1")
def test_responders_are_renewed_by_themselves_well_before_their_end(
    plan: CeremonyPlan, room: CeremonyRoom, clock: SettableClock, database: Database
) -> None:
    run_ceremony(plan, room)
    store = CaStore(room.directory)
    issuers = {
        role: IssuingKey.of(role, store.certificate(role), room.tokens["ca"].signing_key(f"{role}-ca"))
        for role in ISSUERS
    }
    authority = Authority(room.profiles, issuers, room.urls, clock, room.randomness)
    issuance = Issuance(authority, database, clock, room.randomness, Writer("engine", room.randomness, clock))
    renewal = ResponderRenewal(room.directory, lambda: plan, issuance, clock)
    clock.advance(days=55)
    assert renewal.renew() == 0
    clock.advance(days=1)
    # Of five that look at the same time one renews.
    with ThreadPoolExecutor(5) as threads:
        assert sorted(f.result() for f in [threads.submit(renewal.renew) for _ in range(5)]) == [0, 0, 0, 0, 3]
    with database.read() as session:
        for issuer, der in CaStore(room.directory).ocsp.items():
            assert der != store.ocsp[issuer]
            known = status(session, issuer, serial_text(x509.Certificate.load(der).serial_number))
            assert known is not None
            assert not known.revoked
        kinds = list(session.scalars(select(Entry.kind).order_by(Entry.id)))
    assert kinds == ["certificate-prepared", "certificate-issued"] * 3
    assert verify_ceremony(room.directory, clock.now()) == []


def test_a_renewal_that_fails_is_told_and_tried_again(
    plan: CeremonyPlan, room: CeremonyRoom, clock: SettableClock, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    run_ceremony(plan, room)
    store, tries, stop = CaStore(room.directory), [0], threading.Event()

    def missing() -> CeremonyPlan:
        tries[0] += 1
        if tries[0] == 2:
            stop.set()
        raise Invalid("ceremony-plan-invalid", "There is none.")

    key = IssuingKey.of("qualified", store.certificate("qualified"), room.tokens["ca"].signing_key("qualified-ca"))
    authority = Authority(room.profiles, {"qualified": key}, room.urls, clock, room.randomness)
    clock.advance(days=60)
    issuance = Issuance(authority, database, clock, room.randomness, Writer("engine", room.randomness, clock))
    ResponderRenewal(room.directory, missing, issuance, clock, look=timedelta(milliseconds=1)).run(stop)
    assert tries == [2]
    assert "ceremony-plan-invalid" in caplog.text
    assert CaStore(room.directory).ocsp == store.ocsp


def test_key_in_the_token_must_be_the_one_in_the_certificate(plan: CeremonyPlan, room: CeremonyRoom) -> None:
    run_ceremony(plan, room)
    store = CaStore(room.directory)
    with pytest.raises(Invalid, match="issuer-key-mismatch"):
        IssuingKey.of("qualified", store.certificate("qualified"), room.tokens["ca"].signing_key("infrastructure-ca"))


def test_pin_that_others_may_read_is_not_sealed(plan: CeremonyPlan, room: CeremonyRoom, custodian: Any) -> None:
    write_private(room.root_pin, b"123456-test")
    room.root_pin.chmod(0o644)
    sealing = plan.model_copy(update={"root_pin": "seal", "custodians": ("custodian.pem",)})
    with pytest.raises(PermissionError):
        run_ceremony(sealing, dataclasses.replace(room, custodians=(custodian[1],)))
    assert not room.directory.exists()
