"""A number that rises with every change of a certificate's row, so that statuses can be remembered."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_COUNT = (
    "INSERT INTO certificate_revision (id, revision) VALUES (1, 1) "
    "ON CONFLICT (id) DO UPDATE SET revision = certificate_revision.revision + 1;"
)
_TOLD = "serial, issuer, profile, not_before, not_after, issued_at, revoked_at, reason"


def upgrade() -> None:
    op.create_table(
        "certificate_revision",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificate_revision")),
    )
    if op.get_bind().dialect.name == "sqlite":
        for name, when in (("update", f"UPDATE OF {_TOLD}"), ("delete", "DELETE")):
            op.execute(f"CREATE TRIGGER certificate_{name} AFTER {when} ON certificate BEGIN {_COUNT} END")
        return
    op.execute(
        "CREATE FUNCTION certificate_changed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"{_COUNT} PERFORM pg_notify('certificate_changed', ''); RETURN NULL; END $$"
    )
    op.execute(
        f"CREATE TRIGGER certificate_changed AFTER UPDATE OF {_TOLD} OR DELETE ON certificate "
        "FOR EACH STATEMENT EXECUTE FUNCTION certificate_changed()"
    )
