"""`tsp audit`: the log's sub-commands."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from tsp.audit.checkpoint import VerifierKey
from tsp.audit.cosignature import CosignerKey
from tsp.audit.installation import installed_key, witnesses
from tsp.audit.verify import Fetch, Report, verify_database, verify_public
from tsp.core.database import Database
from tsp.core.errors import NotFound, TspError
from tsp.core.files import write_atomic
from tsp.core.outbound import Outbound
from tsp.core.settings import Settings, load_settings

app = typer.Typer(help="The append-only log of everything that was issued and signed.", no_args_is_help=True)

Installation = Callable[[], Settings]


@app.callback()
def _group() -> None:
    """The append-only log of everything that was issued and signed."""


@app.command()
def verify(
    url: Annotated[str, typer.Option(help="Verify the public log at this address.")] = "",
    db: Annotated[str, typer.Option(help="Verify the log in this database (SQLAlchemy URL).")] = "",
    key: Annotated[str, typer.Option(help="The log's verifier key; by default the installation's own.")] = "",
    remember: Annotated[
        Path | None, typer.Option(help="File with the last verified checkpoint: read first, written after success.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Configuration file.")] = None,
) -> None:
    """Recompute the whole log. Without --url and --db: the installation's own database.

    Needs no installation where --key, --remember and --url (or --db) are given. Ends with 0 where
    the log is sound, 1 where it is not, 2 where it could not be read.
    """
    # Read only where something is not given: a stranger has no installation.
    installation: Installation = functools.cache(lambda: load_settings(config))
    try:
        verifier = VerifierKey.parse(key) if key else installed_key(installation())
        memory = remember or installation().var / "audit" / ("public.checkpoint" if url else "database.checkpoint")
        earlier = memory.read_text() if memory.is_file() else None
        if url:
            internal = frozenset[str]() if key and remember else frozenset(installation().internal)
            report = verify_public(_fetcher(url, internal), verifier, remembered=earlier)
        else:
            known = () if db else [witness.key for witness in witnesses(installation())]
            report = _verify_database(db or installation().database_url, verifier, earlier, known)
        if report.sound and report.note:
            write_atomic(memory, report.note.encode())
    except TspError as error:
        typer.echo(f"{error.code}: {error.sentence}", err=True)
        raise typer.Exit(2) from None
    except OSError as error:
        typer.echo(f"the remembered checkpoint cannot be read or written: {error.strerror}", err=True)
        raise typer.Exit(2) from None
    _tell(report, compared=earlier is not None)
    raise typer.Exit(0 if report.sound else 1)


def _verify_database(url: str, key: VerifierKey, earlier: str | None, known: Sequence[CosignerKey]) -> Report:
    database = Database(url, existing=True)
    try:
        return verify_database(database, key, remembered=earlier, witnesses=known)
    finally:
        database.close()


def _fetcher(url: str, internal: frozenset[str]) -> Fetch:
    outbound = Outbound(internal=internal)
    base = url.rstrip("/")

    def fetch(path: str) -> bytes:
        answer = outbound.request("GET", base + path)
        if answer.status != 200:
            raise NotFound("log-answer", "The log did not send what its checkpoint promises.", status=answer.status)
        return answer.body

    return fetch


def _tell(report: Report, *, compared: bool) -> None:
    counts = f"{report.entries} entries, {report.writers} writers, {report.checkpoints} checkpoints"
    witnessed = f", {report.cosignatures} cosignatures" if report.cosignatures else ""
    typer.echo(f"{counts}{witnessed}, size {report.size}")
    typer.echo("compared with the remembered checkpoint" if compared else "first look: nothing remembered yet")
    for finding in report.findings:
        facts = " ".join(f"{name}={value}" for name, value in finding.facts.items())
        typer.echo(f"{finding.code} {facts}".rstrip(), err=True)
    typer.echo("the log is sound" if report.sound else f"THE LOG IS NOT SOUND: {len(report.findings)} findings")
