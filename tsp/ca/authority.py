"""The authority: prepares a certificate, and issues what it prepared exactly once.

`prepare` decides everything (serial number, validity, names, extensions) and looks at the first of each
shape with every rule; `issue` has the issuer's key sign it, reads the result back, and hands it out. The
caller may write the prepared serial number down between the two: that is the intent before the HSM is
touched. The caller also stores the row, in its own transaction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from hsm.errors import HsmError
from tsp.ca.certificate import (
    SERIAL_OCTETS,
    IssuerFacts,
    Template,
    algorithm_of,
    assemble,
    key_name,
    validity,
)
from tsp.ca.generations import Generations, role_of
from tsp.ca.lint import Expected, PublicKey, check_issued, expected_of, lint_certificate, unsound
from tsp.ca.lint_rules import STRENGTH, expected_extensions
from tsp.ca.names import PersonName, ServiceName, SubjectName, dns_name
from tsp.ca.profiles import Profile
from tsp.ca.tables import Certificate, serial_text, subject_digest, subject_of
from tsp.ca.urls import RepositoryUrls
from tsp.core.clock import Clock
from tsp.core.der import integer, seq
from tsp.core.errors import Conflict, Invalid, Refused, Unavailable
from tsp.core.randomness import Randomness

#: A prepared certificate is signed within this many seconds or not at all: its start is the present.
MAX_PREPARED_SECONDS = 60.0
#: Ecdsa-Sig-Value of the right form for a twin that is looked at and thrown away.
_NO_SIGNATURE = seq(integer(1), integer(1))


class CertificationKey(Protocol):
    """The key of an issuer, as `hsm.SigningKey` is one."""

    @property
    def public_spki(self) -> bytes:
        """DER SubjectPublicKeyInfo."""
        ...

    def sign_digest(self, digest: bytes) -> bytes:
        """DER Ecdsa-Sig-Value over the digest."""
        ...


class IssuingKey:
    """An issuer: the facts of its certificate, and its key. `Invalid` where the two do not belong together."""

    def __init__(self, facts: IssuerFacts, key: CertificationKey) -> None:
        if key.public_spki != facts.spki:
            raise Invalid("issuer-key-mismatch", "The key in the token is not the one in the certificate.")
        public = load_der_public_key(facts.spki)
        if not isinstance(public, ec.EllipticCurvePublicKey):
            raise Invalid("key-unfit", "The key must be an uncompressed point on P-256 or P-384.")
        self.facts = facts
        self.key = key
        self.public = public
        self.algorithm = algorithm_of(facts.spki)
        self.strength = STRENGTH[key_name(facts.spki)]

    @classmethod
    def of(cls, role: str, certificate: bytes, key: CertificationKey) -> "IssuingKey":
        """The issuer with this certificate (DER) and key."""
        return cls(IssuerFacts.of(role, certificate), key)

    def sign(self, message: bytes) -> bytes:
        """DER Ecdsa-Sig-Value. `Unavailable` (authority-unavailable) where the token does not answer."""
        return self.sign_prehashed(self.algorithm.digest(message))

    def sign_prehashed(self, digest: bytes) -> bytes:
        """The same for a message whose digest, made with this key's own algorithm, is at hand."""
        try:
            return self.key.sign_digest(digest)
        except HsmError as error:
            raise Unavailable(
                "authority-unavailable",
                "Certificates cannot be issued at the moment. Nothing was signed; please try again later.",
                cause=error.code,
            ) from error


@dataclass(frozen=True, slots=True, eq=False)
class PreparedCertificate:
    """Everything of a certificate but its signature. Redeemed once, by the authority that prepared it."""

    profile: str
    issuer: str
    expected: Expected
    #: The subject's Name (DER).
    subject: bytes = field(repr=False)
    prepared: float
    #: Taking an element out of a list is atomic: two threads cannot both redeem.
    ticket: list["Authority"] = field(repr=False)

    @property
    def serial(self) -> str:
        """The serial number, 32 lower-case hexadecimal digits."""
        return serial_text(self.expected.serial)

    @property
    def tbs(self) -> bytes:
        """TBSCertificate: what the issuer's key will sign."""
        return self.expected.tbs

    @property
    def not_before(self) -> datetime:
        """The first second of the validity."""
        return self.expected.not_before

    @property
    def not_after(self) -> datetime:
        """The last second of the validity."""
        return self.expected.not_after


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate that may leave the authority: signed, read back and compared. `public` is the key as it says."""

    serial: str
    der: bytes
    issuer: str
    profile: str
    not_before: datetime
    not_after: datetime
    public: PublicKey = field(repr=False, compare=False)
    #: The subject's Name (DER).
    subject: bytes = field(repr=False, compare=False)


class Authority:
    """Issues certificates of the given profiles with the given issuers (by role, or by the names of generations).

    `qscd` says whether certificates for a qualified signature creation device may be issued: the token
    is declared one, or this is a demo. Safe to use from several threads.
    """

    def __init__(
        self,
        profiles: Mapping[str, Profile],
        issuers: Mapping[str, IssuingKey],
        urls: RepositoryUrls,
        clock: Clock,
        randomness: Randomness,
        *,
        qscd: bool = False,
    ) -> None:
        self._profiles = dict(profiles)
        self._issuers = issuers if isinstance(issuers, Generations) else Generations(issuers)
        self._urls = urls
        self._clock = clock
        self._randomness = randomness
        self._qscd = qscd
        self._templates: dict[tuple[str, str, bool], Template] = {}
        self._extensions: dict[tuple[str, bool], dict[str, bool]] = {}
        self._seen_shapes: set[tuple[str, str, tuple[object, ...]]] = set()

    def offers(self, profile: str) -> bool:
        """Whether certificates of this profile can be had here."""
        found = self._profiles.get(profile)
        return (
            found is not None
            and (self._qscd or not found.needs_qscd)
            and any(role in self._issuers for role in found.issuers)
        )

    def prepare(
        self,
        profile: str,
        subject: SubjectName,
        spki: bytes,
        *,
        now: datetime,
        issuer: str | None = None,
        host_names: Sequence[str] = (),
    ) -> PreparedCertificate:
        """Decides a certificate for `subject` and its public key, valid from `now`.

        `issuer` is the issuer's name where the profile allows several; otherwise the generation in use certifies.
        Raises `Refused` (kind-not-available) where the profile needs a QSCD and there is none, `Invalid` for a
        subject or key that does not fit, `Unavailable` where the issuer ends too soon or the built certificate breaks
        a rule.
        """
        chosen = self._profile(profile)
        signer = self._issuer(chosen, issuer)
        kind = self._check_key(chosen, signer, spki)
        self._check_subject(chosen, subject, host_names)
        not_before, not_after = validity(chosen, now)
        if not_before < signer.facts.not_before or not_after > signer.facts.not_after:
            raise Unavailable(
                "authority-expiring",
                "Certificates cannot be issued at the moment. Nothing was signed; please try again later.",
                issuer=signer.facts.role,
            )
        serial = self._new_serial()
        semantics, name = subject.semantic, subject.der()
        template = self._template(chosen, signer, semantics=semantics)
        tbs = template.tbs(name, spki, serial, now, host_names=host_names)
        self._look_at_shape(chosen, signer, (kind, *subject.shape), tbs)
        expected = Expected(
            tbs=tbs,
            serial=serial,
            not_before=not_before,
            not_after=not_after,
            spki=spki,
            extensions=self._expected_extensions(chosen, semantics=semantics),
            algorithm=signer.algorithm,
        )
        return PreparedCertificate(profile, signer.facts.role, expected, name, self._clock.monotonic(), ticket=[self])

    def issue(self, prepared: PreparedCertificate) -> IssuedCertificate:
        """Signs what was prepared, reads it back and compares.

        Raises `Conflict` (certificate-issued-already) the second time, also after a failure; `Refused`
        (prepared-too-old) after a minute; `Unavailable` where the token does not answer or the result is
        not what was prepared.
        """
        try:
            redeemer = prepared.ticket.pop()
        except IndexError:
            raise Conflict(
                "certificate-issued-already", "This certificate was issued already.", serial=prepared.serial
            ) from None
        if redeemer is not self:
            raise Refused("prepared-elsewhere", "This certificate was prepared elsewhere.", serial=prepared.serial)
        if self._clock.monotonic() - prepared.prepared > MAX_PREPARED_SECONDS:
            raise Refused(
                "prepared-too-old", "The certificate was prepared too long ago. Start again.", serial=prepared.serial
            )
        signer = self._issuers[prepared.issuer]
        der = assemble(prepared.tbs, signer.sign(prepared.tbs), signer.algorithm)
        public = check_issued(der, prepared.expected, signer.public)
        return IssuedCertificate(
            prepared.serial,
            der,
            prepared.issuer,
            prepared.profile,
            prepared.not_before,
            prepared.not_after,
            public,
            prepared.subject,
        )

    def profile(self, name: str) -> Profile:
        """The profile of this name; `Invalid` (profile-unknown), `Refused` (kind-not-available) as `prepare` does."""
        return self._profile(name)

    def issue_stored(self, profile: str, issuer: str, tbs: bytes) -> IssuedCertificate:
        """Signs a TBSCertificate that was prepared here or in another process and stored since.

        Looks at it with every rule again, whatever was looked at before. Who calls answers for its being redeemed
        once. Raises what `issue` raises, and `Refused` (prepared-too-old) where the certificate's life is over.
        """
        chosen = self._profile(profile)
        signer = self._issuer(chosen, issuer)
        twin = assemble(tbs, _NO_SIGNATURE, signer.algorithm)
        findings = lint_certificate(twin, chosen, signer.facts)
        if findings:
            raise unsound(findings[0].rule)
        expected = expected_of(twin, signer.algorithm)
        if self._clock.now() > expected.not_after:
            raise Refused(
                "prepared-too-old",
                "The certificate was prepared too long ago. Start again.",
                serial=serial_text(expected.serial),
            )
        der = assemble(tbs, signer.sign(tbs), signer.algorithm)
        public = check_issued(der, expected, signer.public)
        return IssuedCertificate(
            serial_text(expected.serial),
            der,
            issuer,
            profile,
            expected.not_before,
            expected.not_after,
            public,
            subject_of(der),
        )

    def row(self, issued: IssuedCertificate, subject_ref: str | None) -> Certificate:
        """The row that the caller stores in the transaction that makes the certificate count."""
        return Certificate(**self.values(issued, subject_ref))

    def values(self, issued: IssuedCertificate, subject_ref: str | None) -> dict[str, Any]:
        """The same as values by column, for many rows at once."""
        return {
            "serial": issued.serial,
            "issuer": issued.issuer,
            "profile": issued.profile,
            "subject_ref": subject_ref,
            "subject_digest": subject_digest(issued.subject),
            "not_before": issued.not_before,
            "not_after": issued.not_after,
            "der": issued.der,
            "issued_at": self._clock.now(),
            "shard": self._urls.named_shard(issued.issuer, issued.der),
            "revoked_at": None,
            "reason": None,
            "told_at": None,
        }

    def _profile(self, name: str) -> Profile:
        profile = self._profiles.get(name)
        if profile is None:
            raise Invalid("profile-unknown", "There is no such kind of certificate.", profile=name)
        if profile.needs_qscd and not self._qscd:
            raise Refused(
                "kind-not-available",
                "Qualified signatures are not available here. Choose an advanced signature.",
                profile=name,
            )
        return profile

    def _issuer(self, profile: Profile, role: str | None) -> IssuingKey:
        if role is None and len(profile.issuers) > 1:
            raise Invalid("issuer-unknown", "Say which authority shall issue the certificate.", profile=profile.name)
        role = role or self._issuers.in_use(profile.issuers[0])
        if role_of(role) not in profile.issuers or role not in self._issuers:
            raise Invalid("issuer-unknown", "This authority does not issue such certificates.", profile=profile.name)
        return self._issuers[role]

    def _check_key(self, profile: Profile, signer: IssuingKey, spki: bytes) -> str:
        kind = key_name(spki)
        if kind not in profile.keys:
            raise Invalid(
                "key-unfit", f"This kind of certificate takes keys of {', '.join(profile.keys)}.", profile=profile.name
            )
        if STRENGTH[kind] > signer.strength:  # TS 119 312, 9.5
            raise Invalid("key-unfit", "The key is stronger than the key of the authority.", profile=profile.name)
        return kind

    def _check_subject(self, profile: Profile, subject: SubjectName, host_names: Sequence[str]) -> None:
        if isinstance(subject, PersonName) != (profile.subject == "natural-person"):
            raise Invalid("subject-unfit", "This kind of certificate is not for such a subject.", profile=profile.name)
        if bool(host_names) != profile.host_names:
            raise Invalid("host-name-unfit", "Server certificates, and no others, need a host name.")
        for name in host_names:
            dns_name(name)
        if host_names and isinstance(subject, ServiceName) and subject.common_name not in host_names:
            # EN 319 412-4 WEB-4.1.3-4: the common name of a server is one of its host names.
            raise Invalid("host-name-unfit", "The common name of a server must be one of its host names.")

    def _new_serial(self) -> int:
        """Random, positive, 16 octets with the top bit cleared (RFC 5280, 4.1.2.2)."""
        serial = 0
        while serial.bit_length() <= 64:
            serial = int.from_bytes(self._randomness.bytes(SERIAL_OCTETS), "big") & ((1 << (SERIAL_OCTETS * 8 - 1)) - 1)
        return serial

    def _template(self, profile: Profile, signer: IssuingKey, *, semantics: bool) -> Template:
        key = profile.name, signer.facts.role, semantics
        if key not in self._templates:
            self._templates[key] = Template(profile, signer.facts, self._urls, semantics=semantics)
        return self._templates[key]

    def _expected_extensions(self, profile: Profile, *, semantics: bool) -> Mapping[str, bool]:
        key = profile.name, semantics
        if key not in self._extensions:
            self._extensions[key] = expected_extensions(profile, semantics=semantics)
        return self._extensions[key]

    def _look_at_shape(self, profile: Profile, signer: IssuingKey, form: tuple[object, ...], tbs: bytes) -> None:
        """Every rule, once for each profile, issuer and form of key and subject, on a twin without a real signature."""
        shape = profile.name, signer.facts.role, form
        if shape in self._seen_shapes:
            return
        findings = lint_certificate(assemble(tbs, _NO_SIGNATURE, signer.algorithm), profile, signer.facts)
        if findings:
            raise unsound(findings[0].rule)
        self._seen_shapes.add(shape)
