"""`tsp certificate`: prepare one, issue what was prepared, list what is open, make what logins are tried with."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from tsp.ca.commands import CeremonyContext
from tsp.ca.desk import Desk
from tsp.ca.explained import explained
from tsp.ca.inventory_commands import add_inventory_commands
from tsp.ca.issuance import Intent
from tsp.ca.names import PersonName, SubjectName
from tsp.ca.request import MAX_OCTETS, CertificateRequest, read_request
from tsp.ca.samples import make_samples
from tsp.ca.store import to_pem
from tsp.ca.subject_file import read_subject
from tsp.ca.tables import open_intents
from tsp.core.errors import Invalid
from tsp.core.files import read_secret, write_atomic, write_private

Subject = Annotated[
    Path | None, typer.Option(help="TOML file with the subject: [person] or [organisation]; else the account's person.")
]
Account = Annotated[str | None, typer.Option(help="The account that the certificate belongs to.")]
#: The proven person of an account; refuses where there is none.
Holder = Callable[[str], PersonName]


def certificate_commands(context: Callable[[], CeremonyContext], holder: Holder) -> typer.Typer:
    """The sub-commands of `tsp certificate`; `context` is called when one runs, `holder` when an account is named."""
    commands = typer.Typer(
        help="Certificates: what was issued, and those beside the ones of one-time keys.", no_args_is_help=True
    )

    @commands.command("request")
    def request(
        profile: Annotated[str, typer.Option(help="Kind of certificate: a name of conf/profiles.")],
        file: Annotated[Path | None, typer.Argument(help="Certificate request (PKCS#10), PEM or DER.")] = None,
        seal_key: Annotated[
            str | None, typer.Option(help="Instead of a request: a key of a token, TOKEN:seal-NAME.")
        ] = None,
        subject: Subject = None,
        issuer: Annotated[str | None, typer.Option(help="The authority, where the profile allows several.")] = None,
        account: Account = None,
    ) -> None:
        """Check a request and prepare its certificate; print the intent that `issue` redeems once."""
        with explained():
            name, host_names = _subject(subject, account, holder)
            if (file is None) == (seal_key is None):
                raise Invalid("key-missing", "Give either a certificate request or a key for seals.")
            read = read_request(_octets(file)) if file is not None else None
            with Desk.open(context()) as desk:
                intent = desk.issuance().prepare(
                    profile,
                    name,
                    read.spki if read is not None else desk.seal_key(seal_key or "", profile),
                    issuer=issuer,
                    subject_ref=account,
                    host_names=host_names,
                    in_device=read is None,
                )
            _print(_told(intent, read))

    @commands.command("issue")
    def issue(
        intent: Annotated[str, typer.Argument(help="What `request` printed.")],
        out: Annotated[Path | None, typer.Option(help="Where the certificate (PEM) goes; else to the output.")] = None,
    ) -> None:
        """Issue a prepared certificate, once."""
        with explained():
            with Desk.open(context()) as desk:
                issued = desk.issuance().issue(intent)
            pem = to_pem(issued.der)
            if out is None:
                typer.echo(pem.decode(), nl=False)
                return
            write_atomic(out, pem)
            _print({"serial": issued.serial, "file": str(out)})

    @commands.command("withdraw")
    def withdraw(intent: Annotated[str, typer.Argument(help="What `request` printed.")]) -> None:
        """End a prepared certificate that shall not be issued, or that a process left while it signed."""
        with explained():
            with Desk.open(context()) as desk:
                serial = desk.issuance().withdraw(intent)
            _print({"serial": serial, "state": "withdrawn"})

    @commands.command("intents")
    def intents() -> None:
        """List what was prepared and has not ended, the oldest first, as JSON."""
        with explained():
            with context().database.read() as session:
                found = open_intents(session)
            _print(
                [
                    {
                        "intent": one.id,
                        "state": one.state,
                        "serial": one.serial,
                        "profile": one.profile,
                        "prepared_at": one.prepared_at.isoformat(),
                        "until": one.until.isoformat(),
                    }
                    for one in found
                ]
            )

    add_inventory_commands(commands, context)
    _more_commands(commands, context, holder)
    return commands


def _more_commands(commands: typer.Typer, context: Callable[[], CeremonyContext], holder: Holder) -> None:
    @commands.command("pkcs12")
    def login_file(
        password_file: Annotated[Path, typer.Option(help="File with the password, readable by its owner only.")],
        out: Annotated[Path, typer.Option(help="Where the PKCS#12 file goes.")],
        subject: Subject = None,
        account: Account = None,
    ) -> None:
        """Make a key and a certificate to try logins with, as one PKCS#12 file (demo only)."""
        with explained():
            name, _ = _subject(subject, account, holder)
            if not isinstance(name, PersonName):
                raise Invalid("subject-unfit", "Logins are for natural persons: the file needs [person].")
            password = _password(password_file)
            with Desk.open(context()) as desk:
                issued, content = desk.login_file(name, account, password)
            write_private(out, content)
            _print({"serial": issued.serial, "file": str(out)})

    @commands.command("samples")
    def samples(
        directory: Annotated[Path, typer.Argument(help="Where the certificates (PEM) and their list go.")],
    ) -> None:
        """Make test certificates of every type, valid, expired and revoked, with samples.json as their list."""
        with explained():
            with Desk.open(context()) as desk:
                made = make_samples(desk.sample_bench())
            for sample in made:
                write_atomic(directory / f"{sample.name}.pem", to_pem(sample.der))
            listed = [
                {
                    "file": f"{sample.name}.pem",
                    "profile": sample.profile,
                    "issuer": sample.issuer,
                    "state": sample.state,
                    "serial": sample.serial,
                    "not_before": sample.not_before.isoformat(),
                    "not_after": sample.not_after.isoformat(),
                }
                for sample in made
            ]
            write_atomic(directory / "samples.json", json.dumps(listed, indent=1).encode() + b"\n")
            _print({"certificates": len(made), "directory": str(directory)})


def _subject(file: Path | None, account: str | None, holder: Holder) -> tuple[SubjectName, tuple[str, ...]]:
    """The name and the host names: of the file, or of the account's proven person. An account is always looked at."""
    person = holder(account) if account is not None else None
    if file is not None:
        described = read_subject(file)
        return described.subject(), described.host_names
    if person is None:
        raise Invalid("subject-missing", "Give the file of a subject, or the account of a person.")
    return person, ()


def _told(intent: Intent, read: CertificateRequest | None) -> dict[str, object]:
    told: dict[str, object] = {
        "intent": intent.id,
        "serial": intent.serial,
        "profile": intent.profile,
        "issuer": intent.issuer,
        "not_before": intent.not_before.isoformat(),
        "not_after": intent.not_after.isoformat(),
        "until": intent.until.isoformat(),
    }
    if read is not None:
        told |= {"request_sha256": read.digest, "key": read.key, "ignored_extensions": list(read.ignored)}
    return told


def _print(value: Mapping[str, object] | list[dict[str, str]]) -> None:
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False))


def _octets(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_OCTETS + 1)
    except OSError as error:
        raise Invalid(
            "request-unreadable", "The certificate request cannot be read.", cause=str(error.errno)
        ) from error


def _password(path: Path) -> str:
    try:
        return read_secret(path)
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(
            "password-unreadable", "The password file cannot be read, or others may read it (set its mode to 0600)."
        ) from error
