"""Certificates are found by subject, kind and time of issue, and their holders are told of them."""

from hashlib import sha256

import sqlalchemy as sa
from alembic import op
from asn1crypto import x509

import tsp.core.database

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_BATCH = 1000


def upgrade() -> None:
    op.add_column("certificate", sa.Column("subject_digest", sa.String(length=64), nullable=True))
    moment = tsp.core.database.UtcDateTime(timezone=True)
    op.add_column("certificate", sa.Column("told_at", moment, nullable=True))
    # Nobody is told today of what was issued before there were notices.
    op.execute("UPDATE certificate SET told_at = issued_at")
    _fill(op.get_bind())
    with op.batch_alter_table("certificate") as table:
        table.alter_column("subject_digest", existing_type=sa.String(length=64), nullable=False)
    untold = sa.text("told_at IS NULL AND subject_ref IS NOT NULL")
    op.create_index(
        "ix_certificate_untold",
        "certificate",
        ["issued_at", "subject_ref"],
        sqlite_where=untold,
        postgresql_where=untold,
    )
    op.create_index("ix_certificate_issued", "certificate", ["issued_at", "serial"])
    op.create_index("ix_certificate_profile", "certificate", ["profile", "issued_at", "serial"])
    op.create_index("ix_certificate_subject", "certificate", ["subject_digest", "issued_at", "serial"])


def _fill(connection: sa.Connection) -> None:
    """The digests of what was issued before, a batch at a time in the order of the key."""
    table = sa.table("certificate", sa.column("serial"), sa.column("der"), sa.column("subject_digest"))
    last = ""
    while rows := connection.execute(
        sa.select(table.c.serial, table.c.der).where(table.c.serial > last).order_by(table.c.serial).limit(_BATCH)
    ).all():
        digests = [
            {"key": serial, "digest": sha256(x509.Certificate.load(der).subject.dump()).hexdigest()}
            for serial, der in rows
        ]
        change = table.update().where(table.c.serial == sa.bindparam("key"))
        connection.execute(change.values(subject_digest=sa.bindparam("digest")), digests)
        last = rows[-1].serial
