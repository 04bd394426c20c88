"""The `tsp` command: makes, runs, examines and verifies an installation."""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tsp.core.clock import SystemClock
from tsp.core.errors import TspError
from tsp.core.settings import ROLES, Settings, load_settings, process_name

EXAMPLES = """
Examples:

  tsp init                       make tokens, keys, authorities and database

  tsp serve                      run every role, one process each

  tsp serve --role ocsp          run one role in this process

  tsp serve --role idp --number 2    run a second process of a role beside the first

  tsp doctor --json              what is wrong, for a machine

  tsp verify contract.pdf        check the signatures of a PDF, offline

  tsp audit verify               check the whole public log

  tsp backup --to /backup/today --passphrase-file pass    copy a running installation

  tsp restore --from /backup/today --passphrase-file pass    make it again elsewhere, and prove it
"""

app = typer.Typer(
    help="Remote signing and trust services: one key, one certificate, one signature, then the key is gone." + EXAMPLES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _configuration(
    config: Annotated[
        Path | None, typer.Option(help="Configuration file (default: TSP_CONFIG or conf/tsp.toml).")
    ] = None,
) -> None:
    if config is not None:
        # Child processes of `serve` read the same file.
        os.environ["TSP_CONFIG"] = str(config.resolve())


@app.command()
def init() -> None:
    """Make the installation that the configuration describes."""
    from tsp.initialise import initialise

    settings = load_settings()
    initialise(settings, typer.echo)
    typer.echo(f"Ready in {settings.var}. Next: tsp serve")


@app.command()
def migrate() -> None:
    """Bring the database to the schema of this release."""
    from tsp.initialise import migrate as run
    from tsp.runtime import Runtime

    run(Runtime(load_settings()))
    typer.echo("The database is at the schema of this release.")


@app.command()
def serve(
    role: Annotated[str | None, typer.Option(help=f"One of: {', '.join(ROLES)}. Without it, all of them.")] = None,
    number: Annotated[
        int, typer.Option(min=1, max=64, help="Which of its role's processes this is; no two at once have the same.")
    ] = 1,
    fd: Annotated[
        int | None, typer.Option(min=3, help="A listening socket that the process is started with (systemd: 3).")
    ] = None,
) -> None:
    """Run the platform: every role in processes of its own, or one process of one role.

    How many of each: the table [processes] of the configuration. SIGHUP restarts them one after the
    other, and no request fails meanwhile.
    """
    settings = load_settings()
    if role is None:
        _serve_all(settings)
        return
    if role not in ROLES:
        raise typer.BadParameter(f"known roles are {', '.join(ROLES)}")
    from tsp.app import run_role

    run_role(role, settings, number=number, fd=fd)


def _serve_all(settings: Settings) -> None:
    from tsp.app import face_socket
    from tsp.supervisor import Supervisor, role_command

    supervisor = Supervisor(SystemClock(), lambda line: typer.echo(line, err=True))
    for name in ROLES:
        # Held here, so that a restart of one process, or of all of them, turns nobody away.
        listener = face_socket(settings, name) if settings.origin(name) else None
        if listener is not None:
            listener.listen(512)
        for number in range(1, settings.count(name) + 1):
            supervisor.add(process_name(name, number), role_command(name, number, listener), listener)
    for face, origin in settings.urls.model_dump(by_alias=True).items():
        typer.echo(f"{face:<11} {origin}")
    supervisor.run()


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False) -> None:
    """Examine the installation and say what to do where something is wrong."""
    from tsp.doctor import examine
    from tsp.runtime import Runtime

    found = examine(Runtime(load_settings()))
    if as_json:
        typer.echo(json.dumps([asdict(d) for d in found], ensure_ascii=False, indent=1))
    else:
        for d in found:
            typer.echo(
                f"{'ok  ' if d.well else 'FAIL'}  {d.subject:<28} {d.seen}"
                + ("" if d.well else f"\n      -> {d.advice}")
            )
    if not all(d.well for d in found):
        raise typer.Exit(1)


def main() -> None:
    """Entry point: an error of ours becomes one line and exit code 2, never a traceback."""
    from tsp.backup.commands import backup, restore
    from tsp.command_line import add_commands

    add_commands(app)
    app.command()(backup)
    app.command()(restore)
    try:
        app()
    except TspError as error:
        typer.echo(f"tsp: {error.sentence} [{error.code}]", err=True)
        sys.exit(2)
