"""What an installation's settings say about its log: name, key file, sequencer's limits."""

from pathlib import Path
from urllib.parse import urlsplit

from tsp.audit.checkpoint import VerifierKey
from tsp.audit.sequencer import SequencerLimits
from tsp.core.errors import NotFound
from tsp.core.files import write_atomic
from tsp.core.settings import Settings


def log_origin(settings: Settings) -> str:
    """The origin line of the checkpoints, which is also the key's name: an address without scheme.

    It must never change in the life of a log. A demo's log says TEST.
    """
    address = urlsplit(settings.urls.log).netloc
    return settings.log.origin or (f"{address}/TEST" if settings.demo else f"{address}/log")


def sequencer_limits(settings: Settings) -> SequencerLimits:
    """The limits of the section [log]."""
    section = settings.log
    return SequencerLimits(interval=section.interval_ms / 1000, batch=section.batch, lease=section.lease_seconds)


def key_file(settings: Settings) -> Path:
    """Where the verifier key of the checkpoints lies for everybody to read."""
    return settings.var / "public" / "log-checkpoint.vkey"


def publish_key(settings: Settings, key: VerifierKey) -> None:
    """Writes the verifier key; role `log` does so at every start."""
    write_atomic(key_file(settings), (key.encode() + "\n").encode())


def installed_key(settings: Settings) -> VerifierKey:
    """The verifier key of this installation's log; `NotFound` (log-key) before role `log` ran once."""
    try:
        return VerifierKey.parse(key_file(settings).read_text())
    except FileNotFoundError:
        raise NotFound(
            "log-key", "The log's key is not known here. Start the log once, or name it with --key."
        ) from None
