"""`tsp certificate` as an operator uses it, with real tokens, a real database and other people's tools."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from asn1crypto import pem, x509
from cryptography.hazmat.primitives.serialization import pkcs12
from typer.testing import CliRunner

import hsm
from hsm import Token, softhsm
from tests.ca.ca_kit import ROOT
from tsp.ca.certificate_commands import certificate_commands
from tsp.ca.commands import CeremonyContext
from tsp.ca.holding import hold_with_demo_officers
from tsp.ca.names import PersonName
from tsp.ca.store import CaStore, to_pem
from tsp.ca.tables import Certificate, status
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.errors import NotFound
from tsp.core.files import write_private
from tsp.core.randomness import Randomness
from tsp.core.settings import load_settings

PIN, PASSWORD = "123456-test", "geslo za preizkus"
PERSON = """
[person]
country = "SI"
serial_number = "TINSI-12345678"
given_name = "Ančka"
surname = "Žnidaršič"
"""
CREATOR = """
[organisation]
country = "SI"
name = "Podjetje d.o.o."
identifier = "VATSI-12345679"
common_name = "Podjetje d.o.o. TEST"
"""
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def context(
    softhsm_directory: Path, tmp_path: Path, database: Database, clock: SettableClock, randomness: Randomness
) -> CeremonyContext:
    """An installation in a directory of its own, its ceremony held."""
    settings = load_settings(ROOT / "conf" / "tsp.toml").model_copy(update={"var": tmp_path / "var"})
    mark = f"{abs(hash(str(tmp_path))):x}"[:12]
    for name in ("root", "ca", "tsu", "qtsu", "ocsp", "site"):
        softhsm.create_token(softhsm_directory, f"{name}-{mark}", pin=PIN, so_pin="654321-test")
    pin = tmp_path / "root.pin"
    write_private(pin, PIN.encode())

    def open_token(name: str) -> Token:
        return hsm.Token.open(softhsm.find_module(), f"{name}-{mark}", PIN)

    made = CeremonyContext(settings, open_token, pin, database, clock, randomness)
    hold_with_demo_officers(made)
    return made


def holder(account: str) -> PersonName:
    """Who is proven behind an account here (`tests/idp/test_account_holder.py` has the real one)."""
    if account != "account-1":
        raise NotFound("account-unknown", "There is no such account.")
    return PersonName("Ana", "Novak", "SI", "17")


@pytest.fixture
def run(context: CeremonyContext, tmp_path: Path) -> Run:
    app = typer.Typer()
    app.add_typer(certificate_commands(lambda: context, holder), name="certificate")
    (tmp_path / "person.toml").write_text(PERSON)
    (tmp_path / "creator.toml").write_text(CREATOR)
    write_private(tmp_path / "password", PASSWORD.encode())

    def invoke(*arguments: str | Path) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["certificate", *map(str, arguments)])
        return result.exit_code, result.output

    return invoke


@pytest.fixture
def request_file(tmp_path: Path) -> Path:
    """A request by openssl, in the name of somebody else."""
    key, made = tmp_path / "key.pem", tmp_path / "request.pem"
    subprocess.run(
        [
            *("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"),
            *("-keyout", key, "-out", made, "-subj", "/CN=Somebody Else"),
        ],
        capture_output=True,
        check=True,
    )
    return made


def answered(outcome: tuple[int, str]) -> Any:
    code, output = outcome
    assert code == 0, output
    return json.loads(output)


def verified(certificate: Path, context: CeremonyContext, issuer: str, tmp_path: Path) -> None:
    """By openssl, up to the root of the ceremony."""
    store = CaStore(context.directory)
    (tmp_path / "root.pem").write_bytes(to_pem(store.root))
    (tmp_path / "issuer.pem").write_bytes(to_pem(store.certificate(issuer)))
    moment = str(int(context.clock.now().timestamp()) + 30)
    subprocess.run(
        [
            *("openssl", "verify", "-x509_strict", "-attime", moment, "-CAfile", tmp_path / "root.pem"),
            *("-untrusted", tmp_path / "issuer.pem", certificate),
        ],
        capture_output=True,
        check=True,
    )


@pytest.mark.requirement("CA-1", "CA-3")
def test_request_of_an_account_holder_becomes_a_certificate_once(
    run: Run, context: CeremonyContext, request_file: Path, tmp_path: Path
) -> None:
    arguments = ("--profile", "authentication", "--subject", tmp_path / "person.toml", "--account", "account-1")
    told = answered(run("request", request_file, *arguments))
    assert (told["profile"], told["issuer"], told["key"]) == ("authentication", "nonqualified", "P256")
    assert [one["intent"] for one in answered(run("intents"))] == [told["intent"]]
    out = tmp_path / "certificate.pem"
    assert answered(run("issue", told["intent"], "--out", out)) == {"serial": told["serial"], "file": str(out)}
    read = x509.Certificate.load(pem.unarmor(out.read_bytes())[2])
    assert read.subject.native["common_name"] == "Ančka Žnidaršič"
    verified(out, context, "nonqualified", tmp_path)
    with context.database.read() as session:
        row = session.get(Certificate, told["serial"])
        assert row is not None
        assert row.subject_ref == "account-1"
    assert answered(run("intents")) == []
    code, output = run("issue", told["intent"])
    assert (code, output.split(":")[0]) == (1, "certificate-issued-already")


@pytest.mark.requirement("CA-3")
def test_without_a_file_the_name_is_the_accounts(run: Run, context: CeremonyContext, request_file: Path) -> None:
    told = answered(run("request", request_file, "--profile", "authentication", "--account", "account-1"))
    assert run("issue", told["intent"])[0] == 0
    with context.database.read() as session:
        row = session.get(Certificate, told["serial"])
        assert row is not None
        assert row.subject_ref == "account-1"
    assert x509.Certificate.load(row.der).subject.native["common_name"] == "Ana Novak"
    told = answered(run("request", request_file, "--profile", "authentication", "--account", "account-1"))
    assert answered(run("withdraw", told["intent"])) == {"serial": told["serial"], "state": "withdrawn"}
    assert run("issue", told["intent"])[0] == 1


@pytest.mark.requirement("CA-2", "CA-4")
def test_seal_in_a_token_gets_a_qualified_certificate(run: Run, context: CeremonyContext, tmp_path: Path) -> None:
    subject = ("--profile", "qualified-seal", "--subject", tmp_path / "creator.toml")
    told = answered(run("request", "--seal-key", "site:seal-1", *subject))
    code, text = run("issue", told["intent"])
    assert code == 0
    read = x509.Certificate.load(pem.unarmor(text.encode())[2])
    with context.open_token("site") as token:
        assert token.signing_key("seal-1").public_spki == read.public_key.dump()
        assert token.signing_key("seal-1").attributes.born_and_kept_inside
    assert read.subject.native["organization_identifier"] == "VATSI-12345679"
    again = answered(run("request", "--seal-key", "site:seal-1", *subject))
    assert again["serial"] != told["serial"]


@pytest.mark.requirement("CA-3")
def test_pkcs12_opens_in_other_tools_and_holds_the_whole_chain(
    run: Run, context: CeremonyContext, tmp_path: Path
) -> None:
    out = tmp_path / "login.p12"
    arguments = ("--subject", tmp_path / "person.toml", "--password-file", tmp_path / "password", "--out", out)
    told = answered(run("pkcs12", *arguments))
    assert out.stat().st_mode & 0o777 == 0o600
    key, own, chain = pkcs12.load_key_and_certificates(out.read_bytes(), PASSWORD.encode())
    assert key is not None
    assert own is not None
    assert own.public_key() == key.public_key()
    assert chain[0].subject == own.issuer
    assert len(chain) == 2
    shown = subprocess.run(
        ["openssl", "pkcs12", "-in", out, "-passin", f"file:{tmp_path / 'password'}", "-nokeys", "-info"],
        capture_output=True,
        check=True,
    )
    assert b"AES-256-CBC" in shown.stderr
    assert b"sha1" not in shown.stderr.lower()
    with context.database.read() as session:
        known = status(session, "nonqualified", told["serial"])
        assert known is not None
        assert known.profile == "authentication"


@pytest.mark.requirement("CA-1")
def test_samples_are_written_with_their_list(run: Run, context: CeremonyContext, tmp_path: Path) -> None:
    told = answered(run("samples", tmp_path / "samples"))
    listed = json.loads((tmp_path / "samples" / "samples.json").read_bytes())
    assert told["certificates"] == len(listed) == len(list((tmp_path / "samples").glob("*.pem")))
    for one in listed:
        read = x509.Certificate.load(pem.unarmor((tmp_path / "samples" / one["file"]).read_bytes())[2])
        assert f"{read.serial_number:032x}" == one["serial"]
        with context.database.read() as session:
            known = status(session, one["issuer"], one["serial"])
        assert known is not None
        assert known.revoked == (one["state"] == "revoked")
    valid = next(one for one in listed if (one["profile"], one["state"]) == ("qualified-seal", "valid"))
    verified(tmp_path / "samples" / valid["file"], context, "qualified", tmp_path)
    with context.open_token("ca") as token:
        assert {key.label for key in token.private_keys()} == {"qualified-ca", "nonqualified-ca", "infrastructure-ca"}


def test_what_is_wrong_is_told_in_one_line(
    run: Run, context: CeremonyContext, request_file: Path, tmp_path: Path
) -> None:
    person, creator = tmp_path / "person.toml", tmp_path / "creator.toml"
    (tmp_path / "both.toml").write_text(PERSON + CREATOR)
    (tmp_path / "wrong.toml").write_text("[person]\ncountry = 'SI'\nserial_number = '1'\nsurnam = 'Novak'\n")
    (tmp_path / "broken.csr").write_bytes(b"0\x00")
    (tmp_path / "open").write_text(PASSWORD)
    write_private(tmp_path / "short", b"geslo")
    seal, login = ("--profile", "qualified-seal"), ("--profile", "authentication")
    p12 = ("pkcs12", "--out", tmp_path / "a.p12", "--subject")
    attempts: list[tuple[str, tuple[str | Path, ...]]] = [
        ("key-missing", ("request", *login, "--subject", person)),
        ("key-missing", ("request", request_file, "--seal-key", "site:seal-1", *login, "--subject", person)),
        ("subject-file-invalid", ("request", request_file, *login, "--subject", tmp_path / "both.toml")),
        ("subject-file-invalid", ("request", request_file, *login, "--subject", tmp_path / "wrong.toml")),
        ("request-malformed", ("request", tmp_path / "broken.csr", *login, "--subject", person)),
        ("request-unreadable", ("request", tmp_path / "nothing", *login, "--subject", person)),
        ("subject-unfit", ("request", request_file, *login, "--subject", creator)),
        ("profile-unknown", ("request", request_file, "--profile", "nothing", "--subject", person)),
        ("key-not-in-device", ("request", request_file, *seal, "--subject", creator)),
        ("seal-key-unfit", ("request", "--seal-key", "ca:qualified-ca", *seal, "--subject", creator)),
        ("seal-key-unfit", ("request", "--seal-key", "root:seal-1", *seal, "--subject", creator)),
        ("seal-key-unfit", ("request", "--seal-key", "site:seal-2", "--profile", "tsu", "--subject", creator)),
        ("seal-key-unfit", ("request", "--seal-key", "site:seal-2", *login, "--subject", person)),
        ("profile-unknown", ("request", "--seal-key", "site:seal-2", "--profile", "x", "--subject", creator)),
        ("subject-missing", ("request", request_file, *login)),
        ("account-unknown", ("request", request_file, *login, "--account", "account-2")),
        ("account-unknown", ("request", request_file, *login, "--subject", person, "--account", "account-2")),
        ("subject-missing", (*p12[:-1], "--password-file", tmp_path / "password")),
        ("intent-unknown", ("issue", "nothing")),
        ("subject-unfit", (*p12, creator, "--password-file", tmp_path / "password")),
        ("password-unreadable", (*p12, person, "--password-file", tmp_path / "open")),
        ("password-unreadable", (*p12, person, "--password-file", tmp_path / "nothing")),
        ("password-too-short", (*p12, person, "--password-file", tmp_path / "short")),
    ]
    found = [(run(*arguments), code) for code, arguments in attempts]
    assert [(status, output.split(":")[0]) for (status, output), _ in found] == [(1, code) for _, code in found]
    assert all(output.count("\n") == 1 for (_, output), _ in found)
    assert answered(run("intents")) == []
    assert not (tmp_path / "a.p12").exists()
    with context.open_token("site") as token:
        assert token.private_keys() == []


def test_pkcs12_is_for_the_demo_alone(
    run: Run, context: CeremonyContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = context.plan()  # a demo's, which does not fit production
    monkeypatch.setattr(CeremonyContext, "plan", lambda _self: plan)
    object.__setattr__(context, "settings", context.settings.model_copy(update={"mode": "production"}))
    arguments = ("--subject", tmp_path / "person.toml", "--password-file", tmp_path / "password")
    code, output = run("pkcs12", *arguments, "--out", tmp_path / "a.p12")
    assert (code, output.split(":")[0]) == (1, "pkcs12-only-in-demo")


@pytest.mark.requirement("CA-1", "CA-5")
def test_operators_list_and_show_what_was_issued(run: Run, context: CeremonyContext, tmp_path: Path) -> None:
    code, output = run("list", "--json", "--limit", "4")
    assert code == 0
    page = json.loads(output)
    assert len(page["certificates"]) == 4
    code, output = run("list", "--json", "--after", page["after"], "--limit", "500")
    told = [*page["certificates"], *json.loads(output)["certificates"]]
    transcript = json.loads((context.directory / "transcript.json").read_bytes())
    assert {one["serial"] for one in told} == {facts["serial"] for facts in transcript["certificates"].values()}
    [unit] = [one for one in told if one["profile"] == "tsu"]
    code, output = run("list", "--subject", unit["subject"])
    assert (code, output.splitlines()[-1]) == (0, "1 certificates")
    assert unit["serial"] in output
    code, output = run("show", unit["serial"], "--out", str(tmp_path / "unit.der"), "--der")
    assert code == 0
    assert f"subject      {unit['subject']}" in output
    shown = subprocess.run(
        ["openssl", "x509", "-inform", "DER", "-in", tmp_path / "unit.der", "-noout", "-serial"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(shown.stdout.strip().removeprefix("serial="), 16) == int(unit["serial"], 16)
    assert json.loads(run("show", unit["serial"], "--json")[1])["pem"].startswith("-----BEGIN CERTIFICATE-----")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("list", "--since", "yesterday"), "moment-malformed"),
        (("list", "--after", "x"), "cursor-malformed"),
        (("list", "--subject", "nobody"), "subject-malformed"),
        (("show", "xyz"), "serial-malformed"),
        (("show", "00"), "certificate-unknown"),
    ],
)
def test_bad_questions_to_the_inventory_are_explained(run: Run, arguments: tuple[str, ...], code: str) -> None:
    ended, output = run(*arguments)
    assert ended == 1
    assert output.startswith(f"{code}: ")
