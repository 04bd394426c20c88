"""`tsp ceremony approve`, `sign` and `verify`: what people do before a ceremony, at its end, and ever after."""

import dataclasses
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tsp.ca.approvals import sign_detached
from tsp.ca.explained import explained
from tsp.ca.holding import approvable, gather_approval
from tsp.ca.record import CEREMONY, keep_signature, transcript_file, verify_record
from tsp.core.clock import SystemClock
from tsp.core.errors import Invalid, NotFound

if TYPE_CHECKING:
    from tsp.ca.commands import CeremonyContext

Key = Annotated[Path | None, typer.Option(help="The officer's private key (PEM); asks for its passphrase.")]
Certificate = Annotated[Path | None, typer.Option(help="The officer's certificate (PEM), as in the plan.")]
Signature = Annotated[Path | None, typer.Option(help="A detached CMS signature that was made elsewhere.")]


def add_officer_commands(commands: typer.Typer, context: Callable[[], "CeremonyContext"]) -> None:
    """Adds them to the sub-commands of `tsp ceremony`."""

    @commands.command("approve")
    def approve(
        key: Key = None,
        certificate: Certificate = None,
        signature: Signature = None,
        roll_over: Annotated[
            Path | None, typer.Option(help="The plan of a roll-over; without it the ceremony's own plan.")
        ] = None,
    ) -> None:
        """Approve exactly this plan, as one of its officers."""
        with explained():
            here = context()
            _, content, _ = approvable(here, roll_over)
            made = _signature(content, key, certificate, signature)
            officer, path = gather_approval(here, roll_over, made)
            typer.echo(f"{officer.name} ({officer.role}) approved: {path}")

    @commands.command("sign")
    def sign(
        key: Key = None,
        certificate: Certificate = None,
        signature: Signature = None,
        record: Annotated[str, typer.Option(help="`ceremony`, or the generation that a roll-over made.")] = CEREMONY,
    ) -> None:
        """Sign the transcript, as one of those who were present."""
        with explained():
            here = context()
            path = here.directory / transcript_file(record)
            if not path.is_file():
                raise NotFound("ceremony-missing", f"There is no transcript of {record}.")
            made = _signature(path.read_bytes(), key, certificate, signature)
            officer = keep_signature(here.directory, record, made, here.clock.now())
            typer.echo(f"{officer.name} ({officer.role}) signed {path.name}")

    @commands.command("verify")
    def verify(
        directory: Annotated[
            Path | None, typer.Option(help="A copy of the artefacts; without it this installation's own.")
        ] = None,
        plan: Annotated[
            Path | None,
            typer.Option(help="Your own copy of the reviewed plan: the record must be of exactly this one."),
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Findings for a machine.")] = False,
    ) -> None:
        """Check transcript, artefacts, approvals and signatures, offline; exit code 1 where something is wrong."""
        with explained():
            place, now = (directory, SystemClock().now()) if directory else _own(context())
            findings = verify_record(place, now, _read(plan) if plan else None)
        if as_json:
            typer.echo(json.dumps({"findings": [dataclasses.asdict(finding) for finding in findings]}, indent=2))
        for finding in () if as_json else findings:
            typer.echo(f"{finding.code}: {finding.sentence}", err=True)
        if findings:
            raise typer.Exit(1)
        if not as_json:
            typer.echo("All artefacts, approvals and signatures are what the transcript says.")


def _own(context: "CeremonyContext") -> tuple[Path, datetime]:
    return context.directory, context.clock.now()


def _signature(content: bytes, key: Path | None, certificate: Path | None, signature: Path | None) -> bytes:
    """The signature over `content`: made now with a key, or the one that was made elsewhere."""
    if signature is not None and key is None and certificate is None:
        return _read(signature)
    if key is None or certificate is None or signature is not None:
        raise Invalid("officer-key-unfit", "Give --key and --certificate, or --signature alone.")
    pem = _read(key)
    encrypted = b"ENCRYPTED" in pem
    passphrase = typer.prompt("Passphrase of the key", hide_input=True).encode() if encrypted else None
    return sign_detached(content, _read(certificate), pem, passphrase)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Invalid("file-unreadable", f"{path.name} cannot be read: {error.strerror}.") from error
