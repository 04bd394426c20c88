"""What the responder says, of whom, and who signs it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asn1crypto import ocsp as asn1_ocsp
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from starlette.testclient import TestClient

from hsm import KeySpec
from tests.ocsp.conftest import ELSEWHERE, GOOD, NEVER, REVOKED, REVOKED_AT, Responder, ResponderFactory, ask
from tests.small_pki import BEGIN, Ca
from tsp.ca.crl import REASONS
from tsp.ca.tables import Certificate, serial_text
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.errors import Invalid
from tsp.ocsp.http import Terms, database_responder
from tsp.ocsp.renewal import Delegations
from tsp.ocsp.responder import Answer, GivenAnswers

TYPE = {"content-type": "application/ocsp-request"}
SUCCESS, STATUS = ocsp.OCSPResponseStatus.SUCCESSFUL, ocsp.OCSPCertStatus
HASHES = [hashes.SHA1(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()]  # noqa: S303  (older clients use SHA-1)


def verify(response: ocsp.OCSPResponse, issuer: Ca) -> x509.Certificate:
    """The responder's certificate, after its own and the response's signature have been checked."""
    (delegate,) = response.certificates
    delegate.verify_directly_issued_by(issuer.certificate)
    public = delegate.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert response.signature_hash_algorithm is not None
    public.verify(response.signature, response.tbs_response_bytes, ec.ECDSA(response.signature_hash_algorithm))
    return delegate


@pytest.mark.requirement("OCSP-1", "OCSP-2")
def test_a_good_certificate(responder: Responder, clock: SettableClock) -> None:
    clock.advance(seconds=0.75)
    response = ask(responder.client(), responder.query(GOOD))
    assert (response.response_status, response.certificate_status) == (SUCCESS, STATUS.GOOD)
    now = clock.now().replace(microsecond=0)
    assert response.produced_at_utc == response.this_update_utc == now
    assert response.next_update_utc == now + timedelta(hours=1)
    assert response.serial_number == GOOD
    delegate = verify(response, responder.issuing)
    identifier = x509.SubjectKeyIdentifier.from_public_key(delegate.public_key())
    assert response.responder_key_hash == identifier.digest
    assert response.responder_name is None


@pytest.mark.requirement("OCSP-1", "OCSP-2")
def test_a_revoked_certificate(responder: Responder) -> None:
    response = ask(responder.client(), responder.query(REVOKED))
    assert response.certificate_status is STATUS.REVOKED
    assert response.revocation_time_utc == REVOKED_AT.replace(microsecond=0)
    assert response.revocation_reason is x509.ReasonFlags.key_compromise
    verify(response, responder.issuing)


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_every_reason_is_told(responder: Responder, reason: str) -> None:
    responder.revoke(GOOD, REVOKED_AT, reason)
    response = ask(responder.client(), responder.query(GOOD))
    told = response.revocation_reason
    assert told is None if reason == "unspecified" else told is not None
    if told is not None:
        assert told.value.lower() == reason.lower()


@pytest.mark.requirement("OCSP-1")
def test_a_revocation_shows_in_the_next_answer(responder: Responder, clock: SettableClock) -> None:
    client = responder.client()
    assert ask(client, responder.query(GOOD)).certificate_status is STATUS.GOOD
    responder.revoke(GOOD, clock.now(), "superseded")
    assert ask(client, responder.query(GOOD)).certificate_status is STATUS.REVOKED


@pytest.mark.requirement("OCSP-1", "OCSP-2")
def test_an_answer_is_given_again_for_a_while(responder: Responder, clock: SettableClock) -> None:
    client, asked = responder.client(reuse_seconds=60), responder.query(GOOD)
    first = posted(client, asked)
    clock.advance(seconds=59)
    assert posted(client, asked) == first
    # Another form of the question is another question, and a nonce wants an answer of its own.
    assert posted(client, responder.query(GOOD, algorithm=hashes.SHA1())) != first  # noqa: S303
    assert ask(client, responder.query(GOOD, nonce=bytes(16))).produced_at_utc == clock.now()
    clock.advance(seconds=1)
    assert ask(client, asked).produced_at_utc == clock.now()


def test_what_is_not_known_is_never_kept(responder: Responder) -> None:
    client, asked = responder.client(reuse_seconds=60), responder.query(NEVER)
    assert ask(client, asked).certificate_status is STATUS.UNKNOWN
    with responder.database.write() as session:
        row = session.get_one(Certificate, serial_text(GOOD))
        facts = {c.key: getattr(row, c.key) for c in Certificate.__table__.columns}
        session.add(Certificate(**facts | {"serial": serial_text(NEVER)}))
    assert ask(client, asked).certificate_status is STATUS.GOOD


def test_only_so_many_answers_are_kept() -> None:
    kept, moment = GivenAnswers(timedelta(seconds=60), most=2), datetime(2026, 1, 1, tzinfo=UTC)
    template: Any = None
    for number in range(3):
        kept.keep((template, (bytes([number]),)), (None,), Answer(b"", moment, moment + timedelta(hours=1)))
    found = [kept.find((template, (bytes([n]),)), (None,), moment) is not None for n in range(3)]
    assert found == [False, True, True]


@pytest.mark.requirement("OCSP-1")
def test_renewed_certificates_are_taken_up_without_a_restart(responder: Responder, clock: SettableClock) -> None:
    present = responder.delegations
    at_work = database_responder(present, responder.database, clock, Terms(timedelta(hours=1), timedelta(minutes=1)))
    found = list(present)
    watch = Delegations(at_work, lambda: found, present)
    asked = responder.query(GOOD)
    old = at_work.answer(asked).body
    assert not watch.look()
    assert at_work.answer(asked).body == old
    renewed = responder.issuing.ocsp(present[0].signer.public_spki)
    found[0] = replace(present[0], certificate=renewed)
    assert watch.look()
    (certificate,) = ocsp.load_der_ocsp_response(at_work.answer(asked).body).certificates
    assert certificate.public_bytes(Encoding.DER) == renewed
    found[0] = replace(present[0], certificate=present[1].certificate)
    with pytest.raises(Invalid, match="ocsp-certificate-unfit"):
        watch.look()
    (certificate,) = ocsp.load_der_ocsp_response(at_work.answer(asked).body).certificates
    assert certificate.public_bytes(Encoding.DER) == renewed


@pytest.mark.requirement("OCSP-1")
def test_what_was_never_issued_is_unknown(responder: Responder) -> None:
    client = responder.client()
    assert ask(client, responder.query(NEVER)).certificate_status is STATUS.UNKNOWN
    # The other authority's certificate was not issued by this one, whatever its serial number.
    asked = with_serial(responder.query(GOOD), ELSEWHERE)
    assert ask(client, asked).certificate_status is STATUS.UNKNOWN


@pytest.mark.requirement("OCSP-1")
@pytest.mark.parametrize("nonce", [None, bytes(16)])
def test_what_was_never_issued_may_be_told_as_revoked(responder: Responder, nonce: bytes | None) -> None:
    client = responder.client(extended_revoke=True, reuse_seconds=60)
    response = ask(client, responder.query(NEVER, nonce=nonce))
    assert response.certificate_status is STATUS.REVOKED
    assert response.revocation_reason is x509.ReasonFlags.certificate_hold
    assert response.revocation_time_utc == datetime(1970, 1, 1, tzinfo=UTC)
    told = {extension.oid.dotted_string for extension in response.extensions}
    assert told == {"1.3.6.1.5.5.7.48.1.9"} | ({"1.3.6.1.5.5.7.48.1.2"} if nonce else set())
    assert len(response.single_extensions) == 0
    # It may still be issued: nobody keeps this answer, and what was issued is told as ever, without the extension.
    assert "no-store" in client.post("/", content=responder.query(NEVER), headers=TYPE).headers["cache-control"]
    good = ask(client, responder.query(GOOD))
    assert (good.certificate_status, len(good.extensions)) == (STATUS.GOOD, 0)


def test_the_same_question_twice_in_one_request_is_answered_twice(responder: Responder) -> None:
    asked = asn1_ocsp.OCSPRequest.load(responder.query(GOOD))
    one = asked["tbs_request"]["request_list"][0]
    asked["tbs_request"]["request_list"] = [one, one]
    answer = asn1_ocsp.OCSPResponse.load(posted(responder.client(reuse_seconds=60), asked.dump(force=True)))
    states = [r["cert_status"].name for r in answer.basic_ocsp_response["tbs_response_data"]["responses"]]
    assert states == ["good", "good"]


def posted(client: TestClient, asked: bytes) -> bytes:
    return client.post("/", content=asked, headers=TYPE).content


def with_serial(request: bytes, serial: int) -> bytes:
    """The same request for another serial number."""
    asked = asn1_ocsp.OCSPRequest.load(request)
    asked["tbs_request"]["request_list"][0]["req_cert"]["serial_number"] = serial
    return bytes(asked.dump(force=True))


@pytest.mark.parametrize("serial", [-5, 0, 2**127, 2**159 - 1, 2**600])
def test_odd_serial_numbers_are_unknown(responder: Responder, serial: int) -> None:
    asked = with_serial(responder.query(GOOD), serial)
    reply = responder.client().post("/", content=asked, headers=TYPE)
    answer = asn1_ocsp.OCSPResponse.load(reply.content, strict=True)
    (single,) = answer.basic_ocsp_response["tbs_response_data"]["responses"]
    assert single["cert_status"].name == "unknown"
    assert single["cert_id"]["serial_number"].native == serial


@pytest.mark.requirement("OCSP-1")
def test_each_authority_has_its_own_responder(responder: Responder) -> None:
    client = responder.client()
    for serial, ca in ((GOOD, responder.issuing), (ELSEWHERE, responder.infrastructure)):
        response = ask(client, responder.query(serial, issuer=ca))
        assert response.certificate_status is STATUS.GOOD
        verify(response, ca)


@pytest.mark.parametrize("algorithm", HASHES, ids=lambda a: a.name)
def test_the_certificate_is_named_as_it_was_asked(responder: Responder, algorithm: hashes.HashAlgorithm) -> None:
    asked = responder.query(GOOD, algorithm=algorithm)
    response = ask(responder.client(), asked)
    assert response.hash_algorithm.name == algorithm.name
    request = ocsp.load_der_ocsp_request(asked)
    assert (response.issuer_name_hash, response.issuer_key_hash) == (request.issuer_name_hash, request.issuer_key_hash)
    assert response.certificate_status is STATUS.GOOD


@pytest.mark.requirement("OCSP-1")
def test_a_strangers_certificate_is_not_answered(responder: Responder) -> None:
    client = responder.client()
    for stranger in (Ca("TEST Issuing", responder.root), Ca("Stranger")):
        response = ask(client, responder.query(GOOD, issuer=stranger))
        assert response.response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED


@pytest.mark.parametrize("length", [1, 16, 32, 128])
def test_a_nonce_comes_back(responder: Responder, length: int) -> None:
    nonce = bytes(range(length))
    response = ask(responder.client(), responder.query(GOOD, nonce=nonce))
    assert response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == nonce
    assert len(ask(responder.client(), responder.query(GOOD)).extensions) == 0


@pytest.mark.parametrize("nonce", [b"", bytes(129)])
def test_a_nonce_of_wrong_length_is_malformed(responder: Responder, nonce: bytes) -> None:
    response = ask(responder.client(), responder.query(GOOD, nonce=nonce))
    assert response.response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


def several(*requests: bytes) -> bytes:
    """One request for all the certificates of several."""
    loaded = [asn1_ocsp.OCSPRequest.load(r) for r in requests]
    all_of_them = [r["tbs_request"]["request_list"][0] for r in loaded]
    return bytes(asn1_ocsp.OCSPRequest({"tbs_request": {"request_list": all_of_them}}).dump())


def statuses(client_reply: bytes) -> list[str]:
    answer = asn1_ocsp.OCSPResponse.load(client_reply, strict=True)
    return [s["cert_status"].name for s in answer.basic_ocsp_response["tbs_response_data"]["responses"]]


def test_several_certificates_are_answered_in_order(responder: Responder) -> None:
    stranger = responder.query(GOOD, issuer=Ca("Stranger"))
    body = several(responder.query(REVOKED), responder.query(GOOD), stranger, responder.query(NEVER))
    reply = responder.client().post("/", content=body, headers=TYPE)
    assert statuses(reply.content) == ["revoked", "good", "unknown", "unknown"]


def test_several_authorities_in_one_request_are_not_answered(responder: Responder) -> None:
    body = several(responder.query(GOOD), responder.query(ELSEWHERE, issuer=responder.infrastructure))
    assert ask(responder.client(), body).response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED


def test_too_many_certificates_are_malformed(responder: Responder) -> None:
    client = responder.client()
    assert ask(client, several(*[responder.query(GOOD)] * 17)).response_status is (
        ocsp.OCSPResponseStatus.MALFORMED_REQUEST
    )
    reply = client.post("/", content=several(*[responder.query(GOOD)] * 16), headers=TYPE)
    assert statuses(reply.content) == ["good"] * 16


def test_known_certificates_say_since_when_statuses_are_kept(responder: Responder) -> None:
    client = responder.client()
    for serial, present in ((GOOD, True), (REVOKED, True), (NEVER, False)):
        singles = ask(client, responder.query(serial)).single_extensions
        assert len(singles) == present
        if present:
            (cutoff,) = singles
            assert cutoff.oid.dotted_string == "1.3.6.1.5.5.7.48.1.6"
            assert isinstance(cutoff.value, x509.UnrecognizedExtension)
            assert BEGIN.strftime("%Y%m%d%H%M%SZ").encode() in cutoff.value.value


def test_a_p384_responder_signs_with_sha384(make_responder: ResponderFactory, clock: SettableClock) -> None:
    made = make_responder(clock, KeySpec.P384)
    response = ask(made.client(), made.query(GOOD))
    assert isinstance(response.signature_hash_algorithm, hashes.SHA384)
    verify(response, made.issuing)


def test_an_answer_ends_with_the_responders_certificate(make_responder: ResponderFactory, clock: SettableClock) -> None:
    end = clock.now().replace(microsecond=0) + timedelta(minutes=20)
    made = make_responder(clock, end=end)
    client = made.client()
    assert ask(client, made.query(GOOD)).next_update_utc == end
    clock.advance(minutes=20)
    assert ask(client, made.query(GOOD)).response_status is ocsp.OCSPResponseStatus.TRY_LATER


def test_a_token_that_is_gone_means_later(responder: Responder, caplog: pytest.LogCaptureFixture) -> None:
    client = responder.client()
    responder.token.close()
    assert ask(client, responder.query(GOOD)).response_status is ocsp.OCSPResponseStatus.TRY_LATER
    assert "Open it again" in caplog.text


def test_a_database_that_is_gone_means_later(responder: Responder) -> None:
    # As the name of a file and as that of a database: neither is there.
    nowhere = responder.database.engine.url.set(database="/nowhere/at.all")
    gone = Database(nowhere.render_as_string(hide_password=False))
    client = responder.client(database=gone)
    assert ask(client, responder.query(GOOD)).response_status is ocsp.OCSPResponseStatus.TRY_LATER
    gone.close()


def test_an_unforeseen_error_is_internal(responder: Responder, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        public_spki = responder.delegations[0].signer.public_spki

        def sign_digest(self, digest: bytes) -> bytes:
            raise ZeroDivisionError

    client = responder.client(delegations=[replace(responder.delegations[0], signer=Broken())])
    assert ask(client, responder.query(GOOD)).response_status is ocsp.OCSPResponseStatus.INTERNAL_ERROR
    assert "unexpected error" in caplog.text


def test_a_responder_must_belong_to_its_authority(responder: Responder) -> None:
    one, two = responder.delegations
    twin = Ca("TEST Issuing", responder.root)
    for wrong in (
        replace(one, signer=two.signer),
        replace(one, issuer=two.issuer),
        replace(one, issuer=twin.der),
        replace(one, certificate=twin.ocsp(one.signer.public_spki)),
        replace(one, certificate=b"none"),
        replace(one, issuer=b"none"),
        replace(one, certificate=responder.issuing.ocsp(one.signer.public_spki, purpose=False)),
        replace(one, certificate=responder.issuing.ocsp(one.signer.public_spki, nocheck=False)),
    ):
        with pytest.raises(Invalid, match="ocsp-certificate-unfit"):
            responder.client(delegations=[wrong])


def test_times_are_whole_seconds_of_utc(responder: Responder, clock: SettableClock) -> None:
    clock.advance(seconds=0.999999)
    reply = responder.client().post("/", content=responder.query(REVOKED), headers=TYPE)
    data = asn1_ocsp.OCSPResponse.load(reply.content).basic_ocsp_response["tbs_response_data"]
    single = data["responses"][0]
    for moment in (data["produced_at"], single["this_update"], single["next_update"]):
        assert moment.native.tzinfo == UTC
        assert len(moment.contents) == len(b"20261123100000Z")
