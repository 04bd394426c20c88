"""CRLs: what asn1crypto encodes, and what two outside tools accept."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from asn1crypto import algos, core, crl, x509
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ca.ca_kit import NOW, SoftKey, crl_findings, issuer
from tsp.ca.certificate import assemble
from tsp.ca.crl import MAX_NUMBER, REASONS, CrlForm, RevokedCertificate, build_tbs_crl
from tsp.ca.lint_crl import lint_crl
from tsp.ca.publication import make_crl
from tsp.ca.store import to_pem
from tsp.core.errors import Invalid, Unavailable

ROOT = issuer("root", SoftKey(ec.SECP384R1()))
NATIVE_REASONS = {
    "keyCompromise": "key_compromise",
    "cACompromise": "ca_compromise",
    "affiliationChanged": "affiliation_changed",
    "superseded": "superseded",
    "cessationOfOperation": "cessation_of_operation",
    "privilegeWithdrawn": "privilege_withdrawn",
    "aACompromise": "aa_compromise",
}
MOMENTS = st.integers(0, 10**9).map(lambda seconds: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds))
ENTRIES = st.lists(
    st.builds(RevokedCertificate, st.integers(1, 2**127), MOMENTS, st.sampled_from(sorted(REASONS))),
    max_size=5,
    unique_by=lambda entry: entry.serial,
)


def time(moment: datetime) -> x509.Time:
    if moment.year < 2050:
        return x509.Time("utc_time", core.UTCTime(moment))
    return x509.Time("general_time", core.GeneralizedTime(moment))


def reference(number: int, start: datetime, days: int, entries: list[RevokedCertificate]) -> bytes:
    """The same list by asn1crypto."""
    listed = []
    for entry in sorted(entries, key=lambda entry: entry.serial):
        one = {"user_certificate": entry.serial, "revocation_date": time(entry.revoked_at)}
        if entry.reason in NATIVE_REASONS:
            reason = crl.CRLReason(NATIVE_REASONS[entry.reason])
            one["crl_entry_extensions"] = [{"extn_id": "crl_reason", "critical": False, "extn_value": reason}]
        listed.append(one)
    values = {
        "version": "v2",
        "signature": algos.SignedDigestAlgorithm({"algorithm": "sha384_ecdsa"}),
        "issuer": x509.Name.load(ROOT.facts.name),
        "this_update": time(start),
        "next_update": time(start + timedelta(days=days)),
        "crl_extensions": [
            {
                "extn_id": "authority_key_identifier",
                "extn_value": x509.AuthorityKeyIdentifier({"key_identifier": ROOT.facts.key_id}),
            },
            {"extn_id": "crl_number", "extn_value": core.Integer(number)},
        ],
    }
    if listed:
        values["revoked_certificates"] = listed
    return bytes(crl.TbsCertList(values).dump())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, MAX_NUMBER), MOMENTS, st.integers(1, 366), ENTRIES)
def test_list_is_what_asn1crypto_encodes(
    number: int, start: datetime, days: int, entries: list[RevokedCertificate]
) -> None:
    built = build_tbs_crl(ROOT.facts, CrlForm(number, start, start + timedelta(days=days)), entries)
    assert built == reference(number, start, days, entries)


@pytest.mark.parametrize(
    "revoked",
    [
        (),
        (RevokedCertificate(7, NOW, "cACompromise"), RevokedCertificate(2**126, NOW), RevokedCertificate(3, NOW)),
    ],
)
def test_outside_linter_and_openssl_find_nothing(tmp_path: Path, revoked: tuple[RevokedCertificate, ...]) -> None:
    der = make_crl(ROOT, number=12, now=NOW, validity=timedelta(days=365), revoked=revoked)
    assert crl_findings(der) == set()
    file = tmp_path / "root.crl"
    file.write_bytes(der)
    text = subprocess.run(
        ["openssl", "crl", "-inform", "DER", "-in", file, "-noout", "-text"], check=True, capture_output=True, text=True
    ).stdout
    assert text.count("Serial Number:") == len(revoked)
    assert "Next Update: Nov 23 10:00:00 2027 GMT" in text
    assert to_pem(der).startswith(b"-----BEGIN")


@pytest.mark.parametrize("number", [-1, MAX_NUMBER + 1])
def test_unfit_numbers_are_refused(number: int) -> None:
    with pytest.raises(Invalid, match="crl-number-unfit"):
        build_tbs_crl(ROOT.facts, CrlForm(number, NOW, NOW + timedelta(days=1)))


def test_next_update_comes_after_this_one() -> None:
    with pytest.raises(Invalid, match="crl-times-unfit"):
        build_tbs_crl(ROOT.facts, CrlForm(1, NOW, NOW))


def _signed(tbs: bytes) -> bytes:
    return assemble(tbs, ROOT.sign(tbs), ROOT.algorithm)


def _changed(field: str, value: object) -> bytes:
    """A signed CRL with one field of its TBS changed."""
    parsed = crl.TbsCertList.load(build_tbs_crl(ROOT.facts, CrlForm(1, NOW, NOW + timedelta(days=30))))
    parsed[field] = value
    return _signed(parsed.dump(force=True))


OTHER = issuer("qualified")
BAD = [
    ("crl-parse", b"\x30\x00"),
    ("crl-version", _changed("version", "v1")),
    ("crl-issuer", _changed("issuer", x509.Name.load(OTHER.facts.name))),
    ("crl-algorithm", _changed("signature", algos.SignedDigestAlgorithm({"algorithm": "sha256_ecdsa"}))),
    ("crl-times", _signed(build_tbs_crl(ROOT.facts, CrlForm(1, NOW, NOW + timedelta(days=367))))),
    ("crl-number", _changed("crl_extensions", [])),
    ("crl-number-range", _signed(reference(MAX_NUMBER + 1, NOW, 1, []))),
    ("crl-authority-key", _changed("crl_extensions", [])),
    ("crl-empty", _changed("revoked_certificates", [])),
    (
        "crl-signature",
        assemble(build_tbs_crl(ROOT.facts, CrlForm(1, NOW, NOW + timedelta(days=1))), b"0\0", ROOT.algorithm),
    ),
]


@pytest.mark.parametrize(("rule", "der"), BAD, ids=[rule for rule, _ in BAD])
def test_each_rule_finds_its_bad_sample(rule: str, der: bytes) -> None:
    assert rule in {finding.rule for finding in lint_crl(der, ROOT.facts, ROOT.public)}


def test_good_sample_passes_every_rule() -> None:
    good = _signed(build_tbs_crl(ROOT.facts, CrlForm(1, NOW, NOW + timedelta(days=366))))
    assert lint_crl(good, ROOT.facts, ROOT.public) == []


def test_list_that_breaks_a_rule_is_not_handed_out() -> None:
    with pytest.raises(Unavailable, match="certificate-unsound"):
        make_crl(ROOT, number=1, now=NOW, validity=timedelta(days=400))
