"""The sandbox's configuration: every default in one place, a small TOML file for what differs."""

import difflib
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class ConfigurationError(Exception):
    """What is wrong with the configuration, in one sentence that names file and key."""


class Section(BaseModel):
    """A table of the file: frozen, no unknown keys, no silent conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Ports(Section):
    """One port for each server; 0 takes any free one (`serve` prints which)."""

    smtp: int = Field(default=8410, ge=0, le=65535)
    mailbox: int = Field(default=8411, ge=0, le=65535)
    phone: int = Field(default=8412, ge=0, le=65535)
    register_: int = Field(default=8413, ge=0, le=65535, alias="register")
    branch: int = Field(default=8414, ge=0, le=65535)
    witness: int = Field(default=8415, ge=0, le=65535)


class Urls(Section):
    """Where the platform and the sandbox's own pages are reached, each an origin."""

    sign: str = "http://localhost:8400"
    idp: str = "http://localhost:8401"
    validate_: str = Field(default="http://localhost:8402", alias="validate")
    tsa: str = "http://localhost:8403"
    ocsp: str = "http://localhost:8404"
    repository: str = "http://localhost:8405"
    log: str = "http://localhost:8406"
    qtsa: str = "http://localhost:8407"
    mailbox: str = "http://localhost:8411"
    phone: str = "http://localhost:8412"
    register_: str = Field(default="http://localhost:8413", alias="register")
    branch: str = "http://localhost:8414"
    witness: str = "http://localhost:8415"

    def by_service(self) -> dict[str, str]:
        """All origins under the names of the configuration file."""
        return self.model_dump(by_alias=True)


class Branch(Section):
    """The branch office as the platform's relying party."""

    client_id: str = "sandbox-branch"
    name: str = "TEST Poslovalnica Ljubljana Center"


class Witness(Section):
    """The log witness: its name, and the files with the keys of the logs that it watches."""

    name: str = Field(default="witness.sandbox.test/TEST", pattern=r"^[^\s+]+$", max_length=200)
    logs: list[str] = ["../public/log-checkpoint.vkey"]


class Limits(Section):
    """What the small servers accept and keep."""

    messages: int = Field(default=2000, ge=1)
    mail_bytes: int = Field(default=10_000_000, ge=1024)
    sms_characters: int = Field(default=1600, ge=160)
    body_bytes: int = Field(default=64_000, ge=1024)
    wait_seconds: float = Field(default=30.0, ge=0)
    persons: int = Field(default=10_000, ge=1)


class Files(Section):
    """Where tokens, key and register lie; `public` is where the platform looks for public keys."""

    gateway: str = "gateway.token"
    tax_register: str = "register.token"
    branch_key: str = "branch.key.json"
    witness_key: str = "witness.key"
    #: What the witness has co-signed: one file for each log.
    witness_memory: str = "witness"
    persons: str = "persons.json"
    public: str = "../public"


class Settings(Section):
    """Everything that `sandbox.toml` may say. Paths count from `directory` unless absolute."""

    directory: Path = Path("var/instance/sandbox")
    host: str = "127.0.0.1"
    ports: Ports = Ports()
    urls: Urls = Urls()
    branch: Branch = Branch()
    witness: Witness = Witness()
    limits: Limits = Limits()
    files: Files = Files()

    def path(self, relative: str) -> Path:
        """A configured path as an absolute one."""
        return (self.directory / relative).resolve()


def load_settings(file: Path | None = None, directory: Path | None = None) -> Settings:
    """The settings of `file` (all defaults without one); `directory` wins over the file's.

    Raises `ConfigurationError` for a missing or broken file, a wrong value or an unknown key (the
    nearest known one is named).
    """
    raw: dict[str, Any] = {}
    if file is not None:
        try:
            raw = tomllib.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigurationError(f"{file}: the file does not exist") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{file}: not TOML: {error}") from None
        if isinstance(raw.get("directory"), str):
            raw["directory"] = file.parent / raw["directory"]
    if directory is not None:
        raw["directory"] = directory
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        raise ConfigurationError(f"{file}: {'; '.join(_explain(detail) for detail in error.errors())}") from None


def _explain(detail: Any) -> str:
    where = ".".join(str(part) for part in detail["loc"])
    if detail["type"] != "extra_forbidden":
        return f"{where}: {detail['msg']}"
    known = _known_keys(detail["loc"][:-1])
    near = difflib.get_close_matches(str(detail["loc"][-1]), known, n=1, cutoff=0.5)
    return f"{where}: unknown key, " + (f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}")


def _known_keys(location: tuple[Any, ...]) -> list[str]:
    model: type[BaseModel] = Settings
    for part in location:
        field = next(f for n, f in model.model_fields.items() if part in (n, f.alias))
        model = field.annotation  # type: ignore[assignment]  # every nested table is a Section
    return sorted(f.alias or n for n, f in model.model_fields.items())
