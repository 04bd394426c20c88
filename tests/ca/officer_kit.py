"""Officers of a ceremony, each with a certificate of their own and openssl as their tool."""

import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.ca.ca_kit import NOW
from tsp.ca.officers import Officer


@dataclass(frozen=True)
class Person:
    """Somebody with a key and a certificate."""

    name: str
    role: str
    key: Any
    certificate: x509.Certificate

    @property
    def text(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def toml(self) -> str:
        return f'[[officers]]\nname = "{self.name}"\nrole = "{self.role}"\ncertificate = """\n{self.text}"""\n'

    @property
    def officer(self) -> Officer:
        return Officer.model_validate({"name": self.name, "role": self.role, "certificate": self.text})

    def pem_key(self, passphrase: bytes | None = None) -> bytes:
        how = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
        return bytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how))

    def files(self, directory: Path, passphrase: bytes | None = None) -> tuple[str, str]:
        """Paths of key and certificate, PEM."""
        key, certificate = directory / f"{self.name}.key", directory / f"{self.name}.pem"
        key.write_bytes(self.pem_key(passphrase))
        certificate.write_text(self.text)
        return str(key), str(certificate)

    def signs(self, content: bytes, directory: Path, *options: str, form: str = "DER") -> bytes:
        """A detached CMS over `content`, made by openssl."""
        key, certificate = self.files(directory)
        (directory / "content").write_bytes(content)
        command = ["openssl", "cms", "-sign", "-binary", "-md", "sha256", "-in", "content", "-out", "signature"]
        command += ["-signer", certificate, "-inkey", key, "-outform", form, *options]
        subprocess.run(command, cwd=directory, check=True, capture_output=True)
        return (directory / "signature").read_bytes()


def make_officer(
    name: str, role: str, key: Any = None, *, since: datetime = NOW - timedelta(days=1), days: int = 3650
) -> Person:
    """A person with a certificate that they signed themselves."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(since.astimezone(UTC))
        .not_valid_after(since.astimezone(UTC) + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    )
    return Person(name, role, key, certificate)
