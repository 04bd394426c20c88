"""The wings' sub-commands of `tsp`, and what they work with in an installation. Nothing here decides anything."""

from typing import TYPE_CHECKING

import typer

from tsp.ca.commands import CeremonyContext
from tsp.core.settings import load_settings
from tsp.runtime import Runtime

if TYPE_CHECKING:
    from tsp.ca.names import PersonName


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
        lambda account: _holder(Runtime(load_settings()), account),
    )
    add_revocation(certificates, lambda: revocation_context(ceremony_context(Runtime(load_settings()))))
    app.add_typer(certificates, name="certificate")


def _holder(runtime: Runtime, account_id: str) -> "PersonName":
    """The proven person of an account, as certificates name them; with the token of the identity provider."""
    from tsp.ca.names import PersonName
    from tsp.core.sealing import Sealer
    from tsp.idp.accounts.assurance import load_policy
    from tsp.idp.accounts.holder import certifiable

    policy = load_policy(runtime.settings.path(runtime.settings.idp.assurance))
    database = runtime.database()
    try:
        with runtime.open_token("identity") as token, database.read() as session:
            sealer = Sealer(token.aead_key("personal-data"), runtime.randomness, "personal-data")
            person = certifiable(session, sealer, token.hmac_key("index-hmac"), policy, account_id)
    finally:
        database.close()
    return PersonName(person.given_name, person.family_name, person.country, person.serial_number)


def ceremony_context(runtime: Runtime) -> CeremonyContext:
    """What the ceremony works with in this installation."""
    return CeremonyContext(
        settings=runtime.settings,
        open_token=runtime.open_token,
        root_pin=runtime.settings.var / "pins" / "root.pin",
        database=runtime.database(),
        clock=runtime.clock,
        randomness=runtime.randomness,
    )
