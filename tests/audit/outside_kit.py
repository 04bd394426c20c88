"""The world around a log: the sandbox's witness behind a door, and a time-stamping authority with a soft key."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from starlette.testclient import TestClient

from sandbox.settings import load_settings
from sandbox.witness import load_witness, make_key, witness_app
from tests.small_pki import Ca
from tsp.adapters import CheckpointAuthority
from tsp.audit.checkpoint import VerifierKey
from tsp.audit.cosignature import CosignerKey
from tsp.audit.witnesses import Witness
from tsp.core import der
from tsp.core.clock import Clock
from tsp.core.errors import Unavailable
from tsp.core.outbound import Outbound, OutboundResponse
from tsp.core.randomness import SystemRandomness
from tsp.tsa.token import TokenTemplate, granted, parse_request, tst_info

Answer = Callable[[bytes], tuple[int, bytes]]


class WitnessHouse:
    """One witness of the sandbox; `outbound` is the door to it, `answer` replaces what it says."""

    def __init__(self, directory: Path, clock: Clock, log_key: VerifierKey, name: str = "witness.example/TEST") -> None:
        config = directory / "witness.toml"
        directory.mkdir(parents=True, exist_ok=True)
        config.write_text(f'[witness]\nname = "{name}"\n')
        settings = load_settings(config, directory / "sandbox")
        make_key(settings)
        (directory / "public" / "log-checkpoint.vkey").write_text(log_key.encode())
        self._client = TestClient(witness_app(load_witness(settings, clock), 64_000), base_url="http://localhost:8415")
        self.key = CosignerKey.parse(self._client.get("/key").text)
        self.witness = Witness("http://localhost:8415", self.key)
        self.answer: Answer = self.honest
        self.asked = 0

    @property
    def outbound(self) -> Outbound:
        return cast("Outbound", self)

    def honest(self, body: bytes) -> tuple[int, bytes]:
        answer = self._client.post("/add-checkpoint", content=body)
        return answer.status_code, answer.content

    def request(
        self, method: str, url: str, *, content: bytes, headers: Mapping[str, str] | None = None, **_more: object
    ) -> OutboundResponse:
        assert (method, url) == ("POST", "http://localhost:8415/add-checkpoint")
        self.asked += 1
        status, body = self.answer(content)
        return OutboundResponse(status, {}, body)


def down(_body: bytes) -> tuple[int, bytes]:
    """A witness that does not answer in time."""
    raise Unavailable("peer-unavailable", "no answer", cause="TimeoutError")


class SoftAuthority:
    """A time-stamping authority in memory, below a root of its own."""

    def __init__(self, clock: Clock) -> None:
        self.root = Ca("TEST Stamp Root")
        self.clock = clock
        self.answer: Callable[[bytes], bytes] = self.honest
        self._key = ec.generate_private_key(ec.SECP256R1())
        spki = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self._template = TokenTemplate(self.root.tsu(spki))

    @property
    def certificate(self) -> x509.Certificate:
        return self.root.certificate

    def honest(self, body: bytes) -> bytes:
        asked = parse_request(body)
        info = tst_info(asked, policy=der.oid("1.2.3"), serial=7, moment=self.clock.now(), encoded_accuracy=b"")
        attributes = self._template.signed_attributes(info)
        signature = self._key.sign(attributes, ec.ECDSA(hashes.SHA256()))
        return granted(self._template.token(info, attributes, signature, with_certificates=True))

    def request(self, _method: str, _url: str, *, content: bytes, **_more: object) -> OutboundResponse:
        return OutboundResponse(200, {}, self.answer(content))

    def port(self, directory: Path) -> CheckpointAuthority:
        """The platform's adapter to it, which trusts its root."""
        trust = directory / "stamp-root.pem"
        trust.write_bytes(self.certificate.public_bytes(Encoding.PEM))
        return CheckpointAuthority("http://tsa.example", trust, cast("Outbound", self), SystemRandomness())
