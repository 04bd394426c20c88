"""What the pages say of each authority: read from the ceremony's artefacts, every time anew."""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Literal

from asn1crypto import crl as asn1_crl
from asn1crypto import x509

from tsp.ca.certificate import key_name
from tsp.ca.crl_reading import open_crl
from tsp.ca.http import certificate_of, generations, lists
from tsp.ca.store import CaStore, sha256_hex
from tsp.core.errors import Invalid

Status = Literal["valid", "not-yet", "expired", "revoked"]

_KEYS = {"P256": "ECDSA P-256", "P384": "ECDSA P-384"}


@dataclass(frozen=True, slots=True)
class CrlOnPage:
    """A revocation list as it is published now. `size` in octets."""

    file: str
    issuer: str
    number: int
    this_update: datetime
    next_update: datetime
    size: int

    def current(self, now: datetime) -> bool:
        """Whether its next update is still ahead."""
        return now < self.next_update


@dataclass(frozen=True, slots=True)
class AuthorityOnPage:
    """One generation of one authority. `earlier`: a later one has taken its place, and this one is kept for status."""

    name: str
    role: str
    earlier: bool
    common_name: str
    fingerprint: str
    serial: str
    key: str
    not_before: datetime
    not_after: datetime
    status: Status
    revoked_at: datetime | None

    @property
    def files(self) -> tuple[tuple[str, str], ...]:
        """Downloads: the file's kind and its path."""
        kinds = (("DER", "cer"), ("PEM", "pem"), ("PKCS #7", "p7c"))
        return tuple((kind, f"/{self.name}.{suffix}") for kind, suffix in kinds)


def grouped(digest: str) -> str:
    """A hexadecimal digest in upper case and in groups of four, as people compare them."""
    return " ".join(digest[at : at + 4] for at in range(0, len(digest), 4)).upper()


def authorities(store: CaStore, now: datetime) -> list[AuthorityOnPage]:
    """Every authority, of each the newest generation first, with its status at `now`."""
    revoked, found, seen = _revoked(store.root_crl), [], set[str]()
    for name, role, _ in generations(store.directory):
        der = certificate_of(store.directory, name)
        found.append(_authority(name, role, der, revoked, now, earlier=role in seen))
        seen.add(role)
    return found


def common_names(directory: Path) -> dict[str, str]:
    """What each authority is called, by the name of its generation."""
    found = {}
    for name, _, _ in generations(directory):
        parsed = x509.Certificate.load(certificate_of(directory, name))
        found[name] = str(parsed.subject.native["common_name"])
    return found


def published_lists(directory: Path) -> list[CrlOnPage]:
    """Every revocation list that is published now; one that cannot be read is left out, as machines get none."""
    found = []
    for file in lists(directory):
        try:
            stat = file.stat()
            found.append(_list(file, stat.st_mtime_ns, stat.st_size))
        except (OSError, ValueError, Invalid):
            continue
    return found


def _authority(
    name: str, role: str, der: bytes, revoked: dict[int, datetime], now: datetime, *, earlier: bool
) -> AuthorityOnPage:
    parsed = x509.Certificate.load(der)
    since = revoked.get(parsed.serial_number)
    return AuthorityOnPage(
        name=name,
        role=role,
        earlier=earlier,
        common_name=str(parsed.subject.native["common_name"]),
        fingerprint=grouped(sha256_hex(der)),
        serial=f"{parsed.serial_number:032x}",
        key=_KEYS[key_name(parsed.public_key.dump())],
        not_before=parsed.not_valid_before,
        not_after=parsed.not_valid_after,
        status=_status(parsed.not_valid_before, parsed.not_valid_after, since, now),
        revoked_at=since,
    )


def _status(not_before: datetime, not_after: datetime, revoked_at: datetime | None, now: datetime) -> Status:
    if revoked_at is not None and revoked_at <= now:
        return "revoked"
    if now < not_before:
        return "not-yet"
    return "valid" if now <= not_after else "expired"


def _revoked(crl: bytes) -> dict[int, datetime]:
    entries = asn1_crl.CertificateList.load(crl)["tbs_cert_list"]["revoked_certificates"]
    return {entry["user_certificate"].native: entry["revocation_date"].native for entry in entries}


@lru_cache(maxsize=64)
def _list(file: Path, changed: int, size: int) -> CrlOnPage:
    """A list may have a million entries: it is read once for each time that it changed."""
    del changed
    with open_crl(file) as crl:
        number, this_update, next_update = crl.number, crl.this_update, crl.next_update
        issuer = x509.Name.load(bytes(crl.issuer)).native["common_name"]
    if number is None or next_update is None:
        raise ValueError("not one of our lists")
    return CrlOnPage(file.name, str(issuer), number, this_update, next_update, size)
