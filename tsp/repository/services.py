"""The provider's services as a trust list names them (TS 119 612, 5.5): what they are and which key speaks for them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from asn1crypto import x509

from tsp.ca.certificate import IssuerFacts
from tsp.ca.http import certificate_of, generations
from tsp.ca.profiles import Profile
from tsp.ca.store import CaStore
from tsp.core.settings import Urls

TYPES = "http://uri.etsi.org/TrstSvc/Svctype/"
STATUSES = "http://uri.etsi.org/TrstSvc/TrustedList/Svcstatus/"
FOR_SIGNATURES = "http://uri.etsi.org/TrstSvc/TrustedList/SvcInfoExt/ForeSignatures"
FOR_SEALS = "http://uri.etsi.org/TrstSvc/TrustedList/SvcInfoExt/ForeSeals"
Status = Literal["granted", "withdrawn"]
ServiceType = Literal["CA/QC", "CA/PKC", "TSA/QTST", "TSA", "Certstatus/OCSP/QC", "Certstatus/OCSP"]


@dataclass(frozen=True, slots=True)
class Service:
    """One service with one key. `since` is when its certificate began, `withdrawn` when it stopped being good."""

    type: ServiceType
    names: Mapping[str, str]
    certificate: bytes
    supply_points: tuple[str, ...]
    since: datetime = field(compare=False)
    withdrawn: datetime | None = field(default=None, compare=False)
    purposes: tuple[str, ...] = ()

    @property
    def key_id(self) -> bytes:
        """The subject key identifier, under which the list knows the key."""
        return bytes(x509.Certificate.load(self.certificate).key_identifier)

    @property
    def status(self) -> Status:
        """What the scheme says of it now."""
        return "withdrawn" if self.withdrawn else "granted"


#: When a certificate (DER) was revoked; None where it is not.
RevokedAt = Callable[[bytes], datetime | None]


def services(
    store: CaStore, profiles: Mapping[str, Profile], urls: Urls, revoked_at: RevokedAt, now: datetime
) -> list[Service]:
    """Every service of the installation. The root is none: it certifies qualified and other authorities alike.

    An authority is CA/QC where a profile lets it issue qualified certificates to others (TS 119 612, 5.5.1).
    """
    found: list[Service] = []

    def add(kind: ServiceType, certificate: bytes, points: Iterable[str], purposes: tuple[str, ...] = ()) -> None:
        facts = IssuerFacts.of("service", certificate)
        name = str(x509.Certificate.load(certificate).subject.native["common_name"])
        revoked = revoked_at(certificate)
        ended = facts.not_after if facts.not_after < now else None
        gone = min((moment for moment in (revoked, ended) if moment), default=None)
        found.append(
            Service(kind, {"en": name, "sl": name}, certificate, tuple(points), facts.not_before, gone, purposes)
        )

    # Earlier generations as well: what they issued is still validated.
    for name, role, _ in generations(store.directory):
        if role == "root":
            continue
        purposes = _purposes(profiles, role)
        place = (f"{urls.repository}/{name}.cer",)
        add("CA/QC" if purposes else "CA/PKC", certificate_of(store.directory, name), place, purposes)
        if (store.directory / f"ocsp-{name}.pem").exists():
            responder = certificate_of(store.directory, f"ocsp-{name}")
            add("Certstatus/OCSP/QC" if purposes else "Certstatus/OCSP", responder, (urls.ocsp,))
    add("TSA/QTST", store.qtsu, (urls.qtsa,))
    add("TSA", store.tsu, (urls.tsa,))
    return found


def _purposes(profiles: Mapping[str, Profile], issuer: str) -> tuple[str, ...]:
    """What the qualified certificates of this issuer are for; empty where it issues none."""
    types = {
        str(profile.qc_statements.type)
        for profile in profiles.values()
        if profile.qualified and issuer in profile.issuers
    }
    known = {"esign": FOR_SIGNATURES, "eseal": FOR_SEALS}
    return tuple(uri for kind, uri in known.items() if kind in types)
