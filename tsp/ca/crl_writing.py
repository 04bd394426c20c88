"""Signs a revocation list into a file: what it takes of memory does not grow with the number of its entries."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Final

from tsp.ca.authority import IssuingKey
from tsp.ca.crl import CrlForm, around_entries, header
from tsp.ca.crl_reading import open_crl
from tsp.ca.lint import unsound
from tsp.ca.lint_crl import lint_crl
from tsp.core.der import bit_string

_CHUNK: Final = 1 << 20


def write_crl(issuer: IssuingKey, form: CrlForm, entries: Iterable[bytes], directory: Path, name: str) -> Path:
    """A signed and checked list in a new file of `directory`, durable; the caller renames or removes it.

    `entries` are encoded, in the order in which they shall stand. `name` is part of the file's name. Raises
    `Unavailable` where the token does not answer or the list breaks a rule, and what `entries` raises; no file is
    left then.
    """
    with tempfile.TemporaryFile(dir=directory) as spool:
        octets = _spool(entries, spool)
        before, behind = around_entries(issuer.facts, form, octets)
        signature = bit_string(issuer.sign_prehashed(_digest(issuer.algorithm.hash_name, before, spool, behind)))
        rest = issuer.algorithm.der + signature
        handle, made = tempfile.mkstemp(dir=directory, prefix=f".{name}.")
        path = Path(made)
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(file.fileno(), 0o644)
                file.write(header(0x30, len(before) + octets + len(behind) + len(rest)) + before)
                spool.seek(0)
                shutil.copyfileobj(spool, file, _CHUNK)
                file.write(behind + rest)
                file.flush()
                os.fsync(file.fileno())
            _check(path, issuer)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    return path


def _spool(entries: Iterable[bytes], spool: BinaryIO) -> int:
    octets, waiting, size = 0, [], 0
    for one in entries:
        waiting.append(one)
        size += len(one)
        if size >= _CHUNK:
            octets += spool.write(b"".join(waiting))
            waiting, size = [], 0
    return octets + spool.write(b"".join(waiting))


def _digest(hash_name: str, before: bytes, spool: BinaryIO, behind: bytes) -> bytes:
    digest = hashlib.new(hash_name, before)
    spool.seek(0)
    while chunk := spool.read(_CHUNK):
        digest.update(chunk)
    digest.update(behind)
    return digest.digest()


def _check(path: Path, issuer: IssuingKey) -> None:
    with open_crl(path) as reading:
        findings = lint_crl(reading.data, issuer.facts, issuer.public)
    if findings:
        raise unsound(findings[0].rule)
