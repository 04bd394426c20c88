"""Test certificates: what lies in their directory is listed and served, and nothing else is."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from tests.repository.sample_kit import entry, make_samples
from tsp.ca.store import to_pem
from tsp.core.clock import SettableClock
from tsp.core.errors import TspError
from tsp.repository.samples import LIST_FILE, SampleShelf


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A directory with one certificate in each state."""
    make_samples(tmp_path / "samples")
    return tmp_path / "samples"


@pytest.mark.requirement("CA-1")
def test_every_state_is_listed_and_served(client: TestClient, shelf: Path, clock: SettableClock) -> None:
    page = client.get("/test-certificates")
    assert page.status_code == 200
    assert page.text.count("Enkrat TEST Infrastructure CA") == 3
    for state, shown in (("valid", "valid now"), ("expired", "expired"), ("revoked", "revoked")):
        assert page.text.count(f">{shown}</span>") == 1
        name = f"tsu-infrastructure-{state}"
        pem = client.get(f"/test-certificates/{name}.pem")
        assert pem.content == (shelf / f"{name}.pem").read_bytes()
        der = client.get(f"/test-certificates/{name}.cer")
        assert der.headers["content-type"] == "application/pkix-cert"
        assert to_pem(der.content) == pem.content
        again = client.get(f"/test-certificates/{name}.cer", headers={"if-none-match": der.headers["etag"]})
        assert again.status_code == 304
    clock.advance(days=30)
    later = client.get("/test-certificates").text
    assert (later.count(">expired</span>"), later.count(">revoked</span>")) == (2, 1)
    assert "/test-certificates" in client.get("/").text


def test_before_any_are_made_the_page_says_so(client: TestClient) -> None:
    page = client.get("/test-certificates", headers={"accept-language": "sl"})
    assert page.status_code == 200
    assert "Preskusnih potrdil še ni" in page.text


@pytest.mark.parametrize(
    "file", ["secret.pem", "samples.json", "..%2fsamples%2fsecret.pem", "tsu-infrastructure-valid.key", ".pem", "x.cer"]
)
def test_nothing_but_the_list_is_served(client: TestClient, shelf: Path, file: str) -> None:
    assert (shelf / "secret.pem").exists()
    assert client.get(f"/test-certificates/{file}").status_code == 404


@pytest.mark.parametrize(
    "listed",
    [
        "{",
        "[1]",
        '{"a": 1}',
        json.dumps([entry("valid", 9, file="../ca/root.pem")]),
        json.dumps([{**entry("valid", 9), "state": "good"}]),
        json.dumps([entry("valid", 9, not_after="2026-11-23T10:00:00")]),
        json.dumps([entry("valid", 9, profile=7)]),
        json.dumps([entry("valid", 9, serial="<b>")]),
        "[" * 100_000,
    ],
)
def test_a_bad_list_is_told_and_nothing_of_it_served(client: TestClient, shelf: Path, listed: str) -> None:
    (shelf / LIST_FILE).write_text(listed)
    for path in ("/test-certificates", "/test-certificates/tsu-infrastructure-valid.pem"):
        assert client.get(path).status_code == 503
    assert client.get("/").status_code == 200


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list(entry("valid", 1))), inner),
    max_leaves=8,
)


@given(value=json_values)
def test_any_list_is_read_or_refused_in_order(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    directory = tmp_path_factory.getbasetemp() / "any-samples"
    directory.mkdir(exist_ok=True)
    (directory / LIST_FILE).write_text(json.dumps(value))
    try:
        assert isinstance(SampleShelf(directory).samples(), list)
    except TspError as error:
        assert error.code == "samples-damaged"
