"""Looks at an installation from outside and inside and says what is wrong and what to do about it."""

from hsm.errors import HsmError
from tsp.core.errors import TspError
from tsp.doctor.diagnosis import Check, Diagnosis
from tsp.doctor.faces import engine, faces
from tsp.doctor.installation import ceremony, certificates, database, disk, files, roll_over
from tsp.doctor.publications import statements, trust_list
from tsp.doctor.tokens import one_time_keys, tokens
from tsp.doctor.work import approvals, certificates_in_the_making, clock, log, outbox, sessions, witnesses
from tsp.runtime import Runtime

__all__ = ["Diagnosis", "examine"]

_ALONE: tuple[Check, ...] = (
    disk,
    tokens,
    one_time_keys,
    certificates,
    ceremony,
    roll_over,
    statements,
    trust_list,
    engine,
    faces,
)
#: What can only be asked of a database that answers.
_IN_DATABASE: tuple[Check, ...] = (clock, outbox, log, witnesses, approvals, certificates_in_the_making, sessions)


def examine(runtime: Runtime) -> list[Diagnosis]:
    """Every check, each on its own: one failing never hides the next."""
    found = _guarded(files, runtime)
    if not runtime.settings.var.is_dir():
        return found
    stored = _guarded(database, runtime)
    found += stored
    for check in (*(_IN_DATABASE if all(d.well for d in stored) else ()), *_ALONE):
        found += _guarded(check, runtime)
    return found


def _guarded(check: Check, runtime: Runtime) -> list[Diagnosis]:
    name = check.__name__.replace("_", " ")
    try:
        return list(check(runtime))
    except TspError as error:
        return [Diagnosis(name, False, error.code, error.sentence)]
    except HsmError as error:
        return [Diagnosis(name, False, error.code, error.advice)]
    except OSError as error:
        where = error.filename or "a file"
        return [Diagnosis(name, False, type(error).__name__, f"{where} cannot be used: {error.strerror}. Restore it.")]
