"""The main job from outside: a new person, a document, and what other people's tools say of the result."""

import json
import subprocess
from pathlib import Path

import httpx2
import pytest
from asn1crypto import cms
from pyhanko.keys import load_cert_from_pemder
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import validate_pdf_signature
from pyhanko.sign.validation.dss import DocumentSecurityStore

from tests.e2e.conftest import Story, tell_story
from tests.harness import ROOT, Platform


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """A tool of other people; its exit code is the caller's business."""
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.requirement("REG-1", "REG-3", "ACC-3", "ACC-4", "LOG-3", "LOG-4", "SIG-1", "SIG-5", "SIG-7", "OPS-1")
def test_a_new_person_gets_from_nothing_to_a_signed_document(story: Story) -> None:
    assert story.summary["passed"]
    told = " ".join(step["name"] for step in story.summary["steps"])
    for part in ("e-mail", "SMS", "PUK", "register", "branch", "consent", "approval", "downloaded", "validat"):
        assert part in told
    assert all(step["seconds"] >= 0 for step in story.summary["steps"])


@pytest.mark.requirement("SIG-1", "FMT-1")
def test_openssl_accepts_signature_and_time_stamp(story: Story) -> None:
    done = run(str(ROOT / "scripts" / "openssl-verify"), str(story.signed), str(story.root))
    assert done.returncode == 0, done.stderr
    assert "CMS Verification successful" in done.stderr
    assert "Verification: OK" in done.stdout


@pytest.mark.requirement("SIG-1", "FMT-1")
@pytest.mark.parametrize("asking", [(), ("-no-ocsp",)], ids=["asks the responder", "asks nobody"])
def test_poppler_accepts_the_signature(story: Story, tmp_path: Path, asking: tuple[str, ...]) -> None:
    store = f"sql:{tmp_path}"
    assert run("certutil", "-d", store, "-N", "--empty-password").returncode == 0
    assert run("certutil", "-d", store, "-A", "-n", "root", "-t", "C,C,C", "-i", str(story.root)).returncode == 0
    said = run("pdfsig", *asking, "-nssdir", store, str(story.signed)).stdout
    assert "Signature is Valid" in said
    assert "Certificate is Trusted" in said
    assert "ETSI.CAdES.detached" in said


@pytest.mark.requirement("SIG-1", "FMT-1")
def test_pyhanko_finds_everything_in_the_file_and_asks_nobody(story: Story) -> None:
    with story.signed.open("rb") as file:
        reader = PdfFileReader(file)
        signature = reader.embedded_signatures[0]
        trust = {"trust_roots": [load_cert_from_pemder(str(story.root))]}
        # Every certificate but the root needs revocation information, and nothing may be fetched.
        strict = {**trust, "revocation_mode": "require", "allow_fetching": False}
        store = DocumentSecurityStore.read_dss(reader)
        status = validate_pdf_signature(
            signature,
            signer_validation_context=store.as_validation_context(strict),
            ts_validation_context=store.as_validation_context(strict),
        )
    assert status.bottom_line
    assert status.timestamp_validity is not None
    assert status.timestamp_validity.trusted


@pytest.mark.requirement("SIG-4", "VAL-1")
def test_own_verification_works_offline_and_for_strangers(platform: Platform, story: Story) -> None:
    done = platform.tsp("verify", str(story.signed), "--trust", str(story.root), "--json")
    report = json.loads(done.stdout)
    assert report["signatures"][0]["indication"] == "TOTAL-PASSED"
    assert report["signatures"][0]["level"] == "B-LT"
    assert story.summary["validation"]["signatures"][0]["indication"] == "TOTAL-PASSED"


@pytest.mark.requirement("SIG-5")
def test_one_changed_octet_shows(platform: Platform, story: Story, tmp_path: Path) -> None:
    altered = bytearray(story.signed.read_bytes())
    altered[200] ^= 1
    path = tmp_path / "altered.pdf"
    path.write_bytes(altered)
    done = platform.tsp("verify", str(path), "--trust", str(story.root), "--json", check=False)
    assert done.returncode != 0
    assert "TOTAL-PASSED" not in done.stdout


@pytest.mark.requirement("EVD-1", "EVD-5", "SIG-1", "SIG-6")
def test_evidence_joins_key_certificate_approval_and_destruction(story: Story) -> None:
    evidence = story.evidence
    assert evidence["key"]["attributes"] == {
        "always_sensitive": True,
        "extractable": False,
        "local": True,
        "never_extractable": True,
        "sensitive": True,
        "token": False,
    }
    destruction = evidence["key"]["destruction"]
    assert {name: destruction[name] for name in ("checked", "destroyed_call_ok", "found_after")} == {
        "checked": True,
        "destroyed_call_ok": True,
        "found_after": 0,
    }
    times = evidence["times"]
    order = ["received", "reserved", "generated", "certified", "signed", "destroyed", "checked", "recorded"]
    moments = [times[name] for name in order]
    assert moments == sorted(moments)
    with story.signed.open("rb") as file:
        signature = PdfFileReader(file).embedded_signatures[0]
        assert f"{signature.signer_cert.serial_number:032x}" == evidence["certificate"]["serial"]
        signed_attributes = signature.signer_info["signed_attrs"]
        digest = next(a["values"][0].native for a in signed_attributes if a["type"].native == "message_digest")
    assert digest.hex() == evidence["document"]["digest_signed"]


@pytest.mark.requirement("EVD-2", "EVD-3", "EVD-5", "SIG-6")
def test_a_strangers_program_proves_the_story_from_one_file(platform: Platform, story: Story) -> None:
    assert story.summary["proof"]["state"] == "proven"
    steps = {step["code"]: step["state"] for step in story.summary["proof"]["steps"]}
    for code in ("entry", "tree", "log-signature", "witness", "time-stamp", "signature", "certificate", "document"):
        assert steps[code] == "proven"
    package = story.summary["package"]
    done = platform.tsp("evidence", "verify", package, "--document", str(story.signed), "--trust", str(story.root))
    assert "The evidence holds." in done.stdout


@pytest.mark.requirement("EVD-3", "SIG-5")
def test_the_evidence_of_another_document_does_not_hold(platform: Platform, story: Story, tmp_path: Path) -> None:
    altered = bytearray(story.signed.read_bytes())
    altered[200] ^= 1
    other = tmp_path / "altered.pdf"
    other.write_bytes(altered)
    arguments = ("--document", str(other), "--trust", str(story.root))
    done = platform.tsp("evidence", "verify", story.summary["package"], *arguments, check=False)
    assert done.returncode == 1
    assert "the document was changed" in done.stdout


@pytest.mark.requirement("EVD-5")
def test_anybody_sees_that_no_key_is_alive(platform: Platform, story: Story) -> None:
    told = httpx2.get(f"{platform.urls['log']}/status", trust_env=False).json()
    assert (told["keys_alive"], told["alarm"], told["cosigned_by"]) == (0, False, 1)


@pytest.mark.requirement("EVD-4")
def test_an_sms_approval_says_who_attests_it(story: Story) -> None:
    assert story.evidence["approval"]["attestation"] == "attested-by-provider"
    assert story.evidence["approval"]["acr"].endswith("/substantial")


@pytest.mark.requirement("SIG-1", "OPS-1")
def test_no_key_is_left_and_the_doctor_is_content(platform: Platform, story: Story) -> None:
    done = platform.tsp("doctor", "--json")
    found = {d["subject"]: d for d in json.loads(done.stdout)}
    assert found["one-time keys on the token"]["seen"] == "0"
    assert all(d["well"] for d in found.values())


@pytest.mark.requirement("EVD-2", "SIG-6")
def test_the_whole_log_is_sound_in_database_and_over_the_network(platform: Platform, story: Story) -> None:
    assert "the log is sound" in platform.tsp("audit", "verify").stdout
    assert "the log is sound" in platform.tsp("audit", "verify", "--url", platform.urls["log"]).stdout


@pytest.mark.requirement("OCSP-1", "OCSP-2", "CA-5")
def test_a_stranger_asks_for_the_status_of_the_certificate(platform: Platform, story: Story, tmp_path: Path) -> None:
    with story.signed.open("rb") as file:
        signature = PdfFileReader(file).embedded_signatures[0]
        leaf = tmp_path / "leaf.der"
        leaf.write_bytes(signature.signer_cert.dump())
    issuer = platform.var / "ca" / "qualified.pem"
    done = run(
        *("openssl", "ocsp", "-issuer", str(issuer), "-cert", str(leaf)),
        *("-url", platform.urls["ocsp"], "-CAfile", str(story.root), "-verify_other", str(issuer)),
    )
    assert "Response verify OK" in done.stderr, done.stderr
    assert f"{leaf}: good" in done.stdout


@pytest.mark.requirement("FMT-2", "SIG-5")
def test_a_second_signer_leaves_the_first_signature_valid(platform: Platform, story: Story, tmp_path: Path) -> None:
    second = tell_story(platform, tmp_path, "--file", str(story.signed), "--kind", "advanced")
    done = platform.tsp("verify", str(second.signed), "--trust", str(story.root), "--json")
    report = json.loads(done.stdout)
    assert [s["indication"] for s in report["signatures"]] == ["TOTAL-PASSED", "TOTAL-PASSED"]
    said = run("pdfsig", "-nocert", str(second.signed)).stdout
    assert said.count("Signature is Valid") == 2


@pytest.mark.requirement("SIG-3")
@pytest.mark.parametrize("kind", ["advanced", "advanced-qualified"])
def test_the_other_kinds_are_signed_with_their_own_certificates(platform: Platform, tmp_path: Path, kind: str) -> None:
    told = tell_story(platform, tmp_path, "--kind", kind)
    assert told.evidence["approval"]["kind"] == kind
    with told.signed.open("rb") as file:
        certificate = PdfFileReader(file).embedded_signatures[0].signer_cert
    policies = {p["policy_identifier"].native for p in certificate.certificate_policies_value}
    statements = {e["extn_id"].dotted for e in certificate["tbs_certificate"]["extensions"]}
    assert ("0.4.0.194112.1.0" in policies) == (kind == "advanced-qualified")
    assert ("1.3.6.1.5.5.7.1.3" in statements) or kind == "advanced"


@pytest.mark.requirement("SIG-1")
def test_every_signature_has_a_key_and_certificate_of_its_own(platform: Platform, story: Story, tmp_path: Path) -> None:
    other = tell_story(platform, tmp_path, "--kind", "qualified")
    keys = {s.evidence["key"]["public_key_sha256"] for s in (story, other)}
    serials = {s.evidence["certificate"]["serial"] for s in (story, other)}
    assert len(keys) == len(serials) == 2


def test_signature_is_detached_cms_of_one_signer(story: Story) -> None:
    with story.signed.open("rb") as file:
        signature = PdfFileReader(file).embedded_signatures[0]
        data = cms.ContentInfo.load(signature.pkcs7_content, strict=False)["content"]
    assert len(data["signer_infos"]) == 1
    assert data["encap_content_info"]["content"].native is None
    types = {a["type"].native for a in data["signer_infos"][0]["signed_attrs"]}
    assert types == {"content_type", "message_digest", "signing_certificate_v2"}
