"""The tokens: there, with tries left, opened by the PIN of their file; and no key on them that should be gone."""

from collections.abc import Iterator

import hsm
from hsm.errors import HsmError
from tsp.ca.generations import LASTING_LABELS
from tsp.core.errors import TspError
from tsp.doctor.diagnosis import Diagnosis
from tsp.runtime import TOKENS, Runtime, token_label

_TRIES = {"low": "opens with its PIN; somebody had shown it a wrong one"}


def tokens(runtime: Runtime) -> Iterator[Diagnosis]:
    """Every token but the root's. A PIN is tried only where that cannot lock the token (`Runtime.open_token`)."""
    for name in TOKENS:
        if name != "root":
            yield _token(runtime, name)


def _token(runtime: Runtime, name: str) -> Diagnosis:
    subject = f"token {name}"
    try:
        tries = hsm.glance(runtime.hsm_module(), token_label(runtime.settings, name)).pin_tries
        with runtime.open_token(name):
            return Diagnosis(subject, True, _TRIES.get(tries, "opens with its PIN"))
    except TspError as error:
        return Diagnosis(subject, False, error.code, error.sentence)
    except HsmError as error:
        return Diagnosis(subject, False, error.code, error.advice)


def one_time_keys(runtime: Runtime) -> Iterator[Diagnosis]:
    """No key but the authorities' may last on the token `ca` (SIG-1)."""
    with runtime.open_token("ca") as token:
        stray = [k for k in token.private_keys() if k.label not in LASTING_LABELS]
    yield Diagnosis(
        "one-time keys on the token", not stray, str(len(stray)), "Stop the engine and report this: keys must not stay."
    )
