"""The installation itself: its files, its disk, its database and schema, its certificates."""

import shutil
import stat
from collections.abc import Iterator
from datetime import timedelta

from cryptography import x509

from tsp.ca.plan import SUBSCRIBER_ISSUERS
from tsp.core.database import ping
from tsp.core.errors import Unavailable
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
        path = directory / f"{issuer}.crl"
        due = x509.load_der_x509_crl(path.read_bytes()).next_update_utc if path.exists() else None
        well = due is not None and due - now > left
        yield Diagnosis(f"{issuer} CRL", well, f"next update {due:%Y-%m-%d %H:%M}" if due else "not there", advice)
