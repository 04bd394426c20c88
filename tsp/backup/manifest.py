"""What a backup holds: every part with its digest, and where the log stood. Pure, but for reading the parts."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tsp.core.errors import Invalid

FILE = "manifest.json"
_FORMAT = "enkrat-backup-1"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Part:
    """One file: its size in octets and its SHA-256 (hex)."""

    size: int
    sha256: str


@dataclass(frozen=True)
class LogState:
    """The newest signed checkpoint in the copied database: size, root hash (hex), the note; empty before the first."""

    origin: str
    size: int = 0
    root: str = ""
    note: str = ""


@dataclass(frozen=True)
class Manifest:
    """A backup's list of contents.

    `database` is sqlite or postgresql, `schema` its revision. `tokens` is copied, or vendor where an
    HSM has them; `secrets` is sealed or left-out. `missing` names documents that the installation
    itself had lost. `parts` are keyed by their path in the backup.
    """

    made_at: str
    installation: str
    mode: str
    database: str
    schema: str
    tokens: str
    secrets: str
    log: LogState
    missing: list[str] = field(default_factory=list)
    parts: dict[str, Part] = field(default_factory=dict)

    def encode(self) -> bytes:
        """The octets of the manifest's file."""
        return json.dumps({"format": _FORMAT, **asdict(self)}, indent=1, sort_keys=True).encode()


def parse(data: bytes) -> Manifest:
    """The inverse of `Manifest.encode`; `Invalid` (backup-damaged) for anything else."""
    try:
        read: Any = json.loads(data)
        if read.pop("format") != _FORMAT:
            raise damaged("its format is not known")
        log, parts = LogState(**read.pop("log")), {p: Part(**v) for p, v in read.pop("parts").items()}
        made = Manifest(log=log, parts=parts, **read)
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        raise damaged("its manifest cannot be read") from None
    if not _well_formed(made):
        raise damaged("its manifest cannot be read")
    return made


def _well_formed(made: Manifest) -> bool:
    texts = (made.made_at, made.installation, made.mode, made.schema, made.log.origin, made.log.root, made.log.note)
    return (
        all(isinstance(text, str) for text in texts)
        and type(made.log.size) is int
        and made.database in ("sqlite", "postgresql")
        and made.tokens in ("copied", "vendor")
        and made.secrets in ("sealed", "left-out")
        and isinstance(made.missing, list)
        and all(isinstance(name, str) for name in made.missing)
        and all(
            _is_inside(path) and type(p.size) is int and isinstance(p.sha256, str) for path, p in made.parts.items()
        )
    )


def _is_inside(path: str) -> bool:
    """A path below the backup, and nowhere else."""
    return bool(path) and not path.startswith("/") and "\0" not in path and ".." not in Path(path).parts


def read_backup(directory: Path) -> Manifest:
    """The manifest of a backup whose every part was read and is what the manifest says.

    Raises `Invalid`: backup-incomplete (no manifest: it was never finished), backup-damaged (a part is
    missing, another, or not in the list).
    """
    try:
        made = parse((directory / FILE).read_bytes())
    except OSError:
        raise Invalid(
            "backup-incomplete", f"{directory} is no finished backup: it has no {FILE}. Take another one."
        ) from None
    there = {str(p.relative_to(directory)) for p in directory.rglob("*") if not p.is_dir()} - {FILE}
    for path in sorted(there | made.parts.keys()):
        if path not in there:
            raise damaged(f"{path} is missing")
        if path not in made.parts:
            raise damaged(f"{path} does not belong to it")
        if describe(directory / path) != made.parts[path]:
            raise damaged(f"{path} is not what was written")
    return made


def describe(file: Path) -> Part:
    """Size and digest of a file."""
    digest, size = hashlib.sha256(), 0
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return Part(size, digest.hexdigest())


def damaged(why: str) -> Invalid:
    """A backup that must not be used."""
    return Invalid("backup-damaged", f"This backup is damaged: {why}. Nothing was restored; take another one.")
