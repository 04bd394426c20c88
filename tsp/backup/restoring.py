"""Makes an installation from a backup: built beside its place, proven, and only then put there."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from alembic.util import CommandError
from sqlalchemy import delete

from hsm import softhsm
from tsp import schema
from tsp.audit.tables import SequencerLease, latest_head
from tsp.backup import making, manifest, proof
from tsp.backup.copies import PART, empty, put_back, require_empty
from tsp.backup.manifest import Manifest
from tsp.backup.proof import Proven, Published
from tsp.backup.sealed import unseal
from tsp.core.database import Database
from tsp.core.errors import Conflict, Invalid, Refused, TspError
from tsp.core.files import read_secret, write_private
from tsp.core.migrate import revision, upgrade
from tsp.core.settings import Settings
from tsp.engine import approvals
from tsp.runtime import Runtime

Say = Callable[[str], None]
MakeRuntime = Callable[[Settings], Runtime]

#: An approval whose time began this long ago can no longer be finished, whatever the configuration says.
_LONG_PAST = timedelta(days=2)
#: What to do where the log went on after the backup was taken.
OLDER_LOG = (
    "Entries that were published after the backup are not in it. A log that goes on from here would state "
    "other entries at the same places: a fork, which witnesses and everybody who kept a checkpoint will see. Look for "
    "a newer backup or a replica of the database first. Where there is none: restore with --older-log, keep the newest "
    "published checkpoint as evidence, set another log.origin before the role log starts, publish the new key, and "
    "tell supervisor, witnesses and relying parties what was lost."
)


@dataclass(frozen=True)
class Restored:
    """What came of a restore. `behind` is how many published entries the restored log lacks."""

    manifest: Manifest
    proven: list[Proven]
    closed: int
    behind: int


@dataclass(frozen=True)
class Wishes:
    """How to restore. `pins` is a directory with PIN files where the backup has none, `notes` are checkpoints

    that somebody keeps (a witness, a remembered file); `older_log` accepts a log that is behind them.
    """

    passphrase: str | None = None
    pins: Path | None = None
    notes: Sequence[str] = ()
    older_log: bool = False


def restore(source: Path, settings: Settings, wishes: Wishes, *, make_runtime: MakeRuntime, say: Say) -> Restored:
    """Restores the backup in `source` as the installation that `settings` describe, which must not exist.

    Raises `Conflict` (target-not-empty, log-behind), `Invalid` (backup-incomplete, backup-damaged),
    `Refused` (backup-other, backup-newer, secrets-missing, passphrase-wrong, restore-not-proven). After
    an error nothing is there that was not there before.
    """
    if settings.var.exists():
        raise Conflict("target-not-empty", f"{settings.var} exists already; nothing was changed. Move it away first.")
    say("Reading the backup")
    made = manifest.read_backup(source)
    _require_fitting(made, settings)
    secrets = _secrets(source, made, wishes)
    building = settings.var.with_name(settings.var.name + ".building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(mode=0o700, parents=True)
    runtime = make_runtime(settings.model_copy(update={"var": building}))
    try:
        restored = _build(source, runtime, made, secrets, wishes, say)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    building.rename(settings.var)
    if made.tokens == "copied":
        softhsm.configure(settings.var / "tokens")
    return restored


def _require_fitting(made: Manifest, settings: Settings) -> None:
    kind = "sqlite" if settings.database_url.startswith("sqlite") else "postgresql"
    told = {
        "mode": (made.mode, settings.mode),
        "name": (made.installation, settings.name),
        "database": (made.database, kind),
    }
    for what, (theirs, ours) in told.items():
        if theirs != ours:
            raise Refused("backup-other", f"The backup is of {what} {theirs}, the configuration says {ours}.")
    if (made.tokens == "vendor") != bool(settings.hsm.module):
        raise Refused("backup-other", "The backup and the configuration (hsm.module) have different kinds of tokens.")


def _secrets(source: Path, made: Manifest, wishes: Wishes) -> Mapping[str, bytes]:
    """Secret files by their path below `var`."""
    if wishes.pins is not None:
        return {f"pins/{path.name}": path.read_bytes() for path in sorted(wishes.pins.glob("*pin"))}
    if made.secrets == "left-out":
        raise Refused("secrets-missing", "This backup holds no PINs. Name the directory that has them with --pins.")
    if wishes.passphrase is None:
        raise Refused("secrets-missing", "The PINs of this backup are sealed. Name --passphrase-file, or --pins.")
    files = unseal((source / making.SECRETS).read_bytes(), wishes.passphrase)
    return {name: content for name, content in files.items() if name != "configuration"}


def _build(
    source: Path, runtime: Runtime, made: Manifest, secrets: Mapping[str, bytes], wishes: Wishes, say: Say
) -> Restored:
    var = runtime.settings.var
    say("Files")
    making.copy_tree(source / making.INSTALLATION, var, _everything)
    making.copy_tree(source / making.DOCUMENTS, var / "documents", _everything)
    if made.tokens == "copied":
        making.copy_tree(source / making.TOKENS, var / "tokens" / "tokens", _everything)
    for name, content in secrets.items():
        if ".." in Path(name).parts or name.startswith("/"):
            raise manifest.damaged("a secret has a path outside of the installation")
        write_private(var / name, content)
    database = runtime.database()
    try:
        require_empty(database)
        say("Database")
        try:
            put_back(source / PART[made.database], database)
            return _proven(runtime, database, made, wishes, say)
        except BaseException:
            empty(database)
            raise
    finally:
        database.close()


def _proven(runtime: Runtime, database: Database, made: Manifest, wishes: Wishes, say: Say) -> Restored:
    _migrate(database, say)
    published = Published.of([*_known_notes(runtime), made.log.note, *wishes.notes], proof.log_key(runtime))
    proven = proof.prove(runtime, made, published, say)
    wrong = [problem for one in proven for problem in one.problems]
    if wrong:
        raise Refused(
            "restore-not-proven",
            f"What was restored is not whole: {'; '.join(wrong[:5])}. Nothing was kept; take another backup.",
            problems=len(wrong),
        )
    behind = max(0, published.size - _log_size(database))
    if behind and not wishes.older_log:
        raise Conflict("log-behind", f"The published log is {behind} entries ahead of this backup. {OLDER_LOG}")
    with database.write() as session:
        closed = approvals.close_open(session, runtime.clock.now() - _LONG_PAST)
        # Whoever sequenced when the copy was made does not work on this database: nobody needs to wait for them.
        session.execute(delete(SequencerLease))
    return Restored(made, proven, closed, behind)


def _migrate(database: Database, say: Say) -> None:
    before = revision(database)
    try:
        upgrade(database, schema.METADATA)
    except CommandError:
        raise Refused("backup-newer", "This backup was made by a newer release. Install that one first.") from None
    if revision(database) != before:
        say(f"The database was brought from schema {before} to {revision(database)}")


def _known_notes(runtime: Runtime) -> list[str]:
    """Checkpoints that are known here: what the public log says now, where it answers, and what was remembered."""
    found = [path.read_text() for path in sorted((runtime.settings.var / "audit").glob("*.checkpoint"))]
    try:
        answer = runtime.outbound().request("GET", f"{runtime.settings.urls.log}/checkpoint", timeout=5.0)
        if answer.status == 200:
            found.append(answer.body.decode(errors="replace"))
    except TspError:
        pass  # nobody serves the log now, as is to be expected when it has to be restored
    return found


def _log_size(database: Database) -> int:
    with database.read() as session:
        head = latest_head(session)
        return head.size if head else 0


def _everything(_name: str) -> bool:
    return True


def read_passphrase(path: Path) -> str:
    """The passphrase in a file's first line; `Invalid` (passphrase-file) where it cannot be read, or others may."""
    try:
        return read_secret(path).splitlines()[0]
    except (OSError, IndexError) as error:
        raise Invalid("passphrase-file", f"The passphrase file {path.name} cannot be read: {error}.") from None
