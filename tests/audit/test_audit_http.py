"""The public log as anybody meets it: tiles, proofs, and a page."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from tests.audit.audit_kit import Log
from tsp.audit import tree
from tsp.audit.checkpoint import VerifierKey, open_checkpoint
from tsp.audit.http import log_app
from tsp.audit.public import split_bundle
from tsp.core.errors import Invalid
from tsp.web import Pages


@pytest.fixture
def client(log: Log) -> Iterator[TestClient]:
    pages = Pages(
        name="Enkrat",
        face="log",
        origin="http://testserver",
        support="podpora@enkrat.test",
        randomness=log.randomness,
    )
    with TestClient(log_app(pages, log.database, log.key)) as made:
        yield made


def proof(answer: dict[str, list[str]]) -> list[bytes]:
    return [bytes.fromhex(node) for node in answer["proof"]]


@pytest.mark.requirement("EVD-2")
def test_anybody_can_check_that_an_entry_is_in_the_log(log: Log, client: TestClient) -> None:
    hashes = log.fill(300)
    key = VerifierKey.parse(client.get("/key").text)
    checkpoint = open_checkpoint(client.get("/checkpoint").text, key)
    for index in (0, 255, 256, 299):
        answer = client.get("/proof/inclusion", params={"leaf": hashes[index].hex()}).json()
        assert open_checkpoint(answer["checkpoint"], key) == checkpoint
        assert (answer["index"], answer["size"]) == (index, 300)
        assert tree.verify_inclusion(hashes[index], index, 300, proof(answer), checkpoint.root)


@pytest.mark.requirement("EVD-2")
def test_anybody_can_check_that_the_log_only_grew(log: Log, client: TestClient) -> None:
    log.fill(100)
    old = open_checkpoint(client.get("/checkpoint").text, log.key)
    log.fill(200)
    new = open_checkpoint(client.get("/checkpoint").text, log.key)
    answer = client.get("/proof/consistency", params={"from": 100, "to": 300}).json()
    assert tree.verify_consistency(old.size, old.root, new.size, new.root, proof(answer))


@pytest.mark.requirement("EVD-2")
def test_tiles_and_entries_hold_what_the_checkpoint_covers(log: Log, client: TestClient) -> None:
    hashes = log.fill(300)
    full = client.get("/tile/0/000")
    assert full.content == b"".join(hashes[:256])
    assert "immutable" in full.headers["cache-control"]
    assert full.headers["access-control-allow-origin"] == "*"
    assert client.get("/tile/0/001.p/44").content == b"".join(hashes[256:])
    assert client.get("/tile/0/001.p/7").content == b"".join(hashes[256:263])
    assert len(client.get("/tile/1/000.p/1").content) == 32
    leaves = split_bundle(client.get("/tile/entries/001.p/44").content)
    assert [tree.leaf_hash(leaf) for leaf in leaves] == hashes[256:]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/tile/0/000", 404, "tile-unknown"),
        ("/tile/0/000.p/4", 404, "tile-unknown"),
        ("/tile/0/001.p/1", 404, "tile-unknown"),
        ("/tile/1/000.p/1", 404, "tile-unknown"),
        ("/tile/entries/000.p/4", 404, "tile-unknown"),
        ("/tile/0/0", 400, "tile-path"),
        ("/tile/9/000", 400, "tile-path"),
        ("/tile/entries/abc", 400, "tile-path"),
        ("/proof/inclusion", 400, "leaf-malformed"),
        ("/proof/inclusion?leaf=00", 400, "leaf-malformed"),
        (f"/proof/inclusion?leaf={'00' * 32}", 404, "leaf-unknown"),
        ("/proof/consistency?from=1&to=4", 400, "log-sizes"),
        ("/proof/consistency?from=3&to=1", 400, "log-sizes"),
        ("/proof/consistency?from=a&to=1", 400, "log-sizes"),
    ],
)
def test_what_is_not_there_is_said_so(log: Log, client: TestClient, path: str, status: int, code: str) -> None:
    log.fill(3)
    answer = client.get(path)
    assert (answer.status_code, answer.json()["error"]) == (status, code)


def test_what_no_checkpoint_covers_is_not_told(log: Log, client: TestClient) -> None:
    log.fill(2)
    (waiting,) = log.write(1)
    answer = client.get("/proof/inclusion", params={"leaf": waiting.hex()})
    assert (answer.status_code, answer.json()["error"]) == (404, "leaf-pending")
    assert "v dnevniku čez trenutek" in client.get("/", params={"leaf": waiting.hex()}).text


def test_a_log_that_was_never_signed_says_come_back(client: TestClient) -> None:
    answer = client.get("/checkpoint")
    assert (answer.status_code, answer.json()["error"]) == (503, "log-empty")
    assert client.get("/").status_code == 503


@pytest.mark.requirement("EVD-2")
def test_people_see_the_log_and_find_their_entry(log: Log, client: TestClient) -> None:
    hashes = log.fill(2)
    page = client.get("/").text
    assert 'data-page="audit.log"' in page
    assert "Javni dnevnik" in page
    assert "2 vpisa" in page
    assert log.key.encode() in page
    found = client.get("/", params={"leaf": f" {hashes[1].hex().upper()} "}).text
    assert "na mestu 2" in found
    assert f"/proof/inclusion?leaf={hashes[1].hex()}" in found
    assert "ni vpisa s tem odtisom" in client.get("/", params={"leaf": "ab" * 32}).text
    bad = client.get("/", params={"leaf": "<b>123"}).text
    assert "Prepišite ga v celoti" in bad
    assert "<b>123" not in bad


def test_the_page_speaks_english_too(log: Log, client: TestClient) -> None:
    log.fill(1)
    page = client.get("/", params={"lang": "en"}).text
    assert "Public log" in page
    assert "1 entry" in page


@pytest.mark.parametrize("bundle", [b"\x00", b"\x00\x02a", b"\x00\x01a\xff"])
def test_a_bundle_whose_lengths_do_not_fit_is_refused(bundle: bytes) -> None:
    with pytest.raises(Invalid, match="bundle-malformed"):
        split_bundle(bundle)
