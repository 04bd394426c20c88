"""`tsp ceremony`: show the plan, hold the ceremony, check it, renew what is short-lived."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from hsm import Token
from tsp.audit.entries import Writer
from tsp.ca.authority import Authority, IssuingKey
from tsp.ca.ceremony import token_errors
from tsp.ca.crl_reading import crl_facts
from tsp.ca.explained import explained
from tsp.ca.holding import hold, roll_over
from tsp.ca.issuance import OPERATORS, Issuance
from tsp.ca.lists import Scope, next_number, published
from tsp.ca.officer_commands import add_officer_commands
from tsp.ca.plan import CeremonyPlan, check_plan, parse_plan, plan_octets
from tsp.ca.profiles import Profile, load_profiles
from tsp.ca.record import PLAN_FILE
from tsp.ca.revocation import revoked_certificates
from tsp.ca.store import CaStore, sha256_hex
from tsp.ca.units import UnitRenewal
from tsp.ca.upkeep import register, renew_responders, renew_root_crl
from tsp.ca.urls import RepositoryUrls
from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.core.randomness import Randomness
from tsp.core.settings import Settings

EXAMPLES = """

Examples:

  tsp ceremony plan                                    what will be made, who must approve

  tsp ceremony run --dry-run                           the transcript that would come; nothing is written

  tsp ceremony approve --key ana.key --certificate ana.pem     approve exactly this plan

  tsp ceremony approve --signature ana.p7s             the same, signed elsewhere with openssl cms

  tsp ceremony run                                     hold the ceremony

  tsp ceremony sign --key ana.key --certificate ana.pem        sign its transcript

  tsp ceremony verify --directory /media/copy --json   check a copy, offline

  tsp ceremony roll-over conf/roll-over.toml           the next generation of an authority
"""
DryRun = Annotated[bool, typer.Option("--dry-run", help="Rehearse on throw-away tokens and show the transcript.")]


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
        """The reviewed plan: the configured one, in a demo its copy with the demo's own officers where there is one."""
        completed = self.work / PLAN_FILE
        if self.settings.demo and completed.is_file():
            return completed
        return self.settings.path(self.settings.ceremony)

    @property
    def work(self) -> Path:
        """Where approvals are gathered before a ceremony: `<var>/ceremony`."""
        return self.settings.var / "ceremony"

    def approvals(self, record: str) -> Path:
        """The directory with the approvals of the ceremony, or of the roll-over to a generation."""
        return self.work / "approvals" / record

    @property
    def directory(self) -> Path:
        """Where the artefacts are: `<var>/ca`."""
        return self.settings.var / "ca"

    def plan(self) -> tuple[CeremonyPlan, dict[str, Profile]]:
        """The plan, checked against profiles and installation, and the profiles."""
        return self.reviewed()[:2]

    def reviewed(self) -> tuple[CeremonyPlan, dict[str, Profile], bytes]:
        """The same, and exactly the octets that the plan was read from: those that officers approve."""
        profiles = load_profiles(self.settings.path(self.settings.profiles.directory), self.settings.profiles.oid_arc)
        octets = plan_octets(self.plan_file)
        plan = parse_plan(octets, self.plan_file.name)
        check_plan(plan, profiles, self.settings)
        return plan, profiles, octets

    @property
    def writer(self) -> Writer:
        """Who writes in the log what operators issue."""
        return Writer(OPERATORS, self.randomness, self.clock)

    @contextmanager
    def token(self, name: str) -> Iterator[Token]:
        """An open token; `Unavailable` (token-unavailable) with the operator's advice where it does not open."""
        with token_errors(name), self.open_token(name) as token:
            yield token


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
            name: IssuingKey.of(name, store.certificate(name), token.signing_key(f"{name}-ca"))
            for name in store.issuers
        }
        urls = RepositoryUrls.of(context.settings)
        authority = Authority(profiles, issuers, urls, context.clock, context.randomness)
        issuance = Issuance(authority, context.database, context.clock, context.randomness, context.writer)
        return len(renew_responders(context.directory, plan, issuance, context.clock))


def renew_time_stamping_units(context: CeremonyContext, days: int) -> list[str]:
    """Makes the next key of each time-stamping unit whose newest ends within `days`; their names."""
    plan, profiles = context.plan()
    store = CaStore(context.directory)
    with context.token("ca") as token:
        role = "infrastructure"
        key = IssuingKey.of(role, store.certificate(role), token.signing_key(plan.entries[role].label))
        authority = Authority(
            profiles, {role: key}, RepositoryUrls.of(context.settings), context.clock, context.randomness
        )
        issuance = Issuance(authority, context.database, context.clock, context.randomness, context.writer)
        ahead = timedelta(days=days)
        return UnitRenewal(context.directory, plan, issuance, context.clock, context.token, ahead).renew()


def _show(context: CeremonyContext) -> None:
    plan, profiles, octets = context.reviewed()
    typer.echo(f"{context.plan_file.name}  SHA-256 {sha256_hex(octets)}  mode {plan.mode}")
    typer.echo(f"{plan.approvals} approvals needed, {len(plan.officers)} officers")
    for officer in plan.officers:
        typer.echo(f"{officer.name:20} {officer.role}, certificate SHA-256 {officer.fingerprint}")
    for name, entry in plan.entries.items():
        days = profiles[entry.profile].lifetime.days
        typer.echo(
            f"{name:20} {entry.key} key '{entry.label}' in token '{entry.token}', "
            f"certified by {entry.issuer} for {days} days as '{entry.common_name}'"
        )
    typer.echo(f"root.crl valid for {plan.crl_days} days; the root's PIN: {plan.root_pin}")


def _register(context: CeremonyContext) -> None:
    with context.database.write() as session:
        added = register(session, context.directory, context.clock.now(), context.writer)
    typer.echo(f"{added} certificates registered")


def ceremony_commands(context: Callable[[], CeremonyContext]) -> typer.Typer:
    """The sub-commands of `tsp ceremony`; `context` is called when one runs."""
    commands = typer.Typer(
        help="The key ceremony: keys and certificates of the authorities." + EXAMPLES, no_args_is_help=True
    )

    @commands.command("plan")
    def show_plan() -> None:
        """Check the plan and print what the ceremony will make."""
        with explained():
            _show(context())

    @commands.command("run")
    def run(dry_run: DryRun = False) -> None:
        """Hold the ceremony, once, after enough officers approved its plan."""
        with explained():
            made = hold(context(), dry=dry_run)
            typer.echo(json.dumps(made if dry_run else made["artefacts"], indent=2, sort_keys=True))

    @commands.command("roll-over")
    def roll_an_authority_over(
        plan: Annotated[Path, typer.Argument(help="The reviewed plan of the roll-over.")], dry_run: DryRun = False
    ) -> None:
        """Make the next generation of an issuing authority (needs the root's token and approvals)."""
        with explained():
            made = roll_over(context(), plan, dry=dry_run)
            told = made if dry_run else {"artefacts": made["artefacts"], "use_from": made["use_from"]}
            typer.echo(json.dumps(told, indent=2, sort_keys=True))

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

    @commands.command("renew-units")
    def renew_the_units(
        days: Annotated[int, typer.Option(min=1, max=300, help="Only where the newest key ends within so many.")] = 28,
    ) -> None:
        """Make the next key of the time-stamping units (needs their tokens and that of the authorities)."""
        with explained():
            made = renew_time_stamping_units(context(), days)
            typer.echo(f"{', '.join(made)}: the tsa and qtsa roles take them up" if made else "No key ends so soon.")

    add_officer_commands(commands, context)
    return commands
