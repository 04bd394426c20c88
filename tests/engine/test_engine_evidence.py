"""The evidence package of one signature: verified from one file, by our command and by the public tool."""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from cryptography import x509
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.audit.audit_kit import Log
from tests.audit.outside_kit import SoftAuthority, WitnessHouse
from tests.engine.engine_kit import Provider, Room
from tsp.audit import evidence_commands, verify_evidence
from tsp.audit.checkpoint import read_note
from tsp.audit.entries import record
from tsp.audit.package import EvidencePackages
from tsp.audit.public_tool import public_tool
from tsp.audit.time_stamps import CheckpointStamper
from tsp.audit.verify_evidence import FAILED, PENDING, PROVEN, Report, Trust, verify
from tsp.audit.witnesses import WitnessLine
from tsp.core.clock import SettableClock
from tsp.core.errors import NotFound, Unavailable
from tsp.engine.protocol import SignatureResult
from tsp.formats.time_stamp import time_stamp_request


@dataclass
class World:
    """A signature, its log with a witness and a time-stamping authority, and what a verifier trusts."""

    room: Room
    log: Log
    house: WitnessHouse
    line: WitnessLine
    stamper: CheckpointStamper
    authority: SoftAuthority
    result: SignatureResult
    trust: Trust

    def package(self) -> bytes:
        packages = EvidencePackages(self.room.database, lambda: self.log.key, lambda: [self.house.key])
        return packages.build(self.result.leaf, self.result.evidence, self.result.cms)

    def complete(self) -> bytes:
        self.log.sequencer.step()
        self.line.step()
        self.stamper.step()
        return self.package()

    @property
    def full_trust(self) -> Trust:
        return Trust(self.trust.roots, [self.log.key.encode()], [self.house.key.encode()])


@pytest.fixture
def world(room: Room, provider: Provider, clock: SettableClock, tmp_path: Path) -> World:
    with room.engine() as engine:
        (result,) = engine.sign(provider.request("contract"))
    log = Log(room.database, clock, room.randomness)
    log.witnessed()
    house = WitnessHouse(tmp_path / "house", clock, log.key)
    line = WitnessLine(
        house.witness,
        all_names=[house.key.name],
        needed=1,
        database=room.database,
        outbound=house.outbound,
        writer=log.writer("log"),
        clock=clock,
    )
    authority = SoftAuthority(clock)
    stamper = CheckpointStamper(room.database, authority.port(tmp_path), clock)
    roots = [x509.load_der_x509_certificate(room.issuer), authority.certificate]
    return World(room, log, house, line, stamper, authority, result, Trust(roots))


def steps(report: Report) -> dict[str, str]:
    return {step.code: step.state for step in report.steps}


@pytest.mark.requirement("EVD-1", "EVD-2", "EVD-3", "EVD-5", "SIG-6")
def test_one_file_proves_the_whole_story(world: World) -> None:
    report = verify(world.complete(), world.full_trust)
    assert report.state == PROVEN, verify_evidence.as_text(report)
    proven = {"package", "entry", "tree", "log-signature", "lines", "witness", "time-stamp", "times"}
    assert {code for code, state in steps(report).items() if state == PROVEN} == proven | {"signature", "certificate"}
    assert {code for code, state in steps(report).items() if state == "claimed"} == {"key", "destruction", "approval"}
    assert "no attestation of its maker" in verify_evidence.as_text(report)


@pytest.mark.requirement("EVD-3")
def test_without_keys_of_ones_own_it_says_whose_word_is_taken(world: World) -> None:
    report = verify(world.complete(), world.trust)
    assert (report.state, steps(report)["log-signature"], steps(report)["witness"]) == (PROVEN, "claimed", "claimed")
    assert world.log.key.encode() in verify_evidence.as_text(report)


@pytest.mark.requirement("EVD-2", "EVD-3")
def test_until_witness_and_time_stamp_it_says_pending(world: World) -> None:
    report = verify(world.package(), world.full_trust)
    assert (report.state, steps(report)["log"]) == (PENDING, PENDING)
    world.log.sequencer.step()
    assert b'"log":' not in world.package()
    world.line.step()
    report = verify(world.package(), world.full_trust)
    assert (report.state, steps(report)["time-stamp"]) == (PENDING, PENDING)
    assert "download it again later" in verify_evidence.as_text(report)


@pytest.mark.requirement("EVD-3")
def test_the_package_keeps_its_first_stamped_checkpoint_while_the_log_grows(world: World) -> None:
    first = world.complete()
    world.log.clock.advance(seconds=3600)
    world.log.write(300)
    assert world.complete() == first
    later = json.loads(first)
    assert read_note(later["log"]["checkpoint"]).checkpoint.size == 3


@pytest.mark.requirement("EVD-3")
def test_nothing_in_it_tells_the_documents_name_and_the_certificate_alone_names_the_person(world: World) -> None:
    package = json.loads(world.complete())
    cms = package.pop("signature")
    text = json.dumps(package, ensure_ascii=False)
    assert not any(word in text for word in ("Ančka", "Žnidaršič", "12345678", "contract"))
    assert "Žnidaršič".encode() in base64.b64decode(cms)


@pytest.mark.requirement("EVD-3")
def test_other_keys_and_roots_than_the_trusted_ones_do_not_pass(world: World, tmp_path: Path) -> None:
    package = world.complete()
    stranger = WitnessHouse(tmp_path / "stranger", world.log.clock, world.log.key, "stranger.example")
    roots = world.trust.roots
    cases = {
        "log-signature": Trust(roots, [world.log.key.encode().replace("log.example", "log2.example")]),
        "witness": Trust(roots, (), [stranger.key.encode()]),
        "certificate": Trust(roots[1:]),
        "time-stamp": Trust(roots[:1]),
    }
    for code, trust in cases.items():
        report = verify(package, trust)
        assert report.state == FAILED
        assert [step.code for step in report.steps if step.state == FAILED] == [code]


def changed(package: bytes, change: Any) -> bytes:
    """The package with one thing changed, written again as the format wants it."""
    found = json.loads(package)
    change(found)
    return json.dumps(found, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.requirement("EVD-2", "EVD-3", "SIG-6")
def test_each_part_of_another_story_is_caught(world: World, provider: Provider) -> None:
    package = world.complete()
    with world.room.engine() as engine:
        (other,) = engine.sign(provider.request("other"))
    mine, world.result = world.result, other
    world.log.clock.advance(seconds=120)
    second = json.loads(world.complete())
    world.result = mine

    def swap(*names: str) -> Any:
        def change(found: dict[str, Any]) -> None:
            for name in names:
                found[name] = second[name]

        return change

    def rewrite(old: str, new: str) -> Any:
        return lambda found: found.update(record=found["record"].replace(old, new))

    cases = [
        (swap("record"), "entry"),
        (swap("signature"), "signature"),
        (swap("entry"), "entry"),
        (swap("log"), "tree"),
        (swap("time_stamp"), "time-stamp"),
        (swap("entry", "log", "time_stamp"), "entry"),
        (swap("record", "entry", "log", "time_stamp"), "signature"),
        (rewrite('"found_after":0', '"found_after":1'), "destruction"),
        (rewrite('"extractable":false', '"extractable":true'), "key"),
        (rewrite('"destroyed_call_ok":true', '"destroyed_call_ok":false'), "entry"),
    ]
    for change, code in cases:
        report = verify(changed(package, change), world.full_trust)
        assert report.state == FAILED
        assert code in {step.code for step in report.steps if step.state == FAILED}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**20) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a JSON value with each of its keys or indexes."""
    if isinstance(value, dict | list):
        for name in value if isinstance(value, dict) else range(len(value)):
            yield value, name
            yield from places(value[name])


@pytest.mark.requirement("EVD-3")
def test_no_changed_octet_passes_as_the_same_story(world: World) -> None:
    package = world.complete()
    honest = [(step.code, step.state, step.said) for step in verify(package, world.full_trust).steps]
    values = json.loads(package)

    @settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.integers(0, len(package) - 1), st.integers(1, 255))
    def flip(place: int, bits: int) -> None:
        forged = bytearray(package)
        forged[place] ^= bits
        report = verify(bytes(forged), world.full_trust)
        assert [(step.code, step.state, step.said) for step in report.steps] != honest
        assert report.state != PROVEN

    @settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.sampled_from(("signature", "time_stamp")), st.data())
    def flip_inside(part: str, data: st.DataObject) -> None:
        octets = bytearray(base64.b64decode(values[part]))
        octets[data.draw(st.integers(0, len(octets) - 1))] ^= data.draw(st.integers(1, 255))
        forged = changed(package, lambda found: found.update({part: base64.b64encode(octets).decode()}))
        assert verify(forged, world.full_trust).state != PROVEN

    @settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.binary(max_size=200) | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(str).map(str.encode)
    )
    def anything(octets: bytes) -> None:
        assert verify(octets, world.full_trust).state == FAILED

    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.data())
    def other_value(data: st.DataObject) -> None:
        forged = json.loads(package)
        where, name = data.draw(st.sampled_from(list(places(forged))))
        value = data.draw(VALUES)
        hypothesis.assume(where[name] != value or type(where[name]) is not type(value))
        where[name] = value
        assert verify(changed(json.dumps(forged).encode(), lambda _found: None), world.full_trust).state != PROVEN

    @settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.data())
    def other_record(data: st.DataObject) -> None:
        """Whatever stands in the record, and whether the entry fits it or not: never proven, never an exception."""
        record = json.loads(values["record"])
        where, name = data.draw(st.sampled_from(list(places(record))))
        where[name] = data.draw(VALUES)
        text = json.dumps(record, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        hypothesis.assume(text != values["record"])
        assert verify(changed(package, lambda found: found.update(record=text)), world.full_trust).state != PROVEN

    flip()
    flip_inside()
    other_value()
    other_record()
    anything()
    assert verify(package, world.full_trust).state == PROVEN


@pytest.mark.requirement("EVD-2", "EVD-3")
def test_command_and_public_tool_say_the_same(world: World, tmp_path: Path) -> None:
    package, root = tmp_path / "package.json", tmp_path / "roots.pem"
    package.write_bytes(world.complete())
    root.write_bytes(b"".join(r.public_bytes(verify_evidence.Encoding.PEM) for r in world.trust.roots))
    tool = tmp_path / "verify-evidence.pyz"
    tool.write_bytes(public_tool())
    keys = ["--log-key", world.log.key.encode(), "--witness-key", world.house.key.encode()]
    arguments = [str(package), "--trust", str(root), *keys, "--json"]
    ours = CliRunner().invoke(evidence_commands.app, ["verify", *arguments])
    # -I: neither the directory nor the environment gives it anything of ours.
    done = subprocess.run(
        [sys.executable, "-I", str(tool), *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (ours.exit_code, done.returncode, done.stderr) == (0, 0, "")
    assert ours.stdout == done.stdout
    assert json.loads(done.stdout)["state"] == "proven"
    package.write_bytes(world.package()[:-1])
    assert CliRunner().invoke(evidence_commands.app, ["verify", *arguments]).exit_code == 1
    root.write_bytes(b"nothing")
    assert CliRunner().invoke(evidence_commands.app, ["verify", *arguments]).exit_code == 2


@pytest.mark.requirement("EVD-2")
def test_a_time_stamp_that_does_not_hold_is_not_kept(world: World, tmp_path: Path) -> None:
    world.log.sequencer.step()
    world.line.step()
    good = world.authority.answer

    def refused(expected: str) -> None:
        with pytest.raises(Unavailable, match=expected):
            world.stamper.step()
        assert b"time_stamp" not in world.package()

    world.authority.answer = lambda body: good(body)[:-1]
    refused("time-stamp-refused")
    earlier: list[bytes] = []
    world.authority.answer = lambda _body: earlier[0]
    earlier.append(good(time_stamp_request(bytes(32), 1)))
    refused("time-stamp-refused")
    world.authority.answer = SoftAuthority(world.log.clock).honest
    refused("time-stamp-unsound")
    world.authority.answer = good
    assert world.stamper.step() == 3
    assert verify(world.package(), world.full_trust).state == PROVEN


@pytest.mark.requirement("EVD-2")
def test_checkpoints_are_stamped_at_intervals_and_not_for_the_stamps_own_sake(world: World) -> None:
    world.complete()
    clock = world.log.clock

    def grow(kind: str) -> None:
        with world.room.database.write() as session:
            record(session, writer=world.log.writer("tsa"), kind=kind, payload={})
        world.log.sequencer.step()
        world.line.step()

    grow("tested")
    assert world.stamper.step() is None
    clock.advance(seconds=61)
    assert world.stamper.step() == 4
    grow("time-stamps")
    clock.advance(seconds=61)
    assert world.stamper.step() is None
    clock.advance(seconds=3600)
    assert world.stamper.step() == 5


def test_a_leaf_that_the_log_does_not_know_has_no_package(world: World) -> None:
    packages = EvidencePackages(world.room.database, lambda: world.log.key)
    with pytest.raises(NotFound, match="leaf-unknown"):
        packages.build("00" * 32, {}, b"")
