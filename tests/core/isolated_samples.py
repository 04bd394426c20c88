"""Functions for tests of the nursery: one that works, and the ways in which hostile input ends."""

import os
import select
import stat
from pathlib import Path
from typing import Any

from tsp.core.errors import Invalid, Refused

Answer = tuple[dict[str, Any], dict[str, bytes]]


def echo(arguments: dict[str, Any], files: dict[str, bytes]) -> Answer:
    return arguments, files


def surroundings(arguments: dict[str, Any], files: dict[str, bytes]) -> Answer:
    # The descriptor that lists the directory is closed again before its link is read.
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    targets = {str(link.readlink()) for link in links}
    ours = [t for t in targets if t.startswith("/") and not t.startswith(("/proc", "/dev/null"))]
    return {"environment": dict(os.environ), "files": ours}, {}


def refuse(arguments: dict[str, Any], files: dict[str, bytes]) -> Answer:
    if arguments["kind"] == "refused":
        raise Refused("sample-refused", "Not this one.", count=3)
    raise Invalid("sample-invalid", "Not like this.", count=3)


def loop(arguments: dict[str, Any], files: dict[str, bytes]) -> Answer:
    while True:
        pass


def trickle(arguments: dict[str, Any], files: dict[str, bytes]) -> Answer:
    """A child that was taken over: it announces a long answer and gives an octet now and then, idle between."""
    numbers = [int(link.name) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    [caller] = [n for n in numbers if stat.S_ISSOCK(os.fstat(n).st_mode)]
    os.write(caller, b"\0\xff\xff\xff")
    while True:
        os.write(caller, b" ")
        select.select([], [], [], 0.2)


def hoard(arguments: dict[str, Any], files: dict[str, bytes]) -> Answer:
    return {"size": len(bytearray(8 * 1024**3))}, {}


def crash(arguments: dict[str, Any], files: dict[str, bytes]) -> Answer:
    os.abort()


def fail(arguments: dict[str, Any], files: dict[str, bytes]) -> Answer:
    raise ZeroDivisionError("with a secret in its message")
