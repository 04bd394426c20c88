"""What every small server does: strict headers, its own hosts only, no writing from elsewhere, two languages."""

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import sandbox
from sandbox.mailbox import Mailbox, mailbox_app
from sandbox.settings import Limits
from sandbox.words import SLOVENE
from tests.sandbox.conftest import ClientFor
from tsp.core.clock import SettableClock


@pytest.fixture
def client(clock: SettableClock, limits: Limits, client_for: ClientFor) -> TestClient:
    return client_for(mailbox_app(Mailbox(clock, limits)))


def test_pages_come_with_a_strict_policy(client: TestClient) -> None:
    answer = client.get("/")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"<style|style=|<script>|onclick", answer.text)
    assert client.get("/static/sandbox.css").status_code == 200
    assert client.get("/health").text == "ok\n"


def test_other_host_names_are_refused(client: TestClient) -> None:
    assert client.get("/", headers={"Host": "elsewhere.example"}).status_code == 400


def test_pages_of_other_origins_cannot_write(client: TestClient) -> None:
    def status(origin: str) -> int:
        return client.post("/api/down", json={"down": True}, headers={"Origin": origin}).status_code

    assert status("http://elsewhere.example") == 403
    assert status("null") == 403
    assert status("http://localhost:8499") == 200


@pytest.mark.parametrize(
    ("content", "media_type", "status", "code"),
    [
        (b"{", "application/json", 400, "json-malformed"),
        (b"[" * 1020, "application/json", 400, "json-malformed"),
        (b"\xff", "application/json", 400, "json-malformed"),
        (b"{}", "text/plain", 415, "not-json"),
        (b"x" * 2000, "application/json", 413, "body-too-large"),
    ],
)
def test_bodies_that_are_no_json(client: TestClient, content: bytes, media_type: str, status: int, code: str) -> None:
    answer = client.post("/api/down", content=content, headers={"Content-Type": media_type})
    assert (answer.status_code, answer.json()["error"]) == (status, code)


def test_language_is_slovene_until_switched_and_then_remembered(client: TestClient) -> None:
    assert '<html lang="sl">' in client.get("/").text
    assert '<html lang="en">' in client.get("/?lang=en").text
    assert '<html lang="en">' in client.get("/").text
    assert "Poštni predal" in client.get("/?lang=sl").text
    assert client.get("/?to=a@x&lang=en").text.count("/?to=a%40x&amp;lang=sl") == 1


def test_every_sentence_of_the_templates_has_its_slovene_words() -> None:
    templates = Path(sandbox.__file__).parent / "templates"
    used = {
        text for path in templates.glob("*.html") for text in re.findall(r"""\bt\("((?:[^"])+)"\)""", path.read_text())
    }
    assert len(used) > 30
    assert used <= set(SLOVENE)
