"""A signing engine on a real token, with an identity provider and a client of our own."""

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwt
from joserfc.jwk import ECKey

import hsm
from tsp.audit.entries import Writer
from tsp.ca.authority import Authority, IssuingKey
from tsp.ca.certificate import IssuerFacts, key_identifier
from tsp.ca.names import ServiceName
from tsp.ca.plan import SUBSCRIBER_ISSUERS
from tsp.ca.profiles import Profile, load_profiles
from tsp.ca.urls import RepositoryUrls
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.randomness import SystemRandomness
from tsp.engine.activation import ActivationPolicy, Activator, default_levels
from tsp.engine.approvals import Terms
from tsp.engine.engine import Engine
from tsp.engine.liveness import Liveness
from tsp.engine.onetime import OneTimeSigner, Step
from tsp.engine.protocol import SignRequest

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
ISSUER = "http://localhost:8401"
SUBSTANTIAL = "http://eidas.europa.eu/LoA/substantial"
URLS = RepositoryUrls("http://repository.example.si", "http://ocsp.example.si", {"en": "https://www.example.si/pds"})
TERMS = Terms(lease=timedelta(seconds=30), finish=timedelta(minutes=20))
PERSON = {
    "given_name": "Ančka",
    "family_name": "Žnidaršič",
    "country": "SI",
    "serial_number": "TINSI-12345678",
}


def digest_of(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def document(name: str) -> dict[str, Any]:
    return {
        "label": f"{name}.pdf",
        "pages": 3,
        "digest_shown": digest_of(f"shown {name}"),
        "digest_signed": digest_of(f"signed {name}"),
    }


class Provider:
    """The identity provider and the client of one approval, with soft keys."""

    def __init__(self, clock: SettableClock) -> None:
        self._clock = clock
        self.key = ECKey.generate_key("P-256", private=True)
        self.client = ECKey.generate_key("P-256", private=True)
        self._counter = 0

    @property
    def now(self) -> int:
        return int(self._clock.now().timestamp())

    def claims(self, *names: str, **changes: Any) -> dict[str, Any]:
        self._counter += 1
        claims = {
            "iss": ISSUER,
            "aud": "enkrat-engine",
            "jti": f"approval-{self._counter}-{digest_of(str(id(self)))[:8]}",
            "iat": self.now,
            "exp": self.now + 300,
            "client_id": "enkrat-sign",
            "cnf": {"jkt": self.client.thumbprint()},
            "sub": "account-1",
            "acr": SUBSTANTIAL,
            "amr": ["pwd", "sms", "mfa"],
            "auth_time": self.now - 20,
            "idv": "verification-1",
            "sid_sign": "signing-session-1",
            "kind": "qualified",
            "documents": [document(name) for name in names or ("contract",)],
            "subject": PERSON,
        }
        return {name: value for name, value in {**claims, **changes}.items() if value is not None}

    def sad(self, claims: dict[str, Any], *, key: ECKey | None = None, **header: Any) -> str:
        return jwt.encode({"alg": "ES256", "typ": "sad+jwt", **header}, claims, key or self.key)

    def proof(self, sad: str, digests: list[str], *, key: ECKey | None = None, typ: str = "", **changes: Any) -> str:
        key = key or self.client
        hashed = base64.urlsafe_b64encode(sha256(sad.encode()).digest()).rstrip(b"=").decode()
        header = {"alg": "ES256", "typ": typ or "engine-proof+jwt", "jwk": key.as_dict(private=False)}
        return jwt.encode(header, {"sad_hash": hashed, "digests": digests, "iat": self.now, **changes}, key)

    def request(self, *names: str, **changes: Any) -> SignRequest:
        """A good request for these documents, unless `changes` to the claims make it a bad one."""
        claims = self.claims(*names, **changes)
        return self.again(self.sad(claims), [item["digest_signed"] for item in claims["documents"]])

    def again(self, sad: str, digests: list[str]) -> SignRequest:
        """The same approval with a fresh proof."""
        return SignRequest(sad, self.proof(sad, digests), digests)


class SoftRoot:
    """The root, in no token: it certified the issuing authority before the test began."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.public_spki = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def sign_digest(self, digest: bytes) -> bytes:
        return self._key.sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))


def profiles() -> dict[str, Profile]:
    return load_profiles(ROOT / "conf" / "profiles", "1.3.6.1.4.1.32473.1")


def certify_issuer(token: hsm.Token, clock: SettableClock) -> bytes:
    """Makes the key `qualified-ca` in the token and has a root certify it."""
    root = SoftRoot()
    name = ServiceName("SI", "Enkrat TEST d.o.o.", "VATSI-10000003", "Enkrat TEST Root CA").der()
    until = datetime(2056, 1, 1, tzinfo=UTC)
    facts = IssuerFacts("root", name, key_identifier(root.public_spki), root.public_spki, NOW, until)
    authority = Authority(profiles(), {"root": IssuingKey(facts, root)}, URLS, clock, SystemRandomness())
    key = token.generate_signing_key("qualified-ca", hsm.KeySpec.P256)
    subject = ServiceName("SI", "Enkrat TEST d.o.o.", "VATSI-10000003", "Enkrat TEST CA")
    return authority.issue(authority.prepare("subordinate-ca", subject, key.public_spki, now=NOW, issuer="root")).der


class Room:
    """Everything that engines of one installation share. Engines are opened with `engine`."""

    def __init__(
        self,
        directory: Path,
        database: Database,
        token: hsm.Token,
        issuer: bytes,
        clock: SettableClock,
        approval_key: ECKey,
    ) -> None:
        self.directory = directory
        self.database = database
        self.token = token
        self.issuer = issuer
        self.clock = clock
        self.approval_key = approval_key
        self.randomness = SystemRandomness()

    @property
    def run(self) -> Path:
        return self.directory / "run"

    def authority(self) -> Authority:
        key = self.token.signing_key("qualified-ca")
        issuers = {role: IssuingKey.of(role, self.issuer, key) for role in SUBSCRIBER_ISSUERS}
        return Authority(profiles(), issuers, URLS, self.clock, self.randomness, qscd=True)

    @property
    def chains(self) -> dict[str, list[bytes]]:
        """One authority stands for both here."""
        return {role: [self.issuer] for role in SUBSCRIBER_ISSUERS}

    def policy(self, *, qualified: bool = True) -> ActivationPolicy:
        return ActivationPolicy(issuer=ISSUER, levels=default_levels(qualified=qualified))

    def activator(self, policy: ActivationPolicy | None = None) -> Activator:
        return Activator(policy or self.policy(), self.approval_key, self.clock)

    @contextmanager
    def engine(self, *, on_step: Callable[[Step], None] = lambda _step: None, **parts: Any) -> Iterator[Engine]:
        """A living engine; `parts` replace what it is made of."""
        with Liveness(self.run, self.randomness) as liveness:
            made: dict[str, Any] = {
                "database": self.database,
                "signer": OneTimeSigner(self.token, self.authority(), self.chains, self.clock),
                "activator": self.activator(),
                "liveness": liveness,
                "writer": Writer("engine", self.randomness, self.clock),
                "clock": self.clock,
                "randomness": self.randomness,
                "terms": TERMS,
                "on_step": on_step,
            }
            yield Engine(**{**made, **parts})

    def one_time_keys(self) -> int:
        """Private keys in the token that are not the authority's."""
        return sum(key.label != "qualified-ca" for key in self.token.private_keys())
