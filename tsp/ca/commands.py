"""`tsp ceremony`: show the plan, hold the ceremony, check it, renew what is short-lived."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer

from hsm import Token
from tsp.audit.entries import Writer
from tsp.ca.authority import Authority, IssuingKey
from tsp.ca.ceremony import CeremonyRoom, run_ceremony, token_errors
from tsp.ca.crl_reading import crl_facts
from tsp.ca.issuance import OPERATORS, Issuance
from tsp.ca.lists import Scope, next_number, published
from tsp.ca.plan import ISSUERS, CeremonyPlan, check_plan, load_plan
from tsp.ca.profiles import Profile, load_profiles
from tsp.ca.revocation import revoked_certificates
from tsp.ca.store import CaStore, sha256_hex
from tsp.ca.upkeep import register, renew_responders, renew_root_crl, verify_ceremony
from tsp.ca.urls import RepositoryUrls
from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.core.errors import Invalid, TspError
from tsp.core.randomness import Randomness
from tsp.core.settings import Settings


@dataclass(frozen=True, slots=True)
class CeremonyContext:
    """What the commands work with. `open_token` opens a token by the plan's name for it (root, ca, tsu, qtsu, ocsp)
    with the PIN from its file, `root_pin` is the file with the root token's PIN; the token is made already.
    """

    settings: Settings
    open_token: Callable[[str], Token]
    root_pin: Path
    database: Database
    clock: Clock
    randomness: Randomness

    @property
    def plan_file(self) -> Path:
        """The reviewed plan."""
        return self.settings.path(self.settings.ceremony)

    @property
    def directory(self) -> Path:
        """Where the artefacts are: `<var>/ca`."""
        return self.settings.var / "ca"

    def plan(self) -> tuple[CeremonyPlan, dict[str, Profile]]:
        """The plan, checked against profiles and installation, and the profiles."""
        profiles = load_profiles(self.settings.path(self.settings.profiles.directory), self.settings.profiles.oid_arc)
        plan = load_plan(self.plan_file)
        check_plan(plan, profiles, self.settings)
        return plan, profiles

    @property
    def writer(self) -> Writer:
        """Who writes in the log what operators issue."""
        return Writer(OPERATORS, self.randomness, self.clock)

    @contextmanager
    def token(self, name: str) -> Iterator[Token]:
        """An open token; `Unavailable` (token-unavailable) with the operator's advice where it does not open."""
        with token_errors(name), self.open_token(name) as token:
            yield token


def hold(context: CeremonyContext) -> dict[str, object]:
    """Holds the ceremony of the plan, registers its certificates, and returns the transcript."""
    plan, profiles = context.plan()
    names = sorted({entry.token for entry in plan.entries.values()})
    tokens: dict[str, Token] = {}
    try:
        for name in names:
            with token_errors(name):
                tokens[name] = context.open_token(name)
        room = CeremonyRoom(
            tokens=tokens,
            profiles=profiles,
            urls=RepositoryUrls.of(context.settings),
            directory=context.directory,
            clock=context.clock,
            randomness=context.randomness,
            root_pin=context.root_pin,
            plan_sha256=sha256_hex(context.plan_file.read_bytes()),
            custodians=_custodians(context.plan_file.parent, plan),
        )
        transcript = run_ceremony(plan, room)
    finally:
        for token in tokens.values():
            token.close()
    with context.database.write() as session:
        register(session, context.directory, context.clock.now(), context.writer)
    return transcript


def _custodians(directory: Path, plan: CeremonyPlan) -> tuple[bytes, ...]:
    """The custodians' certificates; their paths count from the plan's directory."""
    try:
        return tuple((directory / name).read_bytes() for name in plan.custodians)
    except OSError as error:
        raise Invalid("custodian-unfit", "A custodian's certificate cannot be read.", cause=str(error.errno)) from error


def renew_crl(context: CeremonyContext) -> bytes:
    """Renews the root's CRL with the root's token and returns it (DER)."""
    plan, _ = context.plan()
    store, scope = CaStore(context.directory), Scope("root")
    with context.token("root") as token:
        root = IssuingKey.of("root", store.root, token.signing_key(plan.root.label))
        with context.database.write() as session:
            number, before = next_number(session, scope, crl_facts(store.root_crl)[0] + 1)
            revoked = revoked_certificates(session, "root")
        crl = renew_root_crl(context.directory, root, context.clock, number=number, days=plan.crl_days, revoked=revoked)
    _, this_update, next_update = crl_facts(crl)
    with context.database.write() as session:
        published(session, scope, number, before.revocations, (this_update, next_update), base=False, last=False)
    return crl


def renew_responder_certificates(context: CeremonyContext) -> int:
    """Certifies the OCSP responders anew with the token of the authorities; returns how many."""
    plan, profiles = context.plan()
    store = CaStore(context.directory)
    with context.token("ca") as token:
        issuers = {
            role: IssuingKey.of(role, store.certificate(role), token.signing_key(plan.entries[role].label))
            for role in ISSUERS
        }
        urls = RepositoryUrls.of(context.settings)
        authority = Authority(profiles, issuers, urls, context.clock, context.randomness)
        issuance = Issuance(authority, context.database, context.clock, context.randomness, context.writer)
        return len(renew_responders(context.directory, plan, issuance, context.clock))


def _show(context: CeremonyContext) -> None:
    plan, profiles = context.plan()
    file = context.plan_file
    typer.echo(f"{file.name}  SHA-256 {sha256_hex(file.read_bytes())}  mode {plan.mode}")
    for name, entry in plan.entries.items():
        days = profiles[entry.profile].lifetime.days
        typer.echo(
            f"{name:20} {entry.key} key '{entry.label}' in token '{entry.token}', "
            f"certified by {entry.issuer} for {days} days as '{entry.common_name}'"
        )
    typer.echo(f"root.crl valid for {plan.crl_days} days; the root's PIN: {plan.root_pin}")


def _verify(context: CeremonyContext) -> None:
    problems = verify_ceremony(context.directory, context.clock.now())
    for problem in problems:
        typer.echo(problem, err=True)
    if problems:
        raise typer.Exit(1)
    typer.echo("All artefacts are what the transcript says.")


def _register(context: CeremonyContext) -> None:
    with context.database.write() as session:
        added = register(session, context.directory, context.clock.now(), context.writer)
    typer.echo(f"{added} certificates registered")


def ceremony_commands(context: Callable[[], CeremonyContext]) -> typer.Typer:
    """The sub-commands of `tsp ceremony`; `context` is called when one runs."""
    commands = typer.Typer(help="The key ceremony: keys and certificates of the authorities.", no_args_is_help=True)

    @commands.command("plan")
    def show_plan() -> None:
        """Check the plan and print what the ceremony will make."""
        with explained():
            _show(context())

    @commands.command("run")
    def run() -> None:
        """Hold the ceremony, once."""
        with explained():
            typer.echo(json.dumps(hold(context())["artefacts"], indent=2, sort_keys=True))

    @commands.command("verify")
    def verify() -> None:
        """Check the artefacts against the transcript and each other; exit code 1 where something is wrong."""
        with explained():
            _verify(context())

    @commands.command("register")
    def register_all() -> None:
        """Put the ceremony's certificates into the database, where they are missing."""
        with explained():
            _register(context())

    @commands.command("renew-crl")
    def renew_the_crl() -> None:
        """Renew the root's CRL (needs the root's token)."""
        with explained():
            number, _, until = crl_facts(renew_crl(context()))
            typer.echo(f"CRL {number}, valid until {until.isoformat()}")

    @commands.command("renew-responders")
    def renew_the_responders() -> None:
        """Renew the OCSP responders' certificates (needs the token of the authorities)."""
        with explained():
            typer.echo(f"{renew_responder_certificates(context())} certificates renewed; the ocsp role takes them up")

    return commands


@contextmanager
def explained() -> Iterator[None]:
    """Errors as one line and exit code 1."""
    try:
        yield
    except TspError as error:
        typer.echo(f"{error.code}: {error.sentence}", err=True)
        raise typer.Exit(1) from error
