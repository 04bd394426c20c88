"""One time-stamping unit with a real token, a small hierarchy and a database."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from asn1crypto import algos, cms, core, tsp
from starlette.testclient import TestClient

import hsm
from hsm import KeySpec
from tests.conftest import TokenFactory
from tests.small_pki import Ca
from tsp.core.asgi import Service
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.randomness import Randomness
from tsp.tsa.http import tsa_app

POLICY = "0.4.0.2023.1.1"


@dataclass
class Unit:
    """What a time-stamping unit is made of; `app` makes the service, with changes where a test wants them."""

    root: Ca
    authority: Ca
    token: hsm.Token
    key: hsm.SigningKey
    certificate: bytes
    database: Database
    clock: SettableClock
    randomness: Randomness
    clients: list[TestClient] = field(default_factory=list)

    def app(self, **changes: Any) -> Service:
        arguments: dict[str, Any] = {
            "signer": self.key,
            "certificate": self.certificate,
            "chain": [self.authority.der],
            "policy": POLICY,
            "accuracy_ms": 500,
            "max_clock_jump_ms": 500,
            "database": self.database,
            "clock": self.clock,
            "randomness": self.randomness,
        }
        return tsa_app(**{**arguments, **changes})

    def client(self, **changes: Any) -> TestClient:
        client = TestClient(self.app(**changes), base_url="http://localhost:8403")
        client.__enter__()
        self.clients.append(client)
        return client


UnitFactory = Callable[..., Unit]


@pytest.fixture
def make_unit(
    token_factory: TokenFactory, database: Database, clock: SettableClock, randomness: Randomness
) -> Iterator[UnitFactory]:
    made: list[Unit] = []

    def make(spec: KeySpec = KeySpec.P256, **certificate: Any) -> Unit:
        root = Ca("TEST Root")
        authority = Ca("TEST Infrastructure", root)
        token = token_factory("tsu")
        key = token.generate_signing_key("tsu", spec)
        tsu = authority.tsu(key.public_spki, **certificate)
        made.append(Unit(root, authority, token, key, tsu, database, clock, randomness))
        return made[-1]

    yield make
    for unit in made:
        for client in unit.clients:
            client.__exit__(None, None, None)


@pytest.fixture
def unit(make_unit: UnitFactory) -> Unit:
    return make_unit()


def query(digest: bytes = bytes(32), algorithm: str = "sha256", **fields: Any) -> bytes:
    """A TimeStampReq by asn1crypto."""
    imprint = {"hash_algorithm": algos.DigestAlgorithm({"algorithm": algorithm}), "hashed_message": digest}
    return bytes(tsp.TimeStampReq({"version": 1, "message_imprint": imprint, **fields}).dump())


class TimeStampResp(core.Sequence):  # type: ignore[misc]  # asn1crypto has no types
    """RFC 3161, 2.4.2. In asn1crypto 1.5 the token is not optional, so it cannot read a rejection."""

    _fields = [  # noqa: RUF012  (asn1crypto reads a plain list)
        ("status", tsp.PKIStatusInfo),
        ("time_stamp_token", cms.ContentInfo, {"optional": True}),
    ]


def ask(client: TestClient, body: bytes) -> TimeStampResp:
    """The reply to a query, which must be one in form."""
    reply = client.post("/", content=body, headers={"content-type": "application/timestamp-query"})
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/timestamp-reply"
    return TimeStampResp.load(reply.content, strict=True)


def info_of(response: TimeStampResp) -> Any:
    """The TSTInfo of a reply that must hold a token."""
    assert response["status"]["status"].native == "granted"
    return response["time_stamp_token"]["content"]["encap_content_info"]["content"].parsed


def refusal_of(response: TimeStampResp) -> set[str]:
    """The failure bits of a reply that must be a rejection without token."""
    assert response["status"]["status"].native == "rejection"
    assert response["time_stamp_token"].native is None
    return set(response["status"]["fail_info"].native)
