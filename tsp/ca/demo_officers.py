"""The demo's officers: three people that are none, with keys on disk, so that the demo's ceremony is the real one."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tsp.ca.approvals import sign_detached
from tsp.core.files import write_atomic, write_private

#: Name and role; the names say TEST as every name of a demo does.
OFFICERS: Final = (
    ("TEST Administrator", "administrator"),
    ("TEST Custodian", "custodian"),
    ("TEST Witness", "witness"),
)


class DemoOfficers:
    """Their certificates and keys in `directory` (`<role>.pem`, `<role>.key`)."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def appoint(self, plan: bytes, now: datetime) -> bytes:
        """Makes them, and returns the plan with them in it."""
        whole = plan.decode().rstrip("\n") + "\n"
        for name, role in OFFICERS:
            certificate, key = _person(name, now)
            write_atomic(self.directory / f"{role}.pem", certificate)
            write_private(self.directory / f"{role}.key", key)
            text = certificate.decode()
            whole += f'\n[[officers]]\nname = "{name}"\nrole = "{role}"\ncertificate = """\n{text}"""\n'
        return whole.encode()

    def sign(self, content: bytes) -> dict[str, bytes]:
        """Their signatures over these octets, by role."""
        place = self.directory
        return {
            role: sign_detached(
                content, (place / f"{role}.pem").read_bytes(), (place / f"{role}.key").read_bytes(), None
            )
            for _, role in OFFICERS
        }


def _person(name: str, now: datetime) -> tuple[bytes, bytes]:
    """A certificate that its own key signs, and the key, both PEM: the plan is why it is trusted."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begin = now.replace(microsecond=0)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin - timedelta(minutes=1))
        .not_valid_after(begin + timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM), pem
