"""What an installation's settings say about its log: name, key file, sequencer's limits."""

from pathlib import Path
from urllib.parse import urlsplit

from tsp.audit.checkpoint import VerifierKey
from tsp.audit.cosignature import CosignerKey
from tsp.audit.sequencer import SequencerLimits
from tsp.audit.witnesses import Witness
from tsp.core.errors import Invalid, NotFound
from tsp.core.files import write_atomic
from tsp.core.settings import Settings
from tsp.core.settings import Witness as WitnessSection


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


def witnesses(settings: Settings) -> list[Witness]:
    """The configured witnesses with their keys.

    Raises `NotFound` (witness-key) where a key's file is missing, `Invalid` (log-key,
    witness-twice) where a key is none of a witness or two have one name.
    """
    found = [Witness(one.url.rstrip("/"), _witness_key(settings, one)) for one in settings.log.witnesses]
    if len({one.key.name for one in found}) < len(found):
        raise Invalid("witness-twice", "Two witnesses of the configuration have the same name.")
    return found


def _witness_key(settings: Settings, section: WitnessSection) -> CosignerKey:
    if section.key:
        return CosignerKey.parse(section.key)
    try:
        return CosignerKey.parse((settings.var / section.key_file).read_text())
    except FileNotFoundError:
        raise NotFound(
            "witness-key", f"The key of a witness is missing: {section.key_file}. Get it from who runs the witness."
        ) from None


def time_stamp_source(settings: Settings) -> tuple[str, Path]:
    """Where checkpoints are time-stamped, and the file with the roots that this authority leads to.

    Raises `NotFound` (time-stamp-trust) where that file is missing.
    """
    section = settings.log
    trust = settings.var / section.time_stamp_trust if section.time_stamp_trust else settings.var / "ca" / "root.pem"
    if not trust.is_file():
        raise NotFound("time-stamp-trust", f"The roots of the log's time-stamping authority are missing: {trust.name}.")
    return section.time_stamp_url or settings.urls.tsa, trust


def installed_key(settings: Settings) -> VerifierKey:
    """The verifier key of this installation's log; `NotFound` (log-key) before role `log` ran once."""
    try:
        return VerifierKey.parse(key_file(settings).read_text())
    except FileNotFoundError:
        raise NotFound(
            "log-key", "The log's key is not known here. Start the log once, or name it with --key."
        ) from None
