"""`tsp ceremony` as an operator uses it, with real tokens and a real database."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from sqlalchemy import select
from typer.testing import CliRunner

import hsm
from hsm import Token, softhsm
from tests.ca.ca_kit import ROOT
from tsp.audit.tables import Entry
from tsp.ca.commands import CeremonyContext, ceremony_commands
from tsp.ca.crl_reading import crl_facts
from tsp.ca.plan import ENTRIES
from tsp.ca.store import CaStore
from tsp.ca.tables import status
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.files import write_private
from tsp.core.randomness import Randomness
from tsp.core.settings import load_settings

PIN = "123456-test"
Run = Callable[..., tuple[int, str]]


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

    return CeremonyContext(settings, open_token, pin, database, clock, randomness)


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
    code, output = run("run")
    assert code == 0
    assert set(json.loads(output)) == {
        "root.pem", "qualified.pem", "nonqualified.pem", "infrastructure.pem", "tsu.pem", "qtsu.pem",
        "ocsp-qualified.pem", "ocsp-nonqualified.pem", "ocsp-infrastructure.pem", "root.crl",
    }  # fmt: skip
    assert run("verify") == (0, "All artefacts are what the transcript says.\n")
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
    run("run")
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
    run("run")
    (context.directory / "tsu.pem").write_bytes((context.directory / "qualified.pem").read_bytes())
    code, output = run("verify")
    assert code == 1
    assert "tsu.pem has another key than the ceremony made" in output


def test_wrong_pin_is_explained(run: Run, context: CeremonyContext) -> None:
    def refuse(name: str) -> Token:
        raise hsm.errors.PinWrong("Correct the PIN file.")

    object.__setattr__(context, "open_token", refuse)
    assert run("run") == (1, "token-unavailable: Correct the PIN file.\n")
    assert not context.directory.exists()


def test_missing_custodian_is_explained(run: Run, context: CeremonyContext, tmp_path: Path) -> None:
    text = (ROOT / "conf" / "ceremony.toml").read_text()
    text = text.replace('"keep"', '"seal"').replace("custodians = []", 'custodians = ["nobody.pem"]')
    (tmp_path / "plan.toml").write_text(text)
    settings = context.settings.model_copy(update={"ceremony": str(tmp_path / "plan.toml")})
    object.__setattr__(context, "settings", settings)
    assert run("run") == (1, "custodian-unfit: A custodian's certificate cannot be read.\n")
    assert not context.directory.exists()
