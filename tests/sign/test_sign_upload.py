"""What people bring: each refusal says in a sentence what to do, on the page and for the script."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.hostile_samples import REFUSED, REMARKED
from tests.formats.pdf_samples import classic, objects
from tests.sign.street import Street, Town, Visitor, open_street
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.isolated import Isolated, IsolationLimits
from tsp.formats.findings import Finding
from tsp.formats.pades import DocumentLimits
from tsp.idp.oidc.details import is_plain_label
from tsp.sign.documents import MAX_LABEL, clean_label
from tsp.sign.requests import MAX_OPEN, Policy

pytestmark = pytest.mark.requirement("SIG-7", "SEC-2")


@pytest.fixture
def small(
    town: Town, tmp_path: Path, database: Database, clock: SettableClock, isolated: Isolated
) -> Iterator[Visitor]:
    """A visitor of a site that takes little: 2,000 octets and two pages."""
    policy = Policy(limits=DocumentLimits(max_bytes=2000, max_pages=2))
    with ExitStack() as stack:
        street = open_street(
            stack, town, directory=tmp_path, database=database, clock=clock, isolated=isolated, policy=policy
        )
        visitor = street.browser()
        visitor.log_in()
        yield visitor


LOCK = b"<</Filter/Standard/V 2/R 3/Length 128/P -4/O<%s>/U<%s>>>" % (b"00" * 32, b"00" * 32)
ENCRYPTED = classic(objects(more={20: LOCK}), trailer=b"/Encrypt 20 0 R/ID[<00><00>]")


@pytest.mark.parametrize(
    ("pdf", "code"),
    [
        (b"", "document-missing"),
        (b"PK\x03\x04 a word processor's file", "document-not-pdf"),
        (b"%PDF-1.7\nnothing behind it", "document-damaged"),
        (ENCRYPTED, "document-encrypted"),
        (classic(objects(pages=3)), "document-too-many-pages"),
        (classic(objects()) + bytes(2000), "document-too-large"),
        (b"%PDF-" + bytes(200_000), "document-too-large"),
    ],
    ids=["empty", "not-a-pdf", "damaged", "encrypted", "too-many-pages", "too-large", "far-too-large"],
)
def test_bad_document_is_refused_on_the_page(small: Visitor, pdf: bytes, code: str) -> None:
    answer = small.upload(pdf)
    assert answer.status_code == 400
    assert 'data-page="sign.upload"' in answer.text
    assert f'data-code-of-error="{code}"' in answer.text
    assert "hidden data-code" not in answer.text
    assert "Tu še ni podpisov" in small.get("/signatures").text


def test_bad_document_is_refused_for_the_script(small: Visitor) -> None:
    answer = small.upload(b"no", accept="application/json")
    assert answer.status_code == 400
    assert answer.json()["code"] == "document-not-pdf"
    assert answer.json()["error"]


def test_good_document_leads_on_for_the_script(ana: Visitor, contract: bytes) -> None:
    answer = ana.upload(contract, accept="application/json")
    assert answer.status_code == 201
    assert 'data-page="sign.document"' in ana.get(answer.json()["next"]).text


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_upload_needs_a_login(street: Street, contract: bytes, accept: str) -> None:
    stranger = street.browser()
    answer = stranger.client.post("/upload", files={"document": ("a.pdf", contract)}, headers={"accept": accept})
    where = answer.json()["next"] if accept == "application/json" else answer.headers["location"]
    assert where == "/login?next=/upload"


def test_upload_needs_the_form_of_this_site(ana: Visitor, contract: bytes) -> None:
    answer = ana.client.post("/upload", files={"document": ("a.pdf", contract)})
    assert answer.status_code == 403
    assert "form-expired" in answer.text


def test_what_a_signer_must_know_is_said(ana: Visitor) -> None:
    page = ana.get(ana.bring(REMARKED["link"][0]())).text
    assert "Bodite pozorni." in page
    assert 'data-finding="links"' in page
    assert "<li>https://example.test/a</li>" in page


def test_attached_files_are_refused_by_name(ana: Visitor) -> None:
    pdf = REFUSED["file at a note"][0]()
    answer = ana.upload(pdf)
    assert answer.status_code == 400
    assert 'data-code-of-error="document-embedded-files"' in answer.text
    assert "<li>racun.xml</li>" in answer.text
    assert ana.upload(pdf, accept="application/json").json()["names"] == ["racun.xml"]


@pytest.fixture(scope="module")
def hasty() -> Iterator[Isolated]:
    """A nursery that gives each document little processor time."""
    made = Isolated(IsolationLimits(seconds=60, processor_seconds=3))
    yield made
    made.close()


@pytest.fixture
def lenient(town: Town, tmp_path: Path, database: Database, clock: SettableClock, hasty: Isolated) -> Iterator[Visitor]:
    """A visitor of a site with that nursery, whose operator lets attached files pass."""
    policy = Policy(limits=DocumentLimits(embedded_files="show"))
    with ExitStack() as stack:
        street = open_street(
            stack, town, directory=tmp_path, database=database, clock=clock, isolated=hasty, policy=policy
        )
        visitor = street.browser()
        visitor.log_in()
        yield visitor


@pytest.mark.requirement("SIG-5")
def test_attached_files_are_shown_by_name_until_the_document_is_signed(lenient: Visitor) -> None:
    path = lenient.bring(REFUSED["file in the name tree"][0]())
    assert "<li>racun.xml (8 B)</li>" in lenient.get(path).text
    lenient.approve(path)
    assert 'data-page="sign.result"' in lenient.get(path).text


HOSTILE = (
    "page of a kilometre",
    "ten million pages",
    "forms in forms",
    "XFA form",
    "hidden layer",
    "value without a look",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_document_leaves_a_sentence_and_nothing_else(
    lenient: Visitor, contract: bytes, tmp_path: Path, name: str
) -> None:
    make, codes = REFUSED[name]
    answer = lenient.upload(make())
    assert answer.status_code == 400
    assert f'data-code-of-error="{codes}"' in answer.text
    assert "Tu še ni podpisov" in lenient.get("/signatures").text
    assert list(tmp_path.rglob("*.original")) == []
    assert 'data-page="sign.document"' in lenient.get(lenient.bring(contract)).text
    assert len(list(tmp_path.rglob("*.original"))) == 1


def test_one_person_cannot_fill_the_house(street: Street, ana: Visitor, contract: bytes) -> None:
    for _ in range(MAX_OPEN):
        ana.bring(contract)
    answer = ana.upload(contract)
    assert answer.status_code == 429
    assert "too-many-documents" in answer.text


@pytest.mark.requirement("SIG-5")
@pytest.mark.parametrize(
    ("given_name", "label"),
    [
        ("Pogodba.pdf", "Pogodba.pdf"),
        ("/etc/passwd", "passwd"),
        ("C:\\Dokumenti\\Račun 5.pdf", "Račun 5.pdf"),
        ("a\u202egpj.pdf", "agpj.pdf"),
        ("  dve\t vrstici\r\n.pdf ", "dve vrstici .pdf"),
        ("", "dokument.pdf"),
        ("\u200b\u200d", "dokument.pdf"),
        ("z\u030c.pdf", "ž.pdf"),
        ("x" * 300 + ".pdf", "x" * (MAX_LABEL - 5) + "….pdf"),
    ],
)
def test_label_shows_itself_as_it_is(given_name: str, label: str) -> None:
    assert clean_label(given_name) == label


@given(st.text(max_size=300))
def test_label_of_anything_can_be_approved(name: str) -> None:
    assert is_plain_label(clean_label(name))


def test_findings_have_words() -> None:
    assert all(finding.sentence for finding in Finding)
