"""The one who puts entries in order: positions, tree and signed checkpoint, within a second (EVD-2).

Any number of processes may run a sequencer; a lease in the database lets one work, and its row is
locked while positions are given, so that even a lease held in error cannot give a place twice. The
tree head is durable before the token signs it and its signature after: a crash between the two
leaves an unsigned head that the next step signs.
"""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Protocol

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from hsm import HsmError
from tsp.audit import tiles, tree
from tsp.audit.checkpoint import Checkpoint, VerifierKey, sign_checkpoint
from tsp.audit.tables import Entry, Publication, SequencerLease, Tile, TreeHead, latest_head, tile_hashes
from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.core.errors import Conflict, TspError, Unavailable
from tsp.core.steps import OnStep, unwatched

log = logging.getLogger("tsp.audit")


class SequencerStep(StrEnum):
    """What happens in one round, in order. A fault may strike after any of them."""

    LEASED = "leased"  # this process is the one that works, the transaction open
    PLACED = "placed"  # the entries have positions, open
    TILED = "tiled"  # their hashes lie in the tiles, open
    HEADED = "headed"  # the new root is written, open
    INTEGRATED = "integrated"  # all of it durable, the head unsigned
    SIGNED = "signed"  # the token has signed the checkpoint, nothing written of it
    NOTED = "noted"  # the signed checkpoint is in its row, open
    PUBLISHED = "published"  # durable: from now on the public log says so


class CheckpointSigner(Protocol):
    """An Ed25519 key in the token `log` (`hsm.SigningKey`)."""

    @property
    def public_spki(self) -> bytes: ...

    def sign(self, message: bytes) -> bytes: ...


@dataclass(frozen=True)
class SequencerLimits:
    """Seconds between steps, entries a step, seconds for which a lease is taken."""

    interval: float = 0.5
    batch: int = 4096
    lease: float = 15.0


class Sequencer:
    """Role `log`. `holder` names this process among those that could do the same.

    What needs no witness is published when it is signed; else `witnesses.WitnessLine` publishes. `on_step`
    is called after each step (fault tests).
    """

    def __init__(
        self,
        database: Database,
        signer: CheckpointSigner,
        *,
        origin: str,
        holder: str,
        clock: Clock,
        limits: SequencerLimits | None = None,
        min_witnesses: int = 0,
        on_step: OnStep[SequencerStep] = unwatched,
    ) -> None:
        self._database = database
        self._signer = signer
        self._holder = holder
        self._clock = clock
        self._min_witnesses = min_witnesses
        self._on_step = on_step
        self.origin = origin
        self.limits = limits or SequencerLimits()
        self.key = VerifierKey.from_spki(origin, signer.public_spki)

    def run(self, stop: threading.Event) -> None:
        """Steps until `stop`, then gives up the lease. What a step cannot do is logged and tried again at the next."""
        while not stop.is_set():
            busy = False
            try:
                busy = self.step() == self.limits.batch
            except TspError as error:
                log.error("sequencer: %s %s", error.code, error.facts)
            if not busy:
                stop.wait(self.limits.interval)
        try:
            self.release()
        except TspError as error:
            log.error("sequencer: lease not given up: %s", error.code)

    def release(self) -> None:
        """Gives up the lease, so that another process need not wait for its end; nothing where another holds it."""
        with self._database.write() as session:
            lease = session.get(SequencerLease, 1, with_for_update=True)
            if lease is not None and lease.holder == self._holder:
                lease.until = self._clock.now()

    def step(self) -> int:
        """One round: how many entries got a position.

        Does nothing, and writes nothing, where nothing waits or another process holds the lease.
        Raises `Unavailable` (hsm-unavailable, database-unavailable), and `Conflict` (log-damaged)
        where the stored tree is not the one that was signed: such a log is never extended.
        """
        if not self._anything_to_do():
            return 0
        with self._database.write() as session:
            if not self._hold_lease(session):
                return 0
            self._on_step(SequencerStep.LEASED)
            placed = self._integrate(session)
        self._on_step(SequencerStep.INTEGRATED)
        self._sign_newest()
        return placed

    def _anything_to_do(self) -> bool:
        with self._database.read() as session:
            head = latest_head(session)
            waiting = session.scalar(select(Entry.id).where(Entry.position.is_(None)).limit(1))
            return head is None or head.note is None or waiting is not None

    def _hold_lease(self, session: Session) -> bool:
        now = self._clock.now()
        lease = session.get(SequencerLease, 1, with_for_update=True)
        if lease is None:
            try:
                with session.begin_nested():
                    lease = SequencerLease(id=1, holder=self._holder, until=now)
                    session.add(lease)
            except IntegrityError:
                return False
        if lease.holder != self._holder and lease.until > now:
            return False
        lease.holder, lease.until = self._holder, now + timedelta(seconds=self.limits.lease)
        return True

    def _integrate(self, session: Session) -> int:
        head = latest_head(session)
        # By id: a writer's entries have rising ids, because its row is locked before an id is drawn.
        waiting = session.scalars(
            select(Entry).where(Entry.position.is_(None)).order_by(Entry.id).limit(self.limits.batch)
        ).all()
        if head and not waiting:
            return 0
        size = head.size if head else 0
        self._require_sound(session, head)
        hashes = self._place(waiting, size)
        session.flush()
        self._on_step(SequencerStep.PLACED)
        changed = tiles.extend(lambda level, index: tile_hashes(session, level, index), size, hashes)
        for (level, index), content in changed.items():
            session.merge(Tile(level=level, index=index, hashes=content))
        session.flush()
        self._on_step(SequencerStep.TILED)
        session.add(
            TreeHead(
                size=size + len(hashes),
                root=_root(session, size + len(hashes)),
                integrated_at=self._clock.now(),
                signed_at=None,
                note=None,
            )
        )
        session.flush()
        self._on_step(SequencerStep.HEADED)
        return len(hashes)

    @staticmethod
    def _place(waiting: Sequence[Entry], size: int) -> list[bytes]:
        hashes: list[bytes] = []
        for position, entry in enumerate(waiting, size):
            if tree.leaf_hash(entry.leaf) != entry.leaf_hash:
                raise _damaged(position=position)
            entry.position = position
            hashes.append(entry.leaf_hash)
        return hashes

    @staticmethod
    def _require_sound(session: Session, head: TreeHead | None) -> None:
        """The stored tiles must give the root that the last head states."""
        if head and _root(session, head.size) != head.root:
            raise _damaged(size=head.size)

    def _sign_newest(self) -> None:
        with self._database.read() as session:
            head = latest_head(session)
            if head is None or head.note is not None:
                return
            checkpoint = Checkpoint(self.origin, head.size, head.root)
        try:
            note = sign_checkpoint(checkpoint, self.key, self._signer.sign)
        except HsmError as error:
            raise Unavailable(
                "hsm-unavailable",
                "The signing device does not answer. Nothing was signed; please try again later.",
                cause=error.code,
            ) from error
        self._on_step(SequencerStep.SIGNED)
        with self._database.write() as session:
            stored = session.get_one(TreeHead, checkpoint.size)
            if stored.note is None and stored.root == checkpoint.root:
                stored.note, stored.signed_at = note, self._clock.now()
                if not self._min_witnesses:
                    session.add(Publication(size=stored.size, published_at=stored.signed_at))
            session.flush()
            self._on_step(SequencerStep.NOTED)
        self._on_step(SequencerStep.PUBLISHED)


def _root(session: Session, size: int) -> bytes:
    try:
        return tree.root_hash(size, tiles.node_reader(lambda level, index: tile_hashes(session, level, index)))
    except KeyError:
        raise _damaged(size=size) from None


def _damaged(**facts: int) -> Conflict:
    return Conflict(
        "log-damaged", "The stored log is not the one that was signed. Run tsp audit verify and call for help.", **facts
    )
