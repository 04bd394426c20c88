"""Asks for a token from a process that is new to the module: `python -m hsm.probe MODULE LABEL`.

A process that has lost its token cannot see it come back: a module such as SoftHSM looks at its store once. The
exit code is 0 where the token is there, 1 where it is not. No PIN is needed and none is tried.
"""

import subprocess
import sys
from pathlib import Path

from hsm.errors import HsmError
from hsm.token import glance


def is_back(module: Path, label: str, *, timeout: float = 20.0) -> bool:
    """Whether a new process finds the token named `label`; a module that hangs counts as not there."""
    command = [sys.executable, "-m", "hsm.probe", str(module), label]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=timeout)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def main(module: str, label: str) -> int:
    """The exit code for this token."""
    try:
        glance(Path(module), label)
    except HsmError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
