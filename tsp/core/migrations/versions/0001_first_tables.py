"""The first tables of every wing."""

import sqlalchemy as sa
from alembic import op

import tsp.core.database

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("id", sa.String(length=22), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("language", sa.String(length=2), nullable=False),
        sa.Column("terms_accepted", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("created", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("ended", tsp.core.database.UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
    )
    op.create_table(
        "approval",
        sa.Column("jti", sa.String(length=128), nullable=False),
        sa.Column("sad_sha256", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("client", sa.String(length=128), nullable=False),
        sa.Column("subject_ref", sa.String(length=64), nullable=False),
        sa.Column("session", sa.String(length=128), nullable=False),
        sa.Column("expires_at", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(length=64), nullable=True),
        sa.Column("lease_until", tsp.core.database.UtcDateTime(timezone=True), nullable=True),
        sa.Column("first_reserved_at", tsp.core.database.UtcDateTime(timezone=True), nullable=True),
        sa.Column("signed_at", tsp.core.database.UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("jti", name=op.f("pk_approval")),
    )
    with op.batch_alter_table("approval", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_approval_state"), ["state"], unique=False)
        batch_op.create_index(batch_op.f("ix_approval_subject_ref"), ["subject_ref"], unique=False)

    op.create_table(
        "attempt_limit",
        sa.Column("factor", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=128), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("last_at", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("paused_until", tsp.core.database.UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("factor", "subject", name=op.f("pk_attempt_limit")),
    )
    with op.batch_alter_table("attempt_limit", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_attempt_limit_last_at"), ["last_at"], unique=False)

    op.create_table(
        "audit_sequencer",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("holder", sa.String(length=64), nullable=False),
        sa.Column("until", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_sequencer")),
    )
    op.create_table(
        "audit_tile",
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("tile_index", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("level", "tile_index", name=op.f("pk_audit_tile")),
    )
    op.create_table(
        "audit_tree_head",
        sa.Column("size", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("root", sa.LargeBinary(length=32), nullable=False),
        sa.Column("integrated_at", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("signed_at", tsp.core.database.UtcDateTime(timezone=True), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("size", name=op.f("pk_audit_tree_head")),
    )
    op.create_table(
        "audit_writer",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("counter", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("last", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_audit_writer")),
    )
    op.create_table(
        "certificate",
        sa.Column("serial", sa.String(length=32), nullable=False),
        sa.Column("issuer", sa.String(length=16), nullable=False),
        sa.Column("profile", sa.String(length=64), nullable=False),
        sa.Column("subject_ref", sa.String(length=64), nullable=True),
        sa.Column("not_before", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("not_after", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("der", sa.LargeBinary(), nullable=False),
        sa.Column("issued_at", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", tsp.core.database.UtcDateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_certificate")),
    )
    with op.batch_alter_table("certificate", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_certificate_subject_ref"), ["subject_ref"], unique=False)

    op.create_table(
        "identification_key",
        sa.Column("id", sa.String(length=22), nullable=False),
        sa.Column("mac", sa.String(length=43), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("organisation", sa.String(length=64), nullable=False),
        sa.Column("officer", sa.String(length=100), nullable=False),
        sa.Column("issued", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("expires", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("used", tsp.core.database.UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identification_key")),
        sa.UniqueConstraint("mac", name=op.f("uq_identification_key_mac")),
    )
    with op.batch_alter_table("identification_key", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_identification_key_expires"), ["expires"], unique=False)
        batch_op.create_index(batch_op.f("ix_identification_key_organisation"), ["organisation"], unique=False)

    op.create_table(
        "idp_access_token",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=True),
        sa.Column("code_hash", sa.String(length=64), nullable=True),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("claims", sa.JSON(), nullable=False),
        sa.Column("expires_at", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_idp_access_token")),
    )
    with op.batch_alter_table("idp_access_token", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_idp_access_token_account_id"), ["account_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_idp_access_token_code_hash"), ["code_hash"], unique=False)
        batch_op.create_index(batch_op.f("ix_idp_access_token_expires_at"), ["expires_at"], unique=False)

    op.create_table(
        "idp_authorization_code",
        sa.Column("code_hash", sa.String(length=64), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("forget_at", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("used_at", tsp.core.database.UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("code_hash", name=op.f("pk_idp_authorization_code")),
    )
    with op.batch_alter_table("idp_authorization_code", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_idp_authorization_code_account_id"), ["account_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_idp_authorization_code_forget_at"), ["forget_at"], unique=False)

    op.create_table(
        "idp_client_assertion",
        sa.Column("jti_hash", sa.String(length=64), nullable=False),
        sa.Column("expires_at", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("jti_hash", name=op.f("pk_idp_client_assertion")),
    )
    with op.batch_alter_table("idp_client_assertion", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_idp_client_assertion_expires_at"), ["expires_at"], unique=False)

    op.create_table(
        "idp_consent",
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("claims", sa.JSON(), nullable=False),
        sa.Column("given_at", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "client_id", name=op.f("pk_idp_consent")),
    )
    op.create_table(
        "idp_login_transaction",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("browser_hash", sa.String(length=64), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("forget_at", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("deadline", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=True),
        sa.Column("means", sa.JSON(), nullable=False),
        sa.Column("method", sa.String(length=64), nullable=True),
        sa.Column("auth_time", tsp.core.database.UtcDateTime(timezone=True), nullable=True),
        sa.Column("consented_at", tsp.core.database.UtcDateTime(timezone=True), nullable=True),
        sa.Column("approval_deadline", tsp.core.database.UtcDateTime(timezone=True), nullable=True),
        sa.Column("approval_method", sa.String(length=64), nullable=True),
        sa.Column("finished_at", tsp.core.database.UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_idp_login_transaction")),
    )
    with op.batch_alter_table("idp_login_transaction", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_idp_login_transaction_forget_at"), ["forget_at"], unique=False)

    op.create_table(
        "idp_pushed_request",
        sa.Column("reference_hash", sa.String(length=64), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("transaction_id", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("reference_hash", name=op.f("pk_idp_pushed_request")),
    )
    with op.batch_alter_table("idp_pushed_request", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_idp_pushed_request_expires_at"), ["expires_at"], unique=False)

    op.create_table(
        "idp_session",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("means", sa.JSON(), nullable=False),
        sa.Column("auth_time", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("last_seen", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("ends_at", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_idp_session")),
    )
    with op.batch_alter_table("idp_session", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_idp_session_account_id"), ["account_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_idp_session_ends_at"), ["ends_at"], unique=False)

    op.create_table(
        "one_time_code",
        sa.Column("purpose", sa.String(length=32), nullable=False),
        sa.Column("reference", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=22), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("channel", sa.String(length=32), nullable=False),
        sa.Column("address_index", sa.String(length=64), nullable=False),
        sa.Column("context_digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("mac", sa.LargeBinary(length=32), nullable=False),
        sa.Column("issued", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("resend_after", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("expires", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("attempts_left", sa.Integer(), nullable=False),
        sa.Column("used", tsp.core.database.UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("purpose", "reference", name=op.f("pk_one_time_code")),
        sa.UniqueConstraint("id", name=op.f("uq_one_time_code_id")),
    )
    with op.batch_alter_table("one_time_code", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_one_time_code_expires"), ["expires"], unique=False)

    op.create_table(
        "organisation",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("created", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organisation")),
    )
    op.create_table(
        "outbox_message",
        sa.Column("id", sa.String(length=22), nullable=False),
        sa.Column("channel", sa.String(length=8), nullable=False),
        sa.Column("purpose", sa.String(length=40), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("created", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("due", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("expires", tsp.core.database.UtcDateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(length=22), nullable=True),
        sa.Column("lease_until", tsp.core.database.UtcDateTime(timezone=True), nullable=True),
        sa.Column("ended", tsp.core.database.UtcDateTime(timezone=True), nullable=True),
        sa.Column("cause", sa.String(length=60), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox_message")),
    )
    with op.batch_alter_table("outbox_message", schema=None) as batch_op:
        batch_op.create_index("ix_outbox_message_due", ["state", "due"], unique=False)

    op.create_table(
        "password",
        sa.Column("account_id", sa.String(length=22), nullable=False),
        sa.Column("parameters", sa.String(length=64), nullable=False),
        sa.Column("salt", sa.LargeBinary(length=16), nullable=False),
        sa.Column("mac", sa.LargeBinary(length=32), nullable=False),
        sa.Column("changed", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_password")),
    )
    op.create_table(
        "puk",
        sa.Column("account_id", sa.String(length=22), nullable=False),
        sa.Column("mac", sa.LargeBinary(length=32), nullable=False),
        sa.Column("acknowledged", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_puk")),
    )
    op.create_table(
        "registration",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("step", sa.String(length=8), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("expires", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_registration")),
    )
    with op.batch_alter_table("registration", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_registration_expires"), ["expires"], unique=False)

    op.create_table(
        "signing_session",
        sa.Column("id", sa.String(length=22), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("label_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("page_sizes", sa.JSON(), nullable=False),
        sa.Column("findings", sa.JSON(), nullable=False),
        sa.Column("earlier_signatures", sa.Integer(), nullable=False),
        sa.Column("digest_shown", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=True),
        sa.Column("attempt", sa.String(length=22), nullable=True),
        sa.Column("digest_signed", sa.String(length=64), nullable=True),
        sa.Column("field_name", sa.String(length=127), nullable=True),
        sa.Column("byte_range", sa.JSON(), nullable=True),
        sa.Column("approval_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("approved_at", tsp.core.database.UtcDateTime(timezone=True), nullable=True),
        sa.Column("result_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("evidence_id", sa.String(length=64), nullable=True),
        sa.Column("problem", sa.String(length=64), nullable=True),
        sa.Column("lease_until", tsp.core.database.UtcDateTime(timezone=True), nullable=True),
        sa.Column("created", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("changed", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("finished_at", tsp.core.database.UtcDateTime(timezone=True), nullable=True),
        sa.Column("erase_after", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("erased_at", tsp.core.database.UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signing_session")),
    )
    with op.batch_alter_table("signing_session", schema=None) as batch_op:
        batch_op.create_index("ix_signing_session_erase_after", ["erase_after"], unique=False)
        batch_op.create_index("ix_signing_session_owner_created", ["owner", "created"], unique=False)

    op.create_table(
        "site_authorization",
        sa.Column("state_hash", sa.String(length=64), nullable=False),
        sa.Column("browser_hash", sa.String(length=64), nullable=False),
        sa.Column("nonce", sa.String(length=43), nullable=False),
        sa.Column("verifier_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("back", sa.String(length=2000), nullable=False),
        sa.Column("session_id", sa.String(length=22), nullable=True),
        sa.Column("attempt", sa.String(length=22), nullable=True),
        sa.Column("ends_at", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("state_hash", name=op.f("pk_site_authorization")),
    )
    with op.batch_alter_table("site_authorization", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_site_authorization_ends_at"), ["ends_at"], unique=False)

    op.create_table(
        "site_login",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("name_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("acr", sa.String(length=60), nullable=False),
        sa.Column("last_seen", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("ends_at", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_site_login")),
    )
    with op.batch_alter_table("site_login", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_site_login_ends_at"), ["ends_at"], unique=False)

    op.create_table(
        "time_stamp",
        sa.Column("serial", sa.String(length=32), nullable=False),
        sa.Column("unit", sa.String(length=40), nullable=False),
        sa.Column("given_at", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("hash_name", sa.String(length=8), nullable=False),
        sa.Column("imprint", sa.LargeBinary(length=64), nullable=False),
        sa.Column("token_digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("batch", sa.LargeBinary(length=32), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_time_stamp")),
        sa.UniqueConstraint("batch", "position", name=op.f("uq_time_stamp_batch_position")),
    )
    with op.batch_alter_table("time_stamp", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_time_stamp_given_at"), ["given_at"], unique=False)

    op.create_table(
        "account_email",
        sa.Column("id", sa.String(length=22), nullable=False),
        sa.Column("account_id", sa.String(length=22), nullable=False),
        sa.Column("address_index", sa.String(length=43), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("notification", sa.Boolean(), nullable=False),
        sa.Column("added", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_account_email_account_id_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account_email")),
        sa.UniqueConstraint("address_index", name=op.f("uq_account_email_address_index")),
    )
    with op.batch_alter_table("account_email", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_account_email_account_id"), ["account_id"], unique=False)

    op.create_table(
        "account_phone",
        sa.Column("id", sa.String(length=22), nullable=False),
        sa.Column("account_id", sa.String(length=22), nullable=False),
        sa.Column("number_index", sa.String(length=43), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("login", sa.Boolean(), nullable=False),
        sa.Column("added", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_account_phone_account_id_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account_phone")),
    )
    with op.batch_alter_table("account_phone", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_account_phone_account_id"), ["account_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_account_phone_number_index"), ["number_index"], unique=False)

    op.create_table(
        "audit_entry",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("writer", sa.String(length=64), nullable=False),
        sa.Column("counter", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("recorded_at", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("salt", sa.LargeBinary(length=32), nullable=False),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("position", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.ForeignKeyConstraint(["writer"], ["audit_writer.name"], name=op.f("fk_audit_entry_writer_audit_writer")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_entry")),
        sa.UniqueConstraint("leaf_hash", name=op.f("uq_audit_entry_leaf_hash")),
        sa.UniqueConstraint("position", name=op.f("uq_audit_entry_position")),
        sa.UniqueConstraint("writer", "counter", name=op.f("uq_audit_entry_writer_counter")),
    )
    op.create_table(
        "form_permission",
        sa.Column("session_id", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=22), nullable=False),
        sa.Column("until", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_form_permission_account_id_account")),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_form_permission")),
    )
    with op.batch_alter_table("form_permission", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_form_permission_until"), ["until"], unique=False)

    op.create_table(
        "identity_verification",
        sa.Column("id", sa.String(length=22), nullable=False),
        sa.Column("account_id", sa.String(length=22), nullable=False),
        sa.Column("method", sa.String(length=32), nullable=False),
        sa.Column("level", sa.String(length=16), nullable=False),
        sa.Column("reference", sa.String(length=64), nullable=True),
        sa.Column("at", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_identity_verification_account_id_account")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_verification")),
    )
    with op.batch_alter_table("identity_verification", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_identity_verification_account_id"), ["account_id"], unique=False)

    op.create_table(
        "personal_data",
        sa.Column("account_id", sa.String(length=22), nullable=False),
        sa.Column("tax_index", sa.String(length=43), nullable=False),
        sa.Column("verified_index", sa.String(length=43), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("verified", sa.Boolean(), nullable=False),
        sa.Column("entered", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_personal_data_account_id_account")),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_personal_data")),
        sa.UniqueConstraint("verified_index", name=op.f("uq_personal_data_verified_index")),
    )
    with op.batch_alter_table("personal_data", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_personal_data_tax_index"), ["tax_index"], unique=False)

    op.create_table(
        "signature",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("jti", sa.String(length=128), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("serial", sa.String(length=32), nullable=False),
        sa.Column("cms", sa.LargeBinary(), nullable=False),
        sa.Column("signed_at", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["jti"], ["approval.jti"], name=op.f("fk_signature_jti_approval")),
        sa.ForeignKeyConstraint(["serial"], ["certificate.serial"], name=op.f("fk_signature_serial_certificate")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signature")),
        sa.UniqueConstraint("jti", "digest", name=op.f("uq_signature_jti_digest")),
        sa.UniqueConstraint("jti", "ordinal", name=op.f("uq_signature_jti_ordinal")),
        sa.UniqueConstraint("serial", name=op.f("uq_signature_serial")),
    )
    op.create_table(
        "signature_intent",
        sa.Column("jti", sa.String(length=128), nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("ordinal", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("serial", sa.String(length=32), nullable=True),
        sa.Column("public_key_sha256", sa.String(length=64), nullable=True),
        sa.Column("intended_at", tsp.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(["jti"], ["approval.jti"], name=op.f("fk_signature_intent_jti_approval")),
        sa.PrimaryKeyConstraint("jti", "attempt", "ordinal", name=op.f("pk_signature_intent")),
        sa.UniqueConstraint("serial", name=op.f("uq_signature_intent_serial")),
    )
    op.create_table(
        "evidence",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("signature_id", sa.String(length=32), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("entry_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.ForeignKeyConstraint(["entry_id"], ["audit_entry.id"], name=op.f("fk_evidence_entry_id_audit_entry")),
        sa.ForeignKeyConstraint(["signature_id"], ["signature.id"], name=op.f("fk_evidence_signature_id_signature")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evidence")),
        sa.UniqueConstraint("entry_id", name=op.f("uq_evidence_entry_id")),
        sa.UniqueConstraint("signature_id", name=op.f("uq_evidence_signature_id")),
    )
