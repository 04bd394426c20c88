"""`tsp documents`: publish the practice and disclosure statements, and see what is published."""

from collections.abc import Callable

import typer

from tsp.repository.documents import NAMES
from tsp.repository.library import Library


def documents_commands(library: Callable[[], Library]) -> typer.Typer:
    """The sub-commands; `library` is asked for when one runs. Errors are `TspError`s, for `tsp` to print."""
    commands = typer.Typer(help="Practice and disclosure statements.", no_args_is_help=True)

    @commands.command("build")
    def build() -> None:
        """Publish a new version of each statement whose facts or text changed."""
        built = library().build()
        for version in built:
            typer.echo(f"{version.name} version {version.number}, in force from {version.date.isoformat()}")
        if not built:
            typer.echo("Nothing changed; what is published stays.")

    @commands.command("list")
    def show() -> None:
        """Show what is published, and what would read differently now; exit code 1 where something would."""
        shelf = library()
        due = shelf.due()
        for name in NAMES:
            numbers = shelf.numbers(name)
            state = f"version {numbers[0]}, {shelf.version(name).date.isoformat()}" if numbers else "not published"
            typer.echo(
                f"{name:<4} {state}" + ("; its facts have changed: run `tsp documents build`" if name in due else "")
            )
        if due:
            raise typer.Exit(1)

    return commands
