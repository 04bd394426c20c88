"""Where the responder learns of statuses."""

from collections.abc import Sequence
from typing import Protocol

from tsp.ca.tables import CertificateStatus, serial_text, status
from tsp.core.database import Database


class StatusSource(Protocol):
    """The authority's memory, as seen by a responder."""

    def statuses(self, issuer: str, serials: Sequence[int]) -> Sequence[CertificateStatus | None]:
        """The status of each serial number under the issuer with that role; None was never issued.

        Raises `Unavailable` where it cannot be known now.
        """
        ...


class DatabaseSource:
    """Reads the certificate table afresh for every request: a revocation shows in the next answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def statuses(self, issuer: str, serials: Sequence[int]) -> Sequence[CertificateStatus | None]:
        with self._database.read() as session:
            return [status(session, issuer, serial_text(serial)) for serial in serials]
