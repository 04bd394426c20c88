"""The repository's pages over HTTP: what they say is what the artefacts are."""

import hashlib
import re
from datetime import timedelta
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.ca.ca_kit import SoftKey
from tsp.ca.authority import IssuingKey
from tsp.ca.certificate import IssuerFacts
from tsp.ca.crl import RevokedCertificate
from tsp.ca.publication import make_crl
from tsp.ca.store import CaStore
from tsp.core.clock import SettableClock

AUTHORITIES = ("root", "qualified", "nonqualified", "infrastructure")


@pytest.mark.requirement("CA-4", "OCSP-2")
@pytest.mark.parametrize("language", ["sl", "en"])
def test_every_authority_is_there_with_its_fingerprint_and_files(
    client: TestClient, artefacts: Path, language: str
) -> None:
    answer = client.get("/", headers={"accept-language": language})
    assert answer.status_code == 200
    assert f'<html lang="{language}">' in answer.text
    shown = answer.text.replace(" ", "")
    for name in AUTHORITIES:
        der = CaStore(artefacts).certificate(name)
        assert hashlib.sha256(der).hexdigest().upper() in shown
        for suffix in ("cer", "pem", "p7c"):
            assert f'href="/{name}.{suffix}"' in answer.text
    assert ("23. novembra 2026" if language == "sl" else "23 November 2026") in answer.text


@pytest.mark.requirement("CA-4")
def test_earlier_generations_stay_published(client: TestClient, artefacts: Path) -> None:
    before = client.get("/qualified.cer").content
    assert client.get("/qualified-2.cer").status_code == 404
    (artefacts / "qualified-2.pem").write_bytes((artefacts / "nonqualified.pem").read_bytes())
    (artefacts / "qualified-2.crl").write_bytes((artefacts / "root.crl").read_bytes())
    for spurious in ("qualified-1.pem", "qualified-02.pem", "other.pem", "transcript.pem"):
        (artefacts / spurious).write_bytes((artefacts / "nonqualified.pem").read_bytes())
    text = client.get("/").text
    assert text.count("earlier key, kept for status") == 1
    assert text.index('href="/qualified-2.cer"') < text.index('href="/qualified.cer"') < text.index("/nonqualified.cer")
    assert 'href="/qualified-2.crl"' in text
    assert client.get("/qualified.cer").content == before
    assert client.get("/qualified-2.cer").content == client.get("/nonqualified.cer").content
    assert client.get("/qualified-2.crl").status_code == 200
    for spurious in ("qualified-1", "qualified-02", "other", "transcript"):
        assert client.get(f"/{spurious}.cer").status_code == 404


def test_a_damaged_file_stops_the_files_and_not_the_words(client: TestClient, artefacts: Path) -> None:
    (artefacts / "qualified-2.crl").write_bytes(b"half")
    assert client.get("/root.cer").status_code == 503
    assert client.get("/").status_code == 200
    (artefacts / "qualified.pem").write_bytes(b"half")
    answer = client.get("/")
    assert answer.status_code == 503
    assert 'data-page="repository.error"' in answer.text


def test_every_link_of_the_page_leads_somewhere(client: TestClient) -> None:
    for path in sorted(set(re.findall(r'href="(/[^"]*)"', client.get("/").text))):
        assert client.get(path.replace("&amp;", "&")).status_code == 200, path


@pytest.mark.requirement("OCSP-2")
def test_page_says_when_a_list_is_overdue(client: TestClient, clock: SettableClock) -> None:
    assert "overdue" not in client.get("/").text
    clock.advance(days=366)
    assert "overdue" in client.get("/").text


def test_page_says_that_an_authority_is_not_good_any_more(
    client: TestClient, artefacts: Path, clock: SettableClock
) -> None:
    assert client.get("/").text.count(">valid now</span>") == 4
    clock.advance(days=200 * 366)
    assert client.get("/").text.count(">expired</span>") == 4


def test_page_is_sent_again_only_where_it_changed(client: TestClient, clock: SettableClock) -> None:
    first = client.get("/")
    assert first.headers["cache-control"] == "public, no-cache"
    assert "set-cookie" not in first.headers
    again = client.get("/", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert "content-length" not in again.headers
    assert again.headers["etag"] == first.headers["etag"]
    clock.advance(days=366)
    assert client.get("/", headers={"if-none-match": first.headers["etag"]}).status_code == 200


def test_head_of_the_page_is_get_without_a_body(client: TestClient) -> None:
    head = client.head("/")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["etag"] == client.get("/").headers["etag"]


@pytest.mark.parametrize("path", ["/none", "/ca/root.pem", "/%2e%2e/ca/root.pem", "/..%2froot.pem", "/root", "/tsu"])
def test_what_is_not_here_is_a_page_of_the_house(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert 'data-page="repository.error"' in answer.text
    assert answer.headers["cache-control"] == "no-store"


def test_machines_get_their_files_and_plain_words(client: TestClient, artefacts: Path) -> None:
    root = client.get("/root.cer")
    assert root.content == CaStore(artefacts).root
    missing = client.get("/tsu.cer")
    assert (missing.status_code, missing.headers["content-type"]) == (404, "text/plain; charset=utf-8")
    later = {"if-modified-since": root.headers["last-modified"]}
    assert client.get("/root.cer", headers=later).status_code == 304
    for earlier in ("Mon, 23 Nov 2026 09:59:59 GMT", "yesterday", ""):
        assert client.get("/root.cer", headers={"if-modified-since": earlier}).status_code == 200, earlier
    # RFC 9110, 13.1.3: the tag decides where both are sent.
    assert client.get("/root.cer", headers={**later, "if-none-match": '"other"'}).status_code == 200


def test_revoked_authority_is_called_so(client: TestClient, artefacts: Path, clock: SettableClock) -> None:
    store = CaStore(artefacts)
    key = SoftKey()
    facts = store.facts("root")
    root = IssuingKey(
        IssuerFacts("root", facts.name, facts.key_id, key.public_spki, facts.not_before, facts.not_after), key
    )
    serial = int(re.findall(r"[0-9a-f]{32}", client.get("/").text)[1], 16)
    clock.advance(seconds=3600)
    now = clock.now()
    revoked = [RevokedCertificate(serial, now, "cACompromise")]
    listed = make_crl(root, number=2, now=now, validity=timedelta(days=1), revoked=revoked)
    (artefacts / "root.crl").write_bytes(listed)
    text = client.get("/").text
    assert text.count(">revoked</span>") == 1
    assert text.count(">valid now</span>") == 3


@pytest.mark.requirement("OCSP-2")
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_but_reading_is_answered(client: TestClient, method: str) -> None:
    for path in ("/", "/root.cer", "/documents/cps", "/documents/cps.sl.pdf", "/pds/en.pdf"):
        answer = client.request(method, path)
        assert answer.status_code in (404, 405), path
        assert b"%PDF" not in answer.content
