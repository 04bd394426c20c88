"""What others say of the log's checkpoints, and how many one-time keys the engine found alive."""

import sqlalchemy as sa
from alembic import op

import tsp.core.database

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    size = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    moment = tsp.core.database.UtcDateTime(timezone=True)
    op.create_table(
        "audit_publication",
        sa.Column("size", size, autoincrement=False, nullable=False),
        sa.Column("published_at", moment, nullable=False),
        sa.ForeignKeyConstraint(
            ["size"], ["audit_tree_head.size"], name=op.f("fk_audit_publication_size_audit_tree_head")
        ),
        sa.PrimaryKeyConstraint("size", name=op.f("pk_audit_publication")),
    )
    # Until now every signed checkpoint was public.
    op.execute(
        "INSERT INTO audit_publication (size, published_at) "
        "SELECT size, signed_at FROM audit_tree_head WHERE note IS NOT NULL"
    )
    op.create_table(
        "audit_cosignature",
        sa.Column("size", size, autoincrement=False, nullable=False),
        sa.Column("witness", sa.String(length=200), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.Column("cosigned_at", moment, nullable=False),
        sa.ForeignKeyConstraint(
            ["size"], ["audit_tree_head.size"], name=op.f("fk_audit_cosignature_size_audit_tree_head")
        ),
        sa.PrimaryKeyConstraint("size", "witness", name=op.f("pk_audit_cosignature")),
    )
    op.create_table(
        "audit_witness",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("size", size, nullable=False),
        sa.Column("cosigned_at", moment, nullable=True),
        sa.Column("problem", sa.String(length=32), nullable=True),
        sa.Column("problem_at", moment, nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_audit_witness")),
    )
    op.create_table(
        "audit_time_stamp",
        sa.Column("size", size, autoincrement=False, nullable=False),
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.Column("stamped_at", moment, nullable=False),
        sa.ForeignKeyConstraint(
            ["size"], ["audit_tree_head.size"], name=op.f("fk_audit_time_stamp_size_audit_tree_head")
        ),
        sa.PrimaryKeyConstraint("size", name=op.f("pk_audit_time_stamp")),
    )
    op.create_table(
        "audit_key_count",
        sa.Column("worker", sa.String(length=64), nullable=False),
        sa.Column("token", sa.String(length=64), nullable=False),
        sa.Column("keys_alive", sa.Integer(), nullable=False),
        sa.Column("read_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("worker", name=op.f("pk_audit_key_count")),
    )


def downgrade() -> None:
    for table in ("audit_key_count", "audit_time_stamp", "audit_witness", "audit_cosignature", "audit_publication"):
        op.drop_table(table)
