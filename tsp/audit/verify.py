"""Recomputes a whole log: every writer's chain, the tree, the tiles, the checkpoints (SIG-6, EVD-2, EVD-5).

Works on the database, where the private side of each entry is checked too, or on the public log of
anybody over HTTP. A checkpoint remembered from an earlier run catches what a log alone cannot show:
that it was longer once, or another.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.orm import Session

from tsp.audit import public, tables, tiles, tree
from tsp.audit.checkpoint import Checkpoint, VerifierKey, open_checkpoint, read_note
from tsp.audit.cosignature import CosignerKey, cosignature_of
from tsp.audit.entries import NO_PREVIOUS, Leaf, commitment, parse_leaf, timestamp
from tsp.audit.tables import Cosignature, Entry, TreeHead, WriterHead
from tsp.core.database import Database
from tsp.core.errors import Invalid, NotFound

Fact = str | int
#: Reads `path` below the log's address; raises the error family.
Fetch = Callable[[str], bytes]
_CHUNK = 4096
_MAX_FINDINGS = 200


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: a stable code and where it is.

    entry-rewritten (an entry is not what its leaf or digest says), entry-missing (a place or a
    writer's number is empty), writer-chain (an entry does not follow its predecessor), tree-root
    (the entries do not give the root that was stated), tile-damaged, checkpoint-signature,
    cosignature (a stored word of a known witness is not its own, or not over that checkpoint),
    log-shrunk (shorter than what is remembered), log-forked (does not contain what is remembered).
    """

    code: str
    facts: dict[str, Fact]


@dataclass
class Report:
    """What was recomputed, and what is wrong with it."""

    size: int = 0
    entries: int = 0
    writers: int = 0
    checkpoints: int = 0
    cosignatures: int = 0
    note: str = ""
    findings: list[Finding] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        return not self.findings

    def add(self, code: str, **facts: Fact) -> None:
        """Notes a finding; beyond the first 200 more of them tell nothing new."""
        if len(self.findings) < _MAX_FINDINGS:
            self.findings.append(Finding(code, facts))


class _Chains:
    """Follows each writer's entries: numbers without gaps, each naming its predecessor."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._last: dict[str, tuple[int, bytes]] = {}
        #: (writer, counter) -> leaf hash that must stand there.
        self.expected: dict[tuple[str, int], bytes] = {}

    def follow(self, data: bytes) -> Leaf | None:
        """Takes the next entry; None where it is no leaf at all."""
        self._report.entries += 1
        try:
            leaf = parse_leaf(data)
        except Invalid:
            self._report.add("entry-rewritten", entry=self._report.entries - 1)
            return None
        counter, previous = self._last.get(leaf.writer, (0, NO_PREVIOUS))
        if leaf.counter != counter + 1:
            self._report.add("entry-missing", writer=leaf.writer, after=counter, found=leaf.counter)
        elif leaf.previous != previous:
            self._report.add("writer-chain", writer=leaf.writer, counter=leaf.counter)
        hashed = tree.leaf_hash(data)
        self._last[leaf.writer] = leaf.counter, hashed
        if self.expected.pop((leaf.writer, leaf.counter), hashed) != hashed:
            self._report.add("writer-chain", writer=leaf.writer, counter=leaf.counter)
        return leaf

    def finish(self) -> None:
        self._report.writers = len(self._last)
        for writer, counter in self.expected:
            self._report.add("entry-missing", writer=writer, counter=counter)


class _Tree:
    """Recomputes roots and tiles from the leaves and compares them with what is stated."""

    def __init__(self, report: Report, tile: tiles.TileReader) -> None:
        self._report = report
        self._tile = tile
        self._frontier = tree.Frontier()
        self._levels: list[list[bytes]] = []
        self._done: list[int] = []
        self._stated: dict[int, list[tuple[str, bytes]]] = {}

    def state(self, size: int, root: bytes, code: str = "tree-root") -> None:
        """Somebody says that the first `size` entries have this root; `code` names the lie."""
        self._stated.setdefault(size, []).append((code, root))

    def grow(self, leaf: bytes) -> None:
        self._compare()
        self._frontier.append(leaf)
        self._put(0, leaf)

    def finish(self) -> None:
        self._compare()
        for level, hashes in enumerate(self._levels):
            if hashes:
                self._check_tile(level, hashes)
        for size, statements in self._stated.items():
            for code, _ in statements:
                self._report.add(code, size=size, found=self._frontier.size)

    def _compare(self) -> None:
        for code, root in self._stated.pop(self._frontier.size, []):
            if root != self._frontier.root():
                self._report.add(code, size=self._frontier.size)

    def _put(self, level: int, hashed: bytes) -> None:
        if level == len(self._levels):
            self._levels.append([])
            self._done.append(0)
        hashes = self._levels[level]
        hashes.append(hashed)
        if len(hashes) == tiles.WIDTH:
            self._check_tile(level, hashes)
            self._done[level] += 1
            self._levels[level] = []
            self._put(level + 1, tiles.tile_root(b"".join(hashes)))

    def _check_tile(self, level: int, hashes: list[bytes]) -> None:
        index = self._done[level]
        content = self._tile(level, index)[: len(hashes) * tiles.HASH]
        if content != b"".join(hashes):
            self._report.add("tile-damaged", level=level, index=index)


def verify_database(
    database: Database, key: VerifierKey, *, remembered: str | None = None, witnesses: Sequence[CosignerKey] = ()
) -> Report:
    """Recomputes the log of a database. `remembered` is a checkpoint note of an earlier run.

    Of the stored cosignatures those of `witnesses` are verified; of others nothing can be said.

    Raises `Invalid` (checkpoint-malformed, checkpoint-signature) where the remembered note is not
    one of this log, and `Unavailable` where the database does not answer. All else is a finding.
    """
    report = Report()
    with database.read() as session:
        if not database.is_sqlite:
            # One picture for all that is read: the log goes on growing meanwhile. SQLite does so by itself.
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        chains = _Chains(report)
        for head in session.scalars(select(WriterHead).where(WriterHead.counter > 0)):
            chains.expected[head.name, head.counter] = head.last
        stored = _Tree(report, lambda level, index: tables.tile_hashes(session, level, index))
        report.size = _state_heads(session, report, stored, key)
        for witness in witnesses:
            _check_cosignatures(session, report, witness)
        _remember(report, stored, key, remembered)
        for entry in _placed(session, report):
            _check_entry(report, chains.follow(entry.leaf), entry)
            if entry.position is not None and entry.position < report.size:
                stored.grow(tree.leaf_hash(entry.leaf))
        stored.finish()
        chains.finish()
    return report


def _state_heads(session: Session, report: Report, stored: _Tree, key: VerifierKey) -> int:
    """Takes in every stored head; the size of the largest is the size of the log."""
    size = 0
    for head in session.scalars(select(TreeHead).order_by(TreeHead.size)):
        size = head.size
        stored.state(head.size, head.root)
        if head.note is None:
            continue
        report.checkpoints += 1
        report.note = head.note
        try:
            if open_checkpoint(head.note, key) != Checkpoint(key.name, head.size, head.root):
                report.add("checkpoint-signature", size=head.size)
        except Invalid:
            report.add("checkpoint-signature", size=head.size)
    return size


def _check_cosignatures(session: Session, report: Report, witness: CosignerKey) -> None:
    """Every stored cosignature of one witness's present key against the checkpoint that it stands under."""
    found = (
        select(Cosignature.size, Cosignature.line, TreeHead.note)
        .join(TreeHead, TreeHead.size == Cosignature.size)
        .where(Cosignature.witness == witness.name)
        .order_by(Cosignature.size)
    )
    for size, line, note in session.execute(found):
        try:
            signed = read_note(f"{note}{line}")
        except Invalid:
            report.add("cosignature", size=size, witness=witness.name)
            continue
        if not signed.of(witness):
            continue  # by a key that the witness had before
        report.cosignatures += 1
        if cosignature_of(signed, witness) is None:
            report.add("cosignature", size=size, witness=witness.name)


def _placed(session: Session, report: Report) -> Iterator[Entry]:
    """Every entry in the order of the log, then those that wait for a place; gaps are findings."""
    expected = 0
    while chunk := session.scalars(
        select(Entry).where(Entry.position >= expected).order_by(Entry.position).limit(_CHUNK)
    ).all():
        for entry in chunk:
            if entry.position != expected:
                report.add("entry-missing", position=expected)
            expected = (entry.position or 0) + 1
            yield entry
        session.expunge_all()
    if expected < report.size:
        report.add("entry-missing", position=expected)
    yield from session.scalars(select(Entry).where(Entry.position.is_(None)).order_by(Entry.id))


def _check_entry(report: Report, leaf: Leaf | None, entry: Entry) -> None:
    """The private side: columns, content and salt must be what the leaf commits to."""
    if leaf is None:
        return
    content = entry.content.encode()
    prefix = f'{{"at":"{timestamp(entry.recorded_at)}","facts":{{'.encode()
    sound = (
        leaf.writer == entry.writer
        and leaf.counter == entry.counter
        and tree.leaf_hash(entry.leaf) == entry.leaf_hash
        and leaf.commitment == commitment(entry.salt, content)
        and content.startswith(prefix)
        and content.endswith(f'}},"kind":"{entry.kind}"}}'.encode())
    )
    if not sound:
        report.add("entry-rewritten", writer=entry.writer, counter=entry.counter)


def verify_public(fetch: Fetch, key: VerifierKey, *, remembered: str | None = None) -> Report:
    """Recomputes a public log that is read with `fetch`; needs no account and no trust in who serves it.

    Raises `Invalid` where the remembered note is not one of this log, and what `fetch` raises;
    only a `NotFound` for something that the checkpoint promises is a finding.
    """
    report = Report()
    try:
        report.note = fetch("/checkpoint").decode()
        checkpoint = open_checkpoint(report.note, key)
    except (Invalid, UnicodeDecodeError):
        report.add("checkpoint-signature")
        return report
    if checkpoint.origin != key.name:
        report.add("checkpoint-signature", size=checkpoint.size)
    report.size, report.checkpoints = checkpoint.size, 1

    def tile(level: int, index: int) -> bytes:
        width = tiles.tile_width(level, index, checkpoint.size)
        try:
            return fetch(f"/tile/{level}/{tiles.encode_request(index, width)}")
        except NotFound:
            return b""

    stored, chains = _Tree(report, tile), _Chains(report)
    stored.state(checkpoint.size, checkpoint.root)
    _remember(report, stored, key, remembered)
    for data in _published(fetch, report):
        chains.follow(data)
        stored.grow(tree.leaf_hash(data))
    stored.finish()
    chains.finish()
    return report


def _published(fetch: Fetch, report: Report) -> Iterator[bytes]:
    for index in range((report.size + tiles.WIDTH - 1) // tiles.WIDTH):
        width = tiles.tile_width(0, index, report.size)
        try:
            found = public.split_bundle(fetch(f"/tile/entries/{tiles.encode_request(index, width)}"))
        except (Invalid, NotFound):
            found = []
        if len(found) != width:
            report.add("entry-missing", position=index * tiles.WIDTH + min(len(found), width))
            return
        yield from found


def _remember(report: Report, stored: _Tree, key: VerifierKey, remembered: str | None) -> None:
    if remembered is None:
        return
    earlier = open_checkpoint(remembered, key)
    if earlier.size > report.size:
        report.add("log-shrunk", remembered=earlier.size, found=report.size)
    else:
        stored.state(earlier.size, earlier.root, "log-forked")
