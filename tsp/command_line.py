"""The wings' sub-commands of `tsp`. Nothing here decides anything."""

import typer

from tsp.core.settings import load_settings
from tsp.parts import account_holder, ceremony_context
from tsp.runtime import Runtime


def add_commands(app: typer.Typer) -> None:
    """Hangs the wings' sub-commands under `tsp`."""
    from tsp.adapters import revocation_context
    from tsp.audit.commands import app as audit_commands
    from tsp.audit.evidence_commands import app as evidence_commands
    from tsp.ca.certificate_commands import certificate_commands
    from tsp.ca.commands import ceremony_commands
    from tsp.ca.revocation_commands import add_revocation
    from tsp.repository.commands import add_repository_commands
    from tsp.validate.commands import verify

    app.command()(verify)
    app.add_typer(audit_commands, name="audit")
    app.add_typer(evidence_commands, name="evidence")
    add_repository_commands(app, lambda: Runtime(load_settings()))
    app.add_typer(ceremony_commands(lambda: ceremony_context(Runtime(load_settings()))), name="ceremony")
    certificates = certificate_commands(
        lambda: ceremony_context(Runtime(load_settings())),
        lambda account: account_holder(Runtime(load_settings()), account),
    )
    add_revocation(certificates, lambda: revocation_context(ceremony_context(Runtime(load_settings()))))
    app.add_typer(certificates, name="certificate")
