"""What the pages say of each authority: read from the ceremony's artefacts, every time anew."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from asn1crypto import crl as asn1_crl
from asn1crypto import x509

from tsp.ca.certificate import key_name
from tsp.ca.plan import ISSUERS
from tsp.ca.publication import crl_facts
from tsp.ca.store import CaStore, sha256_hex

Status = Literal["valid", "not-yet", "expired", "revoked"]

#: The authorities whose certificates are published, the root first.
PUBLISHED = ("root", *ISSUERS)
_KEYS = {"P256": "ECDSA P-256", "P384": "ECDSA P-384"}


@dataclass(frozen=True, slots=True)
class CrlOnPage:
    """A revocation list as it is published now."""

    path: str
    number: int
    this_update: datetime
    next_update: datetime
    entries: int

    def current(self, now: datetime) -> bool:
        """Whether its next update is still ahead."""
        return now < self.next_update


@dataclass(frozen=True, slots=True)
class AuthorityOnPage:
    """One generation of one authority."""

    name: str
    common_name: str
    fingerprint: str
    serial: str
    key: str
    not_before: datetime
    not_after: datetime
    status: Status
    revoked_at: datetime | None
    crl: CrlOnPage | None

    @property
    def files(self) -> tuple[tuple[str, str], ...]:
        """Downloads: the file's kind and its path."""
        kinds = (("DER", "cer"), ("PEM", "pem"), ("PKCS #7", "p7c"))
        return tuple((kind, f"/{self.name}.{suffix}") for kind, suffix in kinds)


def grouped(digest: str) -> str:
    """A hexadecimal digest in upper case and in groups of four, as people compare them."""
    return " ".join(digest[at : at + 4] for at in range(0, len(digest), 4)).upper()


def authorities(store: CaStore, now: datetime) -> list[AuthorityOnPage]:
    """Every published authority with its status at `now` and its list."""
    revoked = _revoked(store.root_crl)
    return [_authority(store, name, revoked, now) for name in PUBLISHED]


def _authority(store: CaStore, name: str, revoked: dict[int, datetime], now: datetime) -> AuthorityOnPage:
    der = store.certificate(name)
    parsed = x509.Certificate.load(der)
    since = revoked.get(parsed.serial_number)
    return AuthorityOnPage(
        name=name,
        common_name=str(parsed.subject.native["common_name"]),
        fingerprint=grouped(sha256_hex(der)),
        serial=f"{parsed.serial_number:032x}",
        key=_KEYS[key_name(parsed.public_key.dump())],
        not_before=parsed.not_valid_before,
        not_after=parsed.not_valid_after,
        status=_status(parsed.not_valid_before, parsed.not_valid_after, since, now),
        revoked_at=since,
        crl=_crl(store, name),
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


def _crl(store: CaStore, name: str) -> CrlOnPage | None:
    der = store.crl(name)
    if der is None:
        return None
    number, this_update, next_update = crl_facts(der)
    return CrlOnPage(f"/{name}.crl", number, this_update, next_update, len(_revoked(der)))
