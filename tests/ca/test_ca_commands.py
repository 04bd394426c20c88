"""`tsp ceremony` as an operator uses it, with real tokens and a real database."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from sqlalchemy import select
from typer.testing import CliRunner

import hsm
from hsm import Token, softhsm
from tests.ca.ca_kit import ROOT
from tests.ca.officer_kit import Person, make_officer
from tsp.audit.tables import Entry
from tsp.ca.commands import CeremonyContext, ceremony_commands
from tsp.ca.crl_reading import crl_facts
from tsp.ca.holding import hold_with_demo_officers
from tsp.ca.plan import ENTRIES
from tsp.ca.record import verify_record
from tsp.ca.store import CaStore
from tsp.ca.tables import status
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.files import write_atomic, write_private
from tsp.core.randomness import Randomness
from tsp.core.settings import load_settings

PIN = "123456-test"
Run = Callable[..., tuple[int, str]]
PEOPLE = [
    make_officer(name, role) for name, role in (("Ana", "administrator"), ("Bor", "witness"), ("Cene", "custodian"))
]
WELL = "All artefacts, approvals and signatures are what the transcript says.\n"
MADE = {
    "root.pem", "qualified.pem", "nonqualified.pem", "infrastructure.pem", "tsu.pem", "qtsu.pem",
    "ocsp-qualified.pem", "ocsp-nonqualified.pem", "ocsp-infrastructure.pem", "root.crl",
}  # fmt: skip
KEPT = {"plan.toml", "approval-ceremony-ana.p7s", "approval-ceremony-bor.p7s"}


@pytest.fixture
def context(
    softhsm_directory: Path, tmp_path: Path, database: Database, clock: SettableClock, randomness: Randomness
) -> CeremonyContext:
    """An installation in a directory of its own, its tokens made and empty."""
    settings = load_settings(ROOT / "conf" / "tsp.toml").model_copy(update={"var": tmp_path})
    # A label has 32 bytes at most; the end of the directory's name tells the tests apart.
    mark = f"{abs(hash(str(tmp_path))):x}"[:12]
    for name in ("root", "ca", "tsu", "qtsu", "ocsp"):
        softhsm.create_token(softhsm_directory, f"{name}-{mark}", pin=PIN, so_pin="654321-test")
    pin = tmp_path / "pins" / "root.pin"
    write_private(pin, PIN.encode())

    def open_token(name: str) -> Token:
        return hsm.Token.open(softhsm.find_module(), f"{name}-{mark}", PIN)

    made = CeremonyContext(settings, open_token, pin, database, clock, randomness)
    appoint(made, PEOPLE)
    return made


def appoint(context: CeremonyContext, people: list[Person]) -> None:
    """Puts officers into the demo's plan."""
    text = (ROOT / "conf" / "ceremony.toml").read_text() + "".join(person.toml for person in people)
    write_atomic(context.work / "plan.toml", text.encode())


def with_key(person: Person, context: CeremonyContext) -> tuple[str, ...]:
    key, certificate = person.files(context.settings.var)
    return "--key", key, "--certificate", certificate


def approved(run: Run, context: CeremonyContext, *options: str) -> None:
    for person in PEOPLE[:2]:
        code, output = run("approve", *with_key(person, context), *options)
        assert (code, output.split(":")[0]) == (0, f"{person.name} ({person.role}) approved")


def signed(run: Run, context: CeremonyContext, *options: str) -> None:
    for person in PEOPLE[:2]:
        assert run("sign", *with_key(person, context), *options)[0] == 0


@pytest.fixture
def run(context: CeremonyContext) -> Run:
    app = typer.Typer()
    app.add_typer(ceremony_commands(lambda: context), name="ceremony")

    def invoke(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["ceremony", *arguments])
        return result.exit_code, result.output

    return invoke


def test_plan_is_shown(run: Run) -> None:
    code, output = run("plan")
    assert code == 0
    assert "mode demo" in output
    assert "P384 key 'root-ca' in token 'root', certified by root for 7305 days as 'Enkrat TEST Root CA'" in output


@pytest.mark.requirement("CA-1", "OCSP-1")
def test_ceremony_is_held_once_verified_and_registered(run: Run, context: CeremonyContext) -> None:
    approved(run, context)
    code, output = run("run")
    assert code == 0
    assert set(json.loads(output)) == MADE | KEPT
    signed(run, context)
    assert run("verify") == (0, WELL)
    transcript = json.loads((context.directory / "transcript.json").read_bytes())
    with context.database.read() as session:
        for facts in transcript["certificates"].values():
            known = status(session, facts["issuer"], facts["serial"])
            assert known is not None
            assert (known.profile, known.revoked) == (facts["profile"], False)
        written = [json.loads(text)["facts"] for text in session.scalars(select(Entry.content).order_by(Entry.id))]
    assert written == [
        {"certificate": facts["serial"], "sha256": facts["sha256"]}
        for facts in (transcript["certificates"][name] for name in ENTRIES)
    ]
    assert run("register") == (0, "0 certificates registered\n")
    code, output = run("run")
    assert (code, output.split(":")[0]) == (1, "ceremony-done")


def test_crl_and_responders_are_renewed(run: Run, context: CeremonyContext, clock: SettableClock) -> None:
    approved(run, context)
    run("run")
    signed(run, context)
    before = CaStore(context.directory)
    clock.advance(days=30)
    assert run("renew-crl") == (0, "CRL 2, valid until 2027-12-23T10:00:00+00:00\n")
    assert run("renew-responders") == (0, "3 certificates renewed; the ocsp role takes them up\n")
    after = CaStore(context.directory)
    assert crl_facts(after.root_crl)[0] == 2
    assert after.ocsp != before.ocsp
    assert run("verify")[0] == 0


def test_what_is_wrong_is_told(run: Run, context: CeremonyContext) -> None:
    assert run("verify") == (
        1,
        "ca-store-damaged: The ceremony's transcript is missing or damaged. Restore it from its copy.\n",
    )
    approved(run, context)
    run("run")
    (context.directory / "tsu.pem").write_bytes((context.directory / "qualified.pem").read_bytes())
    code, output = run("verify")
    assert code == 1
    assert "tsu.pem has another key than the ceremony made" in output


def test_wrong_pin_is_explained(run: Run, context: CeremonyContext) -> None:
    def refuse(name: str) -> Token:
        raise hsm.errors.PinWrong("Correct the PIN file.")

    approved(run, context)
    object.__setattr__(context, "open_token", refuse)
    assert run("run") == (1, "token-unavailable: Correct the PIN file.\n")
    assert not context.directory.exists()


def test_missing_custodian_is_explained(run: Run, context: CeremonyContext) -> None:
    text = (ROOT / "conf" / "ceremony.toml").read_text()
    text = text.replace('"keep"', '"seal"').replace("custodians = []", 'custodians = ["nobody.pem"]')
    write_atomic(context.work / "plan.toml", (text + "".join(person.toml for person in PEOPLE)).encode())
    approved(run, context)
    assert run("run") == (1, "custodian-unfit: A custodian's certificate cannot be read.\n")
    assert not context.directory.exists()


@pytest.mark.requirement("TSA-1")
def test_the_units_next_keys_are_made_when_they_are_due(
    run: Run, context: CeremonyContext, clock: SettableClock
) -> None:
    assert run("renew-units")[0] == 1
    approved(run, context)
    run("run")
    signed(run, context)
    assert run("renew-units") == (0, "No key ends so soon.\n")
    clock.advance(days=340)
    assert run("renew-units") == (0, "tsu-2, qtsu-2: the tsa and qtsa roles take them up\n")
    assert run("renew-units") == (0, "No key ends so soon.\n")
    assert run("verify") == (0, WELL)


@pytest.mark.requirement("CA-1")
def test_an_authority_rolls_over_once_its_officers_approved(run: Run, context: CeremonyContext) -> None:
    plan = str(ROOT / "conf" / "roll-over.toml")
    assert run("roll-over", plan)[1].startswith("ceremony-missing: ")
    approved(run, context)
    run("run")
    signed(run, context)
    # The ceremony's approvals are for the ceremony alone, and a later plan names no other officers.
    assert run("roll-over", plan)[1].startswith("approvals-too-few: 0 of 2")
    appoint(context, [make_officer("Eva", "administrator"), make_officer("Fani", "witness")])
    approved(run, context, "--roll-over", plan)
    code, output = run("roll-over", plan, "--dry-run")
    assert (code, json.loads(output)["keys"]["qualified-2"]["token_serial"]) == (0, "dry-run")
    code, output = run("roll-over", plan)
    assert (code, set(json.loads(output)["artefacts"])) == (
        0,
        {
            "qualified-2.pem",
            "ocsp-qualified-2.pem",
            "roll-over-qualified-2.toml",
            "approval-qualified-2-ana.p7s",
            "approval-qualified-2-bor.p7s",
        },
    )
    assert "signature-missing: qualified-2: Ana has not signed the transcript" in run("verify")[1]
    signed(run, context, "--record", "qualified-2")
    assert run("verify") == (0, WELL)
    assert run("register") == (0, "0 certificates registered\n")
    assert run("renew-responders") == (0, "4 certificates renewed; the ocsp role takes them up\n")
    assert run("roll-over", plan) == (1, "ceremony-done: Generation 2 of qualified is there already.\n")
    assert run("roll-over", "missing.toml")[1].startswith("ceremony-plan-invalid: missing.toml")


@pytest.mark.requirement("CA-1")
def test_without_enough_approvals_nothing_is_opened_or_made(run: Run, context: CeremonyContext) -> None:
    def never(name: str) -> Token:
        raise AssertionError(name)

    object.__setattr__(context, "open_token", never)
    assert run("run")[1].startswith("approvals-too-few: 0 of 2")
    assert run("approve", *with_key(PEOPLE[0], context))[0] == 0
    assert run("approve", *with_key(PEOPLE[0], context))[0] == 0
    assert run("run")[1].startswith("approvals-too-few: 1 of 2")
    assert run("approve", *with_key(PEOPLE[1], context))[0] == 0
    # Somebody changes the plan after it was approved.
    path = context.work / "plan.toml"
    path.write_bytes(path.read_bytes().replace(b"crl_days = 365", b"crl_days = 364"))
    assert run("run")[1].startswith("approval-other-content: ana.p7s: ")
    assert not context.directory.exists()


def test_a_stranger_cannot_approve_or_sign(run: Run, context: CeremonyContext) -> None:
    stranger = with_key(make_officer("Ana", "administrator"), context)
    assert run("approve", *stranger)[1].startswith("approver-unknown: ")
    assert not context.approvals("ceremony").exists()
    assert run("sign", *stranger)[1] == "ceremony-missing: There is no transcript of ceremony.\n"
    assert run("approve")[1].startswith("officer-key-unfit: Give --key and --certificate")
    assert run("approve", "--signature", "nobody.p7s")[1].startswith("file-unreadable: nobody.p7s")


def test_a_plan_without_officers_is_not_carried_out(run: Run, context: CeremonyContext) -> None:
    appoint(context, [])
    assert run("run")[1].startswith("ceremony-officers-missing: ")


@pytest.mark.requirement("CA-1")
def test_what_openssl_signed_approves_and_signs(run: Run, context: CeremonyContext, tmp_path: Path) -> None:
    for person in PEOPLE[:2]:
        octets = person.signs((context.work / "plan.toml").read_bytes(), tmp_path)
        (tmp_path / "made.p7s").write_bytes(octets)
        assert run("approve", "--signature", str(tmp_path / "made.p7s"))[0] == 0
    assert run("run")[0] == 0
    for person in PEOPLE[:2]:
        octets = person.signs((context.directory / "transcript.json").read_bytes(), tmp_path)
        (tmp_path / "made.p7s").write_bytes(octets)
        assert run("sign", "--signature", str(tmp_path / "made.p7s"))[0] == 0
    assert run("verify") == (0, WELL)


@pytest.mark.requirement("CA-1")
def test_a_dry_run_shows_the_transcript_and_writes_nothing(run: Run, context: CeremonyContext) -> None:
    def never(name: str) -> Token:
        raise AssertionError(name)

    object.__setattr__(context, "open_token", never)
    before = sorted(context.settings.var.rglob("*"))
    code, output = run("run", "--dry-run")
    assert code == 0
    shown = json.loads(output)
    assert set(shown["artefacts"]) == MADE | {"plan.toml"}
    assert (shown["approvals"], shown["approvals_needed"]) == ({}, 2)
    assert {key["token_serial"] for key in shown["keys"].values()} == {"dry-run"}
    assert sorted(context.settings.var.rglob("*")) == before
    approved(run, context)
    assert set(json.loads(run("run", "--dry-run")[1])["artefacts"]) == MADE | KEPT


@pytest.mark.requirement("CA-1")
def test_the_transcript_has_every_hash(run: Run, context: CeremonyContext) -> None:
    approved(run, context)
    run("run")
    transcript = json.loads((context.directory / "transcript.json").read_bytes())
    for file, digest in transcript["artefacts"].items():
        assert hashlib.sha256((context.directory / file).read_bytes()).hexdigest() == digest
    assert transcript["artefacts"]["plan.toml"] == transcript["plan_sha256"]
    assert [one["name"] for one in transcript["officers"]] == ["Ana", "Bor", "Cene"]
    assert transcript["officers"][0]["certificate_sha256"] == PEOPLE[0].officer.fingerprint
    assert {one["officer"] for one in transcript["approvals"].values()} == {"Ana", "Bor"}
    assert set(transcript["software"]) == {"version", "source_sha256"}
    assert len(transcript["profiles"]) == 5


def _spoil(directory: Path, case: str) -> None:
    transcript = directory / "transcript.json"
    if case == "transcript":
        transcript.write_bytes(transcript.read_bytes().replace(b'"demo"', b'"Demo"'))
    elif case == "plan":
        (directory / "plan.toml").write_bytes((directory / "plan.toml").read_bytes() + b"\n")
    elif case == "approval":
        (directory / "approval-ceremony-ana.p7s").unlink()
    elif case == "exchanged":
        one, other = directory / "approval-ceremony-ana.p7s", directory / "approval-ceremony-bor.p7s"
        one.write_bytes(other.read_bytes())
    elif case == "signature":
        (directory / "signature-ceremony-bor.p7s").unlink()
    elif case == "garbage":
        (directory / "signature-ceremony-bor.p7s").write_bytes(b"0")
    elif case == "old":
        (directory / "plan.toml").unlink()


SPOILT = [
    ("transcript", {"approval-other-content", "signature-missing", "signatures-too-few", "witness-missing"}),
    ("plan", {"artefact-wrong", "ca-store-damaged"}),
    ("approval", {"artefact-wrong", "approvals-too-few"}),
    ("exchanged", {"artefact-wrong", "approval-twice", "approval-other-officer", "approvals-too-few"}),
    ("signature", {"signature-missing", "signatures-too-few", "witness-missing"}),
    ("garbage", {"approval-malformed", "signature-missing", "signatures-too-few", "witness-missing"}),
    ("old", {"artefact-wrong", "ceremony-record-missing"}),
]


@pytest.mark.requirement("CA-1")
def test_a_record_that_was_touched_is_found_out(run: Run, context: CeremonyContext, tmp_path: Path) -> None:
    approved(run, context)
    run("run")
    signed(run, context)
    for case, codes in SPOILT:
        copy = Path(shutil.copytree(context.directory, tmp_path / case))
        assert run("verify", "--directory", str(copy), "--json") == (0, '{\n  "findings": []\n}\n')
        _spoil(copy, case)
        code, output = run("verify", "--directory", str(copy), "--json")
        found = {finding["code"] for finding in json.loads(output)["findings"]}
        assert (code, found) == (1, codes), case


@pytest.mark.requirement("CA-1")
def test_another_ceremony_in_place_of_the_record_is_found_with_the_reviewed_plan(
    run: Run, context: CeremonyContext, tmp_path: Path
) -> None:
    reviewed = tmp_path / "reviewed.toml"
    reviewed.write_bytes((context.work / "plan.toml").read_bytes())
    # Somebody holds a ceremony of their own, with officers of their own: in itself it is whole.
    forgers = [make_officer(one.name, one.role) for one in PEOPLE]
    appoint(context, forgers)
    own = str(context.work / "plan.toml")
    for person in forgers[:2]:
        assert run("approve", *with_key(person, context))[0] == 0
    run("run")
    for person in forgers[:2]:
        assert run("sign", *with_key(person, context))[0] == 0
    copy = ("--directory", str(shutil.copytree(context.directory, tmp_path / "copy")))
    assert run("verify", *copy) == (0, WELL)
    assert run("verify", *copy, "--plan", own) == (0, WELL)
    code, output = run("verify", *copy, "--plan", str(reviewed), "--json")
    assert (code, [one["code"] for one in json.loads(output)["findings"]]) == (1, ["plan-other"])
    assert run("verify", *copy, "--plan", str(tmp_path / "none"))[1].startswith("file-unreadable: none")


@pytest.mark.requirement("CA-1")
def test_a_transcript_of_any_form_is_found_out_and_reads_no_other_file(
    run: Run, context: CeremonyContext, clock: SettableClock, tmp_path: Path
) -> None:
    approved(run, context)
    run("run")
    signed(run, context)
    path = context.directory / "transcript.json"
    whole = json.loads(path.read_bytes())
    approval = {"officer": "Ana", "sha256": "00"}
    strange: list[object] = [None, 5, "x", [], {}, {"../plan.toml": approval}, {"a": None}, {"root": {}}]
    for key in sorted(set(whole) - {"form"}):
        for value in strange:
            path.write_text(json.dumps({**whole, key: value}))
            assert verify_record(context.directory, clock.now()), (key, value)
    (tmp_path / "elsewhere").write_text("secret")
    for part in ("artefacts", "approvals"):
        path.write_text(json.dumps({**whole, part: {str(tmp_path / "elsewhere"): approval}}))
        found = verify_record(context.directory, clock.now())
        assert [finding.code for finding in found] == ["transcript-malformed"]


def test_demo_officers_hold_the_demos_ceremony(run: Run, context: CeremonyContext) -> None:
    (context.work / "plan.toml").unlink()
    hold_with_demo_officers(context)
    assert run("verify") == (0, WELL)
    code, output = run("plan")
    assert (code, output.count("certificate SHA-256")) == (0, 3)
    keys = [path.stat().st_mode & 0o777 for path in (context.work / "officers").glob("*.key")]
    assert keys == [0o600] * 3


def test_an_encrypted_key_asks_for_its_passphrase(context: CeremonyContext) -> None:
    app = typer.Typer()
    app.add_typer(ceremony_commands(lambda: context), name="ceremony")
    key, certificate = PEOPLE[0].files(context.settings.var, b"secret")
    command = ["ceremony", "approve", "--key", key, "--certificate", certificate]
    wrong = CliRunner().invoke(app, command, input="no\n")
    assert (wrong.exit_code, "officer-key-unfit" in wrong.output, "no\n" in wrong.output) == (1, True, False)
    assert CliRunner().invoke(app, command, input="secret\n").exit_code == 0
