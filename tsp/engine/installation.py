"""What an installation's settings say about its engine, as the engine's own frozen values."""

from datetime import timedelta
from pathlib import Path

from tsp.core.settings import Settings, process_name
from tsp.engine.activation import LEVELS, ActivationPolicy
from tsp.engine.approvals import Terms
from tsp.engine.server import ServerLimits


def activation_policy(settings: Settings) -> ActivationPolicy:
    """Who may sign what here. Qualified signatures need a token declared a QSCD, or the demo."""
    section = settings.engine
    available = {kind for kind in section.levels if kind != "qualified" or settings.hsm.qscd or settings.demo}
    return ActivationPolicy(
        issuer=settings.urls.idp,
        levels={
            kind: frozenset(LEVELS[level] for level in accepted)
            for kind, accepted in section.levels.items()
            if kind in available
        },
        authentication_age=timedelta(seconds=section.authentication_seconds),
        proof_age=timedelta(seconds=section.proof_seconds),
        max_documents=section.max_documents,
    )


def terms(settings: Settings) -> Terms:
    """How long a reservation is believed in, and an interrupted signature may be finished."""
    section = settings.engine
    return Terms(lease=timedelta(seconds=section.lease_seconds), finish=timedelta(seconds=section.finish_seconds))


def server_limits(settings: Settings) -> ServerLimits:
    """The limits of the engine's socket."""
    return ServerLimits(connections=settings.engine.connections, sweep=float(settings.engine.sweep_seconds))


def socket_path(settings: Settings, number: int = 1) -> Path:
    """Where the engine's process of this number listens; the first one's path is what clients are given."""
    return settings.var / "run" / f"{process_name('engine', number)}.sock"


def pinned_key_file(settings: Settings) -> Path:
    """The identity provider's approval key that the engine trusts, and no other."""
    return settings.var / "public" / "idp-approval.jwk.json"
