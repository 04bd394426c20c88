"""The officers of a ceremony: who may approve its plan and sign its transcript, by their certificates in the plan."""

from datetime import datetime
from functools import cached_property
from typing import Literal, Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import Field, model_validator

from tsp.ca.tomlfile import Strict

OfficerRole = Literal["administrator", "custodian", "witness"]
OfficerKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


class Officer(Strict):
    """One person: the name under which the transcript has them, what they do in the room, and their certificate.

    The certificate is trusted because it stands in the reviewed plan; who issued it does not matter. It is the
    person's own: two officers never share a key.
    """

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9 .-]{0,62}$")
    role: OfficerRole
    certificate: str

    @cached_property
    def parsed(self) -> x509.Certificate:
        """The certificate."""
        return x509.load_pem_x509_certificate(self.certificate.encode())

    @cached_property
    def key(self) -> OfficerKey:
        """Its public key."""
        key = self.parsed.public_key()
        assert isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
        return key

    @cached_property
    def spki(self) -> bytes:
        """The same, as DER SubjectPublicKeyInfo."""
        return self.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, hexadecimal."""
        return self.parsed.fingerprint(SHA256()).hex()

    @property
    def slug(self) -> str:
        """The name as a part of a file's name."""
        return self.name.lower().replace(" ", "-").replace(".", "")

    def valid_at(self, moment: datetime) -> bool:
        """Whether the certificate was valid then."""
        return self.parsed.not_valid_before_utc <= moment <= self.parsed.not_valid_after_utc

    @model_validator(mode="after")
    def _certificate_fits(self) -> Self:
        try:
            key = self.parsed.public_key()
        except ValueError as error:
            raise ValueError(f"the certificate of {self.name} is not a PEM certificate") from error
        if isinstance(key, rsa.RSAPublicKey) and key.key_size < 3072:
            raise ValueError(f"{self.name} needs an RSA key of at least 3072 bits (TS 119 312, 9.5)")
        if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.key_size < 256:
            raise ValueError(f"{self.name} needs a key on a curve of at least 256 bits (TS 119 312, 9.5)")
        if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
            raise ValueError(f"{self.name} needs a key for RSA or ECDSA")
        return self


def check_officers(officers: tuple[Officer, ...], approvals: int) -> None:
    """ValueError where two officers are one person, or more approvals are needed than there are officers."""
    for what, values in (
        ("name", [officer.slug for officer in officers]),
        ("key", [officer.spki.hex() for officer in officers]),
        ("certificate", [officer.fingerprint for officer in officers]),
    ):
        if len(set(values)) != len(values):
            raise ValueError(f"every officer has a {what} of their own")
    if officers and approvals > len(officers):
        raise ValueError(f"{approvals} approvals are needed, but there are {len(officers)} officers")
