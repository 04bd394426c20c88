"""`tsp certificate list` and `show`: what was issued, for operators and auditors."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from tsp.ca.commands import CeremonyContext
from tsp.ca.explained import explained
from tsp.ca.inventory import MAX_PAGE, Question, State, described, find, read_moment, search
from tsp.ca.store import to_pem
from tsp.core.files import write_atomic

_LIST_HELP = """List certificates, the newest first.

Examples:

  tsp certificate list --state revoked --since 2026-11-01

  tsp certificate list --subject "CN=Ana Novak,givenName=Ana,SN=Novak,serialNumber=TINSI-50223054,C=SI"

  tsp certificate list --profile qualified --limit 500 --json
"""


def add_inventory_commands(commands: typer.Typer, context: Callable[[], CeremonyContext]) -> None:
    """Hangs `list` and `show` into `tsp certificate`."""

    @commands.command("list", help=_LIST_HELP)
    def list_certificates(
        subject: Annotated[
            str | None, typer.Option(help="Exactly this subject (RFC 4514, as `show` prints it).")
        ] = None,
        serial: Annotated[str | None, typer.Option(help="Serial number, hexadecimal.")] = None,
        profile: Annotated[str | None, typer.Option(help="Kind of certificate: a name of conf/profiles.")] = None,
        issuer: Annotated[str | None, typer.Option(help="Role of the issuer, such as qualified.")] = None,
        holder: Annotated[str | None, typer.Option(help="Of the holder with this reference.")] = None,
        state: Annotated[State | None, typer.Option(help="What they are now.")] = None,
        since: Annotated[str | None, typer.Option(help="Issued at this moment or later (ISO 8601; UTC).")] = None,
        until: Annotated[str | None, typer.Option(help="Issued before this moment.")] = None,
        valid_at: Annotated[str | None, typer.Option(help="This moment lies within the validity.")] = None,
        after: Annotated[str, typer.Option(help="The cursor that the page before ended with.")] = "",
        limit: Annotated[int, typer.Option(min=1, max=MAX_PAGE, help="Certificates on a page.")] = 50,
        as_json: Annotated[
            bool, typer.Option("--json", help="For machines: certificates and the next cursor.")
        ] = False,
    ) -> None:
        with explained():
            room = context()
            with room.database.read() as session:
                question = Question(
                    subject=subject,
                    serial=serial,
                    profile=profile,
                    issuer=issuer,
                    holders=None if holder is None else [holder],
                    state=state,
                    since=read_moment(since),
                    until=read_moment(until),
                    valid_at=read_moment(valid_at),
                )
                now = room.clock.now()
                page = search(session, question, now, after=after, limit=limit)
            told = [described(one, now) for one in page.certificates]
            if as_json:
                typer.echo(json.dumps({"certificates": told, "after": page.after}, indent=1, ensure_ascii=False))
                return
            for one in told:
                typer.echo(
                    f"{one['serial']}  {one['issued_at']}  {one['profile']:22} {one['state']:8} {one['subject']}"
                )
            typer.echo(f"{len(told)} certificates" + (f"; more with --after {page.after}" if page.after else ""))

    @commands.command("show")
    def show(
        serial: Annotated[str, typer.Argument(help="Serial number, hexadecimal.")],
        out: Annotated[Path | None, typer.Option(help="Write the certificate there: PEM, or DER with --der.")] = None,
        der: Annotated[bool, typer.Option("--der", help="DER for --out.")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="For machines, with the certificate as PEM.")] = False,
    ) -> None:
        """Show one certificate, and write it to a file with --out."""
        with explained():
            room = context()
            with room.database.read() as session:
                row = find(session, serial)
            told = described(row, room.clock.now())
            if out is not None:
                write_atomic(out, row.der if der else to_pem(row.der))
            if as_json:
                typer.echo(json.dumps({**told, "pem": to_pem(row.der).decode()}, indent=1, ensure_ascii=False))
                return
            for name, value in told.items():
                if value is not None:
                    typer.echo(f"{name:12} {value}")
