"""Takes a backup of an installation that may be running.

The order is what makes it whole. Certificates before tokens: a key is there before its certificate
is published. Documents, then the database, then the documents again: a file is written before the
row that names it and erased after the row has let go of it, so that what the copied rows name was there
at the first look or at the second, and where it was at neither, database and documents are copied anew.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.orm import Session

from tsp.audit.installation import log_origin
from tsp.audit.tables import latest_signed
from tsp.backup import manifest
from tsp.backup.copies import PART, copied
from tsp.backup.manifest import LogState, Manifest
from tsp.backup.sealed import seal
from tsp.core.errors import Conflict, Unavailable
from tsp.core.files import write_private
from tsp.core.migrate import revision
from tsp.core.settings import Settings
from tsp.runtime import Runtime
from tsp.sign.kept import kept_documents

Say = Callable[[str], None]

DOCUMENTS, INSTALLATION, TOKENS, CONFIGURATION = "documents", "installation", "tokens", "configuration"
SECRETS = "secrets.sealed"
#: What of an installation is copied as it is. All of it may be read by whoever may read the backup.
_PUBLIC = ("ca", "public", "trust", "audit", "repository", "engine.place")
_ROUNDS = 4
_TOLD_EVERY = 1000


def make_backup(runtime: Runtime, target: Path, config: Path, *, passphrase: str | None, say: Say) -> Manifest:
    """Writes a backup into `target`, a directory that must not exist, readable by its owner alone.

    `passphrase` seals PINs, other secret files and the configuration as it is; with None they are left
    out, and the configuration's copy has no password. Raises `Conflict` (target-not-empty),
    `Unavailable` (not-initialised, database-unavailable, program-missing, dump-failed), `Invalid`
    (passphrase-short). What is written before an error is removed.
    """
    settings = runtime.settings
    if not (settings.var / "ca").is_dir():
        raise Unavailable("not-initialised", "This installation is not complete: run `tsp init`.")
    if target.exists():
        raise Conflict("target-not-empty", f"{target} exists already; nothing was written. Name a new directory.")
    building = target.with_name(target.name + ".building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(mode=0o700, parents=True)
    try:
        made = _Maker(runtime, building, config, say).make(passphrase)
        building.rename(target)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return made


def secret_files(settings: Settings) -> list[str]:
    """The installation's secret files, by path below `var`."""
    named = [settings.mail.password_file, settings.sms.token_file, settings.register_.token_file]
    pins = sorted(f"pins/{path.name}" for path in (settings.var / "pins").glob("*pin"))
    return pins + [name for name in named if name and (settings.var / name).is_file()]


class _Maker:
    """One backup on its way."""

    def __init__(self, runtime: Runtime, target: Path, config: Path, say: Say) -> None:
        self._runtime, self._target, self._config, self._say = runtime, target, config, say
        self._settings = runtime.settings

    def make(self, passphrase: str | None) -> Manifest:
        secrets = self._secrets(passphrase) if passphrase is not None else "left-out"
        self._copy_configuration()
        tokens = self._authorities_and_tokens()
        kind, log, missing = self._database_and_documents()
        database = self._runtime.database()
        try:
            schema = revision(database) or ""
        finally:
            database.close()
        made = Manifest(
            made_at=self._runtime.clock.now().isoformat(),
            installation=self._settings.name,
            mode=self._settings.mode,
            database=kind,
            schema=schema,
            tokens=tokens,
            secrets=secrets,
            log=log,
            missing=missing,
        )
        self._say("Digests of all parts")
        made = replace(made, parts=dict(_described(self._target)))
        # Last of all: a backup without its manifest was not finished, and is refused.
        write_private(self._target / manifest.FILE, made.encode())
        return made

    def _secrets(self, passphrase: str) -> str:
        self._say("Secrets, sealed")
        var = self._settings.var
        files = {name: (var / name).read_bytes() for name in secret_files(self._settings)}
        files["configuration"] = self._config.read_bytes()
        write_private(self._target / SECRETS, seal(files, passphrase, self._runtime.randomness))
        return "sealed"

    def _copy_configuration(self) -> None:
        """The files that the configuration names, and itself without the database's password."""
        settings, target = self._settings, self._target / CONFIGURATION
        private_directory(target)
        text = self._config.read_text()
        if settings.database.url:
            text = text.replace(settings.database.url, _masked(settings.database.url))
        write_private(target / self._config.name, text.encode())
        for name in (
            settings.profiles.directory,
            settings.idp.relying_parties,
            settings.idp.assurance,
            settings.ceremony,
        ):
            source = settings.path(name)
            copy_tree(source, target / source.name, lambda _name: True)

    def _authorities_and_tokens(self) -> str:
        """Copies until nothing changed meanwhile: a ceremony writes keys first and certificates after."""
        self._say("Authorities and tokens")
        settings = self._settings
        for _ in range(_ROUNDS):
            for name in _PUBLIC:
                copy_tree(settings.var / name, self._target / INSTALLATION / name, _no_leftover)
            if settings.hsm.module:
                return "vendor"
            shutil.rmtree(self._target / TOKENS, ignore_errors=True)
            with self._runtime.one_login_at_a_time():
                copy_tree(settings.var / "tokens" / "tokens", self._target / TOKENS, lambda n: not n.endswith(".lock"))
            if _same(settings.var / "ca", self._target / INSTALLATION / "ca"):
                return "copied"
        raise Unavailable("ceremony-running", "The authorities are being changed. Take the backup after the ceremony.")

    def _database_and_documents(self) -> tuple[str, LogState, list[str]]:
        documents = self._settings.var / DOCUMENTS
        database = self._runtime.database()
        kind = "sqlite" if database.is_sqlite else "postgresql"
        part = self._target / PART[kind]
        try:
            self._copy_documents(documents)
            for _ in range(_ROUNDS):
                self._say("Database")
                part.unlink(missing_ok=True)
                with copied(database, part, self._tell_pages) as session:
                    log = self._log_state(session)
                    needed = {f"{one[:2]}/{one}.{name}" for one, name in kept_documents(session)}
                self._copy_documents(documents)
                missing = sorted(name for name in needed if not (self._target / DOCUMENTS / name).is_file())
                if not missing:
                    break
        finally:
            database.close()
        return kind, log, missing

    def _log_state(self, session: Session) -> LogState:
        head = latest_signed(session)
        origin = log_origin(self._settings)
        return LogState(origin, head.size, head.root.hex(), head.note or "") if head else LogState(origin)

    def _copy_documents(self, source: Path) -> None:
        done = copy_tree(source, self._target / DOCUMENTS, _no_leftover, self._tell_documents)
        self._say(f"Documents: {done} copied")

    def _tell_documents(self, done: int) -> None:
        if done % _TOLD_EVERY == 0:
            self._say(f"Documents: {done} so far")

    def _tell_pages(self, done: int, whole: int) -> None:
        if done < whole:
            self._say(f"Database: {done} of {whole} pages")


def copy_tree(
    source: Path, target: Path, wanted: Callable[[str], bool], progress: Callable[[int], None] = lambda _done: None
) -> int:
    """Copies a file, or a directory's wanted files that the target lacks or has otherwise; how many.

    A file that goes away meanwhile is passed over. All is readable by its owner alone.
    """
    done = 0
    for path in [source] if source.is_file() else sorted(source.rglob("*")):
        to = target / path.relative_to(source) if path != source else target
        if not path.is_file() or not wanted(path.name):
            continue
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue
        if to.is_file() and to.read_bytes() == content:
            continue
        private_directory(to.parent)
        write_private(to, content)
        done += 1
        progress(done)
    return done


def private_directory(path: Path) -> None:
    """Makes a directory and what is missing above it, for their owner alone."""
    if not path.is_dir():
        private_directory(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def _no_leftover(name: str) -> bool:
    """Not a file that is just being written (`write_atomic`)."""
    return not name.startswith(".")


def _same(one: Path, other: Path) -> bool:
    return _contents(one) == _contents(other)


def _contents(directory: Path) -> Mapping[str, bytes]:
    return {p.name: p.read_bytes() for p in directory.iterdir() if p.is_file() and _no_leftover(p.name)}


def _described(directory: Path) -> Iterator[tuple[str, manifest.Part]]:
    for path in sorted(p for p in directory.rglob("*") if p.is_file()):
        yield str(path.relative_to(directory)), manifest.describe(path)


def _masked(url: str) -> str:
    """A database's URL without its password."""
    return make_url(url).render_as_string(hide_password=True)
