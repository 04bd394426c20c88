"""Certificates that were prepared, to be issued once."""

import sqlalchemy as sa
from alembic import op

import tsp.core.database

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = tsp.core.database.UtcDateTime(timezone=True)
    op.create_table(
        "certificate_intent",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("profile", sa.String(length=64), nullable=False),
        sa.Column("issuer", sa.String(length=16), nullable=False),
        sa.Column("serial", sa.String(length=32), nullable=False),
        sa.Column("subject_ref", sa.String(length=64), nullable=True),
        sa.Column("tbs", sa.LargeBinary(), nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("prepared_at", moment, nullable=False),
        sa.Column("until", moment, nullable=False),
        sa.Column("ended_at", moment, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificate_intent")),
        sa.UniqueConstraint("serial", name=op.f("uq_certificate_intent_serial")),
    )
    op.create_index("ix_certificate_intent_state", "certificate_intent", ["state", "prepared_at"])
