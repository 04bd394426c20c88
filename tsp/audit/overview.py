"""What the log's page tells people: size, last checkpoint, witnesses, time-stamp, and keys alive."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from tsp.audit import public, tables
from tsp.audit.entries import timestamp
from tsp.audit.tables import KeyCount, WitnessState
from tsp.audit.tree import EMPTY_ROOT
from tsp.audit.witnesses import ALARMS

#: A count of the engine says nothing about now when it is older than this.
COUNT_LASTS = timedelta(seconds=60)
#: The engine may run on another machine.
_CLOCKS_DIFFER = timedelta(seconds=1)
#: Counts of workers that are long gone are dropped after this.
_COUNT_KEPT = timedelta(days=1)


@dataclass(frozen=True)
class WitnessView:
    """One witness: the size that it co-signed last and when, and what is wrong with it."""

    name: str
    key: str
    size: int | None
    cosigned_at: datetime | None
    problem: str | None
    alarm: bool


@dataclass(frozen=True)
class KeysAlive:
    """One-time keys alive in the tokens at `read_at`; `count` is None where nobody has looked lately."""

    count: int | None
    read_at: datetime | None


@dataclass(frozen=True)
class Overview:
    """The newest published state and what stands around it. `waiting` entries are signed and not published yet."""

    size: int
    root: bytes
    signed_at: datetime | None
    note: str
    waiting: int
    cosigned_by: int
    min_witnesses: int
    witnesses: tuple[WitnessView, ...]
    stamped_size: int | None
    stamped_at: datetime | None
    keys: KeysAlive

    @property
    def alarm(self) -> bool:
        """Whether a witness says that this log was rewritten or became shorter."""
        return any(witness.alarm for witness in self.witnesses)


def overview(session: Session, now: datetime, witnesses: Sequence[tuple[str, str]], min_witnesses: int) -> Overview:
    """The page's content; `witnesses` are name and key of each.

    Raises `Unavailable` (log-empty) where nothing is published, but for an alarm, which is always told.
    """
    views = tuple(_view(session, name, key) for name, key in witnesses)
    head = tables.latest_published(session) if any(view.alarm for view in views) else public.newest(session)
    size = head.size if head else 0
    signed = tables.latest_signed(session)
    stamp = tables.latest_stamp(session)
    own = {name for name, _ in witnesses}
    return Overview(
        size=size,
        root=head.root if head else EMPTY_ROOT,
        signed_at=head.signed_at if head else None,
        note=public.full_note(session, head) if head else "",
        waiting=signed.size - size if signed else 0,
        cosigned_by=sum(one.witness in own for one in tables.cosignatures(session, size)),
        min_witnesses=min_witnesses,
        witnesses=views,
        stamped_size=stamp.size if stamp else None,
        stamped_at=stamp.stamped_at if stamp else None,
        keys=keys_alive(session, now),
    )


def note_keys_alive(session: Session, worker: str, token: str, count: int, now: datetime) -> None:
    """Keeps what a worker of the engine read from its token just now; one row a worker."""
    session.execute(delete(KeyCount).where(KeyCount.read_at < now - _COUNT_KEPT))
    session.merge(KeyCount(worker=worker, token=token, keys_alive=count, read_at=now))


def keys_alive(session: Session, now: datetime) -> KeysAlive:
    """The sum over the workers that have looked within `COUNT_LASTS`: a one-time key is seen by its own alone.

    The moment is that of the oldest look that counts. Where none counts, the count is unknown and
    the moment is that of the last look of all.
    """
    counts = list(session.scalars(select(KeyCount)))
    fresh = [one for one in counts if timedelta(0) <= now - one.read_at + _CLOCKS_DIFFER <= COUNT_LASTS]
    if not fresh:
        return KeysAlive(None, max((one.read_at for one in counts), default=None))
    return KeysAlive(sum(one.keys_alive for one in fresh), min(one.read_at for one in fresh))


def as_json(seen: Overview) -> dict[str, object]:
    """The same for machines; moments in UTC, `keys_alive` null where it is unknown."""
    return {
        "size": seen.size,
        "root": seen.root.hex(),
        "signed_at": _moment(seen.signed_at),
        "waiting": seen.waiting,
        "checkpoint": seen.note,
        "cosigned_by": seen.cosigned_by,
        "min_witnesses": seen.min_witnesses,
        "alarm": seen.alarm,
        "witnesses": [
            {
                "name": one.name,
                "key": one.key,
                "size": one.size,
                "cosigned_at": _moment(one.cosigned_at),
                "problem": one.problem,
            }
            for one in seen.witnesses
        ],
        "time_stamp": {"size": seen.stamped_size, "at": _moment(seen.stamped_at)},
        "keys_alive": seen.keys.count,
        "keys_read_at": _moment(seen.keys.read_at),
    }


def _moment(at: datetime | None) -> str | None:
    return timestamp(at) if at else None


def _view(session: Session, name: str, key: str) -> WitnessView:
    state = session.get(WitnessState, name)
    if state is None:
        return WitnessView(name, key, None, None, None, alarm=False)
    size = state.size if state.cosigned_at else None
    return WitnessView(name, key, size, state.cosigned_at, state.problem, state.problem in ALARMS)
