"""`tsp verify`: the signatures of a PDF, checked here and now, without the network."""

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from tsp.core.clock import SystemClock
from tsp.core.errors import TspError
from tsp.core.isolated import Isolated
from tsp.core.settings import load_settings
from tsp.validate.report import Indication
from tsp.validate.service import validate_pdf
from tsp.validate.text import as_text
from tsp.validate.trust import TrustAnchors

#: The end codes of `tsp verify`; 2 is a wrong call.
EXIT_CODES: dict[Indication | None, int] = {
    Indication.TOTAL_PASSED: 0,
    Indication.TOTAL_FAILED: 1,
    Indication.INDETERMINATE: 3,
    None: 4,
}
UNREADABLE = 5


def verify(
    file: Annotated[Path, typer.Argument(help="The PDF document.", exists=True, dir_okay=False, readable=True)],
    trust: Annotated[
        list[Path] | None,
        typer.Option(help="Trusted certificates (PEM) or CRLs (*.crl); default: this installation's root."),
    ] = None,
    at: Annotated[str | None, typer.Option(help="As of this time, e.g. 2026-11-23T10:00:00Z; default: now.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False,
) -> None:
    """Check the signatures of a PDF, offline.

    Ends with 0 when all are valid, 1 when one is not, 3 when one cannot be decided, 4 when there
    is none, 5 when the document or the trusted certificates cannot be read.
    """
    moment = _moment(at)
    isolated = Isolated(modules=("tsp.validate.worker",))
    try:
        report = validate_pdf(file.read_bytes(), _anchors(trust), moment, isolated)
    except TspError as error:
        typer.echo(f"{error.sentence} ({error.code})", err=True)
        raise typer.Exit(UNREADABLE) from None
    finally:
        isolated.close()
    typer.echo(json.dumps(report.to_api(), indent=2, ensure_ascii=False) if as_json else as_text(report), nl=False)
    if as_json:
        typer.echo()
    raise typer.Exit(EXIT_CODES[report.indication])


def _moment(at: str | None) -> datetime:
    if at is None:
        return SystemClock().now()
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        raise typer.BadParameter("write the time as 2026-11-23T10:00:00Z", param_hint="--at") from None
    if moment.tzinfo is None:
        raise typer.BadParameter("say the time zone, e.g. a Z at the end for UTC", param_hint="--at")
    return moment


def _anchors(trust: list[Path] | None) -> TrustAnchors:
    if trust:
        return TrustAnchors.from_files(trust)
    var = load_settings().var
    return TrustAnchors.of_installation(var / "ca", var / "trust")
