"""`python -m sandbox init|serve|witness`: makes the sandbox's keys and tokens, and runs its servers."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from sandbox.clock import SystemClock
from sandbox.instance import initialise, load
from sandbox.randomness import SystemRandomness
from sandbox.server import serve as serve_all
from sandbox.settings import ConfigurationError, load_settings
from sandbox.time_server import serve as serve_time
from sandbox.witness import make_key, serve_witness

Directory = Annotated[Path | None, typer.Option("--dir", help="The sandbox's directory [var/instance/sandbox].")]
Config = Annotated[Path | None, typer.Option("--config", help="A TOML file with what differs from the defaults.")]

app = typer.Typer(
    help="The world outside the platform: mailbox, phone, register, branch, log witness.",
    no_args_is_help=True,
    add_completion=False,
)


@app.command()
def init(directory: Directory = None, config: Config = None) -> None:
    """Make the tokens and the keys of branch and witness that are missing; what is there stays."""
    settings = load_settings(config, directory)
    for path in [*initialise(settings, SystemRandomness()), *make_key(settings)]:
        print(f"made {path}")


@app.command()
def serve(directory: Directory = None, config: Config = None) -> None:
    """Run all servers but the witness until Ctrl-C."""
    instance = load(load_settings(config, directory))
    asyncio.run(serve_all(instance, SystemClock(), SystemRandomness()))


@app.command()
def witness(directory: Directory = None, config: Config = None) -> None:
    """Run the log witness, a process of its own, until Ctrl-C."""
    serve_witness(load_settings(config, directory), SystemClock())


@app.command()
def time(ports: Annotated[str, typer.Option(help="UDP ports, one for each server.")] = "0,0,0", http: int = 0) -> None:
    """Run time servers (SNTP) that can be told to lie, until Ctrl-C; orders go to the port `http`."""
    asyncio.run(serve_time([int(port) for port in ports.split(",")], http, SystemClock()))


def main() -> None:
    """The command line; a wrong configuration ends with one sentence and status 1."""
    try:
        app()
    except ConfigurationError as error:
        raise SystemExit(f"sandbox: {error}") from None


if __name__ == "__main__":
    main()
