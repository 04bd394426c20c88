"""`tsp certificate` as an operator uses it, with real tokens and a real database."""

import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer
from asn1crypto import x509
from sqlalchemy.orm import Session
from typer.testing import CliRunner

import hsm
from hsm import Token, softhsm
from tests.ca.ca_kit import ROOT, SERVICE, SoftKey
from tsp.ca.authority import Authority, IssuingKey
from tsp.ca.commands import CeremonyContext
from tsp.ca.crl import NEVER
from tsp.ca.crl_reading import CrlReading, crl_facts
from tsp.ca.holding import hold_with_demo_officers
from tsp.ca.lists import Scope, state
from tsp.ca.profiles import load_profiles
from tsp.ca.revocation import Revocation, Revocations
from tsp.ca.revocation_commands import RevocationContext, add_revocation
from tsp.ca.store import CaStore
from tsp.ca.tables import serial_text, status
from tsp.ca.urls import RepositoryUrls
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.files import write_private
from tsp.core.randomness import Randomness
from tsp.core.settings import load_settings

PIN = "123456-test"
WORDS = ("--reason", "superseded", "--operator", "operator-7", "--evidence", "ticket-12")
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def context(
    softhsm_directory: Path, tmp_path: Path, database: Database, clock: SettableClock, randomness: Randomness
) -> CeremonyContext:
    """An installation whose ceremony was held."""
    settings = load_settings(ROOT / "conf" / "tsp.toml").model_copy(update={"var": tmp_path})
    mark = f"{abs(hash(str(tmp_path))):x}"[:12]
    for name in ("root", "ca", "tsu", "qtsu", "ocsp"):
        softhsm.create_token(softhsm_directory, f"r{name}-{mark}", pin=PIN, so_pin="654321-test")
    write_private(tmp_path / "pins" / "root.pin", PIN.encode())

    def open_token(name: str) -> Token:
        return hsm.Token.open(softhsm.find_module(), f"r{name}-{mark}", PIN)

    made = CeremonyContext(settings, open_token, tmp_path / "pins" / "root.pin", database, clock, randomness)
    hold_with_demo_officers(made)
    return made


@pytest.fixture
def written() -> list[tuple[str, dict[str, str]]]:
    return []


@pytest.fixture
def run(context: CeremonyContext, written: list[tuple[str, dict[str, str]]]) -> Run:
    def journal(_session: Session, kind: str, payload: Mapping[str, str]) -> None:
        written.append((kind, dict(payload)))

    def tell(_session: Session, done: Revocation) -> None:
        raise AssertionError("the provider's own certificates have no holder")

    @contextmanager
    def revocations() -> Iterator[Revocations]:
        yield Revocations(context.clock, journal, tell)

    app = typer.Typer()
    commands = typer.Typer()
    add_revocation(commands, lambda: RevocationContext(context, revocations))
    app.add_typer(commands, name="certificate")

    def invoke(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["certificate", *arguments])
        return result.exit_code, result.output

    return invoke


def own_serial(context: CeremonyContext, name: str) -> str:
    return serial_text(x509.Certificate.load(CaStore(context.directory).certificate(name)).serial_number)


@pytest.mark.requirement("CA-1")
def test_one_certificate_and_then_again(
    run: Run, context: CeremonyContext, written: list[tuple[str, dict[str, str]]]
) -> None:
    serial = own_serial(context, "tsu")
    code, output = run("revoke", serial.upper(), *WORDS)
    assert (code, output.split(":")[0]) == (0, f"{serial} revoked")
    assert written[0][1] | {"by": "provider", "requester": "operator-7", "evidence": "ticket-12"} == written[0][1]
    code, output = run("revoke", serial, *WORDS)
    assert (code, output.split(":")[0]) == (0, f"{serial} was revoked already")
    assert len(written) == 1


@pytest.mark.requirement("CA-1")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("revoke", "00", *WORDS), "certificate-unknown"),
        (("revoke", "zz", *WORDS), "serial-malformed"),
        (("revoke", "00", *WORDS[:3], "Ana Novak", *WORDS[4:]), "operator-invalid"),
        (("revoke", "00", *WORDS[:5], "she called, I know her"), "evidence-invalid"),
        (("revoke", "00", "--reason", "certificateHold", *WORDS[2:]), "certificate-suspension-refused"),
        (("revoke-issued", "nobody", *WORDS), "issuer-unknown"),
        (("revoke-authority", "root", *WORDS), "issuer-unknown"),
        (("last-crl", "infrastructure"), "authority-not-settled"),
    ],
)
def test_what_does_not_go_is_said(run: Run, arguments: tuple[str, ...], expected: str) -> None:
    code, output = run(*arguments)
    assert (code, output.split(":")[0]) == (1, expected)


@pytest.mark.requirement("CA-1", "OCSP-2")
def test_an_authority_goes_on_the_roots_list_at_once(run: Run, context: CeremonyContext) -> None:
    code, output = run("revoke-authority", "infrastructure", "--reason", "cACompromise", *WORDS[2:])
    assert code == 0, output
    store = CaStore(context.directory)
    number, _, until = crl_facts(store.root_crl)
    assert f"CRL {number} of the root, valid until {until.isoformat()}" in output
    serial = own_serial(context, "infrastructure")
    assert serial_text(int.from_bytes(next(iter(CrlReading.of(store.root_crl).serials())), "big")) == serial
    with context.database.read() as session:
        known = state(session, Scope("root"))
    assert known is not None
    assert (known.published, known.listed, known.revocations) == (number, 1, 1)
    here = context.directory
    (here / "list.pem").write_bytes(
        subprocess.run(
            ["openssl", "crl", "-inform", "DER", "-in", here / "root.crl"], capture_output=True, check=True
        ).stdout
    )
    verified = subprocess.run(
        ["openssl", "verify", "-crl_check_all", "-attime", str(int(context.clock.now().timestamp())),
         "-CAfile", here / "root.pem", "-CRLfile", here / "list.pem", here / "infrastructure.pem"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "certificate revoked" in verified.stderr


@pytest.mark.requirement("CA-1")
def test_without_the_roots_token_it_is_said_what_to_do(run: Run, context: CeremonyContext) -> None:
    opened = context.open_token

    def in_the_safe(name: str) -> Token:
        if name == "root":
            raise hsm.errors.TokenGone("Fetch the token.")
        return opened(name)

    object.__setattr__(context, "open_token", in_the_safe)
    code, output = run("revoke-authority", "infrastructure", *WORDS)
    assert code == 1
    assert "fetch its token and run `tsp ceremony renew-crl`" in output
    with context.database.read() as session:
        known = status(session, "root", own_serial(context, "infrastructure"))
    assert known is not None
    assert known.revoked


@pytest.mark.requirement("CA-1", "OCSP-2")
def test_everything_of_an_authority_and_its_last_list(
    run: Run, context: CeremonyContext, clock: SettableClock, randomness: Randomness
) -> None:
    store, settings = CaStore(context.directory), context.settings
    with context.token("ca") as token:
        key = IssuingKey.of("infrastructure", store.infrastructure, token.signing_key("infrastructure-ca"))
        known = load_profiles(ROOT / "conf" / "profiles", settings.profiles.oid_arc)
        authority = Authority(known, {"infrastructure": key}, RepositoryUrls.of(settings), clock, randomness)
        for _ in range(2):
            issued = authority.issue(authority.prepare("tsu", SERVICE, SoftKey().public_spki, now=clock.now()))
            with context.database.write() as session:
                session.add(authority.row(issued, None))
    # Two of these, and the two units and the responder of the ceremony.
    assert run("revoke-issued", "infrastructure", *WORDS) == (0, "5 certificates of infrastructure revoked\n")
    assert run("revoke-issued", "infrastructure", *WORDS) == (0, "0 certificates of infrastructure revoked\n")
    assert run("last-crl", "infrastructure") == (0, "infrastructure.crl is the last list\n")
    reading = CrlReading.of((context.directory / "infrastructure.crl").read_bytes())
    assert (reading.count(), reading.next_update) == (5, NEVER)
    assert run("last-crl", "infrastructure")[1].split(":")[0] == "crl-ended"
