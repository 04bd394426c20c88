"""Profiles: the shipped ones say what the duties ask, and combinations that the standards forbid are refused."""

import itertools
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.ca.ca_kit import (
    ARC,
    CREATOR,
    NOW,
    PERSON,
    ROOT,
    URLS,
    SoftKey,
    authority,
    etsi_findings,
    issuer,
    profiles,
)
from tests.false_findings import unexplained
from tsp.ca.certificate import assemble, build_tbs
from tsp.ca.lint import lint_certificate
from tsp.ca.profiles import load_profiles
from tsp.ca.revocation import is_validity_assured
from tsp.core.errors import Invalid

SPKI = SoftKey().public_spki
ONE_TIME = ("advanced", "advanced-qualified", "qualified")
SEALS = ("advanced-qualified-seal", "advanced-seal", "qualified-seal")


@pytest.mark.requirement("CA-1", "CA-2", "CA-3")
def test_shipped_profiles_are_the_kinds_that_the_platform_issues() -> None:
    assert set(profiles()) == {
        *ONE_TIME,
        *SEALS,
        "authentication",
        "ocsp-responder",
        "operator",
        "qtsu",
        "root-ca",
        "subordinate-ca",
        "tls-server",
        "trust-list",
        "tsu",
    }


@pytest.mark.requirement("CA-4", "SIG-3")
@pytest.mark.parametrize(
    ("name", "qualified", "in_device", "policy"),
    [
        ("advanced", False, False, "0.4.0.2042.1.3"),
        ("advanced-qualified", True, False, "0.4.0.194112.1.0"),
        ("qualified", True, True, "0.4.0.194112.1.2"),
    ],
)
def test_one_time_profiles_claim_what_they_may(name: str, qualified: bool, in_device: bool, policy: str) -> None:
    profile = profiles()[name]
    assert (profile.qualified, profile.needs_qscd) == (qualified, in_device)
    assert policy in profile.policies
    assert profile.lifetime.seconds == 3600
    assert profile.key_usage == ("nonRepudiation",)
    status = profile.status
    assert (status.validity_assured, status.ocsp, status.no_rev_avail, status.crl) == (True, True, False, True)


@pytest.mark.requirement("CA-2", "CA-3", "CA-4")
@pytest.mark.parametrize(
    ("name", "qualified", "in_device", "policy"),
    [
        ("advanced-seal", False, False, "0.4.0.2042.1.1"),
        ("advanced-qualified-seal", True, False, "0.4.0.194112.1.1"),
        ("qualified-seal", True, True, "0.4.0.194112.1.3"),
    ],
)
def test_seal_profiles_are_of_legal_persons_and_can_be_revoked(
    name: str, qualified: bool, in_device: bool, policy: str
) -> None:
    profile = profiles()[name]
    assert (profile.qualified, profile.needs_qscd, profile.subject) == (qualified, in_device, "legal-person")
    assert policy in profile.policies
    assert profile.revocable
    assert (profile.status.ocsp, profile.status.crl) == (True, True)
    assert profile.qc_statements.type == ("eseal" if qualified else None)


# The three variants of a short life (EN 319 412-1, 5.2; EN 319 412-2, 4.3.11 and 4.4.1; RFC 9608, 3).
VARIANTS = {
    "a": {"validity_assured": True, "no_rev_avail": True, "ocsp": False, "crl": False},
    "b": {"validity_assured": True, "no_rev_avail": False, "ocsp": True, "crl": True},
    "c": {"validity_assured": False, "no_rev_avail": False, "ocsp": True, "crl": True},
}


@pytest.mark.requirement("CA-1", "CA-4")
@pytest.mark.parametrize(("assured", "no_status", "ocsp", "crl"), list(itertools.product((True, False), repeat=4)))
def test_of_sixteen_ways_to_tell_the_status_the_three_variants_are_allowed(
    tmp_path: Path, assured: bool, no_status: bool, ocsp: bool, crl: bool
) -> None:
    status = {"validity_assured": assured, "no_rev_avail": no_status, "ocsp": ocsp, "crl": crl}
    _write(tmp_path, "advanced", {f"status.{key}": value for key, value in status.items()})
    pointers = ocsp or crl
    allowed = (assured and no_status and not pointers) or (pointers and not no_status)
    if allowed:
        assert load_profiles(tmp_path, ARC)["advanced"].revocable is not assured
        return
    with pytest.raises(Invalid) as caught:
        load_profiles(tmp_path, ARC)
    assert any(clause in caught.value.sentence for clause in ("RFC 9608, 3", "GEN-4.3.11-2A"))


@pytest.mark.requirement("CA-4")
@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_each_variant_is_issued_and_stands_before_the_outside_linter(tmp_path: Path, variant: str) -> None:
    _write(tmp_path, "advanced", {f"status.{key}": value for key, value in VARIANTS[variant].items()})
    whole = authority(known=load_profiles(tmp_path, ARC))
    issued = whole.issue(whole.prepare("advanced", PERSON, SoftKey().public_spki, now=NOW))
    assert unexplained(etsi_findings(issued.der), issued.der) == set()
    assert is_validity_assured(issued.der) is (variant != "c")


QCP = {"0.4.0.194112.1.0": "n", "0.4.0.194112.1.1": "l", "0.4.0.194112.1.2": "n-qscd", "0.4.0.194112.1.3": "l-qscd"}
#: The whole matrix of EN 319 412-5, table 2, and EN 319 411-2, 5.3, of which the outside linter tests a part.
MATRIX = list(
    itertools.product(
        ("advanced", "advanced-seal"), (False, True), (False, True), (None, "esign", "eseal"), (None, *QCP)
    )
)


def _may(name: str, compliance: bool, sscd: bool, kind: str | None, policy: str | None) -> bool:
    """What the standards allow, written down once more."""
    person = name == "advanced"
    if kind not in (None, "esign" if person else "eseal"):
        return False
    if not compliance:
        return not sscd and policy is None
    wanted = ("n" if person else "l") + ("-qscd" if sscd else "")
    return kind is not None and policy is not None and QCP[policy] == wanted


@pytest.mark.requirement("CA-2", "CA-4")
def test_of_the_matrix_of_statements_and_policies_only_what_agrees_is_allowed(tmp_path: Path) -> None:
    allowed = 0
    for name, compliance, sscd, kind, policy in MATRIX:
        _write(
            tmp_path,
            name,
            {
                "policies": ["own.1.1", *([policy] if policy else [])],
                "issuers": ["qualified" if compliance else "nonqualified"],
                "qc_statements.compliance": compliance,
                "qc_statements.sscd": sscd,
                "qc_statements.pds": True,
                **({"qc_statements.type": kind} if kind else {}),
            },
        )
        fine = True
        try:
            load_profiles(tmp_path, ARC)
        except Invalid:
            fine = False
        assert fine == _may(name, compliance, sscd, kind, policy), (name, compliance, sscd, kind, policy)
        (tmp_path / f"{name}.toml").unlink()
        allowed += fine
    assert (len(MATRIX), allowed) == (120, 8)


@pytest.mark.requirement("CA-2", "CA-4")
def test_of_the_same_matrix_the_own_lint_lets_pass_only_what_agrees() -> None:
    signer, subjects = issuer("qualified"), {"advanced": PERSON, "advanced-seal": CREATOR}
    for name, compliance, sscd, kind, policy in MATRIX:
        shipped = profiles()[name]
        statements = shipped.qc_statements.model_copy(
            update={"compliance": compliance, "sscd": sscd, "type": kind, "pds": True}
        )
        policies = (f"{ARC}.1.1", *([policy] if policy else []))
        # Past the checks of profiles: what if one of them were missing?
        wrong = shipped.model_copy(update={"qc_statements": statements, "policies": policies})
        tbs = build_tbs(wrong, signer.facts, subjects[name], SPKI, 2**100, NOW, URLS)
        found = {one.rule for one in lint_certificate(assemble(tbs, b"0", signer.algorithm), wrong, signer.facts)}
        assert (found == set()) == _may(name, compliance, sscd, kind, policy), (name, compliance, sscd, kind, policy)
        assert found <= {"qc-policy", "qc-type", "qc-complete"}


def test_own_policies_stand_under_the_configured_arc() -> None:
    assert profiles()["advanced"].policies[0] == f"{ARC}.1.1"
    assert load_profiles(ROOT / "conf" / "profiles", "2.25.7")["tsu"].policies[0] == "2.25.7.2.1"


def test_profiles_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        profiles()["advanced"].ca = True


def _write(directory: Path, name: str, changes: dict[str, Any]) -> None:
    """A shipped profile with dotted keys changed (None takes one out)."""
    raw = tomllib.loads((ROOT / "conf" / "profiles" / f"{name}.toml").read_text())
    for dotted, value in changes.items():
        *path, last = dotted.split(".")
        table = raw
        for part in path:
            table = table.setdefault(part, {})
        if value is None:
            table.pop(last)
        else:
            table[last] = value
    lines = [f"{key} = {_toml(value)}" for key, value in raw.items()]
    (directory / f"{name}.toml").write_text("\n".join(lines))


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(inner) for inner in value) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


FORBIDDEN = [
    ("advanced", {"status.no_rev_avail": True}, "RFC 9608"),
    ("advanced", {"status.ocsp": False, "status.crl": False}, "GEN-4.3.11-2A"),
    ("advanced", {"status.ca_issuers": False}, "GEN-4.4.1-3"),
    ("advanced", {"lifetime": {"hours": 24}}, "GEN-6.6.1-05"),
    ("advanced", {"lifetime": {"hours": 1, "days": 1}}, "either days or hours"),
    ("advanced", {"lifetime": {}}, "either days or hours"),
    ("advanced", {"key_usage": ["digitalSignature"]}, "NAT-4.3.2-2"),
    ("advanced", {"key_usage": ["nonRepudiation", "cRLSign"]}, "NAT-4.3.2-1"),
    ("advanced", {"policies": []}, "GEN-4.3.3-1"),
    ("advanced", {"policies": ["2.5.29.32.0"]}, "anyPolicy"),
    ("advanced", {"policies": ["own..1"]}, "policies"),
    ("advanced", {"path_length": 0}, "path_length"),
    ("advanced", {"qc_statements.compliance": True}, "QCS-5.2-2"),
    ("advanced", {"qc_statements.sscd": True}, "4.2.2"),
    ("advanced", {"policies": ["own.1.1", "0.4.0.194112.1.0"]}, "QCS-5.2-2"),
    ("advanced-qualified", {"qc_statements.sscd": True}, "-qscd"),
    ("advanced-qualified", {"policies": ["0.4.0.194112.1.2"]}, "-qscd"),
    ("advanced-qualified", {"policies": ["0.4.0.194112.1.0", "0.4.0.194112.1.1"]}, "one QCP policy"),
    ("advanced-qualified", {"policies": ["0.4.0.194112.1.1"]}, "natural persons"),
    ("advanced-qualified", {"qc_statements.type": None}, "states its type"),
    ("advanced-qualified", {"qc_statements.pds": False}, "disclosure"),
    ("advanced-qualified", {"issuers": ["nonqualified"]}, "its own authority"),
    ("advanced-qualified", {"issuers": ["qualified", "nonqualified"]}, "its own authority"),
    ("advanced", {"issuers": ["qualified"]}, "qualified alone"),
    ("qualified", {"qc_statements.sscd": False}, "-qscd"),
    ("qualified-seal", {"qc_statements.sscd": False}, "-qscd"),
    ("qualified-seal", {"qc_statements.type": "esign"}, "esign is for natural persons"),
    ("qualified-seal", {"qc_statements.semantics": "natural"}, "EN 319 412-1, 5.1"),
    ("qualified-seal", {"policies": ["0.4.0.194112.1.2"]}, "natural persons"),
    ("qualified-seal", {"key_usage": ["digitalSignature"]}, "LEG-4.3.1-3"),
    ("qualified-seal", {"status.ocsp": False, "status.crl": False}, "GEN-4.3.11-2A"),
    ("qualified-seal", {"status.validity_assured": True}, "GEN-6.6.1-05"),
    ("advanced-qualified-seal", {"policies": ["0.4.0.194112.1.3"]}, "-qscd"),
    ("advanced-qualified-seal", {"qc_statements.type": None}, "states its type"),
    ("advanced-seal", {"policies": ["0.4.0.194112.1.1"]}, "QCS-5.2-2"),
    ("advanced-seal", {"policies": ["0.4.0.2042.1.1", "0.4.0.2042.1.3"]}, "GEN-6.3.3-12"),
    ("advanced-seal", {"keys": ["RSA2048"]}, "keys"),
    ("qualified", {"qc_statements.type": "eseal"}, "esign is for natural persons"),
    ("qualified", {"qc_statements.semantics": "legal"}, "EN 319 412-1, 5.1"),
    ("advanced", {"extended_key_usage": []}, "says what it is for"),
    ("authentication", {"key_usage": ["nonRepudiation"]}, "type C"),
    ("authentication", {"key_usage": ["nonRepudiation", "digitalSignature"]}, "type C"),
    ("authentication", {"extended_key_usage": ["clientAuth", "documentSigning"]}, "NAT-4.3.2"),
    ("operator", {"extended_key_usage": ["clientAuth", "emailProtection"]}, "stand alone"),
    ("tsu", {"extended_key_usage": ["timeStamping", "serverAuth"], "host_names": True}, "RFC 3161"),
    ("tsu", {"private_key_days": 1461}, "TIS-7.6.7-04"),
    ("tsu", {"private_key_days": None}, "TIS-7.6.7-04"),
    ("ocsp-responder", {"status.ocsp": True}, "CSS-6.6.3-01B"),
    ("ocsp-responder", {"status.nocheck": False}, "nocheck"),
    ("ocsp-responder", {"extended_key_usage": []}, "RFC 6960"),
    ("tls-server", {"host_names": False}, "RFC 9525"),
    ("root-ca", {"status.ocsp": True}, "a root names no"),
    ("root-ca", {"key_usage": ["keyCertSign"]}, "4.2.1.3"),
    ("root-ca", {"subject": "natural-person"}, "legal person"),
    ("subordinate-ca", {"extended_key_usage": ["timeStamping"]}, "4.2.1.12"),
    ("subordinate-ca", {"status.validity_assured": True, "lifetime": {"hours": 1}}, "for end certificates"),
    ("subordinate-ca", {"status.crl": False}, "GEN-4.3.11-2A"),
    ("subordinate-ca", {"status.crl": False, "status.no_rev_avail": True}, "for end certificates"),
]


@pytest.mark.requirement("CA-4")
@pytest.mark.parametrize(("name", "changes", "why"), FORBIDDEN)
def test_forbidden_combination_is_refused(tmp_path: Path, name: str, changes: dict[str, Any], why: str) -> None:
    _write(tmp_path, name, changes)
    with pytest.raises(Invalid, match=r"profile-invalid") as caught:
        load_profiles(tmp_path, ARC)
    assert why in caught.value.sentence
    assert caught.value.facts == {"file": f"{name}.toml"}


@pytest.mark.parametrize(
    "name",
    [
        *ONE_TIME,
        *SEALS,
        "authentication",
        "operator",
        "tsu",
        "qtsu",
        "ocsp-responder",
        "tls-server",
        "trust-list",
        "root-ca",
        "subordinate-ca",
    ],
)
def test_unchanged_profile_passes_the_same_way(tmp_path: Path, name: str) -> None:
    _write(tmp_path, name, {})
    assert load_profiles(tmp_path, ARC)[name] == profiles()[name]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"lifetim": 1}, "advanced.toml: lifetim: unknown key, did you mean lifetime?"),
        ({"status.oscp": True}, "advanced.toml: status.oscp: unknown key, did you mean ocsp?"),
        ({"lifetime": {"hours": "1"}}, "advanced.toml: lifetime.hours: Input should be a valid integer"),
        ({"name": "other"}, "advanced.toml: name must be advanced"),
    ],
)
def test_mistakes_are_named_with_file_and_key(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    _write(tmp_path, "advanced", changes)
    with pytest.raises(Invalid) as caught:
        load_profiles(tmp_path, ARC)
    assert caught.value.sentence == sentence


def test_broken_and_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="there are no profiles"):
        load_profiles(tmp_path, ARC)
    (tmp_path / "a.toml").write_text("name = ")
    with pytest.raises(Invalid, match=r"a\.toml: not TOML"):
        load_profiles(tmp_path, ARC)
