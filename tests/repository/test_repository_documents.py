"""Practice and disclosure statements: made of facts, proven by tests, published for good."""

import ast
import re
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from asn1crypto import x509
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient
from typer.testing import CliRunner

from tests.ca.ca_kit import PERSON, ROOT, SoftKey, authority, profiles
from tests.repository.conftest import ORIGIN, make_pages
from tests.requirements_plugin import known_requirements
from tsp.ca.urls import DEMO_PDS, RepositoryUrls
from tsp.core.clock import SettableClock
from tsp.core.errors import Invalid, NotFound, Unavailable
from tsp.core.randomness import Randomness
from tsp.core.settings import Settings
from tsp.repository.app import Shelves, repository_app
from tsp.repository.commands import documents_commands
from tsp.repository.documents import NAMES, TEXTS, load_text, statements
from tsp.repository.facts import LANGUAGES
from tsp.repository.installation import facts
from tsp.repository.library import Library
from tsp.repository.pdf import STYLES, Block, make_pdf, wrap
from tsp.repository.truetype import font
from tsp.web.language import Languages

#: RFC 3647, 6: the components that every practice statement has.
RFC_3647 = {1: 6, 2: 4, 3: 4, 4: 12, 5: 8, 6: 8, 7: 3, 8: 0, 9: 17}
#: EN 319 411-1, Annex A: the topics of a PKI disclosure statement. EN 319 421, Annex B has one more.
TOPICS = {"pds": 11, "tsa": 12}


def text_of(pdf: bytes, tmp_path: Path) -> str:
    """What poppler reads in a PDF, in one line."""
    file = tmp_path / "read.pdf"
    file.write_bytes(pdf)
    shown = subprocess.run(["pdftotext", "-layout", file, "-"], check=True, capture_output=True).stdout.decode()
    return " ".join(shown.split())


@cache
def duties_of_tests(file: str) -> dict[str, set[str]]:
    """The duties that each test of a file is marked with, by the name of the test."""
    tree = ast.parse((ROOT / file).read_text())
    of_module: set[str] = set()
    found: dict[str, set[str]] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
            of_module = _quoted(node.value)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            marks = (mark for mark in node.decorator_list if "mark.requirement" in ast.unparse(mark))
            found[node.name] = {duty for mark in marks for duty in _quoted(mark)}
    return {name: duties | of_module for name, duties in found.items()}


def _quoted(node: ast.AST) -> set[str]:
    return {part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)}


# --- promises --------------------------------------------------------------------------------------


@pytest.mark.requirement("CA-1")
@pytest.mark.parametrize("name", NAMES)
def test_every_promise_names_a_test_that_proves_its_duty(name: str) -> None:
    known = known_requirements()
    for section in load_text(name).section:
        for promise in section.promise:
            where = f"{name} {section.number}: {promise.en}"
            assert promise.organisation or promise.tests, where
            assert set(promise.requirement) <= known, where
            for test in promise.tests:
                file, _, function = test.partition("::")
                marked = duties_of_tests(file)
                assert function in marked, f"{where}: there is no {test}"
                assert set(promise.requirement) <= marked[function], f"{where}: {test} is marked {marked[function]}"


@pytest.mark.parametrize(
    "broken",
    [
        'sl = "a"\nen = "b"\nclause = "c"',
        'sl = "a"\nen = "b"\nclause = "c"\nrequirement = ["CA-1"]',
        'sl = "a"\nen = "b"\nclause = "c"\ntests = ["tests/a.py::test_a"]',
        'sl = "a"\nen = "b"\nclause = "c"\nrequirement = ["CA-1"]\ntests = ["somewhere"]',
        'sl = "a"\nen = "b"\nclause = "c"\nrequirement = ["CA-1"]\ntests = ["tests/a.py::test_a"]\norganisation = true',
        'sl = "a"\nclause = "c"\norganisation = true',
        'sl = "a"\nen = "b"\norganisation = true',
    ],
)
def test_promise_without_proof_is_refused(tmp_path: Path, broken: str) -> None:
    head = 'name = "cps"\ntitle = { sl = "a", en = "b" }\n[[section]]\nnumber = "1"\ntitle = { sl = "a", en = "b" }\n'
    (tmp_path / "cps.toml").write_text(f"{head}[[section.promise]]\n{broken}\n")
    with pytest.raises(Invalid) as caught:
        load_text("cps", tmp_path)
    assert caught.value.code == "statement-text-invalid"


def test_sections_out_of_order_are_refused(tmp_path: Path) -> None:
    section = '[[section]]\nnumber = "{}"\ntitle = {{ sl = "a", en = "b" }}\n'
    for numbers in (("2", "1"), ("1", "1"), ("1.10", "1.9")):
        body = "".join(section.format(number) for number in numbers)
        (tmp_path / "cps.toml").write_text(f'name = "cps"\ntitle = {{ sl = "a", en = "b" }}\n{body}')
        with pytest.raises(Invalid, match="in order"):
            load_text("cps", tmp_path)


# --- contents --------------------------------------------------------------------------------------


@pytest.mark.requirement("CA-1")
def test_practice_statement_has_every_component_of_rfc_3647() -> None:
    numbers = [section.number for section in load_text("cps").section]
    expected = []
    for chapter, parts in RFC_3647.items():
        expected += [str(chapter), *(f"{chapter}.{part}" for part in range(1, parts + 1))]
    assert numbers == expected


@pytest.mark.requirement("CA-4", "TSA-1")
@pytest.mark.parametrize(("name", "count"), TOPICS.items())
def test_disclosure_statements_have_every_topic_of_their_annex(name: str, count: int) -> None:
    assert [section.number for section in load_text(name).section] == [str(n) for n in range(1, count + 1)]


@pytest.mark.parametrize("name", NAMES)
def test_both_languages_quote_the_same_facts(name: str) -> None:
    def quoted(text: str) -> set[str]:
        return set(re.findall(r"\{(\w+)\}", text))

    for section in load_text(name).section:
        for words in (section.title, section.text, *section.promise):
            if words is not None:
                assert quoted(words.sl) == quoted(words.en), f"{name} {section.number}"
                assert words.sl != words.en or words.en.isupper(), f"{name} {section.number}"


def test_every_kind_of_certificate_has_its_slovene() -> None:
    languages = Languages()
    for profile in profiles().values():
        assert languages.text("sl", profile.title) != profile.title, f"{profile.title} is not in repository.po"


@pytest.mark.requirement("CA-1", "CA-2", "CA-3")
def test_practice_statement_names_every_kind_of_certificate_and_its_policies(settings: Settings) -> None:
    made = statements(load_text("cps"), facts(settings))["en"]
    rows = {row for section in made.sections if section.table for row in section.table.rows}
    shown = {(row[0], row[1]) for row in rows}
    for profile in profiles(settings.profiles.oid_arc).values():
        if not profile.ca:
            assert (profile.title, ", ".join(profile.policies)) in shown


def test_a_fact_that_does_not_exist_is_told(settings: Settings, tmp_path: Path) -> None:
    whole = (TEXTS / "tsa.toml").read_text().replace("{accuracy}", "{colour}")
    (tmp_path / "tsa.toml").write_text(whole)
    with pytest.raises(Invalid, match="colour"):
        statements(load_text("tsa", tmp_path), facts(settings))


def test_without_a_postal_address_nothing_is_published(
    settings: Settings, clock: SettableClock, tmp_path: Path
) -> None:
    nowhere = settings.model_copy(update={"provider": settings.provider.model_copy(update={"street": ""})})
    library = Library(tmp_path / "documents", lambda: facts(nowhere), clock)
    with pytest.raises(Invalid, match="provider-address-missing"):
        library.build()
    assert [library.numbers(name) for name in NAMES] == [[], [], []]


# --- versions --------------------------------------------------------------------------------------


@pytest.mark.requirement("CA-1")
def test_a_changed_fact_makes_a_new_version(settings: Settings, clock: SettableClock, tmp_path: Path) -> None:
    now = [settings]
    library = Library(tmp_path / "documents", lambda: facts(now[0]), clock)
    assert [version.number for version in library.build()] == [1, 1, 1]
    assert library.build() == []
    first = (tmp_path / "documents" / "cps.1.json").read_bytes()
    clock.advance(days=30)
    practice = settings.practice.model_copy(update={"retention_years": 12})
    now[0] = settings.model_copy(update={"practice": practice})
    assert sorted(library.due()) == ["cps", "pds", "tsa"]
    library.build()
    for language, words in (("en", "12 years"), ("sl", "12 let")):
        made = library.version("cps").languages["sl" if language == "sl" else "en"]
        assert any(words in paragraph for section in made.sections for paragraph in section.paragraphs)
    assert library.version("cps").date == clock.now()
    assert library.numbers("cps") == [2, 1]
    assert (tmp_path / "documents" / "cps.1.json").read_bytes() == first


@pytest.mark.requirement("TSA-1")
def test_a_fact_of_one_statement_leaves_the_others_alone(
    settings: Settings, clock: SettableClock, tmp_path: Path
) -> None:
    now = [settings]
    library = Library(tmp_path / "documents", lambda: facts(now[0]), clock)
    library.build()
    now[0] = settings.model_copy(update={"qtsa": settings.qtsa.model_copy(update={"accuracy_ms": 300})})
    assert [version.name for version in library.build()] == ["cps", "tsa"]


def test_a_damaged_version_is_not_shown_as_published(library: Library, tmp_path: Path) -> None:
    file = tmp_path / "documents" / "pds.1.json"
    for spoilt in (file.read_text().replace("10 years", "1 year"), "{", "[]", ""):
        file.write_text(spoilt)
        with pytest.raises(Unavailable, match="statement-damaged"):
            library.version("pds")


@given(name=st.text(max_size=12), number=st.none() | st.integers())
def test_only_what_is_published_is_found(name: str, number: int | None) -> None:
    with pytest.raises(NotFound):
        Library(Path("/nowhere"), dict, SettableClock(clock_start())).version(name, number)


def clock_start() -> datetime:
    return datetime(2026, 11, 23, tzinfo=UTC)


def test_commands_build_and_tell_what_is_due(settings: Settings, clock: SettableClock, tmp_path: Path) -> None:
    now = [settings]
    commands = documents_commands(lambda: Library(tmp_path / "documents", lambda: facts(now[0]), clock))
    run = CliRunner().invoke
    assert run(commands, ["list"]).exit_code == 1
    built = run(commands, ["build"])
    assert "pds version 1, in force from 2026-11-23T10:00:00+00:00" in built.output
    assert "Nothing changed" in run(commands, ["build"]).output
    assert run(commands, ["list"]).exit_code == 0
    now[0] = settings.model_copy(update={"provider": settings.provider.model_copy(update={"support_phone": "112"})})
    told = run(commands, ["list"])
    assert told.exit_code == 1
    assert "run `tsp documents build`" in told.output


# --- over HTTP -------------------------------------------------------------------------------------


@pytest.mark.requirement("CA-4")
def test_certificates_name_a_disclosure_statement_that_is_served(client: TestClient, tmp_path: Path) -> None:
    made = authority(urls=RepositoryUrls("http://repository.example.si", "http://ocsp.example.si", dict(DEMO_PDS)))
    clock_now = SettableClock(datetime(2026, 11, 23, 10, tzinfo=UTC)).now()
    issued = made.issue(made.prepare("qualified", PERSON, SoftKey().public_spki, now=clock_now))
    named = re.findall(rb"https://[a-z./]+\.pdf", x509.Certificate.load(issued.der).dump())
    assert len(named) == 2
    for url in named:
        path = urlsplit(url.decode()).path
        answer = client.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/pdf")
        title = "PKI disclosure statement" if path.endswith("/en.pdf") else "Razkritvena izjava o potrdilih"
        assert title in text_of(answer.content, tmp_path)
        assert answer.content == client.get(f"/documents/pds.{answer.headers['content-language']}.pdf").content


def test_addresses_that_are_no_document_of_ours_change_nothing(
    artefacts: Path, clock: SettableClock, randomness: Randomness, shelves: Shelves
) -> None:
    """A disclosure statement that somebody else serves, in a language that we do not write."""
    places = {"en": "https://www.example.si/", "de": "https://www.example.si/documents/cps"}
    app = repository_app(make_pages(randomness), artefacts, clock, replace(shelves, places=places))
    with TestClient(app, base_url=ORIGIN) as client:
        assert 'data-page="repository.home"' in client.get("/").text
        assert 'data-page="repository.document"' in client.get("/documents/cps").text


@pytest.mark.requirement("CA-4")
def test_an_https_repository_serves_the_statements_that_it_names(settings: Settings) -> None:
    production = settings.model_copy(
        update={"mode": "production", "urls": settings.urls.model_copy(update={"repository": "https://rep.example.si"})}
    )
    assert RepositoryUrls.of(production).pds["en"] == "https://rep.example.si/pds/en.pdf"
    plain = settings.model_copy(update={"mode": "production"})
    assert RepositoryUrls.of(plain).pds == {}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", NAMES)
def test_page_and_pdf_say_the_same(
    client: TestClient, library: Library, tmp_path: Path, name: str, language: str
) -> None:
    page = client.get(f"/documents/{name}", headers={"accept-language": language})
    assert page.status_code == 200
    pdf = client.get(f"/documents/{name}.{language}.pdf")
    shown = text_of(pdf.content, tmp_path)
    made = library.version(name).languages["sl" if language == "sl" else "en"]
    for section in made.sections:
        assert section.title.split(" ")[0] in shown
        assert f'id="s{section.number}"' in page.text
        for promise in section.promises:
            assert " ".join(promise.text.split()[:4]) in shown
            assert all(test in page.text for test in promise.tests)


def test_pdf_is_sound_tagged_and_always_the_same(client: TestClient, tmp_path: Path) -> None:
    answer = client.get("/documents/cps.sl.pdf")
    file = tmp_path / "cps.pdf"
    file.write_bytes(answer.content)
    info = subprocess.run(["pdfinfo", file], check=True, capture_output=True)
    assert info.stderr == b""
    assert "Tagged:          yes" in info.stdout.decode()
    fonts = subprocess.run(["pdffonts", file], check=True, capture_output=True).stdout.decode()
    assert fonts.count(" yes no  yes ") == 2
    assert client.get("/documents/cps.1.sl.pdf").content == answer.content
    # The test mode of poppler draws every page; what is broken it says.
    drawn = subprocess.run(["pdftoppm", "-r", "20", "-png", file, tmp_path / "page"], check=True, capture_output=True)
    assert drawn.stderr == b""


def test_versions_are_kept_by_caches_for_ever_and_the_newest_is_asked_for(client: TestClient) -> None:
    newest, first = client.get("/documents/pds.en.pdf"), client.get("/documents/pds.1.en.pdf")
    assert newest.headers["cache-control"] == "public, max-age=3600"
    assert first.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert newest.headers["last-modified"] == "Mon, 23 Nov 2026 10:00:00 GMT"
    again = client.get("/documents/pds.en.pdf", headers={"if-none-match": newest.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.head("/documents/pds.en.pdf").headers["content-length"] == str(len(newest.content))


@pytest.mark.parametrize(
    "file",
    ["cps.2", "cps.0", "cps.de.pdf", "other", "other.sl.pdf", "cps.1.json", "..%2fcps", "cps.sl.PDF", "cps.99999999"],
)
def test_documents_that_are_not_there(client: TestClient, file: str) -> None:
    answer = client.get(f"/documents/{file}")
    assert answer.status_code == 404
    assert 'data-page="repository.error"' in answer.text


# --- setting type ----------------------------------------------------------------------------------


@given(text=st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=300))
def test_any_text_is_set_within_its_column(text: str) -> None:
    style = STYLES["text"]
    lines = wrap(text, style, 200)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(font("regular").width(line, style.size) <= 200 or len(line) == 1 for line in lines)


@given(words=st.lists(st.text(max_size=40), min_size=1, max_size=4))
def test_any_block_gives_a_file_that_another_reader_opens(words: list[str]) -> None:
    import pypdfium2

    pdf = make_pdf(
        [Block("cell", tuple(words)), Block("heading", (words[0],), 0)],
        title=words[0],
        author="x",
        language="sl",
        date=clock_start(),
        footer=words[-1],
    )
    opened = pypdfium2.PdfDocument(pdf)
    assert len(opened) == 1
    opened.close()
