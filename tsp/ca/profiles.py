"""Certificate profiles: what a certificate of one kind says, read from `conf/profiles/*.toml`.

A profile is checked as a whole when it is read: combinations that the standards forbid never reach the
builder. The clause stands beside each check here and beside each field in the files.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from tsp.ca import oids
from tsp.ca.tomlfile import Strict, read_toml
from tsp.core.errors import Invalid

IssuerRole = Literal["root", "qualified", "nonqualified", "infrastructure"]
#: What authorities and one-time keys are made with, and what keys of subjects may be (TS 119 312, 8.4; RFC 4055).
KeyName = Literal["P256", "P384"]
SubjectKeyName = Literal["P256", "P384", "RSA3072", "RSA3072-PSS", "RSA4096", "RSA4096-PSS"]
KeyUsage = Literal["digitalSignature", "nonRepudiation", "keyCertSign", "cRLSign"]
ExtendedKeyUsage = Literal[
    "serverAuth", "clientAuth", "timeStamping", "OCSPSigning", "documentSigning", "emailProtection", "tslSigning"
]
#: An OID, or `own.` and the rest of it under the installation's own arc.
PolicyOid = Annotated[str, StringConstraints(pattern=r"^(own|[0-2])(\.(0|[1-9][0-9]*))+$")]

#: Table 1 of EN 319 412-2, as far as elliptic curve keys go: A is content commitment, C authentication.
KEY_USAGE_TYPES: dict[frozenset[str], str] = {
    frozenset({"nonRepudiation"}): "A",
    frozenset({"nonRepudiation", "digitalSignature"}): "B",
    frozenset({"digitalSignature"}): "C",
}
_CA_USAGE = frozenset({"keyCertSign", "cRLSign"})
_DAY = 86400


class Lifetime(Strict):
    """How long a certificate is valid, both ends included (RFC 5280, 4.1.2.5). Days, hours or minutes."""

    days: int = Field(default=0, ge=0, le=25 * 366)
    hours: int = Field(default=0, ge=0, le=72)
    minutes: int = Field(default=0, ge=0, le=60)

    @model_validator(mode="after")
    def _one_unit(self) -> Self:
        if sum(given != 0 for given in (self.days, self.hours, self.minutes)) != 1:
            raise ValueError("give either days or hours or minutes")
        return self

    @property
    def seconds(self) -> int:
        """The number of seconds from notBefore to notAfter, counting both."""
        return self.days * _DAY + self.hours * 3600 + self.minutes * 60


class Status(Strict):
    """How a relying party learns whether the certificate is still good."""

    ca_issuers: bool = True
    ocsp: bool = False
    crl: bool = False
    nocheck: bool = False
    validity_assured: bool = False
    no_rev_avail: bool = False


class QcStatements(Strict):
    """Statements of EN 319 412-5, and the semantics identifier of EN 319 412-1."""

    compliance: bool = False
    sscd: bool = False
    type: Literal["esign", "eseal"] | None = None
    pds: bool = False
    semantics: Literal["natural", "legal"] | None = None


class Profile(Strict):
    """One kind of certificate. Frozen; `policies` are complete OIDs once `load_profiles` has read it."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    title: str = Field(min_length=1)
    issuers: tuple[IssuerRole, ...] = Field(min_length=1)
    subject: Literal["natural-person", "legal-person"]
    keys: tuple[SubjectKeyName, ...] = Field(min_length=1)
    lifetime: Lifetime
    private_key_days: int | None = Field(default=None, ge=1)
    ca: bool = False
    path_length: int | None = Field(default=None, ge=0, le=3)
    key_usage: tuple[KeyUsage, ...] = Field(min_length=1)
    extended_key_usage: tuple[ExtendedKeyUsage, ...] = ()
    host_names: bool = False
    policies: tuple[PolicyOid, ...] = ()
    status: Status
    qc_statements: QcStatements = QcStatements()

    @property
    def qualified(self) -> bool:
        """Whether the certificate says that it is qualified."""
        return self.qc_statements.compliance

    @property
    def needs_qscd(self) -> bool:
        """Whether its key must live in a qualified signature creation device."""
        return self.qc_statements.sscd

    @property
    def key_in_token(self) -> bool:
        """Whether its key must be in a token of this installation: where a QSCD is stated, and for the provider's
        units, responders and trust list (EN 319 421 TIS-7.6.2; RFC 6960, 4.2.2.2; TS 119 612, 5.7.1).
        """
        return self.needs_qscd or not {"timeStamping", "OCSPSigning", "tslSigning"}.isdisjoint(self.extended_key_usage)

    @property
    def one_time(self) -> bool:
        """Whether it is for signatures of natural persons, whose keys are made for one approval each."""
        return self.subject == "natural-person" and "nonRepudiation" in self.key_usage

    @property
    def revocable(self) -> bool:
        """Whether it can be revoked: EN 319 411-1 GEN-6.6.1-04 forbids it for validity-assured certificates."""
        return not self.status.validity_assured

    @property
    def eku_critical(self) -> bool:
        """RFC 3161, 2.3: critical for time-stamping; EN 319 412-2 GEN-4.3.10-1: for nothing else."""
        return "timeStamping" in self.extended_key_usage

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for check in (
            _check_ca,
            _check_usage,
            _check_purposes,
            _check_status,
            _check_qualified,
            _check_statements,
            _check_key_period,
        ):
            check(self)
        return self


def _demand(condition: bool, clause: str, sentence: str) -> None:
    if not condition:
        raise ValueError(f"{sentence} ({clause})")


def _check_ca(profile: Profile) -> None:
    usage = frozenset(profile.key_usage)
    if profile.ca:
        _demand(usage == _CA_USAGE, "RFC 5280, 4.2.1.3", "an authority signs certificates and CRLs, nothing else")
        _demand(profile.subject == "legal-person", "EN 319 412-2, 4.2.3.1", "an authority is a legal person")
        _demand(not profile.extended_key_usage, "RFC 5280, 4.2.1.12", "an authority has no extended key usage here")
        return
    _demand(profile.path_length is None, "RFC 5280, 4.2.1.9", "path_length is for authorities only")
    _demand(bool(profile.policies), "EN 319 412-2 GEN-4.3.3-1", "at least one policy is needed")
    _demand(
        oids.ANY_POLICY not in profile.policies, "RFC 5280, 4.2.1.4", "anyPolicy does not belong in an end certificate"
    )


def _check_usage(profile: Profile) -> None:
    usage, extended = frozenset(profile.key_usage), frozenset(profile.extended_key_usage)
    if not profile.ca:
        _demand(usage in KEY_USAGE_TYPES, "EN 319 412-2 NAT-4.3.2-1", "key usage must be of type A, B or C")
    if "documentSigning" in extended or profile.qc_statements.type is not None:
        clause = "NAT-4.3.2-2" if profile.subject == "natural-person" else "LEG-4.3.1-3"
        _demand("nonRepudiation" in usage, f"EN 319 412-2 {clause}", "a signing certificate needs nonRepudiation")


def _check_purposes(profile: Profile) -> None:
    usage, extended = frozenset(profile.key_usage), frozenset(profile.extended_key_usage)
    if not profile.ca and profile.subject == "natural-person":
        _demand(bool(extended), "RFC 5280, 4.2.1.12", "a person's certificate says what it is for")
    if "clientAuth" in extended:
        # A challenge that is signed at a login must never pass for a signature of a document.
        _demand(usage == {"digitalSignature"}, "EN 319 412-2 NAT-4.3.2-3", "clientAuth is for keys of type C")
        _demand(extended == {"clientAuth"}, "EN 319 412-2 NAT-4.3.2-3", "clientAuth must stand alone")
    if "timeStamping" in extended:
        _demand(extended == {"timeStamping"}, "RFC 3161, 2.3", "timeStamping must stand alone")
    _demand(profile.host_names == ("serverAuth" in extended), "RFC 9525", "host_names and serverAuth belong together")
    if profile.status.nocheck or "OCSPSigning" in extended:
        _demand(extended == {"OCSPSigning"}, "RFC 6960, 4.2.2.2", "nocheck and OCSPSigning belong together")
        _demand(profile.status.nocheck, "RFC 6960, 4.2.2.2.1", "a responder certificate needs nocheck")


def _check_status(profile: Profile) -> None:
    status = profile.status
    pointers = status.ocsp or status.crl
    if status.nocheck:
        _demand(not pointers, "EN 319 411-1 CSS-6.6.3-01B", "a responder certificate names no status service")
        return
    if profile.ca and profile.issuers == ("root",) and profile.path_length is None:
        _demand(not pointers and not status.ca_issuers, "RFC 5280, 6.1", "a root names no issuer and no status")
        return
    _demand(status.ca_issuers, "EN 319 412-2 GEN-4.4.1-3", "ca_issuers is needed")
    _check_short_lived(profile, pointers=pointers)


def _check_short_lived(profile: Profile, *, pointers: bool) -> None:
    """Of the three variants of a short life: assured without, assured with, or revocable with a status service."""
    status = profile.status
    if status.validity_assured:
        _demand(profile.lifetime.seconds < _DAY, "EN 319 411-1 GEN-6.6.1-05", "validity-assured means less than 24 h")
        _demand(not profile.ca, "EN 319 412-1, 5.2", "validity-assured is for end certificates")
    if status.no_rev_avail:
        _demand(not pointers, "RFC 9608, 3", "no_rev_avail and a status service exclude each other")
        _demand(not profile.ca, "RFC 9608, 3", "no_rev_avail is for end certificates")
    _demand(
        pointers or (status.validity_assured and status.no_rev_avail),
        "EN 319 412-2 GEN-4.3.11-2A",
        "without a status service a certificate needs validity_assured and no_rev_avail",
    )


def _check_qualified(profile: Profile) -> None:
    statements = profile.qc_statements
    qualified = [policy for policy in profile.policies if policy in oids.QUALIFIED_POLICIES]
    _demand(
        statements.compliance == bool(qualified),
        "EN 319 412-5 QCS-5.2-2",
        "compliance and a QCP policy belong together",
    )
    _demand(len(qualified) <= 1, "EN 319 411-2, 5.3", "one QCP policy at most")
    if statements.compliance:
        _demand(profile.issuers == ("qualified",), "decision 0036", "what is qualified comes from its own authority")
    elif "OCSPSigning" not in profile.extended_key_usage:
        _demand("qualified" not in profile.issuers, "decision 0036", "that authority issues what is qualified alone")
    _demand(not statements.sscd or statements.compliance, "EN 319 412-5, 4.2.2", "sscd is for qualified certificates")
    for policy in qualified:
        _demand(
            oids.QUALIFIED_POLICIES[policy] == statements.sscd,
            "EN 319 412-5 QCS-5.2-2",
            "sscd and -qscd belong together",
        )
        natural = policy in (oids.QCP_N, oids.QCP_N_QSCD)
        _demand(natural == (profile.subject == "natural-person"), "EN 319 411-2, 5.3", "QCP-n is for natural persons")
        _demand(statements.type is not None, "EN 319 412-5 QCS-5-01", "a qualified certificate states its type")
        _demand(statements.pds, "EN 319 412-5 QCS-5-01", "a qualified certificate names its disclosure statement")


def _check_statements(profile: Profile) -> None:
    statements, natural = profile.qc_statements, profile.subject == "natural-person"
    if statements.type is not None:
        _demand(
            (statements.type == "esign") == natural,
            "EN 319 412-5, 4.2.3",
            "esign is for natural persons, eseal for legal persons",
        )
    if statements.semantics is not None:
        _demand(
            (statements.semantics == "natural") == natural,
            "EN 319 412-1, 5.1",
            "the semantics identifier is that of the subject's kind of person",
        )
    reserved = [policy for policy in profile.policies if policy in oids.GENERAL_POLICIES]
    _demand(len(reserved) <= 1, "EN 319 411-1 GEN-6.3.3-12", "one policy of EN 319 411-1 at most")


def _check_key_period(profile: Profile) -> None:
    if "timeStamping" in profile.extended_key_usage:
        _demand(profile.private_key_days is not None, "EN 319 421 TIS-7.6.7-04", "a unit needs private_key_days")
    if profile.private_key_days is not None:
        _demand(
            profile.private_key_days * _DAY < profile.lifetime.seconds,
            "EN 319 421 TIS-7.6.7-04",
            "the private key must end before the certificate",
        )


def load_profiles(directory: Path, oid_arc: str) -> dict[str, Profile]:
    """Every `*.toml` of `directory` by the profile's name, with `own.` policies under `oid_arc`.

    Raises `Invalid` (profile-invalid) whose sentence names file and key.
    """
    profiles: dict[str, Profile] = {}
    for path in sorted(directory.glob("*.toml")):
        profile = read_toml(path, Profile, "profile-invalid")
        if profile.name != path.stem:
            raise Invalid("profile-invalid", f"{path.name}: name must be {path.stem}", file=path.name)
        policies = tuple(policy.replace("own.", f"{oid_arc}.", 1) for policy in profile.policies)
        profiles[profile.name] = profile.model_copy(update={"policies": policies})
    if not profiles:
        raise Invalid("profile-invalid", f"{directory.name}: there are no profiles", file=directory.name)
    return profiles
