"""The small parts: tokens of the site's key, time-stamp replies, status answers, the story, the words."""

import base64
import dataclasses
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from asn1crypto import tsp as asn1_tsp
from babel.messages.catalog import Catalog
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey

from hsm.errors import TokenGone
from tests.ca.ca_kit import SoftKey
from tests.sign.street import OCSP, REPOSITORY, TSA, Street, Town, Visitor
from tests.small_pki import Ca, load, name
from tsp.ca.store import CaStore
from tsp.core.clock import SettableClock
from tsp.core.errors import Unavailable
from tsp.core.jwk import public_key
from tsp.core.outbound import Outbound, OutboundResponse
from tsp.core.randomness import Randomness
from tsp.formats.findings import Finding
from tsp.formats.time_stamp import read_reply, time_stamp_request
from tsp.sign import story, words
from tsp.sign.client_key import ClientKey
from tsp.sign.material import Collector, Material
from tsp.sign.public_log import PublicLog
from tsp.web.language import merge_catalogues

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
IMPRINT = hashlib.sha256(b"signature value").digest()


# --- the site's key -----------------------------------------------------------------------------


@pytest.mark.requirement("OID-1")
def test_assertion_is_a_jwt_of_the_key(randomness: Randomness) -> None:
    soft = SoftKey()
    key = ClientKey(soft, "enkrat-sign", randomness)
    first, second = (jwt.decode(key.assertion("http://idp", NOW), public_key(soft.public_spki)) for _ in range(2))
    assert first.claims | {"jti": ""} == {
        "iss": "enkrat-sign",
        "sub": "enkrat-sign",
        "aud": "http://idp",
        "jti": "",
        "iat": int(NOW.timestamp()),
        "exp": int(NOW.timestamp()) + 60,
    }
    assert first.claims["jti"] != second.claims["jti"]
    assert first.header == {"alg": "ES256", "typ": "JWT", "kid": key.thumbprint}


@pytest.mark.requirement("CSC-2")
def test_proof_shows_the_key_and_names_approval_and_digests(randomness: Randomness) -> None:
    soft = SoftKey()
    key = ClientKey(soft, "enkrat-sign", randomness)
    read = jwt.decode(key.engine_proof("a.b.c", ["00ff"], NOW), public_key(soft.public_spki))
    assert read.header["typ"] == "engine-proof+jwt"
    assert ECKey.import_key(read.header["jwk"]).thumbprint() == key.thumbprint
    assert set(read.header["jwk"]) == {"kty", "crv", "x", "y"}
    hashed = base64.urlsafe_b64encode(hashlib.sha256(b"a.b.c").digest()).rstrip(b"=").decode()
    assert read.claims == {"sad_hash": hashed, "digests": ["00ff"], "iat": int(NOW.timestamp())}


def test_key_whose_token_is_gone_is_unavailable(randomness: Randomness) -> None:
    soft = SoftKey()

    def gone(_digest: bytes) -> bytes:
        raise TokenGone("The token is gone.")

    soft.sign_digest = gone  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        ClientKey(soft, "enkrat-sign", randomness).assertion("http://idp", NOW)


# --- time-stamps --------------------------------------------------------------------------------


@pytest.mark.requirement("TSA-1")
@given(st.binary(min_size=32, max_size=32), st.integers(min_value=0, max_value=2**64 - 1))
def test_request_reads_as_rfc_3161(imprint: bytes, nonce: int) -> None:
    read = asn1_tsp.TimeStampReq.load(time_stamp_request(imprint, nonce), strict=True)
    assert read.native == {
        "version": "v1",
        "message_imprint": {
            "hash_algorithm": {"algorithm": "sha256", "parameters": None},
            "hashed_message": imprint,
        },
        "req_policy": None,
        "nonce": nonce,
        "cert_req": True,
        "extensions": None,
    }


@pytest.fixture
def reply(street: Street) -> bytes:
    """The authority's reply to a request of ours."""
    headers = {"content-type": "application/timestamp-query"}
    return street.door.request("POST", TSA, headers=headers, content=time_stamp_request(IMPRINT, 5)).body


@pytest.mark.requirement("TSA-1")
def test_reply_is_read(reply: bytes, town: Town) -> None:
    token = read_reply(reply, IMPRINT, 5)
    assert token.certificate == CaStore(town.ca).tsu
    assert token.gen_time == NOW
    assert reply.endswith(token.der)


@pytest.mark.requirement("TSA-1")
@pytest.mark.parametrize(("imprint", "nonce"), [(bytes(32), 5), (IMPRINT, 6)])
def test_reply_to_another_request_is_refused(reply: bytes, imprint: bytes, nonce: int) -> None:
    with pytest.raises(Unavailable) as refused:
        read_reply(reply, imprint, nonce)
    assert refused.value.facts["cause"] == "other-request"


def test_rejection_is_refused(street: Street) -> None:
    headers = {"content-type": "application/timestamp-query"}
    rejected = street.door.request("POST", TSA, headers=headers, content=time_stamp_request(IMPRINT[:20], 5)).body
    with pytest.raises(Unavailable) as refused:
        read_reply(rejected, IMPRINT, 5)
    assert refused.value.facts["cause"] == "rejected"


@given(st.binary(max_size=200))
def test_reply_of_anything_is_refused(body: bytes) -> None:
    with pytest.raises(Unavailable):
        read_reply(body, IMPRINT, 5)


def test_reply_with_any_octet_changed_is_read_or_refused(reply: bytes) -> None:
    outcomes = set()
    for place in range(0, len(reply), 7):
        changed = reply[:place] + bytes((reply[place] ^ 0xFF,)) + reply[place + 1 :]
        try:
            outcomes.add(type(read_reply(changed, IMPRINT, 5)).__name__)
        except Unavailable:
            outcomes.add("refused")
    assert "refused" in outcomes


# --- chains and status ----------------------------------------------------------------------------


class Door:
    """Answers of one's own choosing."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = dict(answers)
        self.asked: list[str] = []

    def request(self, method: str, url: str, **options: Any) -> OutboundResponse:
        self.asked.append(url)
        answer = self.answers.get(url, OutboundResponse(404, {}, b""))
        return answer(options["content"]) if callable(answer) else answer


class Chain:
    """A person's certificate under a small root, with a responder that can be spoilt."""

    def __init__(self) -> None:
        self.ca = Ca("TEST Root")
        self.status = ocsp.OCSPCertStatus.GOOD
        self.this_update = NOW
        self.nonce: bytes | None = None
        access = x509.AuthorityInformationAccess(
            [
                x509.AccessDescription(x509.AuthorityInformationAccessOID.OCSP, _uri("http://ocsp")),
                x509.AccessDescription(x509.AuthorityInformationAccessOID.CA_ISSUERS, _uri("http://ca")),
            ]
        )
        public = load(SoftKey().public_spki)
        self.person = self.ca.sign(name("Ana"), public, [(access, False)], serial=77)
        self.door = Door({"http://ca": OutboundResponse(200, {}, self.ca.der), "http://ocsp": self.answer})

    @property
    def der(self) -> bytes:
        return self.person.public_bytes(Encoding.DER)

    def answer(self, content: bytes) -> OutboundResponse:
        request = ocsp.load_der_ocsp_request(content)
        asked = request.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
        revoked = self.status is ocsp.OCSPCertStatus.REVOKED
        builder = (
            ocsp.OCSPResponseBuilder()
            .add_response(
                self.person,
                self.ca.certificate,
                hashes.SHA256(),
                self.status,
                self.this_update,
                self.this_update + timedelta(hours=1),
                NOW if revoked else None,
                x509.ReasonFlags.key_compromise if revoked else None,
            )
            .responder_id(ocsp.OCSPResponderEncoding.HASH, self.ca.certificate)
            .add_extension(x509.OCSPNonce(self.nonce or asked), critical=False)
        )
        made = builder.sign(self.ca.key, hashes.SHA256())
        return OutboundResponse(200, {}, made.public_bytes(Encoding.DER))


def _uri(url: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(url)


@pytest.fixture
def chain() -> Chain:
    return Chain()


def collect(chain: Chain, clock: SettableClock, randomness: Randomness, after: datetime = NOW) -> Material:
    material = Material()
    Collector(cast("Outbound", chain.door), clock, randomness).collect(material, chain.der, after)
    return material


@pytest.mark.requirement("OCSP-1")
def test_material_has_chain_and_fresh_status(chain: Chain, clock: SettableClock, randomness: Randomness) -> None:
    material = collect(chain, clock, randomness, NOW + timedelta(milliseconds=700))
    assert list(material.certificates) == [chain.der, chain.ca.der]
    assert len(material.ocsps) == 1
    assert not material.crls


@pytest.mark.requirement("OCSP-1")
@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"status": ocsp.OCSPCertStatus.REVOKED}, "ocsp-not-good"),
        ({"status": ocsp.OCSPCertStatus.UNKNOWN}, "ocsp-not-good"),
        ({"nonce": b"another nonce"}, "ocsp-not-good"),
        ({"this_update": NOW - timedelta(seconds=1)}, "ocsp-too-old"),
    ],
    ids=str,
)
def test_material_with_a_bad_status_is_refused(
    chain: Chain, clock: SettableClock, randomness: Randomness, changes: dict[str, Any], cause: str
) -> None:
    vars(chain).update(changes)
    with pytest.raises(Unavailable) as refused:
        collect(chain, clock, randomness)
    assert refused.value.facts["cause"] == cause


@pytest.mark.requirement("OCSP-1")
@pytest.mark.parametrize(
    ("url", "answer", "cause"),
    [
        ("http://ocsp", OutboundResponse(500, {}, b""), "ocsp-status"),
        ("http://ocsp", OutboundResponse(200, {}, b"nonsense"), "ocsp-malformed"),
        ("http://ocsp", OutboundResponse(200, {}, b"\x30\x03\x0a\x01\x03"), "ocsp-unsuccessful"),
        ("http://ca", OutboundResponse(404, {}, b""), "fetch"),
        ("http://ca", OutboundResponse(200, {}, b"nonsense"), "certificate-malformed"),
        ("http://ca", OutboundResponse(200, {}, Ca("TEST Another").der), "issuer"),
    ],
)
def test_material_that_cannot_be_had_is_refused(
    chain: Chain, clock: SettableClock, randomness: Randomness, url: str, answer: OutboundResponse, cause: str
) -> None:
    chain.door.answers[url] = answer
    with pytest.raises(Unavailable) as refused:
        collect(chain, clock, randomness)
    assert refused.value.facts["cause"] == cause


def test_authorities_are_fetched_once_in_a_while(chain: Chain, clock: SettableClock, randomness: Randomness) -> None:
    collector = Collector(cast("Outbound", chain.door), clock, randomness)
    for _ in range(3):
        collector.collect(Material(), chain.der, NOW)
    assert chain.door.asked.count("http://ca") == 1
    assert chain.door.asked.count("http://ocsp") == 3
    clock.advance(minutes=11)
    collector.collect(Material(), chain.der, NOW)
    assert chain.door.asked.count("http://ca") == 2


def test_signed_file_asks_nobody_twice(street: Street, ana: Visitor, contract: bytes) -> None:
    for _ in range(2):
        ana.approve(ana.bring(contract))
    asked = [a for a in street.door.asked if REPOSITORY in a]
    assert len(asked) == len(set(asked))
    assert sum(OCSP in a for a in street.door.asked) == 4


# --- public log -----------------------------------------------------------------------------------


@pytest.mark.requirement("EVD-2")
@pytest.mark.parametrize(
    ("answer", "place"),
    [
        (OutboundResponse(200, {}, b'{"index": 7, "checkpoint": "l\\n1\\nr\\n\\n\xe2\x80\x94 l a\\n"}'), (7, False)),
        (
            OutboundResponse(200, {}, b'{"index": 7, "checkpoint": "\\n\xe2\x80\x94 l a\\n\xe2\x80\x94 w b\\n"}'),
            (7, True),
        ),
        (OutboundResponse(404, {}, b"{}"), None),
        (OutboundResponse(200, {}, b"nonsense"), None),
        (OutboundResponse(200, {}, b"[]"), None),
        (OutboundResponse(200, {}, b'{"index": "x", "checkpoint": ""}'), None),
    ],
)
def test_log_says_where_a_record_stands(answer: OutboundResponse, place: tuple[int, bool] | None) -> None:
    door = Door({f"http://log/proof/inclusion?leaf={'a' * 64}": answer})
    found = PublicLog("http://log", cast("Outbound", door)).place("a" * 64)
    assert (found and (found.index, found.witnessed)) == place
    assert PublicLog("http://log", cast("Outbound", door)).place("../x") is None


# --- story and words ------------------------------------------------------------------------------


def test_story_of_a_strange_record_is_told_as_far_as_it_goes() -> None:
    certificate = Ca("TEST Ana").der
    for evidence in ({}, {"times": 5, "key": None, "approval": {"amr": ["sc", "pwd"], "acr": "x"}}):
        told = story.tell({"evidence": evidence}, certificate)
        assert told.signer == "TEST Ana"
        assert told.lifetime_ms is None
        assert not told.gone
        assert not told.own_proof


@pytest.mark.parametrize(("microseconds", "shown"), [(0, 1), (1, 1), (1000, 1), (1001, 2), (2_500_000, 2500)])
def test_life_of_a_key_is_rounded_up(microseconds: int, shown: int) -> None:
    evidence = {"times": {"generated": NOW.isoformat(), "destroyed": _after(microseconds)}}
    told = story.tell({"evidence": evidence}, Ca("TEST Ana").der)
    assert told.lifetime_ms == shown
    assert dataclasses.replace(told, destroyed_at=None).lifetime_ms is None


def _after(microseconds: int) -> str:
    return (NOW + timedelta(microseconds=microseconds)).isoformat()


@pytest.mark.requirement("LOG-1")
def test_every_word_of_a_table_has_its_slovene() -> None:
    merged: Catalog = merge_catalogues("sl")
    said = [*words.PROBLEMS.values(), words.WAITING, *story._METHODS.values(), *(f.sentence for f in Finding)]
    said += [text for kind in words.KINDS.values() for text in kind]
    assert [sentence for sentence in said if merged.get(sentence) is None] == []
