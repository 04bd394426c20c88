"""`tsp backup` and `tsp restore`."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tsp.core.errors import TspError
from tsp.core.settings import default_config, load_settings

_Passphrase = Annotated[
    Path | None, typer.Option(help="File (mode 0600) with the passphrase that seals PINs and other secrets.")
]
_Json = Annotated[bool, typer.Option("--json", help="For machines.")]


def backup(
    to: Annotated[Path, typer.Option(help="The directory to write; it must not exist.")],
    passphrase_file: _Passphrase = None,
    as_json: _Json = False,
) -> None:
    """Copy the installation, also while it runs: database, documents, authorities, tokens, configuration.

    PINs and other secrets are left out, or sealed where a passphrase is given. Keys in a real HSM are
    not in it: back them up with the vendor's tools. Ends with 1 where documents are already lost.

    Example: tsp backup --to /backup/2026-11-25 --passphrase-file /root/backup.pass
    """
    from tsp.backup.making import make_backup
    from tsp.backup.manifest import FILE, describe
    from tsp.backup.restoring import read_passphrase
    from tsp.runtime import Runtime

    with _explained():
        passphrase = read_passphrase(passphrase_file) if passphrase_file else None
        target = to.absolute()
        made = make_backup(Runtime(load_settings()), target, default_config(), passphrase=passphrase, say=_say)
    digest = describe(target / FILE).sha256
    notes = _notes(made.tokens, made.secrets)
    if as_json:
        told = {key: value for key, value in asdict(made).items() if key != "parts"}
        told |= {"directory": str(target), "manifest_sha256": digest, "parts": len(made.parts), "notes": notes}
        typer.echo(json.dumps(told, ensure_ascii=False, indent=1))
    else:
        typer.echo(f"{len(made.parts)} files in {target}, log at size {made.log.size}, manifest SHA-256 {digest}")
        for note in notes:
            typer.echo(f"NOTE: {note}")
    if made.missing:
        typer.echo(f"{len(made.missing)} documents that the database names were lost before this backup", err=True)
        raise typer.Exit(1)


def restore(
    source: Annotated[Path, typer.Option("--from", help="A directory that `tsp backup` wrote.")],
    passphrase_file: _Passphrase = None,
    pins: Annotated[Path | None, typer.Option(help="Directory with the PIN files, instead of a passphrase.")] = None,
    checkpoint: Annotated[
        list[Path] | None, typer.Option(help="A checkpoint that somebody kept (a witness); can be given again.")
    ] = None,
    older_log: Annotated[
        bool, typer.Option("--older-log", help="Restore although the published log is ahead of the backup.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Make the installation that the configuration describes from a backup, and prove that it is whole.

    The installation must not exist, its database must be empty. Nothing is kept unless every part is
    what the manifest says, the whole log and all evidence verify, every document decrypts and each
    certificate's key is in its token.

    Example: tsp restore --from /backup/2026-11-25 --passphrase-file /root/backup.pass
    """
    from tsp.backup.restoring import OLDER_LOG, Wishes, read_passphrase
    from tsp.backup.restoring import restore as run
    from tsp.runtime import Runtime

    with _explained():
        wishes = Wishes(
            passphrase=read_passphrase(passphrase_file) if passphrase_file else None,
            pins=pins,
            notes=[path.read_text() for path in checkpoint or ()],
            older_log=older_log,
        )
        settings = load_settings()
        done = run(source.absolute(), settings, wishes, make_runtime=Runtime, say=_say)
    if as_json:
        told = {"made_at": done.manifest.made_at, "proven": [asdict(p) for p in done.proven]}
        typer.echo(json.dumps(told | {"closed": done.closed, "behind": done.behind}, ensure_ascii=False, indent=1))
    else:
        for one in done.proven:
            typer.echo(f"ok    {one.subject:<16} {one.seen}")
        typer.echo(f"ok    approvals        {done.closed} that were open are closed; their owners approve again")
        typer.echo(f"Restored in {settings.var}, as of {done.manifest.made_at}. Next: tsp doctor, then tsp serve")
    if done.behind:
        typer.echo(f"WARNING: the log lacks {done.behind} published entries. {OLDER_LOG}", err=True)


def _notes(tokens: str, secrets: str) -> list[str]:
    notes = []
    if tokens == "vendor":
        notes.append(
            "The tokens are in an HSM and NOT in this backup. Back them up with the vendor's tools on the same day: "
            "without their keys no document and no personal data of this backup can be read."
        )
    if secrets == "left-out":
        notes.append("PINs and other secrets are NOT in this backup. Keep them elsewhere; a restore needs them.")
    return notes


def _say(line: str) -> None:
    """Progress goes beside the result."""
    typer.echo(line, err=True)


@contextmanager
def _explained() -> Iterator[None]:
    """Errors as one line and exit code 2."""
    try:
        yield
    except TspError as error:
        typer.echo(f"{error.code}: {error.sentence}", err=True)
        raise typer.Exit(2) from None
    except OSError as error:
        typer.echo(f"a file cannot be read or written: {error.filename}: {error.strerror}", err=True)
        raise typer.Exit(2) from None
