"""A responder for two authorities, with real tokens, and certificates of every status."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from starlette.testclient import TestClient

import hsm
from hsm import KeySpec
from tests.conftest import TokenFactory
from tests.small_pki import BEGIN, END, Ca
from tsp.ca.tables import Certificate, serial_text
from tsp.core.clock import Clock, SettableClock, SystemClock
from tsp.core.database import Database
from tsp.ocsp.http import ocsp_app
from tsp.ocsp.responder import Delegation

GOOD, REVOKED, ELSEWHERE, NEVER = 0x1001, 0x1002, 0x1003, 0x1004
REVOKED_AT = BEGIN.replace(year=2025, microsecond=123456)


@dataclass
class Responder:
    """What a responder is made of; `client` makes the service, with changes where a test wants them."""

    root: Ca
    issuing: Ca
    infrastructure: Ca
    token: hsm.Token
    delegations: list[Delegation]
    database: Database
    clock: Clock
    certificates: dict[int, bytes]
    clients: list[TestClient] = field(default_factory=list)

    def client(self, **changes: Any) -> TestClient:
        arguments: dict[str, Any] = {
            "delegations": self.delegations,
            "database": self.database,
            "clock": self.clock,
            "validity_seconds": 3600,
        }
        client = TestClient(ocsp_app(**{**arguments, **changes}), base_url="http://localhost:8404")
        client.__enter__()
        self.clients.append(client)
        return client

    def revoke(self, serial: int, moment: datetime, reason: str) -> None:
        with self.database.write() as session:
            row = session.get_one(Certificate, serial_text(serial))
            row.revoked_at, row.reason = moment, reason

    def query(
        self, serial: int, *, issuer: Ca | None = None, algorithm: Any = None, nonce: bytes | None = None
    ) -> bytes:
        """An OCSPRequest by `cryptography`."""
        ca = (issuer or self.issuing).certificate
        certificate = x509.load_der_x509_certificate(self.certificates[serial])
        builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, ca, algorithm or hashes.SHA256())
        if nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
        return builder.build().public_bytes(Encoding.DER)


ResponderFactory = Callable[..., Responder]


def _rows(issuing: Ca, infrastructure: Ca) -> tuple[dict[int, bytes], list[Certificate]]:
    certificates = {serial: issuing.person(f"TEST {serial}", serial) for serial in (GOOD, REVOKED, NEVER)}
    certificates[ELSEWHERE] = infrastructure.person("TEST 1003", ELSEWHERE)
    rows = [
        Certificate(
            serial=serial_text(serial),
            issuer="infrastructure" if serial == ELSEWHERE else "qualified",
            profile="advanced",
            subject_ref="account",
            not_before=BEGIN,
            not_after=END,
            der=certificates[serial],
            issued_at=BEGIN,
            revoked_at=REVOKED_AT if serial == REVOKED else None,
            reason="keyCompromise" if serial == REVOKED else None,
        )
        for serial in (GOOD, REVOKED, ELSEWHERE)
    ]
    return certificates, rows


@pytest.fixture
def make_responder(token_factory: TokenFactory, database: Database) -> Iterator[ResponderFactory]:
    made: list[Responder] = []

    def make(clock: Clock, spec: KeySpec = KeySpec.P256, **certificate: Any) -> Responder:
        root = Ca("TEST Root")
        issuing, infrastructure = Ca("TEST Issuing", root), Ca("TEST Infrastructure", root)
        token = token_factory("ocsp")
        delegations = []
        for role, ca in (("qualified", issuing), ("infrastructure", infrastructure)):
            key = token.generate_signing_key(f"ocsp-{role}", spec)
            delegations.append(Delegation(role, ca.der, ca.ocsp(key.public_spki, **certificate), key))
        certificates, rows = _rows(issuing, infrastructure)
        with database.write() as session:
            session.add_all(rows)
        made.append(Responder(root, issuing, infrastructure, token, delegations, database, clock, certificates))
        return made[-1]

    yield make
    for responder in made:
        for client in responder.clients:
            client.__exit__(None, None, None)


@pytest.fixture
def responder(make_responder: ResponderFactory, clock: SettableClock) -> Responder:
    return make_responder(clock)


@pytest.fixture
def responder_now(make_responder: ResponderFactory) -> Responder:
    """For tools that look at the machine's own clock."""
    return make_responder(SettableClock(SystemClock().now()))


def ask(client: TestClient, body: bytes) -> ocsp.OCSPResponse:
    """The response to a posted request, which must be one in form."""
    reply = client.post("/", content=body, headers={"content-type": "application/ocsp-request"})
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/ocsp-response"
    return ocsp.load_der_ocsp_response(reply.content)
