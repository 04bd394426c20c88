"""Uploads: streamed, measured while they arrive, and never half accepted."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient
from starlette.types import Message

from tests.web.small_face import make_client, make_pages
from tests.web.test_web_pages import token_of


def test_upload_ok_with_other_fields_and_a_slovene_name(browser: TestClient) -> None:
    token = token_of(browser.get("/").text)
    answer = browser.post(
        "/take",
        data={"csrf_token": token, "note": "č"},
        files={"document": ("Pogodba o žitu.pdf", b"%PDF-1.7" + bytes(500), "application/pdf")},
    )
    assert answer.json() == {"name": "Pogodba o žitu.pdf", "size": 508, "fields": {"note": "č"}}


@pytest.mark.requirement("SEC-2")
def test_upload_fails_over_the_limit(browser: TestClient) -> None:
    token = token_of(browser.get("/").text)
    answer = browser.post("/take", data={"csrf_token": token}, files={"document": ("a.pdf", bytes(1001))})
    assert answer.status_code == 400
    assert "form-too-large" in answer.text


@pytest.mark.requirement("SEC-2")
def test_upload_fails_before_the_body_where_its_length_is_told(browser: TestClient) -> None:
    answer = browser.post(
        "/take", content=b"", headers={"content-type": "multipart/form-data; boundary=x", "content-length": "99999999"}
    )
    assert "form-too-large" in answer.text


@pytest.mark.requirement("SEC-2")
def test_upload_fails_without_token(browser: TestClient) -> None:
    browser.get("/")
    assert browser.post("/take", files={"document": ("a.pdf", b"x")}).status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        b'--x\r\nContent-Disposition: form-data; name="document"; filename="a"\r\n\r\nabc',
        2 * b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' + b"--x--\r\n",
        b'--x\r\nContent-Disposition: form-data; name="other"; filename="a"\r\n\r\nabc\r\n--x--\r\n',
        b"--x\r\nContent-Disposition: attachment\r\n\r\nabc\r\n--x--\r\n",
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\xff\r\n--x--\r\n',
        b"nonsense",
        b"",
    ],
    ids=["cut-short", "repeated", "other-field", "not-form-data", "not-utf8", "nonsense", "empty"],
)
def test_upload_fails_when_it_cannot_be_read(browser: TestClient, body: bytes) -> None:
    answer = browser.post("/take", content=body, headers={"content-type": "multipart/form-data; boundary=x"})
    assert answer.status_code == 400
    assert "form-malformed" in answer.text


@pytest.mark.requirement("SEC-2")
@pytest.mark.parametrize(
    ("path", "kind"), [("/take", "multipart/form-data; boundary=x"), ("/", "application/x-www-form-urlencoded")]
)
def test_a_body_that_only_drips_is_given_up(path: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads it holds memory, and at the validator a place that others wait for."""
    monkeypatch.setattr("tsp.web.forms.PATIENCE", 0.05)
    sent: list[Message] = []
    drops = iter([b"--x\r\n", b"C"])

    async def receive() -> Message:
        drop = next(drops, None)
        if drop is None:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": drop, "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", kind.encode()), (b"host", b"testserver")]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
    asyncio.run(asyncio.wait_for(CLIENT.app(scope, receive, send), 20))
    assert sent[0]["status"] == 400
    assert b"body-too-slow" in sent[1]["body"]


CLIENT = make_client(make_pages())


@given(st.binary(max_size=300), st.sampled_from(["multipart/form-data; boundary=x", "multipart/form-data", "x", ""]))
def test_upload_of_anything_is_answered_with_a_page(body: bytes, kind: str) -> None:
    assert CLIENT.post("/take", content=b"--x\r\n" + body, headers={"content-type": kind}).status_code in (400, 403)


@given(st.binary(max_size=300))
def test_form_of_anything_is_answered_with_a_page(body: bytes) -> None:
    answer = CLIENT.post("/", content=body, headers={"content-type": "application/x-www-form-urlencoded"})
    assert answer.status_code in (400, 403)
