"""Whatever strangers send to a parser: no crash, no 500, and nothing that stays in memory.

The share of every run is fixed by numbers, not by time. `tests/fuzz/guided.py` goes on from here for as long as one
likes.
"""

import gc
import platform
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from tests.fuzz.mutation import mutations
from tests.fuzz.targets import CORPUS, TARGETS, corpus, ocsp_request, time_stamp_request
from tests.ocsp.conftest import Responder
from tests.ocsp.test_ocsp_http import TYPE
from tests.tsa.conftest import Unit

ROOT = Path(__file__).resolve().parents[2]
COUNT = 2000
REQUIREMENTS = {
    "ocsp-request": "OCSP-2",
    "ocsp-path": "OCSP-2",
    "time-stamp-request": "TSA-1",
    "certificate-request": "CA-2",
    "time-answer": "TSA-1",
}
HAS_ATHERIS = sys.platform == "linux" and platform.machine() == "x86_64"
each_target = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.requirement(REQUIREMENTS[name])) for name in TARGETS]
)


@each_target
def test_what_was_kept_is_taken_in_order(name: str) -> None:
    kept = corpus(name)
    assert kept
    for data in kept:
        TARGETS[name](data)


@each_target
def test_mutations_are_taken_in_order(name: str) -> None:
    taken = [TARGETS[name](data) for data in mutations(corpus(name), COUNT, seed=len(name))]
    assert len(taken) == COUNT


def test_mutations_reach_behind_the_first_checks() -> None:
    """The mutations are worth something: many are still requests, and many are not."""
    asked = list(mutations(corpus("ocsp-request"), 500, seed=1))
    told = [ocsp_request(data)["response_status"].native for data in asked]
    assert all(told.count(word) > 5 for word in ("successful", "malformed_request", "unauthorized"))
    stamped = [time_stamp_request(data) for data in mutations(corpus("time-stamp-request"), 500, seed=1)]
    given = [reply["status"]["status"].native for reply in stamped]
    assert all(given.count(word) > 5 for word in ("granted", "rejection"))


@each_target
@settings(max_examples=150)
@given(data=st.binary(max_size=2000))
def test_any_octets_are_taken_in_order(name: str, data: bytes) -> None:
    # Judged twice, and the same: an earlier answer must not change a later one.
    assert type(TARGETS[name](data)) is type(TARGETS[name](data))


@each_target
def test_nothing_stays_in_memory(name: str) -> None:
    inputs = list(mutations(corpus(name), 150, seed=7))

    def held() -> int:
        for data in inputs:
            TARGETS[name](data)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        held()
        before, after = held(), held()
    finally:
        tracemalloc.stop()
    assert after - before < 20_000


@pytest.mark.parametrize("name", ["ocsp-request", "time-stamp-request"])
def test_guided_by_coverage(name: str, tmp_path: Path) -> None:
    if not HAS_ATHERIS:  # there is no wheel; the mutations above have run
        return
    (tmp_path / "new").mkdir()
    options = ["-runs=2000", "-seed=1", f"-artifact_prefix={tmp_path}/", str(tmp_path / "new"), str(CORPUS / name)]
    command = [sys.executable, "-m", "tests.fuzz.guided", name, *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Done 2000 runs" in done.stderr


@pytest.mark.requirement("OCSP-2")
def test_the_responder_never_fails(responder: Responder) -> None:
    client = responder.client(reuse_seconds=60)
    for data in mutations(corpus("ocsp-request"), 150, seed=2):
        reply = client.post("/", content=data, headers=TYPE)
        assert reply.status_code == (413 if len(data) > 8192 else 200)
    for path in mutations(corpus("ocsp-path"), 150, seed=3):
        assert raw_get(client, path) in (200, 404)


@pytest.mark.requirement("TSA-1")
def test_the_unit_never_fails(unit: Unit) -> None:
    client = unit.client()
    for data in mutations(corpus("time-stamp-request"), 150, seed=4):
        reply = client.post("/", content=data, headers={"content-type": "application/timestamp-query"})
        assert reply.status_code == (413 if len(data) > 4096 else 200)


def raw_get(client: TestClient, path: bytes) -> int:
    """The status of a GET whose path no client would write."""
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {"type": "http", "method": "GET", "raw_path": b"/" + path, "path": "/", "headers": []}
    portal = client.portal
    assert portal is not None
    portal.call(client.app, scope, receive, send)
    return statuses[0]
