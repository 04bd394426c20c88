"""`tsp evidence`: the evidence package of one signature, verified offline."""

from pathlib import Path
from typing import Annotated

import typer
from cryptography import x509

from tsp.audit import verify_evidence
from tsp.core.settings import load_settings

app = typer.Typer(help="The evidence package of one signature.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """The evidence package of one signature."""


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="The evidence package.", exists=True, dir_okay=False, readable=True)],
    document: Annotated[Path | None, typer.Option(help="The signed PDF, to compare with.", exists=True)] = None,
    trust: Annotated[
        list[Path] | None, typer.Option(help="Trusted root certificates (PEM); default: this installation's root.")
    ] = None,
    log_key: Annotated[
        list[str] | None, typer.Option(help="The log's key as name+id+key; default: the package's own claim.")
    ] = None,
    witness_key: Annotated[
        list[str] | None, typer.Option(help="The key of a witness that must have co-signed, as name+id+key.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The steps as JSON.")] = False,
) -> None:
    """Say step by step what a package proves and what it only claims. Asks nobody, needs no installation.

    Ends with 0 where it holds, 1 where something is wrong or still pending, 2 where a file cannot be read.
    """
    try:
        paths = trust or [load_settings().var / "ca" / "root.pem"]
        roots = [one for path in paths for one in x509.load_pem_x509_certificates(path.read_bytes())]
        signed = document.read_bytes() if document else None
        whom = verify_evidence.Trust(roots, log_key or [], witness_key or [])
        report = verify_evidence.verify(file.read_bytes(), whom, signed)
    except (OSError, ValueError) as error:
        typer.echo(f"a file cannot be read: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(verify_evidence.as_json(report) if as_json else verify_evidence.as_text(report), nl=False)
    raise typer.Exit(0 if report.state == verify_evidence.PROVEN else 1)
