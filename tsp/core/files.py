"""Files of an installation: written whole or not at all, secrets readable by their owner only."""

import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tsp.core.errors import Unavailable


def write_atomic(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Writes `content` so that a reader sees the old file or the new one, also after a crash.

    Raises `OSError`; inside `named_storage` it has a name of the family.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_private(path: Path, content: bytes) -> None:
    """Like `write_atomic`, readable and writable by the owner alone."""
    write_atomic(path, content, mode=0o600)


def read_secret(path: Path) -> str:
    """The one line of a secret file. `PermissionError` where others may read it."""
    if path.stat().st_mode & 0o077:
        raise PermissionError(f"{path.name} may be read by others; set its mode to 0600")
    return path.read_text().strip()


@contextmanager
def named_storage() -> Iterator[None]:
    """What a disk refuses to a service comes out as `Unavailable` (storage-unavailable): full, gone, read-only."""
    try:
        yield
    except FileNotFoundError:
        raise  # not the disk's refusal: the caller knows what a missing file means
    except OSError as error:
        raise Unavailable(
            "storage-unavailable",
            "The service is briefly unavailable. Nothing was lost; please try again in a moment.",
            cause=errno.errorcode.get(error.errno or 0, type(error).__name__),
        ) from error


@contextmanager
def one_at_a_time(lock: Path) -> Iterator[None]:
    """Lets one process of this machine into the block at a time, the others wait. `lock` is a file that stays."""
    with lock.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def sync_directory(directory: Path) -> None:
    """Makes durable which files a directory has."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
