"""A hierarchy as the ceremony makes it: its TSU stamps, its responder answers, its root's list is there."""

import asyncio
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms, crl
from asn1crypto import ocsp as asn1_ocsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from pyhanko.sign.validation.generic_cms import validate_tst_signed_data
from pyhanko_certvalidator import ValidationContext
from starlette.testclient import TestClient

from tests.ca.ca_kit import URLS, profiles
from tests.conftest import TokenFactory
from tests.tsa.conftest import POLICY, TimeStampResp, query
from tsp.audit.entries import Writer
from tsp.ca.authority import Authority, IssuingKey
from tsp.ca.ceremony import CeremonyRoom, run_ceremony
from tsp.ca.issuance import Issuance
from tsp.ca.plan import ISSUERS, load_plan
from tsp.ca.profiles import Profile
from tsp.ca.revocation import revoke
from tsp.ca.samples import SampleBench, make_samples
from tsp.ca.store import CaStore
from tsp.ca.upkeep import register
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.files import write_private
from tsp.core.randomness import Randomness
from tsp.core.settings import default_config
from tsp.ocsp.http import ocsp_app
from tsp.ocsp.responder import Delegation
from tsp.tsa.http import tsa_app

DATA = b"a document\n"


@pytest.fixture
def room(token_factory: TokenFactory, tmp_path: Path, clock: SettableClock, randomness: Randomness) -> CeremonyRoom:
    pin = tmp_path / "root.pin"
    write_private(pin, b"123456-test\n")
    return CeremonyRoom(
        tokens={name: token_factory(name) for name in ("root", "ca", "tsu", "qtsu", "ocsp")},
        profiles=profiles(),
        urls=URLS,
        directory=tmp_path / "ca",
        clock=clock,
        randomness=randomness,
        root_pin=pin,
        plan_sha256="0" * 64,
    )


@pytest.fixture
def store(room: CeremonyRoom, database: Database, clock: SettableClock) -> CaStore:
    run_ceremony(load_plan(default_config().with_name("ceremony.toml")), room)
    with database.write() as session:
        register(session, room.directory, clock.now(), Writer("certification", room.randomness, clock))
    clock.advance(minutes=1)
    return CaStore(room.directory)


def stamp(room: CeremonyRoom, store: CaStore, database: Database, unit: str = "tsu") -> cms.ContentInfo:
    app = tsa_app(
        qualified=unit == "qtsu",
        signer=room.tokens[unit].signing_key(unit),
        certificate=store.certificate(unit),
        chain=store.chain(unit)[1:-1],
        policy=POLICY,
        accuracy_ms=500,
        max_clock_jump_ms=500,
        database=database,
        clock=room.clock,
        randomness=room.randomness,
    )
    asked = query(hashlib.sha256(DATA).digest(), cert_req=True)
    with TestClient(app) as client:
        told = client.post("/", content=asked, headers={"content-type": "application/timestamp-query"}).content
    return TimeStampResp.load(told, strict=True)["time_stamp_token"]


def status(room: CeremonyRoom, store: CaStore, database: Database, certificate: bytes, issuer: bytes) -> bytes:
    app = ocsp_app(
        delegations=[
            Delegation(role, store.certificate(role), store.ocsp[role], room.tokens["ocsp"].signing_key(f"ocsp-{role}"))
            for role in ISSUERS
        ],
        database=database,
        clock=room.clock,
        validity_seconds=3600,
    )
    one, by = x509.load_der_x509_certificate(certificate), x509.load_der_x509_certificate(issuer)
    asked = ocsp.OCSPRequestBuilder().add_certificate(one, by, hashes.SHA256()).build().public_bytes(Encoding.DER)
    with TestClient(app) as client:
        return client.post("/", content=asked, headers={"content-type": "application/ocsp-request"}).content


@pytest.mark.requirement("TSA-1", "OCSP-1", "OCSP-2", "CA-1")
@pytest.mark.parametrize("unit", ["tsu", "qtsu"])
def test_a_time_stamp_validates_with_the_responders_answer(
    room: CeremonyRoom, store: CaStore, database: Database, clock: SettableClock, unit: str
) -> None:
    token = stamp(room, store, database, unit)
    answer = status(room, store, database, store.certificate(unit), store.infrastructure)
    assert ocsp.load_der_ocsp_response(answer).certificate_status is ocsp.OCSPCertStatus.GOOD

    async def validate() -> dict[str, Any]:
        context = ValidationContext(
            trust_roots=[asn1_x509.Certificate.load(store.root)],
            other_certs=[asn1_x509.Certificate.load(store.infrastructure)],
            ocsps=[asn1_ocsp.OCSPResponse.load(answer)],
            crls=[crl.CertificateList.load(store.root_crl)],
            revocation_mode="require",
            allow_fetching=False,
            moment=clock.now(),
        )
        imprint = hashlib.sha256(DATA).digest()
        return dict(await validate_tst_signed_data(token["content"], context, lambda _name: imprint))

    found = asyncio.run(validate())
    assert found["intact"]
    assert found["valid"]
    assert found["trust_problem_indic"] is None


@pytest.mark.requirement("TSA-1")
def test_the_unit_stops_when_its_keys_year_is_over(
    room: CeremonyRoom, store: CaStore, database: Database, clock: SettableClock
) -> None:
    clock.advance(days=364)
    assert stamp(room, store, database).native is not None
    clock.advance(days=2)
    assert stamp(room, store, database).native is None


@pytest.mark.requirement("CA-1", "OCSP-1")
def test_test_certificates_have_the_status_that_they_are_named_after(
    room: CeremonyRoom, store: CaStore, database: Database, clock: SettableClock
) -> None:
    token = room.tokens["ca"]
    issuers = {role: IssuingKey.of(role, store.certificate(role), token.signing_key(f"{role}-ca")) for role in ISSUERS}
    writer = Writer("certification", room.randomness, clock)

    def issuance(known: Mapping[str, Profile]) -> Issuance:
        authority = Authority(known, issuers, room.urls, clock, room.randomness, qscd=True)
        return Issuance(authority, database, clock, room.randomness, writer, one_time=True)

    def key() -> bytes:
        with token.one_time_key() as made:
            return made.public_spki

    def withdraw(role: str, serial: str) -> None:
        with database.write() as session:
            revoke(session, role, serial, "cessationOfOperation", clock.now())

    kinds = {name: room.profiles[name] for name in ("qualified", "qualified-seal", "authentication", "tsu")}
    provider = "SI", "Enkrat TEST d.o.o.", "VATSI-10000003"
    samples = make_samples(SampleBench(kinds, frozenset(issuers), issuance, key, withdraw, provider, qscd=True))
    clock.advance(minutes=2)
    assert len(samples) == 11
    for sample in samples:
        answer = ocsp.load_der_ocsp_response(
            status(room, store, database, sample.der, store.certificate(sample.issuer))
        )
        wanted = ocsp.OCSPCertStatus.REVOKED if sample.state == "revoked" else ocsp.OCSPCertStatus.GOOD
        assert answer.certificate_status is wanted
        assert (sample.not_after < clock.now()) == (sample.state == "expired")
