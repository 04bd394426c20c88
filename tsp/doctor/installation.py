"""The installation itself: its files, its disk, its database and schema, its certificates."""

import re
import shutil
import stat
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from tsp.ca.crl_reading import open_crl
from tsp.ca.lists import Scope, state
from tsp.ca.plan import SUBSCRIBER_ISSUERS
from tsp.core.database import Database, ping
from tsp.core.errors import Invalid, Unavailable
from tsp.core.migrate import newest_revision, revision
from tsp.doctor.diagnosis import Diagnosis
from tsp.runtime import Runtime

#: Each CRL, how long it must still be good for, and what to do where it is not.
_LISTS = (
    ("root", timedelta(days=7), "Renew it: `tsp ceremony renew-crl`, with the root's token."),
    *(
        (issuer, timedelta(hours=24), "Look why the engine does not publish a new one: its log says so.")
        for issuer in SUBSCRIBER_ISSUERS
    ),
)


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
    for path in sorted(directory.glob("*.pem")):
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        left = certificate.not_valid_after_utc - now
        yield Diagnosis(
            f"certificate {path.stem}",
            left > timedelta(days=7),
            f"valid for {left.days} more days",
            "Renew it in a key ceremony.",
        )
    for issuer, left, advice in _LISTS:
        for path in _lists_of(directory, issuer) or [directory / f"{issuer}.crl"]:
            due = _next_update(path)
            seen = f"next update {due:%Y-%m-%d %H:%M}" if due else "not there"
            yield Diagnosis(f"{path.stem} CRL", due is not None and due - now > left, seen, advice)


def _lists_of(directory: Path, issuer: str) -> list[Path]:
    """The complete lists of an issuer: the whole one, its parts, or both."""
    name = re.compile(rf"{issuer}(-[0-9]+)?\.crl")
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
