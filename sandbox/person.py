"""The person maker: a fresh account at a wished level, made over the public pages alone.

    python -m sandbox.person new --level none|low|substantial [--json]

`none` is an account with nothing proven but address and number, `low` adds personal data that agree
with the register, `substantial` an identification key from the branch: enough to sign.
"""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

import httpx2
import typer

from sandbox.browser import Browser, new_client
from sandbox.clock import Clock, SystemClock
from sandbox.inbox import Inbox, NoCode
from sandbox.page import Page, PageError
from sandbox.people import make_password, make_person
from sandbox.randomness import Randomness, SystemRandomness
from sandbox.settings import ConfigurationError, Urls, load_settings
from sandbox.visitor import Account, Pause, Refusal, Step, Visitor, post_json

Level = Literal["none", "low", "substantial"]
#: What can go wrong on the way, each with a message for whoever started it.
JOURNEY_ERRORS = (PageError, NoCode, Refusal)
_DEMO_SIGN_PORT = 8400


@dataclass(frozen=True)
class World:
    """What a journey works with. Everything in it can be another in a test."""

    client: httpx2.Client = field(default_factory=new_client)
    clock: Clock = field(default_factory=SystemClock)
    randomness: Randomness = field(default_factory=SystemRandomness)
    #: Waits for so many seconds where a page has to be looked at again.
    pause: Pause = field(default_factory=lambda: threading.Event().wait)


def new_visitor(urls: Mapping[str, str], world: World, report: Callable[[Step], object]) -> Visitor:
    """Somebody whom nobody has met, with their data in the register, a mailbox, a phone and no account."""
    person = make_person(world.randomness, world.clock)
    begun = world.clock.monotonic()
    post_json(world.client, f"{urls['register']}/api/persons", person.as_json())
    report(Step(f"{person.name} is born into the register", world.clock.monotonic() - begun))
    return Visitor(
        account=Account(person, make_password(world.randomness)),
        browser=Browser(world.client),
        inbox=Inbox(world.client, urls["mailbox"], urls["phone"]),
        client=world.client,
        branch=urls["branch"],
        clock=world.clock,
        report=report,
        pause=world.pause,
    )


def begin_login(visitor: Visitor, urls: Mapping[str, str]) -> Page:
    """From the signing site's front page to the login of the identity provider."""
    home = visitor.timed("the signing site's front page", lambda: visitor.browser.get(f"{urls['sign']}/"))
    ways = home.expect("sign.home").links("/login")
    if not ways:
        raise PageError(home.describe("no way to the login"))
    return visitor.timed("to the login", lambda: visitor.browser.get(ways[0]), home)


def new_account(
    level: Level,
    urls: Mapping[str, str],
    world: World | None = None,
    report: Callable[[Step], object] = lambda _: None,
) -> Account:
    """Makes an account of this level and tells what its owner knows.

    Raises one of `JOURNEY_ERRORS` where a page, a message or a server is not as expected.
    """
    visitor = new_visitor(urls, world or World(), report)
    if level == "none":
        page = visitor.browser.get(f"{urls['idp']}/register")
        visitor.walk(page, "idp.register-done")
        return visitor.account
    page = begin_login(visitor, urls)
    if level == "low":
        reached = visitor.step(visitor.walk(page, "idp.personal-data"))
        if reached.status >= 400 or reached.name == "idp.personal-data":
            raise PageError(reached.describe("personal data were not confirmed"))
    else:
        visitor.walk(page, "sign.upload", "sign.home")
    return visitor.account


def credentials(account: Account, level: Level) -> dict[str, Any]:
    """What the owner knows, as the person maker prints it."""
    return {
        **account.person.as_json(),
        "password": account.password,
        "puk": account.puk,
        "identification_key": account.identification_key,
        "level": level,
    }


def urls_from(config: Path | None, base: str | None) -> dict[str, str]:
    """The addresses of a configuration file, or those that start at another signing site.

    `base` is the signing site's origin; the others follow on the same ports after it as in the demo.
    """
    urls = load_settings(config).urls if config else Urls()
    found = urls.by_service()
    if not base:
        return found
    parts = urlsplit(base)
    if not parts.hostname or parts.port is None:
        raise ConfigurationError(f"{base} is not an origin like http://localhost:8400")
    shift = parts.port - _DEMO_SIGN_PORT
    return {
        name: f"{parts.scheme}://{parts.hostname}:{(urlsplit(url).port or 0) + shift}"
        for name, url in Urls().by_service().items()
    }


app = typer.Typer(help="Makes people who have an account on the platform.", no_args_is_help=True, add_completion=False)


@app.callback()
def people() -> None:
    """Makes people who have an account on the platform."""


@app.command()
def new(
    level: Annotated[str, typer.Option(help="none, low or substantial")] = "substantial",
    as_json: Annotated[bool, typer.Option("--json", help="Print the credentials as JSON and nothing else.")] = False,
    config: Annotated[Path | None, typer.Option(help="The sandbox's TOML file (for its addresses).")] = None,
    base: Annotated[str | None, typer.Option(help="Origin of the signing site [http://localhost:8400].")] = None,
) -> None:
    """Make a new person with an account and print what they know."""
    wanted: Level | None = next((known for known in get_args(Level) if known == level), None)
    if wanted is None:
        raise ConfigurationError(f"there is no level {level}: choose {', '.join(get_args(Level))}")

    def tell(step: Step) -> None:
        typer.echo(f"{step.seconds:6.2f} s  {step.name}", err=True)

    made = credentials(new_account(wanted, urls_from(config, base), report=tell), wanted)
    if as_json:
        typer.echo(json.dumps(made, ensure_ascii=False, indent=1))
    else:
        for name, value in made.items():
            typer.echo(f"{name:<20} {value}")


def main() -> None:
    """The command line; what goes wrong ends with one sentence."""
    try:
        app()
    except (ConfigurationError, *JOURNEY_ERRORS) as error:
        raise SystemExit(f"sandbox.person: {error}") from None


if __name__ == "__main__":
    main()
