"""What shows that a restored installation is whole: each statement recomputed, none taken from the backup's word."""

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from asn1crypto import x509
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tsp.audit.checkpoint import VerifierKey, open_checkpoint
from tsp.audit.installation import log_origin
from tsp.audit.tables import Entry
from tsp.audit.verify import verify_database
from tsp.backup.manifest import Manifest
from tsp.ca.plan import ISSUERS
from tsp.ca.store import CaStore
from tsp.ca.upkeep import verify_ceremony
from tsp.core.database import Database
from tsp.core.errors import NotFound, TspError
from tsp.core.sealing import Sealer
from tsp.engine.engine import SERVICE_LABELS
from tsp.engine.tables import Evidence, Signature
from tsp.runtime import Runtime
from tsp.sign.documents import Documents
from tsp.sign.kept import kept_documents

Say = Callable[[str], None]

#: The lasting signature keys that certificates of the ceremony speak of: token and label.
_CERTIFIED = {
    **{issuer: ("ca", f"{issuer}-ca") for issuer in ISSUERS},
    "tsu": ("tsu", "tsu"),
    "qtsu": ("qtsu", "qtsu"),
    **{f"ocsp-{issuer}": ("ocsp", f"ocsp-{issuer}") for issuer in ISSUERS},
}
_CHUNK = 500
_TOLD_EVERY = 1000


@dataclass(frozen=True)
class Proven:
    """One statement: whether it holds, what was seen, and what is wrong where it does not hold."""

    subject: str
    holds: bool
    seen: str
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Published:
    """The largest checkpoint of this log that anybody is known to have: note and size; empty where none is known."""

    note: str = ""
    size: int = 0

    @classmethod
    def of(cls, notes: Iterable[str], key: VerifierKey) -> "Published":
        """The largest of these; notes of another log or with another signature say nothing about this one."""
        found = cls()
        for note in notes:
            with suppress(TspError):
                size = open_checkpoint(note, key).size
                found = cls(note, size) if size > found.size else found
        return found


def log_key(runtime: Runtime) -> VerifierKey:
    """The log's key as the token has it."""
    with runtime.open_token("log") as token:
        return VerifierKey.from_spki(log_origin(runtime.settings), token.signing_key("log-checkpoint").public_spki)


def prove(runtime: Runtime, made: Manifest, published: Published, say: Say) -> list[Proven]:
    """Every statement about an installation that was restored from the backup `made`.

    Raises `Unavailable` where token or database do not answer.
    """
    database = runtime.database()
    try:
        say("Proof: the log, entry by entry")
        found = [_log(runtime, database, made, published)]
        say("Proof: evidence against the log")
        with database.read() as session:
            found.append(_evidence(session))
        say("Proof: documents, decrypted one by one")
        found.append(_documents(runtime, database, made, say))
    finally:
        database.close()
    say("Proof: authorities and keys")
    return [*found, _authorities(runtime), _keys(runtime), _one_time_keys(runtime)]


def _log(runtime: Runtime, database: Database, made: Manifest, published: Published) -> Proven:
    key = log_key(runtime)
    report = verify_database(database, key, remembered=published.note or None)
    # That the backup is older than what is published is told apart from a log that is wrong in itself.
    problems = [f"{f.code} {f.facts}" for f in report.findings if f.code != "log-shrunk"]
    if made.log.note and (report.size < made.log.size or open_checkpoint(made.log.note, key).size != made.log.size):
        problems.append(f"the backup's log had size {made.log.size}")
    seen = f"size {report.size}, {report.entries} entries, {report.checkpoints} signed checkpoints"
    return Proven("log", not problems, seen, problems)


def _evidence(session: Session) -> Proven:
    problems: list[str] = []
    checked, last = 0, ""
    signatures = session.scalar(select(func.count()).select_from(Signature)) or 0
    statement = select(Evidence, Entry).join(Entry, Entry.id == Evidence.entry_id).order_by(Evidence.id).limit(_CHUNK)
    while rows := session.execute(statement.where(Evidence.id > last)).all():
        problems += [f"evidence {kept.id} is not what the log says" for kept, entry in rows if not _fits(kept, entry)]
        checked, last = checked + len(rows), rows[-1][0].id
        session.expunge_all()
    if checked != signatures:
        problems.append(f"{signatures} signatures, but {checked} evidence records")
    return Proven("evidence", not problems, f"{checked} records, each with its entry in the log", problems)


def _fits(kept: Evidence, entry: Entry) -> bool:
    """The record's digest is the one in its entry, which the log's leaf commits to."""
    digest = sha256(kept.record.encode()).hexdigest()
    facts = json.loads(entry.content)["facts"]
    return digest == kept.sha256 and facts == {"evidence": kept.id, "sha256": digest} and entry.kind == "signature-made"


def _documents(runtime: Runtime, database: Database, made: Manifest, say: Say) -> Proven:
    problems: list[str] = []
    checked = lost = 0
    with runtime.open_token("site") as token, database.read() as session:
        sealer = Sealer(token.aead_key("documents"), runtime.randomness, "documents")
        documents = Documents(runtime.settings.var / "documents", sealer)
        for document, part in kept_documents(session):
            try:
                documents.get(document, part)
            except NotFound:
                if f"{document[:2]}/{document}.{part}" in made.missing:
                    lost += 1
                else:
                    problems.append(f"document {document} ({part}) is missing")
            except TspError as error:
                problems.append(f"document {document} ({part}): {error.code}")
            checked += 1
            if checked % _TOLD_EVERY == 0:
                say(f"Proof: {checked} documents so far")
    seen = f"{checked - lost - len(problems)} of {checked} there and decrypted"
    return Proven("documents", not problems, seen + (f", {lost} lost before the backup" if lost else ""), problems)


def _authorities(runtime: Runtime) -> Proven:
    directory = runtime.settings.var / "ca"
    problems = [p for p in verify_ceremony(directory, runtime.clock.now()) if not p.startswith("root.crl has expired")]
    return Proven("authorities", not problems, f"{_count(directory)} artefacts as the transcript says", problems)


def _count(directory: Path) -> int:
    return sum(1 for _ in directory.glob("*.pem")) + sum(1 for _ in directory.glob("*.crl"))


def _keys(runtime: Runtime) -> Proven:
    """The tokens hold the keys that the certificates are for."""
    store, problems = CaStore(runtime.settings.var / "ca"), []
    for name, (holder, label) in _CERTIFIED.items():
        certified = x509.Certificate.load(store.certificate(name)).public_key.dump()
        with runtime.open_token(holder) as token:
            if token.signing_key(label).public_spki != certified:
                problems.append(f"token {holder} has another key '{label}' than certificate {name}")
    return Proven("keys", not problems, f"{len(_CERTIFIED)} certificates, each with its key in its token", problems)


def _one_time_keys(runtime: Runtime) -> Proven:
    with runtime.open_token("ca") as token:
        stray = [key for key in token.private_keys() if key.label not in SERVICE_LABELS]
    problems = [f"{len(stray)} keys in the token that no one-time key may leave behind"] if stray else []
    return Proven("one-time keys", not problems, f"{len(stray)} in the token", problems)
