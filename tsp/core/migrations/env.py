"""How alembic reaches the database: `tsp.core.migrate` hands engine and tables in."""

from alembic import context


def run() -> None:
    """Runs the wanted migrations in one transaction each."""
    with context.config.attributes["engine"].connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=context.config.attributes["metadata"],
            render_as_batch=True,
            compare_type=True,
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()


run()
