"""The report as JSON, as URIs, as text; trust anchors; words."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from babel.messages.pofile import read_po
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.validate.pki import NOW, Pki
from tsp.core.errors import Invalid, Unavailable
from tsp.validate import words
from tsp.validate.algorithms import AlgorithmPolicy
from tsp.validate.report import (
    CertificateFacts,
    Changes,
    Indication,
    Level,
    Signature,
    Statements,
    Status,
    SubIndication,
    TimeStamp,
    ValidationReport,
    explain,
)
from tsp.validate.text import as_text
from tsp.validate.trust import TrustAnchors

MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
TEXTS = st.text(max_size=20)
CERTIFICATES = st.builds(
    CertificateFacts,
    subject=TEXTS,
    common_name=TEXTS,
    issuer=TEXTS,
    serial=TEXTS,
    not_before=MOMENTS,
    not_after=MOMENTS,
    sha256=TEXTS,
    status=st.sampled_from(Status),
    status_source=st.sampled_from((None, "ocsp", "crl")),
    status_time=st.none() | MOMENTS,
    statements=st.builds(Statements, purpose=st.sampled_from((None, "esign", "eseal", "web"))),
)
STAMPS = st.builds(
    TimeStamp,
    kind=st.just("signature-time-stamp"),
    time=st.none() | MOMENTS,
    passed=st.booleans(),
    sub_indication=st.none() | st.sampled_from(SubIndication),
    authority=st.none() | TEXTS,
    chain=st.tuples(CERTIFICATES),
)
SIGNATURES = st.builds(
    Signature,
    field_name=TEXTS,
    indication=st.sampled_from(Indication),
    sub_indication=st.none() | st.sampled_from(SubIndication),
    explanation=TEXTS,
    intact=st.booleans(),
    whole_file=st.booleans(),
    later_changes=st.sampled_from(Changes),
    level=st.sampled_from(Level),
    claimed_time=st.none() | MOMENTS,
    best_signature_time=MOMENTS,
    digest_algorithm=st.none() | TEXTS,
    signature_algorithm=st.none() | TEXTS,
    chain=st.lists(CERTIFICATES, max_size=2).map(tuple),
    time_stamps=st.lists(STAMPS, max_size=2).map(tuple),
)
REPORTS = st.builds(
    ValidationReport,
    validated_at=MOMENTS,
    sha256=TEXTS,
    size=st.integers(0, 10**9),
    signatures=st.lists(SIGNATURES, max_size=2).map(tuple),
    document_time_stamps=st.lists(STAMPS, max_size=1).map(tuple),
)


@pytest.mark.requirement("VAL-1")
@given(report=REPORTS)
@settings(deadline=None, max_examples=60)
def test_a_report_survives_its_journey_as_json(report: ValidationReport) -> None:
    import json

    assert ValidationReport.from_json(json.loads(json.dumps(report.to_json()))) == report


@given(report=REPORTS)
@settings(deadline=None, max_examples=60)
def test_the_text_has_no_control_characters_of_strangers(report: ValidationReport) -> None:
    text = as_text(report)
    assert all(c == "\n" or c.isprintable() for c in text)
    assert str(report.size) in text


def test_what_is_no_report_is_not_read() -> None:
    with pytest.raises(ValidationError):
        ValidationReport.from_json({"signatures": "none"})


@pytest.mark.requirement("VAL-1")
def test_uris_are_those_of_the_standard() -> None:
    assert Indication.TOTAL_PASSED.uri == "urn:etsi:019102:mainindication:total-passed"
    assert SubIndication.HASH_FAILURE.uri == "urn:etsi:019102:subindication:HASH_FAILURE"
    failed = {s for s in SubIndication if s.indication is Indication.TOTAL_FAILED}
    assert failed == {
        SubIndication.FORMAT_FAILURE,
        SubIndication.HASH_FAILURE,
        SubIndication.SIG_CRYPTO_FAILURE,
        SubIndication.REVOKED,
        SubIndication.EXPIRED,
        SubIndication.NOT_YET_VALID,
    }


@pytest.mark.requirement("VAL-1", "LOG-1")
def test_every_word_has_its_slovene() -> None:
    path = Path(__file__).parents[2] / "tsp" / "web" / "locale" / "sl" / "validate.po"
    with path.open("rb") as file:
        known = {m.id for m in read_po(file, locale="sl") if m.string}
    used = [explain(s) for s in (None, *SubIndication)]
    used += [words.INDICATIONS[i] for i in Indication] + [words.LEVELS[level] for level in Level]
    used += [words.CHANGES[c] for c in Changes] + [words.STATUSES[s] for s in Status]
    used += [*words.CERTIFICATES.values()]
    assert [sentence for sentence in used if sentence not in known] == []


# --- trust -----------------------------------------------------------------------------------------


def test_trust_anchors_come_from_files(tmp_path: Path, pki: Pki) -> None:
    (tmp_path / "root.pem").write_bytes(pki.root.pem + pki.issuing.pem)
    (tmp_path / "root.crl").write_bytes(pki.crl(pki.root, NOW))
    trust = TrustAnchors.from_files([tmp_path / "root.pem", tmp_path / "root.crl"])
    assert trust.certificates == (pki.root.der, pki.issuing.der)
    assert len(trust.crls) == 1


def test_trust_anchors_of_an_installation(tmp_path: Path, pki: Pki) -> None:
    with pytest.raises(Unavailable) as refusal:
        TrustAnchors.of_installation(tmp_path)
    assert refusal.value.code == "not-initialised"
    (tmp_path / "root.pem").write_bytes(pki.root.pem)
    (tmp_path / "issuing.pem").write_bytes(pki.issuing.pem)
    assert TrustAnchors.of_installation(tmp_path, tmp_path / "trust").certificates == (pki.root.der,)
    other = Pki().root
    (tmp_path / "trust").mkdir()
    (tmp_path / "trust" / "other.pem").write_bytes(other.certificate.public_bytes(Encoding.PEM))
    assert TrustAnchors.of_installation(tmp_path, tmp_path / "trust").certificates == (pki.root.der, other.der)


def test_trust_anchors_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_bytes(b"no certificate")
    for path in (tmp_path / "bad.pem", tmp_path / "missing.pem"):
        with pytest.raises(Invalid) as refusal:
            TrustAnchors.from_files([path])
        assert refusal.value.code == "trust-anchors-unreadable"


# --- algorithms ------------------------------------------------------------------------------------


@pytest.mark.requirement("VAL-1")
@pytest.mark.parametrize(
    ("name", "bits", "year", "allowed"),
    [
        ("sha256_rsa", 2048, 2026, True),
        ("sha256_rsa", 2048, 2029, False),
        ("sha256_rsa", 3072, 2099, True),
        ("sha256_rsa", 1024, 2015, False),
        ("sha1_rsa", 4096, 2026, False),
        ("sha1_rsa", 4096, 2010, True),
        ("sha256_ecdsa", 256, 2099, True),
        ("sha256_ecdsa", 192, 2020, False),
        ("sha224_ecdsa", 256, 2026, False),
        ("sha256_dsa", 2048, 2020, False),
        ("ed25519", 256, 2099, True),
        ("md5_rsa", 4096, 2005, False),
    ],
)
def test_algorithms_by_date(name: str, bits: int, year: int, allowed: bool) -> None:
    from types import SimpleNamespace
    from typing import Any

    from asn1crypto.algos import SignedDigestAlgorithm

    key: Any = SimpleNamespace(bit_size=bits)
    moment = datetime(year, 6, 1, tzinfo=UTC)
    constraint = AlgorithmPolicy().signature_algorithm_allowed(SignedDigestAlgorithm({"algorithm": name}), moment, key)
    assert bool(constraint) is allowed


def test_a_report_of_two_is_as_weak_as_the_weaker() -> None:
    signature = Signature(
        "a", Indication.TOTAL_PASSED, None, "", True, True, Changes.NONE, Level.B_B, None, NOW, None, None
    )
    failed = replace(signature, indication=Indication.TOTAL_FAILED, sub_indication=SubIndication.HASH_FAILURE)
    open_still = replace(signature, indication=Indication.INDETERMINATE, sub_indication=SubIndication.TRY_LATER)
    for signatures, expected in (
        ((), None),
        ((signature, signature), Indication.TOTAL_PASSED),
        ((signature, open_still), Indication.INDETERMINATE),
        ((open_still, failed, signature), Indication.TOTAL_FAILED),
    ):
        report = ValidationReport(NOW + timedelta(0), "", 0, signatures)
        assert report.indication is expected
        assert report.to_api()["indication"] == expected
