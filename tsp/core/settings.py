"""The configuration of one installation: typed, checked at start, unknown keys refused.

`conf/tsp.toml` is complete for the demo. Another file can stand in its place (`--config`, or the
environment variable TSP_CONFIG); production files set `mode = "production"` and the addresses.
Relative paths count from the directory that holds `conf/`. Secrets never stand here: they live in
files of their own under `var`.
"""

import difflib
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from tsp.core.errors import Invalid

Role = Literal["engine", "idp", "sign", "validate", "tsa", "qtsa", "ocsp", "repository", "log", "notify"]
ROLES: tuple[Role, ...] = ("engine", "idp", "sign", "validate", "tsa", "qtsa", "ocsp", "repository", "log", "notify")


def process_name(role: Role, number: int) -> str:
    """What one of several processes of a role is called: `idp`, `idp.2`, `idp.3` (log writers, sockets, messages)."""
    return role if number == 1 else f"{role}.{number}"


def _origin(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise ValueError("must be an origin like https://sign.example.si")
    return value.rstrip("/")


Origin = Annotated[str, AfterValidator(_origin)]


class Section(BaseModel):
    """A table of the file: frozen, no unknown keys, no silent conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Provider(Section):
    """The trust service provider whose name stands in certificates and on pages."""

    organisation: str = Field(min_length=2, max_length=64)
    organisation_identifier: str = Field(pattern=r"^(VAT|NTR|LEI)[A-Z]{2}-.+$")
    country: str = Field(pattern=r"^[A-Z]{2}$")
    support_email: str
    support_phone: str = ""


class Urls(Section):
    """The public origin of each face; every face has a host or port of its own."""

    sign: Origin
    idp: Origin
    validate_: Origin = Field(alias="validate")
    tsa: Origin
    qtsa: Origin
    ocsp: Origin
    repository: Origin
    log: Origin


class Listen(Section):
    """Where the roles listen when they do not listen on the port of their origin."""

    host: str = "127.0.0.1"


class Hsm(Section):
    """The PKCS#11 module. Empty `module` looks for SoftHSM in the usual places."""

    module: str = ""
    sessions: int = Field(default=8, ge=1, le=256)
    qscd: bool = False


class DatabaseSection(Section):
    """An SQLAlchemy URL; empty means SQLite in the installation's directory."""

    url: str = ""


class Profiles(Section):
    """Certificate profiles and the arc under which own policy OIDs are given."""

    directory: str = "conf/profiles"
    oid_arc: str = Field(default="2.25.264733017312064270104413283217474291341", pattern=r"^[0-9]+(\.[0-9]+)+$")
    #: PKI disclosure statements by language (https addresses, "en" needed); a demo has a placeholder.
    pds: dict[str, str] = {}


class Mail(Section):
    """The SMTP relay for messages to people."""

    host: str
    port: int = Field(ge=1, le=65535)
    sender: str
    security: Literal["plain", "starttls", "tls"] = "starttls"
    #: Who logs in at the relay; the password is in the file `password_file`. Empty: nobody logs in.
    username: str = ""
    password_file: str = ""


class Sms(Section):
    """The HTTP gateway for text messages; its bearer token is in the file `token_file`."""

    url: str
    token_file: str
    sender: str = "Enkrat"


class Register(Section):
    """The population and tax register that personal data are compared with."""

    url: str
    token_file: str


class Idp(Section):
    """Identity provider: limits in seconds unless the name says otherwise."""

    login_seconds: int = Field(default=180, ge=30, le=600)
    session_idle_seconds: int = Field(default=900, ge=60, le=3600)
    session_seconds: int = Field(default=12 * 3600, ge=900, le=24 * 3600)
    code_seconds: int = 300
    code_attempts: int = 5
    resend_seconds: int = 30
    approval_seconds: int = Field(default=300, ge=30, le=300)
    relying_parties: str = "conf/relying-parties"
    assurance: str = "conf/policies/assurance.toml"
    puk_length: int = Field(default=8, ge=8, le=32)
    #: A person is told of certificates in their name when the oldest untold one is so old: a mail a day, or 0 at once.
    certificate_notice_seconds: int = Field(default=86400, ge=0, le=7 * 86400)


class Sign(Section):
    """Signing site."""

    max_document_bytes: int = 50_000_000
    max_pages: int = 2000
    keep_days: int = 30
    #: Files attached to a document: refused, or shown to the signer by name and size.
    embedded_files: Literal["refuse", "show"] = "refuse"
    #: Which time-stamping service each kind of signature uses.
    time_stamps: dict[Literal["advanced", "advanced-qualified", "qualified"], Literal["tsa", "qtsa"]] = {
        "advanced": "tsa",
        "advanced-qualified": "tsa",
        "qualified": "qtsa",
    }


class Worker(Section):
    """The process that reads strangers' documents: what one document may use (seconds, octets), how many at once."""

    seconds: int = Field(default=30, ge=1, le=300)
    processor_seconds: int = Field(default=15, ge=1, le=300)
    memory_bytes: int = Field(default=2 * 1024**3, ge=256 * 1024**2)
    at_once: int = Field(default=4, ge=1, le=64)


class Engine(Section):
    """Signing engine: what may sign, and its limits in seconds unless the name says otherwise."""

    #: Levels of assurance that sign, for each kind of signature; "low" is none of them (SIG-3).
    levels: dict[Literal["advanced", "advanced-qualified", "qualified"], list[Literal["substantial", "high"]]] = {
        "advanced": ["substantial", "high"],
        "advanced-qualified": ["substantial", "high"],
        "qualified": ["substantial", "high"],
    }
    #: TS 119 431-1, SIG-A.5-09: a session ends 30 minutes after the authentication at the latest.
    authentication_seconds: int = Field(default=1800, ge=60, le=1800)
    proof_seconds: int = Field(default=60, ge=10, le=300)
    lease_seconds: int = Field(default=30, ge=5, le=600)
    #: How long after the first try an interrupted signature may be finished with the same approval.
    finish_seconds: int = Field(default=3600, ge=0, le=86_400)
    sweep_seconds: int = Field(default=10, ge=1, le=600)
    max_documents: int = Field(default=100, ge=1, le=1000)
    connections: int = Field(default=16, ge=1, le=256)


class ClockSection(Section):
    """By how much the wall clock may leave the monotonic one before a role believes it no more."""

    max_jump_ms: int = Field(default=10_000, ge=1500, le=60_000)


class Doctor(Section):
    """From when on `tsp doctor` calls something wrong."""

    #: The larger of the two has to be free where the installation lies.
    free_bytes: int = Field(default=500_000_000, ge=0)
    free_percent: int = Field(default=5, ge=0, le=90)
    #: The oldest message that nobody could send, and the oldest session that waits for a service.
    waiting_seconds: int = Field(default=900, ge=60)
    #: The oldest entry that no signed checkpoint covers.
    checkpoint_seconds: int = Field(default=60, ge=5)


class Tsa(Section):
    """Time-stamping authority. Accuracy in milliseconds (EN 319 422: at most one second)."""

    accuracy_ms: int = Field(default=500, ge=1, le=1000)
    policy: str = "0.4.0.2023.1.1"
    max_clock_jump_ms: int = 500


class Qtsa(Section):
    """Qualified time-stamping authority: as `Tsa`, with a policy of its own; empty takes `<profiles.oid_arc>.3.1`."""

    accuracy_ms: int = Field(default=500, ge=1, le=1000)
    policy: str = ""
    max_clock_jump_ms: int = 500


class Time(Section):
    """Where the time-stamping units look whether their clock is right (EN 319 421, TIS-7.7.1-04 to -07).

    `sources` are SNTP servers, `host` or `host:port`, each independent of the others; without any, only jumps of
    the clock are seen. A majority of them must agree.
    """

    sources: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]+(:[0-9]{1,5})?$")]] = Field(default=[], max_length=16)
    #: How far the clock may be from what they say; the rest of `tsa.accuracy_ms` is what it may move between checks.
    tolerance_ms: int = Field(default=100, ge=1, le=500)
    check_seconds: int = Field(default=64, ge=1, le=1024)
    #: How long the last good check holds when too few sources answer.
    hold_seconds: int = Field(default=600, ge=10, le=86_400)

    @model_validator(mode="after")
    def _sources_differ(self) -> "Time":
        if len(set(self.sources)) != len(self.sources):
            raise ValueError("every time source counts once")
        return self


class Ocsp(Section):
    """OCSP responder: how long an answer may be relied on."""

    validity_seconds: int = Field(default=3600, ge=60, le=86_400)
    #: Whether a serial number that was never issued is told as revoked (RFC 6960, 2.2) instead of unknown.
    extended_revoke: bool = False
    #: How long an answer without nonce may be given again while the status is still the same; 0 signs each anew.
    reuse_seconds: int = Field(default=60, ge=0, le=1800)
    #: On PostgreSQL: an answer is given again only where the database has confirmed within this time that no status
    #: has changed. News of a change comes within milliseconds; this bounds it when the connection fails. 0 has every
    #: status read anew.
    lease_ms: int = Field(default=500, ge=0, le=10_000)


class Crl(Section):
    """Certificate revocation lists of the authorities that certify others every day."""

    #: How long a list is good for, and when the next one comes without a revocation (EN 319 411-1 CSS-6.3.9-05).
    validity_hours: int = Field(default=48, ge=2, le=168)
    renewal_hours: int = Field(default=12, ge=1, le=24)
    #: How often a process looks whether there was a revocation: within this time it is on the list.
    look_seconds: int = Field(default=5, ge=1, le=600)
    #: Into how many parts the list of an issuer is cut; its certificates name theirs. One whole list where not named.
    shards: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")], Annotated[int, Field(ge=1, le=1024)]] = {}
    #: Whether a delta list stands beside each complete one.
    delta: bool = False

    @model_validator(mode="after")
    def _renewed_in_time(self) -> "Crl":
        if self.renewal_hours >= self.validity_hours:
            raise ValueError("renewal_hours must be less than validity_hours")
        return self


class Witness(Section):
    """One witness of the log: address and key, as a word or in a file that counts from `var`."""

    url: str = Field(pattern=r"^https?://\S+$")
    key: str = ""
    key_file: str = ""

    @model_validator(mode="after")
    def _has_one_key(self) -> "Witness":
        if bool(self.key) == bool(self.key_file):
            raise ValueError("a witness has either key or key_file")
        return self


class Log(Section):
    """Public log. `origin` names it in its checkpoints for ever; empty takes the log's address."""

    origin: str = Field(default="", pattern=r"^[^\s+]*$", max_length=200)
    interval_ms: int = Field(default=500, ge=50, le=60_000)
    #: Entries that get a place in one step.
    batch: int = Field(default=4096, ge=1, le=65_536)
    #: How long the sequencer's turn lasts before another process may take over.
    lease_seconds: int = Field(default=15, ge=2, le=300)
    witnesses: list[Witness] = []
    #: How many of them must co-sign a checkpoint before it is published.
    min_witnesses: int = Field(default=0, ge=0, le=16)
    #: Who time-stamps checkpoints (RFC 3161); empty is the own authority. `time_stamp_trust` names a PEM file
    #: with the roots of another authority, counted from `var`.
    time_stamp_url: str = ""
    time_stamp_trust: str = ""
    time_stamp_seconds: int = Field(default=60, ge=1, le=86_400)

    @model_validator(mode="after")
    def _has_enough_witnesses(self) -> "Log":
        if self.min_witnesses > len(self.witnesses):
            raise ValueError("min_witnesses is larger than the number of witnesses")
        return self


_Count = Annotated[int, Field(ge=1, le=64)]


class Processes(Section):
    """How many processes `tsp serve` runs of each role. Any number may; each needs its own connections and memory."""

    engine: _Count = 1
    idp: _Count = 1
    sign: _Count = 1
    validate_: _Count = Field(default=1, alias="validate")
    tsa: _Count = 1
    qtsa: _Count = 1
    ocsp: _Count = 1
    repository: _Count = 1
    log: _Count = 1
    notify: _Count = 1


class Settings(Section):
    """Everything that the configuration file may say."""

    name: str = Field(default="Enkrat", min_length=1, max_length=40)
    mode: Literal["demo", "production"]
    var: Path
    provider: Provider
    urls: Urls
    internal: list[str] = []
    listen: Listen = Listen()
    hsm: Hsm = Hsm()
    database: DatabaseSection = DatabaseSection()
    profiles: Profiles = Profiles()
    ceremony: str = "conf/ceremony.toml"
    mail: Mail
    sms: Sms
    register_: Register = Field(alias="register")
    idp: Idp = Idp()
    sign: Sign = Sign()
    worker: Worker = Worker()
    engine: Engine = Engine()
    clock: ClockSection = ClockSection()
    doctor: Doctor = Doctor()
    tsa: Tsa = Tsa()
    qtsa: Qtsa = Qtsa()
    time: Time = Time()
    ocsp: Ocsp = Ocsp()
    crl: Crl = Crl()
    log: Log = Log()
    processes: Processes = Processes()
    #: Directory that relative paths count from; set while loading.
    root: Path = Path()

    @model_validator(mode="after")
    def _production_is_strict(self) -> "Settings":
        if self.mode == "production":
            plain = [u for u in self.urls.model_dump().values() if not u.startswith("https://")]
            public_status = {self.urls.ocsp, self.urls.repository, self.urls.tsa, self.urls.qtsa}
            if set(plain) - public_status:
                raise ValueError("production needs https origins for every face that people use")
            if self.mail.security == "plain":
                raise ValueError("production needs mail.security starttls or tls")
            if not self.sms.url.startswith("https://") or not self.register_.url.startswith("https://"):
                raise ValueError("production needs https for sms.url and register.url")
            if not self.log.min_witnesses:
                raise ValueError("production needs log.witnesses and log.min_witnesses of one or more")
        return self

    @model_validator(mode="after")
    def _time_is_known_well_enough(self) -> "Settings":
        if self.time.sources and self.time.tolerance_ms >= min(self.tsa.accuracy_ms, self.qtsa.accuracy_ms):
            raise ValueError("time.tolerance_ms must be below tsa.accuracy_ms and qtsa.accuracy_ms, which are promised")
        if len({self.urls.tsa, self.urls.qtsa}) == 1:
            raise ValueError("qualified time-stamps need an address of their own (EN 319 421, TIS-8.2-03)")
        if self.qtsa_policy == self.tsa.policy:
            raise ValueError("qualified time-stamps need a policy of their own")
        if {"advanced", "advanced-qualified", "qualified"} - set(self.sign.time_stamps):
            raise ValueError("sign.time_stamps names a service for every kind of signature")
        return self

    def path(self, relative: str) -> Path:
        """A configured path as an absolute one."""
        return (self.root / relative).resolve()

    @property
    def database_url(self) -> str:
        return self.database.url or f"sqlite:///{self.var / 'enkrat.db'}"

    def origin(self, role: Role) -> str | None:
        """The public origin of a role that is a face; None for the others."""
        origins: dict[str, str] = self.urls.model_dump(by_alias=True)
        return origins.get(role)

    def count(self, role: Role) -> int:
        """How many processes of a role there are to be."""
        counts: dict[str, int] = self.processes.model_dump(by_alias=True)
        return counts[role]

    @property
    def qtsa_policy(self) -> str:
        """The policy in qualified time-stamps."""
        return self.qtsa.policy or f"{self.profiles.oid_arc}.3.1"

    @property
    def demo(self) -> bool:
        return self.mode == "demo"


def default_config() -> Path:
    """The file that is read when none is named."""
    return Path(os.environ.get("TSP_CONFIG") or Path(__file__).resolve().parents[2] / "conf" / "tsp.toml")


def load_settings(path: Path | None = None) -> Settings:
    """Reads and checks a configuration file.

    Raises `Invalid` (configuration-invalid) whose sentence names file, key, and for an unknown key
    the nearest known one.
    """
    path = (path or default_config()).resolve()
    try:
        raw = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise _invalid(path, "the file does not exist") from None
    except tomllib.TOMLDecodeError as error:
        raise _invalid(path, f"not TOML: {error}") from None
    root = path.parent.parent if path.parent.name == "conf" else path.parent
    if isinstance(raw.get("var"), str):
        raw["var"] = (root / raw["var"]).resolve()
    raw["root"] = root
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        raise _invalid(path, "; ".join(_explain(detail) for detail in error.errors())) from None


def _explain(detail: Any) -> str:
    where = ".".join(str(part) for part in detail["loc"]) or "file"
    if detail["type"] != "extra_forbidden":
        return f"{where}: {detail['msg']}"
    known = _known_keys(detail["loc"][:-1])
    near = difflib.get_close_matches(str(detail["loc"][-1]), known, n=1, cutoff=0.5)
    return f"{where}: unknown key" + (f", did you mean {near[0]}?" if near else f"; known are {', '.join(known)}")


def _known_keys(location: tuple[Any, ...]) -> list[str]:
    model: type[BaseModel] = Settings
    for part in location:
        field = next(f for n, f in model.model_fields.items() if part in (n, f.alias))
        model = field.annotation  # type: ignore[assignment]  # every nested table is a Section
    return sorted(f.alias or n for n, f in model.model_fields.items() if n != "root")


def _invalid(path: Path, why: str) -> Invalid:
    return Invalid("configuration-invalid", f"{path.name}: {why}", file=path.name)
