"""One sandbox on disk: the bearer tokens that it asks for, and the branch office's own key.

`initialise` makes what is missing and leaves alone what is there, so it can run at every start.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from sandbox.randomness import Randomness, token
from sandbox.settings import ConfigurationError, Settings


@dataclass(frozen=True)
class Instance:
    """Settings with the secrets read from their files; the secrets stay out of `repr`."""

    settings: Settings
    gateway_token: str
    register_token: str
    branch_key: ECKey

    def __repr__(self) -> str:
        return f"Instance({self.settings.directory})"


def initialise(settings: Settings, randomness: Randomness) -> list[Path]:
    """Makes tokens (0600), the branch's P-256 key (0600) and its public JWK; returns the new files."""
    made: list[Path] = []
    for name in (settings.files.gateway, settings.files.tax_register):
        path = settings.path(name)
        if not path.exists():
            write_file(path, token(randomness).encode() + b"\n", mode=0o600)
            made.append(path)
    private = settings.path(settings.files.branch_key)
    if not private.exists():
        key = ECKey.generate_key("P-256")
        write_file(private, _jwk(key, private=True), mode=0o600)
        made.append(private)
    public = settings.path(settings.files.public) / f"{settings.branch.client_id}.jwk.json"
    content = _jwk(_read_key(private), private=False)
    if not public.exists() or public.read_bytes() != content:
        write_file(public, content, mode=0o644)
        made.append(public)
    return made


def load(settings: Settings) -> Instance:
    """Reads what `initialise` made; `ConfigurationError` says what is missing and how to make it."""
    return Instance(
        settings,
        _read_text(settings.path(settings.files.gateway)),
        _read_text(settings.path(settings.files.tax_register)),
        _read_key(settings.path(settings.files.branch_key)),
    )


def write_file(path: Path, content: bytes, *, mode: int) -> None:
    """Writes whole or not at all; the content is never readable under a wider mode than `mode`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    os.chmod(beside, mode)
    os.replace(beside, path)


def _jwk(key: ECKey, *, private: bool) -> bytes:
    parts: dict[str, Any] = dict(key.as_dict(private=private))
    parts |= {"kid": key.thumbprint(), "alg": "ES256", "use": "sig"}
    parts.pop("key_ops", None)
    return json.dumps(parts, indent=2, sort_keys=True).encode() + b"\n"


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise ConfigurationError(f"{path} is missing: run `python -m sandbox init --dir {path.parent}`") from None


def _read_key(path: Path) -> ECKey:
    try:
        return ECKey.import_key(json.loads(_read_text(path)))
    except (ValueError, KeyError, JoseError) as error:
        raise ConfigurationError(f"{path} holds no private JWK ({type(error).__name__}): remove it and init") from None
