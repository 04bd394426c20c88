"""A small hierarchy with certificates that can be revoked, for the tests of lists."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from tests.ca.ca_kit import NOW, PERSON, URLS, SoftKey, authority, issuer, profiles
from tsp.ca.authority import Authority, IssuingKey
from tsp.ca.names import ServiceName
from tsp.ca.profiles import Profile, Status
from tsp.ca.publication import CrlPublisher, CrlTerms
from tsp.ca.store import to_pem
from tsp.ca.urls import RepositoryUrls
from tsp.core.clock import SettableClock
from tsp.core.database import Database

ISSUER = "infrastructure"


def revocable_profiles() -> dict[str, Profile]:
    """The shipped profiles, and `revocable`: a person's certificate for a day that names OCSP and CRL."""
    known = profiles()
    status = Status(ca_issuers=True, ocsp=True, crl=True)
    update = {"name": "revocable", "issuers": (ISSUER,), "status": status}
    lifetime = known["advanced"].lifetime.model_copy(update={"hours": 48})
    return known | {"revocable": known["advanced"].model_copy(update=update | {"lifetime": lifetime})}


@dataclass
class Lists:
    """A root, an authority below it, and who publishes its lists."""

    database: Database
    clock: SettableClock
    directory: Path
    shards: int = 0
    delta: bool = False
    root: IssuingKey = field(init=False)
    key: IssuingKey = field(init=False)
    authority: Authority = field(init=False)

    def __post_init__(self) -> None:
        """Certifies root and authority, and puts their certificates into the directory."""
        begin = min(NOW, self.clock.now())
        self.root = issuer("root", SoftKey(ec.SECP384R1()), since=begin)
        above = authority({"root": self.root}, known=revocable_profiles(), clock=self.clock)
        own = above.issue(
            above.prepare("root-ca", _name("root"), self.root.facts.spki, now=self.root.facts.not_before, issuer="root")
        )
        (self.directory / "root.pem").write_bytes(to_pem(own.der))
        key = SoftKey()
        self.ca = above.issue(above.prepare("subordinate-ca", _name(ISSUER), key.public_spki, now=begin, issuer="root"))
        (self.directory / "ca.pem").write_bytes(to_pem(self.ca.der))
        self.key = IssuingKey.of(ISSUER, self.ca.der, key)
        self.authority = authority({ISSUER: self.key}, known=revocable_profiles(), urls=self.urls, clock=self.clock)

    @property
    def urls(self) -> RepositoryUrls:
        return replace(URLS, shards={ISSUER: self.shards} if self.shards else {})

    def publisher(self, directory: Path | None = None) -> CrlPublisher:
        terms = CrlTerms(look=timedelta(milliseconds=1), delta=self.delta, urls=self.urls)
        return CrlPublisher(directory or self.directory, {ISSUER: self.key}, self.database, self.clock, terms)

    def issue(self, count: int = 1, subject: str | None = "account-1") -> list[tuple[str, bytes]]:
        """Serial number and certificate (DER) of each; their rows are stored."""
        made = []
        for _ in range(count):
            prepared = self.authority.prepare("revocable", PERSON, SoftKey().public_spki, now=self.clock.now())
            issued = self.authority.issue(prepared)
            with self.database.write() as session:
                session.add(self.authority.row(issued, subject))
            made.append((issued.serial, issued.der))
        return made

    def lists(self) -> Sequence[Path]:
        return sorted(self.directory.glob("*.crl"))


def _name(role: str) -> ServiceName:
    return ServiceName("SI", "Enkrat TEST d.o.o.", "VATSI-10000003", f"Enkrat TEST {role} CA")


def at(moment: datetime) -> str:
    """A moment as openssl's -attime wants it."""
    return str(int(moment.timestamp()))
