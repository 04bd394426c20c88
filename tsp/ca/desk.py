"""Where operators issue certificates: the token of the authorities is open, and an `Issuance` works with it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    KeySerializationEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs12,
)
from sqlalchemy.orm import Session

from hsm import KeySpec, Token
from hsm.errors import KeyMissing
from tsp.audit.entries import record
from tsp.ca.authority import Authority, IssuedCertificate, IssuingKey
from tsp.ca.ceremony import token_errors
from tsp.ca.commands import CeremonyContext
from tsp.ca.generation_watch import GenerationWatch
from tsp.ca.issuance import Issuance
from tsp.ca.names import PersonName
from tsp.ca.plan import ISSUERS
from tsp.ca.profiles import Profile
from tsp.ca.revocation import Requester, Revocations
from tsp.ca.samples import SampleBench
from tsp.ca.store import CaStore
from tsp.ca.urls import RepositoryUrls
from tsp.core.errors import Invalid, Refused

#: PKCS#12 (RFC 7292): rounds of PBKDF2 before AES-256, against who tries passwords.
_ROUNDS: Final = 600_000
_SHORTEST_PASSWORD: Final = 8


@dataclass(frozen=True, slots=True)
class Desk:
    """An open desk. `Desk.open` makes one."""

    context: CeremonyContext
    store: CaStore
    profiles: Mapping[str, Profile]
    issuers: Mapping[str, IssuingKey]
    token: Token

    @classmethod
    @contextmanager
    def open(cls, context: CeremonyContext) -> Iterator["Desk"]:
        """Opens the token of the authorities; `Unavailable` (token-unavailable) where it does not open."""
        _, profiles = context.plan()
        store = CaStore(context.directory)
        with context.token("ca") as token:
            watch = GenerationWatch(context.directory, ISSUERS, token.signing_key, context.clock)
            yield cls(context, store, profiles, watch.issuers, token)

    def issuance(self, profiles: Mapping[str, Profile] | None = None, *, one_time: bool = False) -> Issuance:
        """Issues with these profiles, or with those of the installation; `one_time` as of `Issuance`."""
        own, settings = self.context, self.context.settings
        authority = Authority(
            profiles or self.profiles,
            self.issuers,
            RepositoryUrls.of(settings),
            own.clock,
            own.randomness,
            qscd=settings.hsm.qscd or settings.demo,
        )
        return Issuance(authority, own.database, own.clock, own.randomness, own.writer, one_time=one_time)

    def seal_key(self, place: str, profile: str) -> bytes:
        """The public key (DER) of a lasting key for seals, `<token>:seal-<name>`; made there where it is missing.

        Raises `Invalid` (seal-key-unfit) for any other label, as keys of authorities and roles are never certified
        anew, and for a profile that is not a seal's.
        """
        chosen = self.issuance().profile(profile)
        if chosen.subject != "legal-person" or "nonRepudiation" not in chosen.key_usage:
            raise Invalid("seal-key-unfit", "A key for seals gets the certificate of a seal and no other.")
        name, _, label = place.partition(":")
        if not label.startswith("seal-") or name == "root":
            raise Invalid(
                "seal-key-unfit", "Name a key for seals as TOKEN:seal-NAME, in a token that is not the root's."
            )
        with token_errors(name), self._token(name) as token:
            try:
                return token.signing_key(label).public_spki
            except KeyMissing:
                return token.generate_signing_key(label, KeySpec.P256).public_spki

    @contextmanager
    def _token(self, name: str) -> Iterator[Token]:
        if name == "ca":
            yield self.token
        else:
            with self.context.token(name) as token:
                yield token

    def sample_bench(self) -> SampleBench:
        """What test certificates are made with."""
        settings = self.context.settings
        provider = settings.provider
        return SampleBench(
            profiles=self.profiles,
            issuers=frozenset(self.issuers),
            issuance=partial(self.issuance, one_time=True),
            key=self._discarded_key,
            revoke=self._revoke,
            provider=(provider.country, provider.organisation, provider.organisation_identifier),
            qscd=settings.hsm.qscd or settings.demo,
        )

    def _discarded_key(self) -> bytes:
        with token_errors("ca"), self.token.one_time_key() as key:
            return key.public_spki

    def _revoke(self, issuer: str, serial: str) -> None:
        own = self.context

        def journal(session: Session, kind: str, payload: Mapping[str, str]) -> None:
            record(session, writer=own.writer, kind=kind, payload=payload)

        revocations = Revocations(own.clock, journal, lambda _session, _done: None)  # a test certificate is nobody's
        with own.database.write() as session:
            requester = Requester("provider", "test-certificates")
            done = revocations.revoke(session, serial, "cessationOfOperation", requester)
            assert done.issuer == issuer, "a serial number names one certificate"

    def login_file(
        self, subject: PersonName, subject_ref: str | None, password: str
    ) -> tuple[IssuedCertificate, bytes]:
        """A certificate for logins with its key, as PKCS#12 under a password, to try them with.

        The key is made outside of any token and travels: `Refused` (pkcs12-only-in-demo) but in a demo.
        """
        if not self.context.settings.demo:
            raise Refused(
                "pkcs12-only-in-demo",
                "Keys are made by their holders. Ask for a certificate request (PKCS#10) instead.",
            )
        if len(password) < _SHORTEST_PASSWORD:
            raise Invalid("password-too-short", f"The password needs {_SHORTEST_PASSWORD} characters at least.")
        key = ec.generate_private_key(ec.SECP256R1())
        spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        issued = self.issuance().issue_now("authentication", subject, spki, subject_ref=subject_ref)
        chain = [x509.load_der_x509_certificate(der) for der in self.store.chain(issued.issuer)]
        own = x509.load_der_x509_certificate(issued.der)
        return issued, pkcs12.serialize_key_and_certificates(None, key, own, chain, _encryption(password))


def _encryption(password: str) -> KeySerializationEncryption:
    return (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(_ROUNDS)
        .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(hashes.SHA256())
        .build(password.encode())
    )
