"""What the benchmarks work with: tokens in a directory of their own, an authority, a provider, a client.

Assembled from the platform's real classes as `tsp.app` does it; only the root and the identity
provider, which are not measured, have soft keys.
"""

import base64
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from asn1crypto import keys
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID
from joserfc import jwt
from joserfc.jwk import ECKey

import hsm
from hsm import softhsm
from tsp.audit.entries import Writer
from tsp.ca.authority import Authority, IssuingKey
from tsp.ca.certificate import IssuerFacts, key_identifier
from tsp.ca.names import ServiceName
from tsp.ca.plan import SUBSCRIBER_ISSUERS
from tsp.ca.profiles import Profile, load_profiles
from tsp.ca.urls import RepositoryUrls
from tsp.core.clock import SystemClock
from tsp.core.database import Database
from tsp.core.randomness import SystemRandomness, new_id
from tsp.core.settings import Profiles
from tsp.engine.activation import (
    AUDIENCE,
    KINDS,
    PROOF_TYPE,
    SAD_TYPE,
    SUBSTANTIAL,
    ActivationPolicy,
    Activator,
    default_levels,
)
from tsp.engine.engine import Engine
from tsp.engine.liveness import Liveness
from tsp.engine.onetime import OneTimeSigner
from tsp.engine.protocol import SignRequest

ROOT = Path(__file__).resolve().parent.parent
PIN = "123456-bench"
KIND = "qualified"
_ISSUER = "http://localhost:8401"
_URLS = RepositoryUrls("http://repository.example.si", "http://ocsp.example.si", {"en": "https://www.example.si/pds"})
_CLOCK, _RANDOMNESS = SystemClock(), SystemRandomness()


@contextmanager
def directory() -> Iterator[Path]:
    """A directory on the installation's disk, with SoftHSM's tokens in it; gone after the block."""
    var = ROOT / "var" / "bench"
    var.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix="run-", dir=var))
    try:
        softhsm.configure(made)
        yield made
    finally:
        shutil.rmtree(made)


def new_token(place: Path, label: str) -> None:
    """Makes a token in `place`, with the PIN of all benchmarks."""
    softhsm.create_token(place, label, pin=PIN, so_pin=f"{PIN}-so")


def open_token(label: str) -> hsm.Token:
    """An open token, as every role has one."""
    return hsm.Token.open(softhsm.find_module(), label, PIN)


class SoftSigner:
    """A person's certificate and P-256 key in software, with the authority that certified it."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        authority = ec.generate_private_key(ec.SECP256R1())
        made = _soft_certificate("Enkrat TEST CA", authority, "Enkrat TEST CA", authority, authority=True)
        own = _soft_certificate("Ančka Žnidaršič", self._key, "Enkrat TEST CA", authority, authority=False)
        self.issuer = made.public_bytes(Encoding.DER)
        self.certificate = own.public_bytes(Encoding.DER)
        self.asn1_issuer = asn1_x509.Certificate.load(self.issuer)
        self.asn1_certificate = asn1_x509.Certificate.load(self.certificate)
        encoded = self._key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        self.asn1_key = keys.PrivateKeyInfo.load(encoded)

    def sign(self, message: bytes) -> bytes:
        """DER Ecdsa-Sig-Value with SHA-256."""
        return self._key.sign(message, ec.ECDSA(hashes.SHA256()))


def _soft_certificate(
    subject: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey, *, authority: bool
) -> x509.Certificate:
    now = _CLOCK.now()
    usage = dict.fromkeys(
        (
            *("digital_signature", "key_encipherment", "data_encipherment", "key_agreement"),
            *("encipher_only", "decipher_only"),
        ),
        False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(**usage, content_commitment=not authority, key_cert_sign=authority, crl_sign=authority),
            critical=True,
        )
        .sign(signer, hashes.SHA256())
    )


class Provider:
    """Identity provider and client of an approval, with soft keys: they are not measured."""

    def __init__(self) -> None:
        self._key = ECKey.generate_key("P-256", private=True)
        self._client = ECKey.generate_key("P-256", private=True)

    @property
    def pinned(self) -> dict[str, Any]:
        """The key that the engine trusts, as a public JWK."""
        return dict(self._key.as_dict(private=False))

    def request(self, documents: int = 1) -> SignRequest:
        """A fresh approval of so many documents, with the client's proof."""
        now, jti = int(_CLOCK.now().timestamp()), new_id(_RANDOMNESS)
        approved = [
            {
                "label": "pogodba.pdf",
                "pages": 3,
                "digest_shown": sha256(f"shown {jti} {number}".encode()).hexdigest(),
                "digest_signed": sha256(f"signed {jti} {number}".encode()).hexdigest(),
            }
            for number in range(documents)
        ]
        digests = [str(document["digest_signed"]) for document in approved]
        claims = {
            "iss": _ISSUER,
            "aud": AUDIENCE,
            "jti": jti,
            "iat": now,
            "exp": now + 300,
            "client_id": "enkrat-sign",
            "cnf": {"jkt": self._client.thumbprint()},
            "sub": "account-1",
            "acr": SUBSTANTIAL,
            "amr": ["pwd", "sms", "mfa"],
            "auth_time": now - 20,
            "idv": "verification-1",
            "sid_sign": "signing-session-1",
            "kind": KIND,
            "documents": approved,
            "subject": {
                "given_name": "Ančka",
                "family_name": "Žnidaršič",
                "country": "SI",
                "serial_number": "TINSI-12345678",
            },
        }
        approval = jwt.encode({"alg": "ES256", "typ": SAD_TYPE}, claims, self._key)
        hashed = base64.urlsafe_b64encode(sha256(approval.encode()).digest()).rstrip(b"=").decode()
        header = {"alg": "ES256", "typ": PROOF_TYPE, "jwk": self._client.as_dict(private=False)}
        proof = jwt.encode(header, {"sad_hash": hashed, "digests": digests, "iat": now}, self._client)
        return SignRequest(approval, proof, digests)


class _SoftRoot:
    """The root, in no token: it certifies the issuing authority before anything is measured."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.public_spki = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def sign_digest(self, digest: bytes) -> bytes:
        return self._key.sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))


def _profiles() -> dict[str, Profile]:
    return load_profiles(ROOT / "conf" / "profiles", str(Profiles.model_fields["oid_arc"].default))


def certify_issuer(token: hsm.Token) -> bytes:
    """Makes the key `qualified-ca` in the token and has a root certify it; the certificate (DER)."""
    now, root = _CLOCK.now(), _SoftRoot()
    name = ServiceName("SI", "Enkrat TEST d.o.o.", "VATSI-10000003", "Enkrat TEST Root CA").der()
    since, until = now - timedelta(days=1), now + timedelta(days=40 * 365)
    facts = IssuerFacts("root", name, key_identifier(root.public_spki), root.public_spki, since, until)
    authority = Authority(_profiles(), {"root": IssuingKey(facts, root)}, _URLS, _CLOCK, _RANDOMNESS)
    key = token.generate_signing_key("qualified-ca", hsm.KeySpec.P256)
    subject = ServiceName("SI", "Enkrat TEST d.o.o.", "VATSI-10000003", "Enkrat TEST Issuing CA")
    return authority.issue(authority.prepare("subordinate-ca", subject, key.public_spki, now=now, issuer="root")).der


def activator(pinned: dict[str, Any]) -> Activator:
    """The engine's judgement, with the provider's public key pinned."""
    policy = ActivationPolicy(issuer=_ISSUER, levels=default_levels(qualified=True), max_documents=1000)
    return Activator(policy, ECKey.import_key(pinned), _CLOCK)


def one_time_signer(token: hsm.Token, issuer: bytes) -> OneTimeSigner:
    """The life of one-time keys in this token, as `tsp.app` assembles it."""
    key = token.signing_key("qualified-ca")
    issuers = {role: IssuingKey.of(role, issuer, key) for role in SUBSCRIBER_ISSUERS}
    authority = Authority(_profiles(), issuers, _URLS, _CLOCK, _RANDOMNESS, qscd=True)
    signer = OneTimeSigner(token, authority, {role: [issuer] for role in issuers}, _CLOCK)
    signer.look_ahead(KINDS)
    return signer


@dataclass(frozen=True)
class EngineFacts:
    """Everything that a process needs to know to be the engine; travels to another process as it is."""

    place: Path
    label: str
    issuer: bytes
    pinned: dict[str, Any]
    database_url: str


@contextmanager
def living_engine(facts: EngineFacts, *, watch: Callable[[Database], None] = lambda _: None) -> Iterator[Engine]:
    """The engine, ready. `watch` gets its database before the engine uses it."""
    database = Database(facts.database_url)
    watch(database)
    with open_token(facts.label) as token, Liveness(facts.place / "run", _RANDOMNESS) as liveness:
        try:
            yield Engine(
                database=database,
                signer=one_time_signer(token, facts.issuer),
                activator=activator(facts.pinned),
                liveness=liveness,
                writer=Writer("engine", _RANDOMNESS, _CLOCK),
                clock=_CLOCK,
                randomness=_RANDOMNESS,
            )
        finally:
            database.close()


def digest(text: str) -> bytes:
    """SHA-256 of a text."""
    return sha256(text.encode()).digest()
