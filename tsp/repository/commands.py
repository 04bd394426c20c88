"""`tsp documents` and `tsp trustlist`: publish statements and the trust list, and see what is published."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Annotated

import typer

from tsp.repository.documents import NAMES
from tsp.repository.installation import Hands, library, publishing, trust_list_shelf
from tsp.repository.library import Library
from tsp.repository.trust_publication import TrustListPublisher, TrustListShelf


def add_repository_commands(app: typer.Typer, runtime: Callable[[], Hands]) -> None:
    """Hangs `documents` and `trustlist` under `app`; `runtime` is made when one of them runs."""

    def shelf() -> TrustListShelf:
        return trust_list_shelf(runtime().settings)

    def statements() -> Library:
        hands = runtime()
        return library(hands.settings, hands.clock)

    app.add_typer(documents_commands(statements), name="documents")
    app.add_typer(trust_list_commands(lambda: publishing(runtime()), shelf), name="trustlist")


def documents_commands(shelf_of: Callable[[], Library]) -> typer.Typer:
    """The sub-commands; `shelf_of` is called when one runs. Errors are `TspError`s, for `tsp` to print."""
    commands = typer.Typer(help="Practice and disclosure statements.", no_args_is_help=True)

    @commands.command("build")
    def build() -> None:
        """Publish a new version of each statement whose facts or text changed."""
        built = shelf_of().build()
        for version in built:
            typer.echo(f"{version.name} version {version.number}, in force from {version.date.isoformat()}")
        if not built:
            typer.echo("Nothing changed; what is published stays.")

    @commands.command("list")
    def show() -> None:
        """Show what is published, and what would read differently now; exit code 1 where something would."""
        shelf = shelf_of()
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


def trust_list_commands(
    publisher: Callable[[], AbstractContextManager[TrustListPublisher]], shelf: Callable[[], TrustListShelf]
) -> typer.Typer:
    """The sub-commands; what they need is asked for when one runs. Errors are `TspError`s, for `tsp` to print."""
    commands = typer.Typer(help="The trust list of the provider's services (TS 119 612).", no_args_is_help=True)

    @commands.command("publish")
    def publish(
        force: Annotated[bool, typer.Option("--force", help="Sign a new issue even where nothing changed.")] = False,
    ) -> None:
        """Sign and publish the next issue where it is due (needs the token of the authorities)."""
        with publisher() as press:
            issue = press.publish(force=force)
        if issue is None:
            typer.echo("Nothing changed; what is published stays.")
        else:
            typer.echo(f"issue {issue.sequence}, next update at the latest {issue.next_update.isoformat()}")

    @commands.command("show")
    def show() -> None:
        """Show the published list; exit code 1 where there is none."""
        listed = shelf().newest()
        if listed is None:
            typer.echo("No trust list is published.", err=True)
            raise typer.Exit(1)
        typer.echo(f"issue {listed.sequence} of {listed.issued.isoformat()}, until {listed.next_update.isoformat()}")
        for entry in listed.entries:
            name, since = entry.service.names["en"], entry.now.since.date().isoformat()
            typer.echo(f"{entry.service.type:<20} {entry.now.status:<10} since {since}  {name}")

    return commands
