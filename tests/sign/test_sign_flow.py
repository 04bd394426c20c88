"""The whole way of a document, from the upload to the signed file, through the site's pages."""

import hashlib
import json
import re

import pytest
from cryptography import x509

from tests.sign.street import BOR, QTSA, REPOSITORY, TSA, Street, Town, Visitor
from tsp.audit import verify_evidence
from tsp.core.isolated import Isolated
from tsp.validate.report import Indication, Level
from tsp.validate.service import validate_pdf
from tsp.validate.trust import TrustAnchors

pytestmark = pytest.mark.requirement("SIG-7")


@pytest.mark.requirement("SIG-1", "SIG-3", "SIG-5", "EVD-1", "LOG-7")
@pytest.mark.parametrize("kind", ["qualified", "advanced-qualified", "advanced"])
def test_signed_document_comes_back(
    street: Street, ana: Visitor, contract: bytes, isolated: Isolated, trust: TrustAnchors, kind: str
) -> None:
    path = ana.bring(contract)
    assert ana.approve(path, kind=kind).headers["location"] == path
    assert 'data-page="sign.result"' in ana.get(path).text
    signed = ana.get(f"{path}/download")
    assert signed.headers["content-type"] == "application/pdf"
    assert "Pogodba%20o%20%C5%BEitu-podpisano.pdf" in signed.headers["content-disposition"]
    assert signed.content.startswith(contract)
    (signature,) = validate_pdf(signed.content, trust, street.clock.now(), isolated).signatures
    assert (signature.indication, signature.level) == (Indication.TOTAL_PASSED, Level.B_LT)
    assert signature.signer is not None
    assert signature.signer.common_name == "Ana Žnidaršič"
    assert signature.signer.statements.qscd == (kind == "qualified")
    assert signature.signer.statements.qualified == (kind != "advanced")
    asked = [a for a in street.door.asked if a in (f"POST {TSA}", f"POST {QTSA}")]
    assert asked == [f"POST {QTSA if kind == 'qualified' else TSA}"]


@pytest.mark.requirement("SIG-6", "EVD-1")
def test_result_tells_the_story_of_the_key(ana: Visitor, contract: bytes) -> None:
    path = ana.bring(contract)
    ana.approve(path)
    page = ana.get(path).text
    heading = re.search(r"<h1>(.*?)</h1>", page)
    assert heading
    assert re.fullmatch(r"Podpisano\. Ključ je obstajal \d+ tisočin\w+ sekunde\.", heading[1])
    for words in (
        "raven zanesljivosti srednja, koda SMS; jamči ponudnik identitete",
        "Izdano potrdilo, imetnik: Ana Žnidaršič",
        "Ključ uničen in preverjen",
        "dolgotrajna oblika PAdES B-LT, preverjeno",
        "Vpisano v javni dnevnik, mesto 184.203",
        "sopodpisala neodvisna priča",
        "dokument je tu shranjen do 23. decembra 2026",
    ):
        assert words in page
    moments = re.findall(r'<time datetime="([^"]+)"', page)
    assert len(moments) == 6
    assert moments == sorted(moments)


@pytest.mark.requirement("EVD-1", "EVD-3")
def test_evidence_can_be_taken_along(ana: Visitor, contract: bytes) -> None:
    path = ana.bring(contract)
    ana.approve(path)
    answer = ana.get(f"{path}/evidence")
    record = json.loads(answer.content)
    assert "attachment" in answer.headers["content-disposition"]
    assert record["document"]["digest_shown"] == hashlib.sha256(contract).hexdigest()
    assert record["approval"]["session"] == path.rpartition("/")[2]
    assert record["key"]["destruction"]["found_after"] == 0
    canonical = json.dumps(record, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    assert answer.content == canonical


@pytest.mark.requirement("EVD-3")
def test_the_evidence_package_goes_with_the_document(street: Street, town: Town, ana: Visitor, contract: bytes) -> None:
    path = ana.bring(contract)
    ana.approve(path)
    answer = ana.get(f"{path}/package")
    assert f"paket-dokazil-{ana.get(f'{path}/evidence').json()['id']}.json" in answer.headers["content-disposition"]
    assert f"{path}/package" in ana.get(path).text
    trust = verify_evidence.Trust([x509.load_pem_x509_certificate((town.ca / "root.pem").read_bytes())])
    report = verify_evidence.verify(answer.content, trust, ana.get(f"{path}/download").content)
    # Nobody sequences in this street, so the log does not cover the entry yet; all else holds.
    assert report.state == verify_evidence.PENDING
    states = {step.code: step.state for step in report.steps}
    assert {states[code] for code in ("entry", "times", "signature", "certificate", "document")} == {"proven"}
    stranger = street.browser()
    stranger.log_in(BOR)
    assert stranger.get(f"{path}/package").status_code == 404


@pytest.mark.requirement("SIG-5")
def test_what_is_approved_is_what_is_shown(street: Street, ana: Visitor, contract: bytes) -> None:
    path = ana.bring(contract, "C:\\Moje\\Pogodba \u202efdp.exe.pdf")
    away = ana.press(path, "approve", kind="advanced").headers["location"]
    (detail,) = json.loads(street.provider.asked(away)["authorization_details"])
    (document,) = detail["documents"]
    assert (detail["type"], detail["kind"], detail["session"]) == ("signature", "advanced", path.rpartition("/")[2])
    assert document["label"] == "Pogodba fdp.exe.pdf"
    assert document["pages"] == 3
    assert document["digest_shown"] == hashlib.sha256(contract).hexdigest()
    assert re.fullmatch(r"[0-9a-f]{64}", document["digest_signed"])
    assert document["label"] in ana.get(path).text


@pytest.mark.requirement("SIG-5")
def test_document_page_shows_every_page(ana: Visitor, contract: bytes) -> None:
    path = ana.bring(contract)
    page = ana.get(path).text
    pictures = re.findall(r'<img class="sheet" src="([^"]+)" width="300" height="200" alt="Stran (\d)"', page)
    assert [number for _, number in pictures] == ["1", "2", "3"]
    for address, _ in pictures:
        picture = ana.get(address)
        assert picture.content.startswith(b"\x89PNG")
        assert picture.headers["cache-control"] == "private, no-cache"
        again = ana.get(address, **{"if-none-match": picture.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    for wrong in ("0", "4", "99999999", "x"):
        assert ana.get(f"{path}/pages/{wrong}.png").status_code == 404


@pytest.mark.requirement("FMT-2")
def test_second_signature_leaves_the_first_valid(
    street: Street, ana: Visitor, contract: bytes, isolated: Isolated, trust: TrustAnchors
) -> None:
    first = ana.bring(contract)
    ana.approve(first)
    bor = street.browser()
    bor.log_in(BOR)
    second = bor.bring(ana.get(f"{first}/download").content)
    assert "Dokument že ima 1 podpis." in bor.get(second).text
    bor.approve(second, BOR)
    report = validate_pdf(bor.get(f"{second}/download").content, trust, street.clock.now(), isolated)
    assert [s.indication for s in report.signatures] == [Indication.TOTAL_PASSED] * 2
    assert [s.signer.common_name for s in report.signatures if s.signer] == ["Ana Žnidaršič", "Bor Primer"]


def test_list_has_what_is_signed_and_what_waits(ana: Visitor, contract: bytes) -> None:
    assert "Tu še ni podpisov" in ana.get("/signatures").text
    ana.approve(ana.bring(contract, "Prva.pdf"))
    ana.bring(contract, "Druga.pdf")
    page = ana.get("/signatures").text
    assert 'data-page="sign.list"' in page
    assert page.index("Druga.pdf") < page.index("Prva.pdf")
    assert "Podpisano 23. novembra 2026, 11:00" in page
    assert "čaka na vašo potrditev" in page


def test_list_has_pages(street: Street, ana: Visitor, contract: bytes) -> None:
    for number in range(21):
        ana.bring(contract, f"Dokument {number:02d}.pdf")
        street.clock.advance(seconds=1)
    first, second = ana.get("/signatures").text, ana.get("/signatures?page=2").text
    assert "Stran 1 od 2" in first
    assert "Dokument 20.pdf" in first
    assert "Dokument 00.pdf" not in first
    assert "Dokument 00.pdf" in second
    assert "Dokument 20.pdf" in ana.get("/signatures?page=x").text


@pytest.mark.requirement("SIG-3")
def test_kind_must_be_one_that_is_offered(street: Street, ana: Visitor, contract: bytes) -> None:
    path = ana.bring(contract)
    for kind in ("", "handwritten", "QUALIFIED"):
        answer = ana.press(path, "approve", kind=kind)
        assert answer.status_code == 400
        assert "kind-unknown" in answer.text
        assert f'href="{path}"' in answer.text
    assert street.engine.calls == 0


def test_declined_approval_signs_nothing(street: Street, ana: Visitor, contract: bytes) -> None:
    path = ana.bring(contract)
    assert ana.approve(path, error="access_denied").headers["location"] == path
    page = ana.get(path).text
    assert "Podpisa niste potrdili. Nič ni bilo podpisano." in page
    assert street.engine.calls == 0
    ana.approve(path)
    assert 'data-page="sign.result"' in ana.get(path).text


def test_failed_approval_says_so(ana: Visitor, contract: bytes) -> None:
    path = ana.bring(contract)
    ana.approve(path, error="temporarily_unavailable")
    assert "Potrditev ni uspela." in ana.get(path).text


def test_page_of_a_signature_in_the_making_leads_on_by_itself(street: Street, ana: Visitor, contract: bytes) -> None:
    path = ana.bring(contract)
    street.door.down.add(QTSA)
    ana.approve(path)
    assert ana.get(f"{path}/status").json() == {"next": path}
    street.door.down.clear()
    ana.press(path, "continue")
    assert ana.get(f"{path}/status").json() == {"next": path}


@pytest.mark.requirement("OCSP-2", "TSA-1")
def test_status_is_asked_for_after_the_time_stamp(street: Street, ana: Visitor, contract: bytes) -> None:
    path = ana.bring(contract)
    ana.approve(path)
    asked = street.door.asked
    stamp = asked.index(f"POST {QTSA}")
    assert f"GET {REPOSITORY}/root.crl" in asked[stamp:]
    assert sum(a.startswith("POST http://localhost:8404") for a in asked[stamp:]) == 2


@pytest.mark.requirement("ACB-1")
@pytest.mark.parametrize("language", ["sl", "en"])
def test_every_page_speaks_both_languages(ana: Visitor, contract: bytes, language: str) -> None:
    path = ana.bring(contract)
    signed = ana.bring(contract)
    ana.approve(signed)
    for address in ("/", "/upload", path, signed, "/signatures", "/documents/unknown"):
        page = ana.get(address, **{"accept-language": language}).text
        assert f'<html lang="{language}">' in page
        assert (">My signatures<" in page) == (language == "en") or "sign.error" in page
