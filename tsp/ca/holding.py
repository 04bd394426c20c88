"""Holding a ceremony in an installation: approvals first, then tokens, then the record; or all of it as a rehearsal."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsm import Token
from tsp.ca.approvals import Approval, approvals_of, require_approvals, signer_of
from tsp.ca.ceremony import CeremonyRoom, run_ceremony, token_errors
from tsp.ca.demo_officers import DemoOfficers
from tsp.ca.dry_run import rehearse
from tsp.ca.officers import Officer
from tsp.ca.plan import CeremonyPlan
from tsp.ca.record import CEREMONY, PLAN_FILE, approved_plan, facts, files, keep_signature, transcript_file
from tsp.ca.roll_over import check_roll_over, load_roll_over, run_roll_over
from tsp.ca.store import CaStore, sha256_hex
from tsp.ca.upkeep import register
from tsp.ca.urls import RepositoryUrls
from tsp.core.errors import Invalid
from tsp.core.files import write_atomic

if TYPE_CHECKING:
    from tsp.ca.commands import CeremonyContext


def hold(context: "CeremonyContext", *, dry: bool = False) -> dict[str, Any]:
    """Holds the ceremony of the plan once enough officers approved it, registers its certificates, and returns the
    transcript. `dry` rehearses it: missing approvals are no hindrance, nothing is written, and no token is opened."""
    plan, profiles, content = context.reviewed()
    room = replace(
        _room(context, CEREMONY, content, plan, dry=dry),
        profiles=profiles,
        custodians=_custodians(context.plan_file.parent, plan),
    )
    if dry:
        return rehearse(plan, room)
    with _tokens(context, {entry.token for entry in plan.entries.values()}) as tokens:
        transcript = run_ceremony(plan, replace(room, tokens=tokens))
    _registered(context)
    return transcript


def roll_over(context: "CeremonyContext", file: Path, *, dry: bool = False) -> dict[str, Any]:
    """Makes the generation that the plan in `file` describes once enough officers of the ceremony approved it,
    registers it, and returns the transcript; `dry` as for `hold`."""
    plan, profiles = context.plan()
    wanted, content = load_roll_over(file)
    check_roll_over(plan, wanted, CaStore(context.directory))
    answering = approved_plan(context.directory)
    room = replace(_room(context, wanted.name, content, answering, dry=dry), profiles=profiles)
    if dry:
        return rehearse(plan, room, wanted)
    with _tokens(context, {"root", *(entry.token for entry in wanted.entries(plan).values())}) as tokens:
        transcript = run_roll_over(plan, wanted, replace(room, tokens=tokens))
    _registered(context)
    return transcript


def gather_approval(context: "CeremonyContext", roll_over_plan: Path | None, signature: bytes) -> tuple[Officer, Path]:
    """Puts an approval where the ceremony, or the roll-over after this plan, looks for it; whose it is and where.

    Raises what `signer_of` raises: what would not count is not kept.
    """
    record, content, officers = approvable(context, roll_over_plan)
    officer = signer_of(signature, content, officers, context.clock.now())
    path = context.approvals(record) / f"{officer.slug}.p7s"
    write_atomic(path, signature)
    return officer, path


def approvable(context: "CeremonyContext", roll_over_plan: Path | None) -> tuple[str, bytes, tuple[Officer, ...]]:
    """What officers approve: the record's name, the octets of the plan, and who may."""
    if roll_over_plan is None:
        plan, _, content = context.reviewed()
        return CEREMONY, content, plan.officers
    wanted, content = load_roll_over(roll_over_plan)
    return wanted.name, content, approved_plan(context.directory).officers


def hold_with_demo_officers(context: "CeremonyContext") -> None:
    """The demo's whole ceremony: officers are made, approve its plan, and sign the transcript."""
    people = DemoOfficers(context.work / "officers")
    write_atomic(context.work / PLAN_FILE, people.appoint(context.plan_file.read_bytes(), context.clock.now()))
    for signature in people.sign(context.plan_file.read_bytes()).values():
        gather_approval(context, None, signature)
    hold(context)
    transcript = (context.directory / transcript_file(CEREMONY)).read_bytes()
    for signature in people.sign(transcript).values():
        keep_signature(context.directory, CEREMONY, signature, context.clock.now())


def _room(
    context: "CeremonyContext", record: str, content: bytes, answering: CeremonyPlan, *, dry: bool
) -> CeremonyRoom:
    """Everything that a ceremony after the plan in `content` needs but tokens; the officers of `answering` approve."""
    approvals = _approvals(context, record, content, answering, dry=dry)
    return CeremonyRoom(
        tokens={},
        profiles={},
        urls=RepositoryUrls.of(context.settings),
        directory=context.directory,
        clock=context.clock,
        randomness=context.randomness,
        root_pin=context.root_pin,
        plan_sha256=sha256_hex(content),
        facts=facts(answering.officers, answering.approvals, approvals, record),
        files=files(content, approvals, record),
    )


def _approvals(
    context: "CeremonyContext", record: str, content: bytes, plan: CeremonyPlan, *, dry: bool
) -> list[Approval]:
    place, now = context.approvals(record), context.clock.now()
    present = {path.name: path.read_bytes() for path in sorted(place.glob("*.p7s"))} if place.is_dir() else {}
    if dry:
        return approvals_of(present, content, plan.officers, now)[0]
    return require_approvals(present, content, plan.officers, plan.approvals, now)


def _registered(context: "CeremonyContext") -> None:
    with context.database.write() as session:
        register(session, context.directory, context.clock.now(), context.writer)


@contextmanager
def _tokens(context: "CeremonyContext", names: Collection[str]) -> Iterator[dict[str, Token]]:
    """Open tokens by name, closed afterwards."""
    tokens: dict[str, Token] = {}
    try:
        for name in sorted(names):
            with token_errors(name):
                tokens[name] = context.open_token(name)
        yield tokens
    finally:
        for token in tokens.values():
            token.close()


def _custodians(directory: Path, plan: CeremonyPlan) -> tuple[bytes, ...]:
    """The custodians' certificates; their paths count from the plan's directory."""
    try:
        return tuple((directory / name).read_bytes() for name in plan.custodians)
    except OSError as error:
        raise Invalid("custodian-unfit", "A custodian's certificate cannot be read.", cause=str(error.errno)) from error
