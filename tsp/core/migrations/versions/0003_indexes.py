"""Indexes for the queries that read a growing table from end to end."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_certificate_revoked",
        "certificate",
        ["issuer"],
        sqlite_where=sa.text("revoked_at IS NOT NULL"),
        postgresql_where=sa.text("revoked_at IS NOT NULL"),
    )
    op.create_index("ix_outbox_message_ended", "outbox_message", ["ended"])
    op.create_index("ix_signing_session_waiting", "signing_session", ["state", "changed"])
    op.create_index("ix_idp_login_transaction_browser_hash", "idp_login_transaction", ["browser_hash"])
