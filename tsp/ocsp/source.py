"""Where the responder learns of statuses."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import fields
from typing import Final, Protocol

from sqlalchemy import bindparam, select

from tsp.ca.tables import Certificate, CertificateStatus, serial_text
from tsp.core.database import Database, table_of

# Core columns: for rows that are only looked at, the session's bookkeeping took longer than the database.
_TABLE: Final = table_of(Certificate)
_COLUMNS: Final = [_TABLE.c[field.name] for field in fields(CertificateStatus)]
_BY_SERIAL: Final = select(*_COLUMNS).where(_TABLE.c.serial.in_(bindparam("serials", expanding=True)))


class StatusSource(Protocol):
    """The authority's memory, as seen by a responder."""

    def statuses(
        self, issuer: str, serials: Sequence[int], revision: int | None = None
    ) -> Sequence[CertificateStatus | None]:
        """The status of each serial number under the issuer with that role; None was never issued.

        `revision` is the number of changes that was known before the question (`watch.StatusWatch`), None where
        it is not known. Raises `Unavailable` where statuses cannot be known now.
        """
        ...


class DatabaseSource:
    """Reads the certificate table afresh for every request: a revocation shows in the next answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def statuses(
        self, issuer: str, serials: Sequence[int], revision: int | None = None
    ) -> Sequence[CertificateStatus | None]:
        asked = [serial_text(serial) for serial in serials]
        with self._database.read() as session:
            rows = session.connection().execute(_BY_SERIAL, {"serials": list(set(asked))})
            found = {row.serial: CertificateStatus(**row._mapping) for row in rows}  # noqa: SLF001  (public in SQLAlchemy)
        known = [found.get(serial) for serial in asked]
        return [one if one is not None and one.issuer == issuer else None for one in known]


class RememberedSource:
    """Remembers what `source` says of certificates that were issued, until anything has changed.

    What is remembered under one number of changes is never told under another. Used by several threads.
    """

    def __init__(self, source: StatusSource, most: int = 10_000) -> None:
        self._source = source
        self._most = most
        self._known: OrderedDict[tuple[str, int, int], CertificateStatus] = OrderedDict()

    def statuses(
        self, issuer: str, serials: Sequence[int], revision: int | None = None
    ) -> Sequence[CertificateStatus | None]:
        if revision is None:
            return self._source.statuses(issuer, serials)
        known = [self._known.get((issuer, serial, revision)) for serial in serials]
        if all(known):
            return known
        found = self._source.statuses(issuer, serials)
        for serial, status in zip(serials, found, strict=True):
            if status is not None:
                self._known[issuer, serial, revision] = status
        while len(self._known) > self._most:
            try:
                self._known.popitem(last=False)
            except KeyError:  # another thread was quicker
                break
        return found
