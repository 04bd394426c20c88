"""A trust list over an installation of soft keys, and other people's tools that look at it."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.ca.ca_kit import SERVICE, SoftKey, authority
from tsp.ca.names import ServiceName
from tsp.core.clock import SettableClock
from tsp.repository.services import FOR_SIGNATURES, Service, ServiceType
from tsp.repository.trust_publication import ListSigner, TrustListPublisher, TrustListShelf
from tsp.repository.trustlist import Scheme

SCHEME = Scheme(
    operator="Enkrat TEST d.o.o.",
    identifier="VATSI-10000003",
    names={"en": "Trust list of our services", "sl": "Seznam zaupanja naših storitev"},
    street="Testna ulica 1",
    postal_code="1000",
    locality="Ljubljana",
    country="SI",
    email="podpora@enkrat.test",
    repository="http://repository.example.si",
    notices={"en": "Not an EU list.", "sl": "To ni seznam EU."},
)
SIGNER_NAME = ServiceName("SI", "Enkrat TEST d.o.o.", "VATSI-10000003", "Enkrat TEST Trust List")


def service(kind: ServiceType, certificate: bytes, since: datetime, withdrawn: datetime | None = None) -> Service:
    """A service of this type with this certificate."""
    names = {"en": f"Test <{kind}> & co.", "sl": f"Preskus „{kind}“ žčš"}
    purposes = (FOR_SIGNATURES,) if kind == "CA/QC" else ()
    return Service(kind, names, certificate, ("http://repository.example.si/x.cer",), since, withdrawn, purposes)


@dataclass
class World:
    """A publisher whose services and clock a test moves."""

    directory: Path
    clock: SettableClock
    validity: timedelta = timedelta(days=90)
    services: list[Service] = field(default_factory=list)

    def __post_init__(self) -> None:
        now, made = self.clock.now(), authority()
        self.key = SoftKey()
        prepared = made.prepare("trust-list", SIGNER_NAME, self.key.public_spki, now=now)
        self.certificate = made.issue(prepared).der
        for kind, profile in (("TSA/QTST", "qtsu"), ("TSA", "tsu")):
            issued = made.issue(made.prepare(profile, SERVICE, SoftKey().public_spki, now=now))
            self.services.append(service("TSA" if kind == "TSA" else "TSA/QTST", issued.der, now))
        self.shelf = TrustListShelf(self.directory)
        self.publisher = TrustListPublisher(
            self.shelf, lambda: SCHEME, self._present, self._signer, self.clock, self.validity
        )

    def _present(self, now: datetime) -> Sequence[Service]:
        del now
        return self.services

    def _signer(self) -> ListSigner:
        return ListSigner(self.certificate, self.key.sign_digest)


def xmlsec_accepts(data: bytes, certificate: bytes, directory: Path) -> bool:
    """Whether xmlsec1 finds both references and the signature good with the certificate's key."""
    pem = directory / "signer.pem"
    pem.write_bytes(x509.load_der_x509_certificate(certificate).public_bytes(Encoding.PEM))
    file = directory / "list.xml"
    file.write_bytes(data)
    done = subprocess.run(
        ["xmlsec1", "--verify", "--pubkey-cert-pem", pem, "--id-attr:Id", "SignedProperties", file],
        capture_output=True,
        check=False,
    )
    return done.returncode == 0 and b"(ok/all): 2/2" in done.stderr
