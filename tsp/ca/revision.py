"""A number that rises with every change of a certificate's row, kept by the database itself.

Who remembers statuses asks for it, to know whether what is remembered still holds. A trigger counts, so that no
change is missed, whoever makes it and with what program; on PostgreSQL it also notifies those who listen.
"""

from dataclasses import fields
from typing import Final

from sqlalchemy import DDL, BigInteger, event
from sqlalchemy.orm import Mapped, mapped_column

from tsp.ca.tables import Certificate, CertificateStatus
from tsp.core.database import Base, table_of

#: What PostgreSQL's listeners listen to.
CHANNEL: Final = "certificate_changed"


class CertificateRevision(Base):
    """One row, which comes with the first change."""

    __tablename__ = "certificate_revision"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    revision: Mapped[int] = mapped_column(BigInteger)


_COUNT = (
    "INSERT INTO certificate_revision (id, revision) VALUES (1, 1) "
    "ON CONFLICT (id) DO UPDATE SET revision = certificate_revision.revision + 1;"
)
#: The columns that answers tell, or that decide what they tell; the others change without anybody being misled.
_TOLD = ", ".join(field.name for field in fields(CertificateStatus))
#: What makes the database count, by dialect; a row that is added changes no status that anybody was told.
TRIGGERS: Final = {
    "sqlite": [
        f"CREATE TRIGGER certificate_{name} AFTER {when} ON certificate BEGIN {_COUNT} END"
        for name, when in (("update", f"UPDATE OF {_TOLD}"), ("delete", "DELETE"))
    ],
    "postgresql": [
        (
            "CREATE FUNCTION certificate_changed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"{_COUNT} PERFORM pg_notify('{CHANNEL}', ''); RETURN NULL; END $$"
        ),
        (
            f"CREATE TRIGGER certificate_changed AFTER UPDATE OF {_TOLD} OR DELETE ON certificate "
            "FOR EACH STATEMENT EXECUTE FUNCTION certificate_changed()"
        ),
    ],
}

table_of(CertificateRevision).add_is_dependent_on(table_of(Certificate))
for _dialect, _statements in TRIGGERS.items():
    for _statement in _statements:
        event.listen(
            table_of(CertificateRevision),
            "after_create",
            DDL(_statement.replace("%", "%%")).execute_if(dialect=_dialect),  # type: ignore[no-untyped-call]  # SQLAlchemy gives it no types
        )
