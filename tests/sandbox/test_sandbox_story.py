"""The person maker and the story, over pages that have the platform's names and the sandbox's own servers."""

import json
from pathlib import Path

import httpx2
import pytest
from pyhanko.pdf_utils.reader import PdfFileReader

from sandbox.inbox import Inbox, NoCode
from sandbox.instance import initialise, load
from sandbox.mailbox import Mailbox
from sandbox.page import PageError
from sandbox.person import World, credentials, new_account, urls_from
from sandbox.phone import Phone
from sandbox.randomness import SystemRandomness
from sandbox.register import Register
from sandbox.settings import ConfigurationError, load_settings
from sandbox.story import StoryFailed, Summary, run_story
from sandbox.visitor import Refusal, Step
from tests.sandbox.stand_in import KEY, StandIn, client_of
from tsp.core.clock import SettableClock

URLS = urls_from(None, None)


@pytest.fixture
def stand_in(tmp_path: Path, clock: SettableClock) -> StandIn:
    settings = load_settings(directory=tmp_path / "sandbox")
    register = Register(settings.path(settings.files.persons), clock, SystemRandomness(), settings.limits)
    return StandIn(clock, Mailbox(clock, settings.limits), Phone(clock, settings.limits), register)


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def world(tmp_path: Path, stand_in: StandIn, clock: SettableClock, pauses: list[float]) -> World:
    settings = load_settings(directory=tmp_path / "sandbox")
    initialise(settings, SystemRandomness())
    return World(client_of(stand_in, load(settings)), clock, SystemRandomness(), pauses.append)


def test_an_account_without_level(world: World, stand_in: StandIn) -> None:
    account = new_account("none", URLS, world)
    assert account.puk == "AB12CD34"
    assert stand_in.account["email"] == account.person.email
    assert not stand_in.has_data


def test_an_account_with_personal_data(world: World, stand_in: StandIn) -> None:
    account = new_account("low", URLS, world)
    assert (stand_in.has_data, stand_in.raised) == (True, False)
    assert account.identification_key == ""


def test_an_account_that_may_sign(world: World, stand_in: StandIn) -> None:
    steps: list[Step] = []
    account = new_account("substantial", URLS, world, steps.append)
    assert (stand_in.raised, account.identification_key) == (True, KEY)
    told = credentials(account, "substantial")
    assert {"email", "password", "puk", "phone", "tax_number", "date_of_birth"} <= set(told)
    assert told["password"] == stand_in.account["password"]
    assert "identification key from the branch" in [step.name for step in steps]


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ("error", r"stopped here, but this is idp\.error .*500\): Nekaj je narobe"),
        ("idp.register-sms", r"stopped here, but this is idp\.register-sms .*403\): Koda ni prava"),
        ("register", r"personal data were not confirmed, but .*: Podatki se ne ujemajo"),
    ],
)
def test_where_a_journey_stops_the_page_is_quoted(world: World, stand_in: StandIn, broken: str, sentence: str) -> None:
    stand_in.broken = broken
    with pytest.raises(PageError, match=sentence):
        new_account("low", URLS, world)


def _story(
    world: World, tmp_path: Path, kind: str = "qualified", file: Path | None = None
) -> tuple[Summary, list[str]]:
    lines: list[str] = []
    told = run_story({}, file, tmp_path / "out" / "signed.pdf", kind=kind, say=lines.append, world=world)
    return told, lines


def test_the_whole_story(world: World, stand_in: StandIn, tmp_path: Path, pauses: list[float]) -> None:
    summary, lines = _story(world, tmp_path)
    assert summary["passed"]
    assert Path(summary["signed"]).read_bytes() == stand_in.uploaded + b"signed"
    assert stand_in.kind == "qualified"
    assert stand_in.pictures == {"1", "2"}
    assert summary["ids"] == {"login": "r-2", "document": "d-1", "evidence": "e-1", "certificate": "0a"}
    assert json.loads(Path(summary["evidence"]).read_text())["id"] == "e-1"
    assert Path(summary["trust_anchors"][0]).read_text().startswith("-----BEGIN CERTIFICATE")
    assert summary["urls"] == URLS
    assert len(lines) == len(summary["steps"]) + 1
    assert len(pauses) == 4  # twice for the signature, once for the log, once for the package
    assert summary["proof"] == {"state": "proven"}
    assert json.loads(json.dumps(summary)) == summary
    for secret in (summary["person"]["password"], summary["person"]["puk"], KEY):
        assert not any(secret in line for line in lines)


def test_without_a_file_a_contract_is_made_for_the_person(world: World, stand_in: StandIn, tmp_path: Path) -> None:
    summary, _ = _story(world, tmp_path)
    unsigned = tmp_path / "unsigned.pdf"
    unsigned.write_bytes(stand_in.uploaded)
    with unsigned.open("rb") as stream:
        title = str(PdfFileReader(stream).trailer["/Info"]["/Title"])
    assert title.endswith(f"{summary['person']['given_name']} {summary['person']['family_name']}")


def test_ones_own_file_and_another_kind(world: World, stand_in: StandIn, tmp_path: Path) -> None:
    file = tmp_path / "moja pogodba.pdf"
    file.write_bytes(b"%PDF-own")
    summary, lines = _story(world, tmp_path, "advanced", file)
    assert (stand_in.uploaded, stand_in.kind) == (b"%PDF-own", "advanced")
    assert any("upload of moja pogodba.pdf" in line for line in lines)
    assert summary["steps"][0]["name"].endswith("is born into the register")


def test_a_signature_that_does_not_validate_fails_the_story(world: World, stand_in: StandIn, tmp_path: Path) -> None:
    stand_in.broken = "validator"
    summary, lines = _story(world, tmp_path)
    assert not summary["passed"]
    assert "TOTAL-FAILED" in lines[-1]


def test_evidence_that_does_not_hold_fails_the_story(world: World, stand_in: StandIn, tmp_path: Path) -> None:
    stand_in.broken = "verifier"
    summary, lines = _story(world, tmp_path)
    assert not summary["passed"]
    assert any("verified offline: failed" in line for line in lines)


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ("witness", r"the evidence package is still pending"),
        ("upload", r"the story ended after “upload of .*”: expected sign\.document, but .*: To ni PDF"),
        ("picture", r"1\.png is no PNG picture"),
        ("engine", r"waited long enough, but this is sign\.waiting"),
        ("log", r"has not come into the public log"),
    ],
)
def test_what_goes_wrong_ends_the_story_with_its_reason(
    world: World, stand_in: StandIn, tmp_path: Path, broken: str, sentence: str
) -> None:
    stand_in.broken = broken
    with pytest.raises(StoryFailed, match=sentence) as failed:
        _story(world, tmp_path)
    assert failed.value.steps


def test_a_file_that_is_not_there_ends_the_story(world: World, tmp_path: Path) -> None:
    with pytest.raises(StoryFailed, match="No such file"):
        _story(world, tmp_path, file=tmp_path / "none.pdf")


def test_a_register_that_is_not_there_is_told(clock: SettableClock) -> None:
    def silent(_request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    world = World(httpx2.Client(transport=httpx2.MockTransport(silent)), clock)
    with pytest.raises(Refusal, match=r"8413/api/persons does not answer .*ConnectError"):
        new_account("low", URLS, world)


def test_a_code_that_does_not_come_is_told_with_what_came() -> None:
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.params["after"])
        notice = {"id": 7, "subject": "Obvestilo", "text": "Račun 2026 je pripravljen."}
        return httpx2.Response(200, json=[notice] if len(asked) == 1 else [])

    inbox = Inbox(httpx2.Client(transport=httpx2.MockTransport(answer)), "http://mailbox", "http://phone")
    with pytest.raises(NoCode, match="no code for a@x came within 60 s at http://mailbox; only: Obvestilo"):
        inbox.mailed_code("a@x")
    assert asked == ["0", "7", "7"]


def test_every_message_is_read_once_and_numbers_inside_words_are_no_codes() -> None:
    texts = iter(["Dokument 4f123456ab, geslo 654321.", "Enkrat: 111222 je enkratno geslo, 333444.pdf"])

    def answer(_request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json=[{"id": 1, "subject": "", "text": next(texts)}])

    inbox = Inbox(httpx2.Client(transport=httpx2.MockTransport(answer)), "http://mailbox", "http://phone")
    assert inbox.texted_code("+38641123456") == "654321"
    assert inbox.texted_code("+38641123456") == "111222"


def test_addresses_move_with_the_signing_site() -> None:
    moved = urls_from(None, "http://localhost:20300")
    assert (moved["sign"], moved["idp"], moved["branch"]) == tuple(
        f"http://localhost:{port}" for port in (20300, 20301, 20314)
    )
    with pytest.raises(ConfigurationError, match="is not an origin"):
        urls_from(None, "localhost")
