"""The plan of the key ceremony, read from one reviewed file (`conf/ceremony.toml`)."""

from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, model_validator

from tsp.ca.names import ServiceName
from tsp.ca.profiles import IssuerRole, KeyName, Profile
from tsp.ca.tomlfile import Strict, read_toml
from tsp.core.errors import Invalid
from tsp.core.settings import Settings

#: The authorities for people and organisations: what the first issues is qualified, what the second issues is not.
SUBSCRIBER_ISSUERS: Final = ("qualified", "nonqualified")
#: All authorities below the root, each with a status responder of its own.
ISSUERS: Final = (*SUBSCRIBER_ISSUERS, "infrastructure")
#: The artefacts in the order in which they are made; each is also the name of its file.
ENTRIES: Final = ("root", *ISSUERS, "tsu", "qtsu", *(f"ocsp-{issuer}" for issuer in ISSUERS))
_STRENGTH = {"P256": 1, "P384": 2}


class OrganisationSection(Strict):
    """The provider as it stands in every name of the hierarchy (EN 319 412-2, 4.2.3.1)."""

    country: str
    name: str
    identifier: str


class Entry(Strict):
    """One key and its certificate."""

    token: Literal["root", "ca", "tsu", "qtsu", "ocsp"]
    label: str = Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")
    key: KeyName
    profile: str
    issuer: IssuerRole
    common_name: str


class CeremonyPlan(Strict):
    """What the ceremony will make. Frozen and checked as a whole."""

    mode: Literal["demo", "production"]
    officers: tuple[str, ...] = ()
    root_pin: Literal["keep", "seal"]
    custodians: tuple[str, ...] = ()
    crl_days: int = Field(ge=1, le=366)
    organisation: OrganisationSection
    root: Entry
    qualified: Entry
    nonqualified: Entry
    infrastructure: Entry
    tsu: Entry
    qtsu: Entry
    ocsp_qualified: Entry = Field(alias="ocsp-qualified")
    ocsp_nonqualified: Entry = Field(alias="ocsp-nonqualified")
    ocsp_infrastructure: Entry = Field(alias="ocsp-infrastructure")

    @property
    def entries(self) -> dict[str, Entry]:
        """Every entry by its name, in the order of `ENTRIES`."""
        return {name: getattr(self, name.replace("-", "_")) for name in ENTRIES}

    def name(self, entry: str) -> ServiceName:
        """The distinguished name of one entry."""
        owner = self.organisation
        return ServiceName(owner.country, owner.name, owner.identifier, self.entries[entry].common_name)

    @model_validator(mode="after")
    def _mode_fits(self) -> Self:
        names = [self.organisation.name, *(entry.common_name for entry in self.entries.values())]
        if self.mode == "demo":
            if not all("TEST" in name for name in names):
                raise ValueError("in a demo every name says TEST")
            return self
        if any("TEST" in name for name in names):
            raise ValueError("in production no name says TEST")
        if len(set(self.officers)) < 2:
            raise ValueError("production needs two officers (EN 319 411-1 GEN-6.4.3-02)")
        if self.root_pin != "seal":
            raise ValueError("production seals the root's PIN")
        return self

    @model_validator(mode="after")
    def _hierarchy_holds(self) -> Self:
        entries = self.entries
        expected = dict.fromkeys(("root", *ISSUERS), "root") | {f"ocsp-{issuer}": issuer for issuer in ISSUERS}
        for name, entry in entries.items():
            if entry.issuer != expected.get(name, "infrastructure"):
                raise ValueError(f"{name} is issued by {expected.get(name, 'infrastructure')}")
            if (name == "root") != (entry.token == "root"):  # noqa: S105  (a PKCS#11 token's name)
                raise ValueError("the root has a token of its own")
            if _STRENGTH[entry.key] > _STRENGTH[entries[entry.issuer].key]:
                raise ValueError(f"{name} has a stronger key than its issuer (TS 119 312, 9.5)")
        if self.tsu.token == self.qtsu.token:
            raise ValueError("qualified time-stamps have a token of their own (EN 319 421, TIS-8.2-01)")
        if len({entry.common_name for entry in entries.values()}) != len(entries):
            raise ValueError("every common name is there once (EN 319 422, 6.2)")
        if len({(entry.token, entry.label) for entry in entries.values()}) != len(entries):
            raise ValueError("every key has a label of its own")
        if (self.root_pin == "seal") != bool(self.custodians):
            raise ValueError("custodians are for sealing the root's PIN")
        return self


def load_plan(path: Path) -> CeremonyPlan:
    """Reads and checks a plan; `Invalid` (ceremony-plan-invalid) names file and key."""
    return read_toml(path, CeremonyPlan, "ceremony-plan-invalid")


def check_plan(plan: CeremonyPlan, profiles: dict[str, Profile], settings: Settings) -> None:
    """Holds a plan against the profiles and the installation; `Invalid` (ceremony-plan-invalid) where they differ."""
    provider, owner = settings.provider, plan.organisation
    if plan.mode != settings.mode:
        raise _differs("mode is not the installation's mode")
    named = owner.country, owner.name, owner.identifier
    if named != (provider.country, provider.organisation, provider.organisation_identifier):
        raise _differs("organisation is not the provider of the configuration")
    for name, entry in plan.entries.items():
        profile = profiles.get(entry.profile)
        if profile is None:
            raise _differs(f"{name}: there is no profile {entry.profile}")
        if entry.issuer not in profile.issuers or entry.key not in profile.keys:
            raise _differs(f"{name}: profile {entry.profile} does not allow this issuer or key")


def _differs(why: str) -> Invalid:
    return Invalid("ceremony-plan-invalid", f"The ceremony's plan does not fit: {why}.")
