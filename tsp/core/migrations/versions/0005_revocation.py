"""Parts of revocation lists, where each list has come to, and the way from a certificate to its holder's account."""

import sqlalchemy as sa
from alembic import op

import tsp.core.database

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("certificate", sa.Column("shard", sa.Integer(), nullable=False, server_default=sa.text("0")))
    op.drop_index("ix_certificate_revoked", "certificate")
    op.create_index(
        "ix_certificate_revoked",
        "certificate",
        ["issuer", "shard", "serial", "revoked_at", "reason"],
        sqlite_where=sa.text("revoked_at IS NOT NULL"),
        postgresql_where=sa.text("revoked_at IS NOT NULL"),
    )
    moment = tsp.core.database.UtcDateTime(timezone=True)
    op.create_table(
        "revocation_list",
        sa.Column("issuer", sa.String(length=16), nullable=False),
        sa.Column("shard", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("revocations", sa.BigInteger(), nullable=False),
        sa.Column("listed", sa.BigInteger(), nullable=False),
        sa.Column("published", sa.BigInteger(), nullable=True),
        sa.Column("this_update", moment, nullable=True),
        sa.Column("next_update", moment, nullable=True),
        sa.Column("base", sa.BigInteger(), nullable=True),
        sa.Column("base_update", moment, nullable=True),
        sa.Column("ended", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("issuer", "shard", name=op.f("pk_revocation_list")),
    )
    op.create_table(
        "idp_approval_subject",
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_idp_approval_subject")),
    )
    op.create_index(op.f("ix_idp_approval_subject_account_id"), "idp_approval_subject", ["account_id"])
