"""The page, the REST interface and the command line."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import typer
from starlette.testclient import TestClient
from typer.testing import CliRunner

from tests.formats import pdf_samples
from tests.validate.pki import NOW, Pki, sign, sign_foreign
from tsp.core.clock import SettableClock
from tsp.core.errors import TooMany
from tsp.core.isolated import Isolated
from tsp.core.randomness import Randomness
from tsp.formats import pades
from tsp.validate.app import validate_app
from tsp.validate.commands import verify
from tsp.validate.desk import Desk
from tsp.validate.trust import TrustAnchors
from tsp.web import Pages

PDF = pdf_samples.classic()
LIMIT = 200_000


@pytest.fixture
def trust(pki: Pki) -> TrustAnchors:
    return replace(pki.trust, crls=(pki.crl(pki.root, NOW - timedelta(hours=1)),))


@pytest.fixture
def browser(
    trust: TrustAnchors, isolated: Isolated, clock: SettableClock, randomness: Randomness
) -> Iterator[TestClient]:
    pages = Pages(
        name="Enkrat",
        face="validate",
        origin="http://localhost:8402",
        support="podpora@primer.si",
        randomness=randomness,
    )
    app = validate_app(pages, trust, isolated, clock, max_bytes=LIMIT)
    with TestClient(app, base_url="http://localhost:8402") as client:
        yield client


@pytest.fixture(scope="module")
def signed(isolated: Isolated, pki: Pki) -> bytes:
    return pades.embed(*sign(isolated, pki, PDF, pki.one_time(qualified=True)))


def upload(browser: TestClient, content: bytes, name: str = "pogodba.pdf", **headers: str) -> tuple[int, str]:
    html = browser.get("/").text
    token = html.split('name="csrf_token" value="')[1].split('"')[0]
    answer = browser.post(
        "/",
        data={"csrf_token": token},
        files={"document": (name, content, "application/pdf")},
        headers={"origin": "http://localhost:8402", **headers},
    )
    return answer.status_code, answer.text


# --- pages -----------------------------------------------------------------------------------------


@pytest.mark.requirement("SIG-4", "OCSP-2", "VAL-1")
def test_page_shows_a_valid_signature_in_slovene(browser: TestClient, signed: bytes) -> None:
    status, html = upload(browser, signed)
    assert status == 200
    assert 'data-page="validate.result"' in html
    assert "Podpis je veljaven" in html
    assert "Ana Žabkar" in html
    assert "pogodba.pdf" in html
    assert 'data-indication="TOTAL-PASSED"' in html
    assert "v kvalificirani napravi (QSCD)" in html
    assert "zanesljivi seznami niso bili preverjeni" in html


@pytest.mark.requirement("VAL-1")
def test_page_speaks_english_too(browser: TestClient, signed: bytes) -> None:
    browser.cookies.set("enkrat-language", "en")
    status, html = upload(browser, signed)
    assert status == 200
    assert "The signature is valid" in html
    assert "stated by the signer" in html


@pytest.mark.requirement("VAL-1", "SIG-5")
def test_page_says_that_a_document_was_changed(browser: TestClient, signed: bytes) -> None:
    status, html = upload(browser, signed.replace(b"(Pogodba) Tj", b"(Pogadba) Tj"))
    assert status == 200
    assert "Podpis ni veljaven" in html
    assert 'data-sub-indication="HASH_FAILURE"' in html
    assert "Dokument je bil po podpisu spremenjen." in html
    assert "Navedeni podpisnik: Ana Žabkar" in html
    assert "kvalificirano potrdilo" not in html


@pytest.mark.requirement("VAL-1")
def test_page_says_that_nothing_is_signed(browser: TestClient) -> None:
    status, html = upload(browser, PDF)
    assert status == 200
    assert "Dokument ni podpisan" in html


@pytest.mark.requirement("VAL-1", "FMT-2")
def test_page_lists_every_signature(browser: TestClient, isolated: Isolated, pki: Pki, signed: bytes) -> None:
    both = pades.embed(*sign(isolated, pki, signed, Pki().one_time()))
    status, html = upload(browser, both)
    assert status == 200
    assert html.count("data-indication=") == 2
    assert "Veljavnosti nekaterih podpisov ni mogoče potrditi" in html
    again = pades.embed(*sign(isolated, pki, signed, pki.one_time()))
    assert "2 podpisa, veljavna" in upload(browser, again)[1]


@pytest.mark.requirement("VAL-1")
@pytest.mark.parametrize(
    ("content", "code", "sentence"),
    [
        (b"", "document-missing", "Najprej izberite dokument."),
        (b"besedilo", "document-not-pdf", "Ta datoteka ni dokument PDF."),
        (PDF[:200], "document-damaged", "Ta datoteka PDF je poškodovana."),
        (b"%PDF-1.7" + b" " * LIMIT, "form-too-large", ""),
    ],
)
def test_page_keeps_the_error_beside_the_field(browser: TestClient, content: bytes, code: str, sentence: str) -> None:
    status, html = upload(browser, content)
    assert status == 400
    assert 'data-page="validate.start"' in html
    assert f'data-code-of-error="{code}"' in html
    assert sentence in html


@pytest.mark.requirement("SEC-2")
def test_page_escapes_what_strangers_wrote(browser: TestClient, isolated: Isolated, pki: Pki) -> None:
    mallory = pki.end_entity("<script>alert(1)</script>", start=NOW, end=NOW + timedelta(hours=1))
    pdf = pades.embed(*sign(isolated, pki, PDF, mallory))
    _, html = upload(browser, pdf, name="..\\..\\<b>ime.pdf")
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert "&lt;b&gt;ime.pdf" in html


@pytest.mark.requirement("SEC-2")
def test_page_takes_only_its_own_form(browser: TestClient, signed: bytes) -> None:
    answer = browser.post(
        "/", files={"document": ("a.pdf", signed, "application/pdf")}, headers={"origin": "http://localhost:8402"}
    )
    assert answer.status_code == 403
    assert "form-expired" in answer.text


# --- REST ------------------------------------------------------------------------------------------


@pytest.mark.requirement("VAL-1", "OCSP-2")
def test_rest_takes_a_raw_body(browser: TestClient, signed: bytes) -> None:
    answer = browser.post("/api/validate", content=signed, headers={"content-type": "application/pdf"})
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body["indication"] == "TOTAL-PASSED"
    (signature,) = body["signatures"]
    assert signature["indication_uri"] == "urn:etsi:019102:mainindication:total-passed"
    assert signature["sub_indication_uri"] is None
    assert signature["level"] == "B-B"
    assert signature["chain"][0]["statements"]["qualified"] is True
    assert signature["best_signature_time"] == "2026-11-23T10:00:00Z"


@pytest.mark.requirement("VAL-1")
def test_rest_takes_a_form(browser: TestClient, signed: bytes) -> None:
    answer = browser.post("/api/validate", files={"document": ("a.pdf", signed, "application/pdf")})
    assert answer.json()["indication"] == "TOTAL-PASSED"


@pytest.mark.requirement("VAL-1")
def test_rest_judges_other_peoples_signatures(browser: TestClient, pki: Pki) -> None:
    pdf = sign_foreign(PDF, pki.ordinary())
    answer = browser.post("/api/validate", content=pdf, headers={"content-type": "application/pdf"})
    (signature,) = answer.json()["signatures"]
    assert signature["sub_indication"] == "TRY_LATER"
    assert signature["sub_indication_uri"] == "urn:etsi:019102:subindication:TRY_LATER"


@pytest.mark.requirement("VAL-1")
@pytest.mark.parametrize(
    ("content", "kind", "status", "code"),
    [
        (b"no", "application/pdf", 400, "document-not-pdf"),
        (b"", "application/pdf", 400, "document-not-pdf"),
        (PDF, "text/html", 415, "content-type-unknown"),
        (b"%PDF-" + bytes(LIMIT), "application/pdf", 413, "document-too-large"),
        (b"--x\r\n", "multipart/form-data; boundary=x", 400, "form-malformed"),
    ],
)
def test_rest_errors_are_problem_details(
    browser: TestClient, content: bytes, kind: str, status: int, code: str
) -> None:
    answer = browser.post("/api/validate", content=content, headers={"content-type": kind})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == code
    assert answer.json()["status"] == status


@pytest.mark.requirement("VAL-1")
def test_a_body_without_a_length_is_measured_while_it_comes(browser: TestClient) -> None:
    def endless() -> Iterator[bytes]:
        yield b"%PDF-"
        for _ in range(10):
            yield bytes(LIMIT // 4)

    answer = browser.post("/api/validate", content=endless(), headers={"content-type": "application/pdf"})
    assert answer.status_code == 413


@pytest.mark.requirement("VAL-1")
def test_only_so_many_documents_at_once(trust: TrustAnchors, isolated: Isolated, clock: SettableClock) -> None:
    desk = Desk(trust, isolated, clock, at_once=2)
    with desk.place(), desk.place():
        with pytest.raises(TooMany) as refusal, desk.place():
            pass
        assert refusal.value.code == "validation-busy"
    inside = threading.Event()
    with desk.place(), desk.place():
        inside.set()
    assert inside.is_set()


# --- command line ----------------------------------------------------------------------------------

cli = typer.Typer()
cli.command()(verify)


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, list(arguments))
    return result.exit_code, result.output


@pytest.fixture
def files(tmp_path: Path, pki: Pki, trust: TrustAnchors, signed: bytes) -> Path:
    (tmp_path / "signed.pdf").write_bytes(signed)
    (tmp_path / "changed.pdf").write_bytes(signed.replace(b"(Pogodba) Tj", b"(Pogadba) Tj"))
    (tmp_path / "plain.pdf").write_bytes(PDF)
    (tmp_path / "broken.pdf").write_bytes(b"no")
    (tmp_path / "root.pem").write_bytes(pki.root.pem)
    (tmp_path / "root.crl").write_bytes(trust.crls[0])
    return tmp_path


@pytest.mark.requirement("VAL-1", "SIG-4")
def test_verify_ends_with_a_code_for_each_result(files: Path) -> None:
    trusted = ["--trust", str(files / "root.pem"), "--trust", str(files / "root.crl")]
    at = ["--at", "2026-11-23T10:10:00Z"]
    assert run(str(files / "signed.pdf"), *trusted, *at)[0] == 0
    assert run(str(files / "changed.pdf"), *trusted, *at)[0] == 1
    assert run(str(files / "signed.pdf"), *trusted, "--at", "2026-12-23T10:10:00+01:00")[0] == 3
    assert run(str(files / "plain.pdf"), *trusted, *at)[0] == 4
    code, output = run(str(files / "broken.pdf"), *trusted, *at)
    assert code == 5
    assert "document-not-pdf" in output


@pytest.mark.requirement("VAL-1")
def test_verify_writes_a_table_or_json(files: Path) -> None:
    trusted = ["--trust", str(files / "root.pem"), "--trust", str(files / "root.crl"), "--at", "2026-11-23T10:10:00Z"]
    _, table = run(str(files / "signed.pdf"), *trusted)
    assert "TOTAL-PASSED" in table
    assert "CN=Ana Žabkar" in table
    assert "2026-11-23 10:10:00 UTC" in table
    _, output = run(str(files / "signed.pdf"), *trusted, "--json")
    assert json.loads(output)["signatures"][0]["field_name"] == "Signature1"


@pytest.mark.parametrize("at", ["yesterday", "2026-11-23T10:10:00"])
def test_verify_wants_a_time_with_its_zone(files: Path, at: str) -> None:
    assert run(str(files / "signed.pdf"), "--trust", str(files / "root.pem"), "--at", at)[0] == 2


def test_verify_says_which_file_of_trust_is_wrong(files: Path) -> None:
    code, output = run(str(files / "signed.pdf"), "--trust", str(files / "plain.pdf"))
    assert code == 5
    assert "trust-anchors-unreadable" in output
