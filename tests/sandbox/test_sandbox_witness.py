"""The log witness: it co-signs a log that grows, and nothing else, also after it was killed."""

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from sandbox import note
from sandbox.note import LOG_KEY, Key, Unreadable
from sandbox.settings import ConfigurationError, load_settings
from sandbox.witness import SizeMismatch, Witness, load_witness, make_key, serve_witness, witness_app
from tests.sandbox.conftest import ClientFor
from tests.sandbox.running import ROOT
from tsp.audit import tree
from tsp.core.clock import SettableClock

ORIGIN = "log.example/TEST"


class GrowingLog:
    """A log of its own: leaf hashes, proofs and signed checkpoints by RFC 9162, in the plainest way."""

    def __init__(self, seed: bytes = b"log", origin: str = ORIGIN) -> None:
        self.signer = Ed25519PrivateKey.from_private_bytes(sha256(seed).digest())
        self.key = Key(origin, LOG_KEY, self.signer.public_key().public_bytes_raw())
        self.leaves: list[bytes] = []

    def grow(self, count: int, seed: str = "leaf") -> "GrowingLog":
        start = len(self.leaves)
        self.leaves += [tree.leaf_hash(f"{seed} {n}".encode()) for n in range(start, start + count)]
        return self

    def node(self, level: int, index: int) -> bytes:
        part = self.leaves[index << level : (index + 1) << level]
        while len(part) > 1:
            part = [tree.node_hash(part[i], part[i + 1]) for i in range(0, len(part), 2)]
        return part[0]

    def checkpoint(self, size: int | None = None) -> str:
        size = len(self.leaves) if size is None else size
        root = tree.root_hash(size, self.node)
        text = f"{self.key.name}\n{size}\n{base64.b64encode(root).decode()}\n"
        raw = self.key.key_id + self.signer.sign(text.encode())
        return f"{text}\n— {self.key.name} {base64.b64encode(raw).decode()}\n"

    def submission(self, old: int, size: int | None = None) -> bytes:
        size = len(self.leaves) if size is None else size
        proof = tree.consistency_proof(old, size, self.node) if old <= size else []
        lines = "".join(base64.b64encode(n).decode() + "\n" for n in proof)
        return f"old {old}\n{lines}\n{self.checkpoint(size)}".encode()


@pytest.fixture
def log() -> GrowingLog:
    return GrowingLog().grow(5)


@pytest.fixture
def witness(tmp_path: Path, clock: SettableClock, log: GrowingLog) -> Witness:
    settings = load_settings(directory=tmp_path / "sandbox")
    make_key(settings)
    (tmp_path / "public" / "log-checkpoint.vkey").write_text(log.key.encode() + "\n")
    return load_witness(settings, clock)


@pytest.fixture
def client(witness: Witness, client_for: ClientFor) -> Iterator[TestClient]:
    with client_for(witness_app(witness, 64_000)) as made:
        yield made


def verified_at(line: str, text: str, key: Key) -> int:
    """The time of a cosignature, by the words of the specification."""
    dash, name, encoded = line.rstrip("\n").split(" ")
    raw = base64.b64decode(encoded)
    expected_id = sha256(name.encode() + b"\n\x04" + key.public).digest()[:4]
    assert (dash, name, raw[:4], len(raw)) == ("—", key.name, expected_id, 76)
    seconds = int.from_bytes(raw[4:12], "big")
    assert key.accepts(f"cosignature/v1\ntime {seconds}\n{text}".encode(), raw[12:])
    return seconds


@pytest.mark.requirement("EVD-2", "EVD-5")
def test_a_log_that_grows_is_cosigned(client: TestClient, log: GrowingLog, clock: SettableClock) -> None:
    key = note.read_key(client.get("/key").text)
    for old, size in ((0, 2), (2, 2), (2, 3), (3, 5)):
        answer = client.post("/add-checkpoint", content=log.submission(old, size))
        assert answer.status_code == 200
        text = log.checkpoint(size).partition("\n\n")[0] + "\n"
        assert verified_at(answer.text, text, key) == int(clock.now().timestamp())
    last = client.get(f"/{sha256(ORIGIN.encode()).hexdigest()}/checkpoint").text
    assert last == log.checkpoint(5) + answer.text
    assert "5" in client.get("/").text


@pytest.mark.requirement("EVD-5")
def test_a_rewritten_shrunken_or_forked_log_is_refused(client: TestClient, log: GrowingLog) -> None:
    assert client.post("/add-checkpoint", content=log.submission(0)).status_code == 200
    other = GrowingLog().grow(9, seed="rewritten")
    rewritten = client.post("/add-checkpoint", content=other.submission(5, 9))
    assert (rewritten.status_code, rewritten.json()["error"]) == (422, "not-the-same-log")
    forked = client.post("/add-checkpoint", content=other.submission(5, 5))
    assert forked.status_code == 422
    shrunken = client.post("/add-checkpoint", content=log.submission(3, 3))
    assert (shrunken.status_code, shrunken.text) == (409, "5\n")
    assert shrunken.headers["content-type"].startswith("text/x.tlog.size")
    assert client.post("/add-checkpoint", content=log.submission(5, 3)).status_code == 400
    [told] = client.get("/api/logs").json()
    assert (told["size"], told["refused"]) == (5, 2)
    assert client.post("/add-checkpoint", content=log.grow(1).submission(5)).status_code == 200


@pytest.mark.requirement("EVD-5")
def test_each_wrong_request_gets_its_status(client: TestClient, log: GrowingLog) -> None:
    def status(body: bytes) -> int:
        return client.post("/add-checkpoint", content=body).status_code

    good = log.submission(0)
    assert status(GrowingLog(origin="other.example").grow(1).submission(0)) == 404
    assert status(GrowingLog(b"stranger").grow(1).submission(0)) == 403
    spoiled = good.rstrip(b"\n") + b"\n" + log.checkpoint(4).encode().rpartition(b"\n\n")[2]
    assert status(spoiled) == 403
    assert status(good.replace(b"old 0", b"old 00")) == 400
    assert status(b"old 0\n" + b"A" * 44 + b"\n" + good.partition(b"\n")[2]) == 400
    assert status(good.replace(b"old 0\n", b"old 0\n" + base64.b64encode(bytes(32)) + b"\n")) == 422
    assert status(b"") == status(b"\xff\n\n") == 400
    assert status(b"a" * 70_000) == 413
    assert client.get(f"/{'0' * 64}/checkpoint").status_code == 404
    assert status(good) == 200


@pytest.mark.requirement("EVD-5")
def test_the_first_key_of_a_log_is_kept(witness: Witness, client: TestClient, log: GrowingLog, tmp_path: Path) -> None:
    assert client.post("/add-checkpoint", content=log.submission(0)).status_code == 200
    stranger = GrowingLog(b"stranger").grow(9)
    (tmp_path / "public" / "log-checkpoint.vkey").write_text(stranger.key.encode())
    assert client.post("/add-checkpoint", content=stranger.submission(5)).status_code == 403
    assert client.post("/add-checkpoint", content=log.grow(1).submission(5)).status_code == 200


@pytest.mark.requirement("EVD-5")
def test_of_five_at_once_one_advances(witness: Witness, log: GrowingLog) -> None:
    witness.add_checkpoint(log.submission(0))
    bodies = [GrowingLog().grow(5).grow(n, seed=f"branch {n}").submission(5) for n in range(1, 6)]

    def ask(body: bytes) -> str:
        try:
            return witness.add_checkpoint(body)
        except SizeMismatch as other:
            return f"409 {other.size}"

    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(ask, bodies))
    [winner] = [n for n, answer in enumerate(answers) if answer.startswith("—")]
    assert all(answer == f"409 {6 + winner}" for n, answer in enumerate(answers) if n != winner)


def test_a_damaged_memory_is_not_forgotten(
    witness: Witness, client: TestClient, log: GrowingLog, tmp_path: Path
) -> None:
    assert client.post("/add-checkpoint", content=log.submission(0)).status_code == 200
    [memory] = (tmp_path / "sandbox" / "witness").glob("*.json")
    memory.write_text("{")
    answer = client.post("/add-checkpoint", content=log.submission(0))
    assert (answer.status_code, answer.json()["error"]) == (500, "memory-damaged")


class WitnessProcess:
    """`python -m sandbox witness` as somebody would start it."""

    def __init__(self, directory: Path) -> None:
        config = directory / "sandbox.toml"
        config.write_text(f"directory = {json.dumps(str(directory / 'sandbox'))}\n[ports]\nwitness = 0\n")
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "sandbox", "witness", "--config", str(config)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        assert self.process.stdout is not None
        word, _, addresses = self.process.stdout.readline().partition(" ")
        assert word == "ready"
        self.url: str = json.loads(addresses)["witness"]

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        self.process.communicate(timeout=20)
        return self.process.returncode


@pytest.mark.requirement("EVD-5", "SEC-1")
def test_a_killed_witness_remembers_what_it_cosigned(witness: Witness, log: GrowingLog, tmp_path: Path) -> None:
    first = WitnessProcess(tmp_path)
    assert httpx2.post(f"{first.url}/add-checkpoint", content=log.submission(0), trust_env=False).status_code == 200
    with pytest.raises(ConfigurationError, match="another witness works on"):
        serve_witness(load_settings(directory=tmp_path / "sandbox"), SettableClock(datetime(2026, 11, 23, tzinfo=UTC)))
    first.end(signal.SIGKILL)
    second = WitnessProcess(tmp_path)
    try:
        forked = GrowingLog().grow(7, seed="fork").submission(0)
        answer = httpx2.post(f"{second.url}/add-checkpoint", content=forked, trust_env=False)
        assert (answer.status_code, answer.text) == (409, "5\n")
    finally:
        assert second.end(signal.SIGTERM) in (0, -signal.SIGTERM)


@given(st.integers(0, 40), st.integers(0, 40), st.data())
def test_proofs_hold_for_growing_logs_and_for_no_others(old: int, more: int, data: st.DataObject) -> None:
    log = GrowingLog().grow(old + more)
    new = old + more
    proof = tree.consistency_proof(old, new, log.node)
    old_root, new_root = tree.root_hash(old, log.node), tree.root_hash(new, log.node)
    assert note.grew(old, old_root, new, new_root, proof)
    if old:
        assert not note.grew(old, bytes(32), new, new_root, proof)
    if proof:
        assert not note.grew(old, old_root, new, bytes(32), proof)
        index = data.draw(st.integers(0, len(proof) - 1))
        assert not note.grew(old, old_root, new, new_root, [*proof[:index], bytes(32), *proof[index + 1 :]])
        assert not note.grew(old, old_root, new, new_root, proof[:-1])


@given(st.binary(max_size=300))
def test_no_octets_upset_the_reader(body: bytes) -> None:
    for given_body in (body, b"old 0\n\n" + body):
        try:
            found = note.read_submission(given_body)
        except Unreadable:
            continue
        assert found.note.signatures
