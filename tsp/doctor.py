"""Looks at an installation from outside and inside and says what is wrong and what to do about it."""

import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from cryptography import x509

from hsm.errors import HsmError
from tsp.audit.installation import witnesses
from tsp.audit.tables import WitnessState
from tsp.audit.witnesses import ANSWER, DOWN, REWRITTEN, SHRUNKEN
from tsp.core.database import ping
from tsp.core.errors import TspError
from tsp.core.migrate import newest_revision, revision
from tsp.runtime import TOKENS, Runtime

WITNESS_ADVICE = {
    DOWN: "Look at the witness; until it answers new entries stay pending.",
    ANSWER: "Ask who runs the witness: its key may have changed.",
    REWRITTEN: "The log is not the one that was co-signed. Keep everything, run `tsp audit verify`, call for help.",
    SHRUNKEN: "The log was longer once: an old copy of the database was restored. Call for help.",
}


@dataclass(frozen=True)
class Diagnosis:
    """One thing looked at: whether it is well, what was seen, and what to do where it is not."""

    subject: str
    well: bool
    seen: str
    advice: str = ""


def examine(runtime: Runtime) -> list[Diagnosis]:
    """Every check, each on its own: one failing never hides the next."""
    found = _guarded(_files, runtime)
    if not runtime.settings.var.is_dir():
        return found
    for check in (_tokens, _keys_alive, _database, _certificates, _faces, _witnesses):
        found += _guarded(check, runtime)
    return found


def _guarded(check: Callable[[Runtime], Iterator[Diagnosis]], runtime: Runtime) -> list[Diagnosis]:
    name = check.__name__.strip("_").replace("_", " ")
    try:
        return list(check(runtime))
    except TspError as error:
        return [Diagnosis(name, False, error.code, error.sentence)]
    except HsmError as error:
        return [Diagnosis(name, False, error.code, error.advice)]
    except OSError as error:
        where = error.filename or "a file"
        return [Diagnosis(name, False, type(error).__name__, f"{where} cannot be used: {error.strerror}. Restore it.")]


def _files(runtime: Runtime) -> Iterator[Diagnosis]:
    var = runtime.settings.var
    if not var.is_dir():
        yield Diagnosis("installation", False, f"{var} does not exist", "Run `tsp init`.")
        return
    yield Diagnosis("installation", True, str(var))
    exposed = [p.name for p in (var / "pins").glob("*") if p.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]
    yield Diagnosis(
        "PIN files", not exposed, ", ".join(exposed) or "readable by their owner only", "Run chmod 600 on them."
    )


def _tokens(runtime: Runtime) -> Iterator[Diagnosis]:
    for name in TOKENS:
        if name == "root":
            continue
        try:
            with runtime.open_token(name):
                yield Diagnosis(f"token {name}", True, "opens with its PIN")
        except TspError as error:
            yield Diagnosis(f"token {name}", False, error.code, error.sentence)


def _keys_alive(runtime: Runtime) -> Iterator[Diagnosis]:
    with runtime.open_token("ca") as token:
        stray = [k for k in token.private_keys() if k.label not in ("issuing-ca", "infrastructure-ca")]
    yield Diagnosis(
        "one-time keys on the token", not stray, str(len(stray)), "Stop the engine and report this: keys must not stay."
    )


def _database(runtime: Runtime) -> Iterator[Diagnosis]:
    database = runtime.database()
    try:
        ping(database)
        here, wanted = revision(database), newest_revision()
    finally:
        database.close()
    yield Diagnosis("database", True, database.place)
    yield Diagnosis("schema", here == wanted, f"{here} of {wanted}", "Run `tsp migrate`.")


def _certificates(runtime: Runtime) -> Iterator[Diagnosis]:
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
    crl = x509.load_der_x509_crl((directory / "root.crl").read_bytes())
    due = crl.next_update_utc
    well = due is not None and due - now > timedelta(days=7)
    yield Diagnosis(
        "root CRL", well, f"next update {due:%Y-%m-%d}" if due else "no next update", "Renew it in a key ceremony."
    )


def _faces(runtime: Runtime) -> Iterator[Diagnosis]:
    outbound = runtime.outbound()
    settings = runtime.settings
    for name, origin in settings.urls.model_dump(by_alias=True).items():
        try:
            answer = outbound.request("GET", f"{origin}/health", timeout=3.0)
            yield Diagnosis(
                f"face {name}", answer.status == 200, f"{origin} answers {answer.status}", "Look at the role's log."
            )
        except TspError:
            yield Diagnosis(f"face {name}", False, f"{origin} does not answer", f"Start it: `tsp serve --role {name}`.")


def _witnesses(runtime: Runtime) -> Iterator[Diagnosis]:
    """What the witnesses of the log say; one that was never asked is no trouble yet."""
    database = runtime.database()
    try:
        with database.read() as session:
            for witness in witnesses(runtime.settings):
                state = session.get(WitnessState, witness.key.name)
                problem = state.problem if state else None
                yield Diagnosis(
                    f"witness {witness.key.name}",
                    problem is None,
                    problem or (f"co-signed {state.size} entries" if state else "not asked yet"),
                    WITNESS_ADVICE.get(problem or "", "Look at the log's own messages."),
                )
    finally:
        database.close()
