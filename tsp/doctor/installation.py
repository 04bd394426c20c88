"""The installation itself: its files, its disk, its database and schema, its certificates."""

import re
import shutil
import stat
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from tsp.ca.crl_reading import open_crl
from tsp.ca.generations import role_of
from tsp.ca.lists import Scope, state
from tsp.ca.plan import ISSUERS, SUBSCRIBER_ISSUERS
from tsp.ca.profiles import load_profiles
from tsp.ca.record import verify_record
from tsp.ca.roll_over import last_start, next_generation
from tsp.ca.store import CaStore, read_roll_overs
from tsp.ca.units import UNITS, units
from tsp.core.database import Database, ping
from tsp.core.errors import Invalid, Unavailable
from tsp.core.migrate import newest_revision, revision
from tsp.doctor.diagnosis import Diagnosis
from tsp.runtime import Runtime

#: How long the root's CRL and the others must still be good for, and what to do where they are not.
_ROOT_LIST = timedelta(days=7), "Renew it: `tsp ceremony renew-crl`, with the root's token."
_OTHER_LISTS = timedelta(hours=24), "Look why the engine does not publish a new one: its log says so."
#: How long before an authority could no longer certify for a whole life its next generation is to be made.
_ROLL_OVER_AHEAD = timedelta(days=180)


def files(runtime: Runtime) -> Iterator[Diagnosis]:
    """Whether there is an installation, and whether its PINs are for their owner alone."""
    var = runtime.settings.var
    if not var.is_dir():
        yield Diagnosis("installation", False, f"{var} does not exist", "Run `tsp init`.")
        return
    yield Diagnosis("installation", True, str(var))
    exposed = [p.name for p in (var / "pins").glob("*") if p.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]
    yield Diagnosis(
        "PIN files", not exposed, ", ".join(exposed) or "readable by their owner only", "Run chmod 600 on them."
    )


def disk(runtime: Runtime) -> Iterator[Diagnosis]:
    """Room where the installation lies: `doctor.free_bytes` and `doctor.free_percent`."""
    bounds = runtime.settings.doctor
    usage = shutil.disk_usage(runtime.settings.var)
    wanted = max(bounds.free_bytes, usage.total * bounds.free_percent // 100)
    yield Diagnosis(
        "disk",
        usage.free >= wanted,
        f"{usage.free / 1e6:,.0f} MB free of {usage.total / 1e6:,.0f} MB",
        f"Make room: at least {wanted / 1e6:,.0f} MB. On a full disk uploads and signatures are refused; "
        "nothing is lost, and the faces go on by themselves.",
    )


def database(runtime: Runtime) -> Iterator[Diagnosis]:
    """Whether it answers, and whether its tables are those of this release."""
    opened = runtime.database()
    try:
        ping(opened)
        here, wanted = revision(opened), newest_revision()
        root_list = [_root_list(opened)] if here == wanted else []
    except Unavailable as error:
        yield Diagnosis(
            "database",
            False,
            f"{opened.place}: {error.code}",
            "Start the database server, or put the file back. The roles go on by themselves; restore a backup only "
            "while they are stopped.",
        )
        return
    finally:
        opened.close()
    yield Diagnosis("database", True, opened.place)
    yield Diagnosis("schema", here == wanted, f"{here} of {wanted}", "Stop the roles and run `tsp migrate`.")
    yield from root_list


def certificates(runtime: Runtime) -> Iterator[Diagnosis]:
    """How long the authorities', responders' and time-stamping certificates and the lists still live."""
    now = runtime.clock.now()
    directory = runtime.settings.var / "ca"
    keys = {kind: units(directory, kind) for kind in UNITS if (directory / f"{kind}.pem").exists()}
    succeeded = {unit.name for found in keys.values() for unit in found[:-1]}
    later = read_roll_overs(directory)
    names = (*ISSUERS, *later)
    newest = {role_of(name): name for name in names}
    for path in sorted(directory.glob("*.pem")):
        name = path.stem
        left = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc - now
        if name in succeeded:
            continue  # kept for its time-stamps' sake, and may end
        owner = name.removeprefix("ocsp-")
        if left < timedelta(0) and owner in names and owner not in newest.values():
            continue  # an old generation, kept for what it once certified
        yield Diagnosis(
            f"certificate {name}",
            left > timedelta(days=7),
            f"valid for {left.days} more days",
            "Renew it in a key ceremony.",
        )
    for found in keys.values():
        left = found[-1].end - now
        yield Diagnosis(
            f"key of {found[-1].name}",
            left > timedelta(days=14),
            f"signs for {left.days} more days",
            "Make the next one: `tsp ceremony renew-units`. The role takes it up by itself.",
        )
    for issuer in ("root", *(name for name in names if role_of(name) in SUBSCRIBER_ISSUERS)):
        left, advice = _ROOT_LIST if issuer == "root" else _OTHER_LISTS
        for path in _lists_of(directory, issuer) or [directory / f"{issuer}.crl"]:
            due = _next_update(path)
            seen = f"next update {due:%Y-%m-%d %H:%M}" if due else "not there"
            yield Diagnosis(f"{path.stem} CRL", due is not None and due - now > left, seen, advice)


def _lists_of(directory: Path, issuer: str) -> list[Path]:
    """The complete lists of an issuer: the whole one, its parts, or both."""
    name = re.compile(rf"{issuer}(-part-[0-9]+)?\.crl")
    return sorted(path for path in directory.glob(f"{issuer}*.crl") if name.fullmatch(path.name))


def _next_update(path: Path) -> datetime | None:
    try:
        with open_crl(path) as listed:
            return listed.next_update
    except (OSError, Invalid):
        return None


def _root_list(opened: Database) -> Diagnosis:
    """Whether every revoked authority stands on the root's list."""
    with opened.read() as session:
        known = state(session, Scope("root"))
    waiting = 0 if known is None else known.revocations - known.listed
    return Diagnosis(
        "root CRL, complete",
        waiting == 0,
        f"{waiting} revoked authorities are not on it",
        "Publish it at once: `tsp ceremony renew-crl`, with the root's token.",
    )


def ceremony(runtime: Runtime) -> Iterator[Diagnosis]:
    """Whether the record of the ceremony and of each roll-over is whole: artefacts, approvals, signatures."""
    findings = verify_record(runtime.settings.var / "ca", runtime.clock.now())
    codes = sorted({finding.code for finding in findings})
    advice = "Run `tsp ceremony verify`; what it says is explained in docs/operations/ceremony.md."
    yield Diagnosis("ceremony", not findings, ", ".join(codes) or "approved and signed", advice)


def roll_over(runtime: Runtime) -> Iterator[Diagnosis]:
    """Whether each authority can still certify for a whole life for a good while, or needs its next generation."""
    settings, store = runtime.settings, CaStore(runtime.settings.var / "ca")
    profiles = load_profiles(settings.path(settings.profiles.directory), settings.profiles.oid_arc)
    for role in ISSUERS:
        name, last = last_start(store, role, profiles)
        yield Diagnosis(
            f"roll-over of {role}",
            last - runtime.clock.now() > _ROLL_OVER_AHEAD,
            f"{name} certifies until {last:%Y-%m-%d}",
            f"Make generation {next_generation(store, role)}: docs/operations/ceremony.md, Roll-over.",
        )
