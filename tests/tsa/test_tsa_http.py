"""Over HTTP, with other people's clients: OpenSSL, rfc3161ng, pyHanko."""

import asyncio
import hashlib
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rfc3161ng
from asn1crypto import cms, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from pyhanko.sign.timestamps import TimeStamper
from pyhanko.sign.validation.generic_cms import validate_tst_signed_data
from pyhanko_certvalidator import ValidationContext
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)
from starlette.testclient import TestClient

from hsm import KeySpec
from tests.small_pki import Ca, pem
from tests.tsa.conftest import POLICY, Unit, UnitFactory, ask, info_of, query, refusal_of
from tsp.tsa.http import MAX_REQUEST

DATA = b"a document\n"
TYPE = {"content-type": "application/timestamp-query"}


@pytest.fixture
def client(unit: Unit) -> TestClient:
    return unit.client()


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_only_post_is_served(client: TestClient, method: str) -> None:
    reply = client.request(method, "/")
    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")
    assert reply.headers["content-type"].startswith("text/plain")


def test_other_places_and_types_are_told_in_plain_text(client: TestClient) -> None:
    assert client.post("/elsewhere", content=query(), headers=TYPE).status_code == 404
    for kind in ("application/json", "application/ocsp-request", ""):
        reply = client.post("/", content=query(), headers={"content-type": kind})
        assert reply.status_code == 415
        assert "json" not in reply.headers["content-type"]


def test_parameters_of_the_media_type_do_no_harm(client: TestClient) -> None:
    reply = client.post("/", content=query(), headers={"content-type": "Application/Timestamp-Query; charset=binary"})
    assert reply.status_code == 200


def test_large_requests_are_refused(client: TestClient) -> None:
    assert refusal_of(ask(client, b"\x00" * MAX_REQUEST)) == {"bad_data_format"}
    assert client.post("/", content=b"\x00" * (MAX_REQUEST + 1), headers=TYPE).status_code == 413

    def drip() -> Any:
        for _ in range(MAX_REQUEST + 1):
            yield b"\x00"

    assert client.post("/", content=drip(), headers=TYPE).status_code == 413


@pytest.mark.parametrize("body", [b"", b"{}", b"\x30\x00", b"<html>"])
def test_nonsense_gets_a_rejection_in_the_protocol(client: TestClient, body: bytes) -> None:
    assert refusal_of(ask(client, body)) == {"bad_data_format"}


def test_replies_are_not_stored(client: TestClient) -> None:
    reply = client.post("/", content=query(), headers=TYPE)
    assert reply.headers["cache-control"] == "no-store"
    assert int(reply.headers["content-length"]) == len(reply.content)


def test_a_unit_may_have_a_place_of_its_own(unit: Unit) -> None:
    client = unit.client(paths=("/qualified",), qualified=True)
    assert client.post("/qualified", content=query(), headers=TYPE).status_code == 200
    assert client.post("/", content=query(), headers=TYPE).status_code == 404


def openssl(*arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["openssl", *map(str, arguments)], check=check, capture_output=True)


@pytest.mark.requirement("TSA-1", "OCSP-2")
@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512", "sha3-256", "sha3-512"])
@pytest.mark.parametrize("spec", [KeySpec.P256, KeySpec.P384])
def test_openssl_asks_and_verifies(make_unit: UnitFactory, tmp_path: Path, spec: KeySpec, algorithm: str) -> None:
    unit = make_unit(spec)
    data, asked, told = tmp_path / "data", tmp_path / "asked.tsq", tmp_path / "told.tsr"
    roots, chain = tmp_path / "root.pem", tmp_path / "chain.pem"
    data.write_bytes(DATA)
    roots.write_bytes(pem(unit.root.der))
    chain.write_bytes(pem(unit.certificate, unit.authority.der))
    openssl("ts", "-query", "-data", data, f"-{algorithm}", "-cert", "-out", asked)
    told.write_bytes(unit.client().post("/", content=asked.read_bytes(), headers=TYPE).content)
    verify = ("ts", "-verify", "-in", told, "-CAfile", roots)
    assert b"Verification: OK" in openssl(*verify, "-queryfile", asked).stdout
    assert b"Verification: OK" in openssl(*verify, "-data", data, "-untrusted", chain).stdout
    shown = openssl("ts", "-reply", "-in", told, "-text").stdout.decode()
    assert "Status: Granted." in shown
    assert "0x01F4 millis" in shown
    data.write_bytes(b"another document")
    assert openssl(*verify, "-data", data, check=False).returncode != 0


@pytest.mark.requirement("TSA-1", "OCSP-2")
def test_openssl_verifies_a_qualified_time_stamp(unit: Unit, tmp_path: Path) -> None:
    data, told, roots = tmp_path / "data", tmp_path / "told.tsr", tmp_path / "root.pem"
    data.write_bytes(DATA)
    roots.write_bytes(pem(unit.root.der))
    asked = query(hashlib.sha256(DATA).digest(), cert_req=True)
    told.write_bytes(unit.client(qualified=True).post("/", content=asked, headers=TYPE).content)
    verify = ("ts", "-verify", "-in", told, "-data", data, "-CAfile", roots)
    assert b"Verification: OK" in openssl(*verify).stdout
    shown = openssl("ts", "-reply", "-in", told, "-text").stdout.decode()
    assert "Extensions:\nqcStatements:" in re.sub(r"\n +", "\n", shown)


def test_openssl_reads_a_rejection(unit: Unit, tmp_path: Path) -> None:
    data, asked, told = tmp_path / "data", tmp_path / "asked.tsq", tmp_path / "told.tsr"
    data.write_bytes(DATA)
    openssl("ts", "-query", "-data", data, "-sha1", "-out", asked)
    told.write_bytes(unit.client().post("/", content=asked.read_bytes(), headers=TYPE).content)
    shown = openssl("ts", "-reply", "-in", told, "-text").stdout.decode()
    assert "Status: Rejected." in shown
    assert "unrecognized or unsupported algorithm identifier" in shown


@pytest.mark.requirement("TSA-1", "OCSP-2")
@pytest.mark.parametrize("qualified", [False, True])
def test_rfc3161ng_asks_and_verifies(unit: Unit, monkeypatch: pytest.MonkeyPatch, qualified: bool) -> None:
    """rfc3161ng 2.1 knows RSA only: its call is turned into the one for an EC key, everything else is its own."""

    class EcKey:
        def __init__(self, key: ec.EllipticCurvePublicKey) -> None:
            self._key = key

        def verify(self, signature: bytes, data: bytes, _padding: object, algorithm: hashes.HashAlgorithm) -> None:
            self._key.verify(signature, data, ec.ECDSA(algorithm))

    class Certificate:
        def __init__(self, encoded: bytes) -> None:
            self._key = x509.load_der_x509_certificate(encoded).public_key()

        def public_key(self) -> EcKey:
            assert isinstance(self._key, ec.EllipticCurvePublicKey)
            return EcKey(self._key)

    monkeypatch.setattr(rfc3161ng.api, "load_certificate", lambda _signed, encoded: Certificate(encoded))
    asked = rfc3161ng.make_timestamp_request(
        digest=hashlib.sha256(DATA).digest(), hashname="sha256", include_tsa_certificate=True, nonce=987654321
    )
    told = (
        unit.client(qualified=qualified)
        .post("/", content=rfc3161ng.encode_timestamp_request(asked), headers=TYPE)
        .content
    )
    response = rfc3161ng.decode_timestamp_response(told)
    check: Callable[..., bool] = rfc3161ng.check_timestamp
    assert check(response.time_stamp_token, unit.certificate, data=DATA, hashname="sha256", nonce=987654321)
    assert rfc3161ng.get_timestamp(response.time_stamp_token, naive=False) == unit.clock.now()
    with pytest.raises(ValueError, match="imprint"):
        check(response.time_stamp_token, unit.certificate, data=b"other", hashname="sha256", nonce=987654321)


@pytest.mark.requirement("TSA-1", "OCSP-2")
@pytest.mark.parametrize("qualified", [False, True])
@pytest.mark.parametrize("spec", [KeySpec.P256, KeySpec.P384])
@pytest.mark.parametrize("algorithm", list(HashAlgorithm), ids=lambda a: a.name)
def test_rfc3161_client_asks_and_verifies(
    make_unit: UnitFactory, spec: KeySpec, qualified: bool, algorithm: HashAlgorithm
) -> None:
    unit = make_unit(spec)
    asked = TimestampRequestBuilder().data(DATA).hash_algorithm(algorithm).nonce(nonce=True).build()
    told = unit.client(qualified=qualified).post("/", content=asked.as_bytes(), headers=TYPE).content
    response = decode_timestamp_response(told)
    verifier = (
        VerifierBuilder.from_request(asked)
        .policy_id(x509.ObjectIdentifier(POLICY))
        .tsa_certificate(x509.load_der_x509_certificate(unit.certificate))
        .add_intermediate_certificate(unit.authority.certificate)
        .add_root_certificate(unit.root.certificate)
        .build()
    )
    assert verifier.verify_message(response, DATA)
    assert response.tst_info.gen_time == unit.clock.now()
    with pytest.raises(VerificationError):
        verifier.verify_message(response, b"another document")


class OurStamper(TimeStamper):
    """pyHanko's client, talking to the application without a network."""

    def __init__(self, client: TestClient) -> None:
        super().__init__(include_nonce=True)
        self._client = client

    async def async_request_tsa_response(self, req: tsp.TimeStampReq) -> tsp.TimeStampResp:
        told = await asyncio.to_thread(self._client.post, "/", content=req.dump(), headers=TYPE)
        return tsp.TimeStampResp.load(told.content)


@pytest.mark.requirement("TSA-1", "OCSP-2")
@pytest.mark.parametrize("qualified", [False, True])
def test_pyhanko_asks_and_validates(unit: Unit, qualified: bool) -> None:
    stamper = OurStamper(unit.client(qualified=qualified))

    async def stamp_and_validate() -> tuple[cms.ContentInfo, dict[str, Any]]:
        token = await stamper.async_timestamp(hashlib.sha256(DATA).digest(), "sha256")
        context = ValidationContext(
            trust_roots=[asn1_x509.Certificate.load(unit.root.der)],
            other_certs=[asn1_x509.Certificate.load(unit.authority.der)],
            allow_fetching=False,
            moment=unit.clock.now(),
        )
        found = await validate_tst_signed_data(token["content"], context, lambda name: hashlib.new(name, DATA).digest())
        return token, found

    token, found = asyncio.run(stamp_and_validate())
    assert found["intact"]
    assert found["valid"]
    assert found["trust_problem_indic"] is None
    assert found["timestamp"] == unit.clock.now()
    assert token["content"]["encap_content_info"]["content_type"].native == "tst_info"


def test_a_stranger_is_not_trusted(unit: Unit, tmp_path: Path) -> None:
    roots, told, data = tmp_path / "root.pem", tmp_path / "told.tsr", tmp_path / "data"
    roots.write_bytes(pem(Ca("TEST Root").der))
    data.write_bytes(DATA)
    asked = query(hashlib.sha256(DATA).digest(), cert_req=True)
    told.write_bytes(unit.client().post("/", content=asked, headers=TYPE).content)
    assert openssl("ts", "-verify", "-in", told, "-data", data, "-CAfile", roots, check=False).returncode != 0


def test_old_serials_are_not_met_again_after_a_restart(unit: Unit) -> None:
    serials = set()
    for _ in range(3):
        client = unit.client()
        serials |= {info_of(ask(client, query()))["serial_number"].native for _ in range(5)}
    assert len(serials) == 15
