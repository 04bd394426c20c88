"""Test certificates of every type, valid, expired and revoked (EN 319 411-1 OVR-6.9.2-01).

Each is a real certificate of the installation's own authorities, with the names of nobody and a key that was thrown
away unseen. Who asks for its status gets the answer that its state promises.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from tsp.ca.authority import IssuedCertificate
from tsp.ca.issuance import Issuance
from tsp.ca.names import PersonName, ServiceName, SubjectName
from tsp.ca.profiles import Lifetime, Profile

State = Literal["valid", "expired", "revoked"]
STATES: Final[tuple[State, ...]] = ("valid", "expired", "revoked")
#: How long an expired one is valid: nothing is dated back, so it has expired this long after it was made.
SHORT_LIFE: Final = Lifetime(minutes=1)


@dataclass(frozen=True, slots=True)
class Sample:
    """One test certificate. An expired one has expired from `not_after` on."""

    profile: str
    issuer: str
    state: State
    serial: str
    not_before: datetime
    not_after: datetime
    der: bytes = field(repr=False)

    @property
    def name(self) -> str:
        """A name for its file, such as `tsu-infrastructure-valid`."""
        return f"{self.profile}-{self.issuer}-{self.state}"


@dataclass(frozen=True, slots=True)
class SampleBench:
    """What test certificates are made with.

    `issuance` makes an `Issuance` for the given profiles, those of one-time keys among them. `issuers` are the
    authorities at hand by role. `key` makes a P-256 key in a token, throws its private half away, and returns its DER
    SubjectPublicKeyInfo. `revoke` revokes the certificate of an issuer with a serial number. `provider` is country,
    name and identifier.
    """

    profiles: Mapping[str, Profile]
    issuers: frozenset[str]
    issuance: Callable[[Mapping[str, Profile]], Issuance]
    key: Callable[[], bytes]
    revoke: Callable[[str, str], None]
    provider: tuple[str, str, str]
    #: Whether certificates that state a QSCD can be had here.
    qscd: bool


def sample_kinds(bench: SampleBench) -> Iterator[tuple[Profile, str, State]]:
    """What there can be: every profile for ends under every authority, in the states that it can come to.

    A validity-assured certificate and a responder's cannot be revoked, so there is no revoked one.
    """
    for profile in bench.profiles.values():
        if profile.ca or (profile.needs_qscd and not bench.qscd):
            continue
        for role in profile.issuers:
            if role in bench.issuers:
                yield from ((profile, role, state) for state in STATES if state != "revoked" or _revocable(profile))


def _revocable(profile: Profile) -> bool:
    return profile.revocable and not profile.status.nocheck


def make_samples(bench: SampleBench) -> list[Sample]:
    """Issues (and revokes) one test certificate of every kind; each stands in the table and in the log like any other.

    Raises what `Issuance.issue` raises; what was issued before that stays issued, and does no harm.
    """
    whole = bench.issuance(bench.profiles)
    brief = bench.issuance({name: short_lived(profile) for name, profile in bench.profiles.items() if not profile.ca})
    samples = []
    for profile, role, state in sample_kinds(bench):
        hosts = (_host(state),) if profile.host_names else ()
        issued = (brief if state == "expired" else whole).issue_now(
            profile.name, _subject(profile, state, bench.provider), bench.key(),
            issuer=role, host_names=hosts, in_device=True,
        )  # fmt: skip
        if state == "revoked":
            bench.revoke(role, issued.serial)
        samples.append(_sample(issued, state))
    return samples


def short_lived(profile: Profile) -> Profile:
    """The profile with a life of a minute, and with no period of the private key, which would be longer."""
    return profile.model_copy(update={"lifetime": SHORT_LIFE, "private_key_days": None})


def _sample(issued: IssuedCertificate, state: State) -> Sample:
    return Sample(issued.profile, issued.issuer, state, issued.serial, issued.not_before, issued.not_after, issued.der)


def _host(state: State) -> str:
    return f"{state}.certificate.test"


def _subject(profile: Profile, state: State, provider: tuple[str, str, str]) -> SubjectName:
    country, organisation, identifier = provider
    if profile.subject == "natural-person":
        return PersonName("Testna", "Oseba", country, f"TEST-{profile.name}", common_name=f"TEST Testna Oseba {state}")
    shown = _host(state) if profile.host_names else f"TEST {profile.name} {state}"
    return ServiceName(country, organisation, identifier, shown)
