"""Errors of the family at the command line."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from tsp.core.errors import TspError


@contextmanager
def explained() -> Iterator[None]:
    """Errors as one line and exit code 1."""
    try:
        yield
    except TspError as error:
        typer.echo(f"{error.code}: {error.sentence}", err=True)
        raise typer.Exit(1) from error
