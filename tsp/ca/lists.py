"""The state of revocation lists in the database: which number comes next, what is due, what stands on a list."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import String, select, type_coerce, update
from sqlalchemy.orm import Session

from tsp.ca.crl import entry
from tsp.ca.tables import Certificate, RevocationList
from tsp.core.database import insert_or_lock, table_of
from tsp.core.errors import Conflict

_CERTIFICATE = table_of(Certificate)
#: Rows that come from the database at a time.
_ROWS: Final = 10_000


class Scope(NamedTuple):
    """What a list covers: all certificates of an issuer (shard 0), or the part that names this shard."""

    issuer: str
    shard: int = 0


@dataclass(frozen=True, slots=True)
class ListState:
    """Where a list has come to: `RevocationList` as values."""

    number: int
    revocations: int
    listed: int
    published: int | None
    this_update: datetime | None
    base: int | None
    base_update: datetime | None
    ended: bool


def scopes(session: Session, issuer: str, shards: int) -> list[Scope]:
    """The lists of an issuer: those that new certificates name, and those that older ones do."""
    known = session.scalars(select(RevocationList.shard).where(RevocationList.issuer == issuer)).all()
    named = set(range(1, shards + 1)) if shards else {0}
    return [Scope(issuer, shard) for shard in sorted(named.union(known))]


def state(session: Session, scope: Scope) -> ListState | None:
    """The state of a list; None where it was never thought of."""
    row = session.get(RevocationList, scope)
    return None if row is None else _values(row)


def lock_lists(session: Session, issuer: str, shards: Collection[int]) -> None:
    """Locks the lists that cover certificates of these parts, to the end of the transaction.

    Called before a certificate's own row is locked, and for all parts at once, in one order for everybody: who
    revokes one certificate and who revokes all of them must not wait for each other in a ring.
    """
    whole = {0} if session.get(RevocationList, Scope(issuer, 0)) is not None else set()
    for shard in sorted(whole.union(shards)):
        _locked(session, Scope(issuer, shard))


def count_revocation(session: Session, issuer: str, shard: int) -> None:
    """Says, in the transaction of a revocation, that the lists which cover it are due."""
    lock_lists(session, issuer, {shard})
    table = table_of(RevocationList)
    covering = table.c.issuer == issuer, table.c.shard.in_({0, shard})
    session.execute(update(table).where(*covering).values(revocations=table.c.revocations + 1))


def next_number(session: Session, scope: Scope, floor: int) -> tuple[int, ListState]:
    """A number for a list that is about to be signed, no smaller than `floor`, and the state of the list so far.

    It is given out once, whatever becomes of the list. Raises `Conflict` (crl-ended) where the last list was
    published.
    """
    row = _locked(session, scope)
    if row.ended:
        raise Conflict("crl-ended", "The last list of this authority was published.", issuer=scope.issuer)
    row.number = max(row.number + 1, floor)
    session.flush()
    return row.number, _values(row)


def published(
    session: Session,
    scope: Scope,
    number: int,
    listed: int,
    times: tuple[datetime, datetime],
    *,
    base: bool,
    last: bool,
) -> bool:
    """Notes that this list is published; False, and nothing noted, where a newer one is.

    The row stays locked to the end of the transaction: within it the file is put in its place. `base` says that
    delta lists go on from this one.
    """
    row = _locked(session, scope)
    if row.ended or (row.published or -1) >= number:
        return False
    row.published, row.listed, row.ended = number, listed, last
    row.this_update, row.next_update = times
    if base:
        row.base, row.base_update = number, times[0]
    session.flush()
    return True


def entries(session: Session, scope: Scope, since: datetime | None = None) -> Iterator[bytes]:
    """The encoded entries of a list, by shard and serial number, or those that were revoked since then.

    Expired certificates are among them: they stay (EN 319 411-2 CSS-6.3.10-05). Read as they are asked for.
    """
    columns = _CERTIFICATE.c
    query = (
        select(columns.serial, type_coerce(columns.revoked_at, String), columns.reason)
        .where(columns.issuer == scope.issuer, columns.revoked_at.is_not(None))
        .order_by(columns.shard, columns.serial)
    )
    if scope.shard:
        query = query.where(columns.shard == scope.shard)
    if since is not None:
        query = query.where(columns.revoked_at >= since)
    # A moment comes as the database keeps it: to make an object of each took longer than all the rest.
    for rows in session.connection().execute(query, execution_options={"yield_per": _ROWS}).partitions():
        for serial, revoked_at, reason in rows:
            yield entry(serial, revoked_at, reason)


def all_settled(session: Session, issuer: str, now: datetime) -> bool:
    """Whether every certificate of the issuer is expired or revoked (EN 319 411-2 CSS-6.3.9-09)."""
    query = select(Certificate.serial).where(
        Certificate.issuer == issuer, Certificate.not_after >= now, Certificate.revoked_at.is_(None)
    )
    return session.scalar(query.limit(1)) is None


def _locked(session: Session, scope: Scope) -> RevocationList:
    fresh = RevocationList(
        issuer=scope.issuer,
        shard=scope.shard,
        number=0,
        revocations=0,
        listed=0,
        published=None,
        this_update=None,
        next_update=None,
        base=None,
        base_update=None,
        ended=False,
    )
    insert_or_lock(session, fresh)
    return session.get_one(RevocationList, scope, populate_existing=True)


def _values(row: RevocationList) -> ListState:
    return ListState(
        row.number, row.revocations, row.listed, row.published, row.this_update, row.base, row.base_update, row.ended
    )
