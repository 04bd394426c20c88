"""Keeps the published trust list right: signed anew when a service changed, and well before the last issue ends.

`<var>/repository/trust-list/<sequence>.xml` holds every issue; the newest is the list. Files are never changed.
"""

import logging
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from asn1crypto import x509

from hsm import KeySpec, Token
from hsm.errors import HsmError, KeyMissing
from tsp.ca.issuance import Issuance
from tsp.ca.names import ServiceName
from tsp.ca.store import from_pem, to_pem
from tsp.core.clock import Clock
from tsp.core.errors import NotFound, TspError, Unavailable
from tsp.core.files import one_at_a_time, write_atomic
from tsp.repository.services import Service
from tsp.repository.trustlist import MEDIA_TYPE, Scheme, TrustList, build, following, read
from tsp.repository.xades import sign_enveloped

log = logging.getLogger("tsp.repository")
LABEL: Final = "trust-list"
SIGNER_FILE: Final = "signer.pem"
#: The signer's certificate is renewed when it has less than this to live: more than two issues last.
_AHEAD = timedelta(days=400)
_FILE = re.compile(r"([1-9][0-9]{0,8})\.xml")


@dataclass(frozen=True, slots=True)
class ListSigner:
    """The key that signs the list, and its certificate (DER)."""

    certificate: bytes
    sign_digest: Callable[[bytes], bytes]


class TrustListShelf:
    """The issues that are published, for who reads them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def numbers(self) -> list[int]:
        """The sequence numbers that are there, the newest first."""
        if not self.directory.is_dir():
            return []
        found = (_FILE.fullmatch(file.name) for file in self.directory.iterdir())
        return sorted((int(match[1]) for match in found if match), reverse=True)

    def octets(self, number: int | None = None) -> bytes:
        """One issue, or the newest; `NotFound` (trust-list-missing) where there is none."""
        numbers = self.numbers()
        if not numbers or (number is not None and number not in numbers):
            raise NotFound("trust-list-missing", "No trust list is published here.")
        try:
            return (self.directory / f"{number or numbers[0]}.xml").read_bytes()
        except OSError as error:
            raise _damaged() from error

    def newest(self) -> TrustList | None:
        """The newest issue as values; None where there is none, `Unavailable` (trust-list-damaged) for a bad one."""
        if not self.numbers():
            return None
        try:
            return read(self.octets())
        except ValueError as error:
            raise _damaged() from error

    def signer(self) -> bytes:
        """The certificate (DER) of who signs; `NotFound` (trust-list-missing) where there is none yet."""
        try:
            return from_pem((self.directory / SIGNER_FILE).read_bytes())
        except FileNotFoundError:
            raise NotFound("trust-list-missing", "No trust list is published here.") from None
        except ValueError as error:
            raise _damaged() from error


class TrustListPublisher:
    """Signs the next issue where it is due. `present` tells the services now, `signer` who signs."""

    def __init__(
        self,
        shelf: TrustListShelf,
        scheme: Callable[[], Scheme],
        present: Callable[[datetime], Sequence[Service]],
        signer: Callable[[], ListSigner],
        clock: Clock,
        validity: timedelta,
    ) -> None:
        self._shelf = shelf
        self._scheme = scheme
        self._present = present
        self._signer = signer
        self._clock = clock
        self._validity = validity

    def publish(self, *, force: bool = False) -> TrustList | None:
        """The issue that was signed and published; None where the standing one still says what is true.

        Raises `Unavailable` where token or database do not answer; the issue that stands stays as it is.
        """
        self._shelf.directory.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(self._shelf.directory / "publish.lock"):
            now = self._clock.now().replace(microsecond=0)
            before, signer = self._shelf.newest(), self._signer()
            entries = following(before, self._present(now), now)
            if before and not force and entries == before.entries and now - before.issued < self._validity / 2:
                return None
            sequence = before.sequence + 1 if before else 1
            issue = TrustList(sequence, now, now + self._validity, entries)
            data = self._signed(issue, signer, now)
            write_atomic(self._shelf.directory / f"{sequence}.xml", data)
            return issue

    def run(self, stop: threading.Event, look: timedelta = timedelta(minutes=10)) -> None:
        """Looks until `stop`."""
        while not stop.is_set():
            self.look()
            stop.wait(look.total_seconds())

    def look(self) -> None:
        """Publishes where an issue is due. What fails is told in the log and tried again at the next look."""
        try:
            if issue := self.publish():
                log.info("published issue %d of the trust list", issue.sequence)
        except TspError as error:
            log.error("trust list: %s %s", error.code, error.facts)
        except OSError as error:
            log.error("trust list: %s", type(error).__name__)

    def _signed(self, issue: TrustList, signer: ListSigner, now: datetime) -> bytes:
        try:
            data = sign_enveloped(
                build(self._scheme(), issue),
                signer.certificate,
                signer.sign_digest,
                signing_time=now,
                media_type=MEDIA_TYPE,
            )
        except HsmError as error:
            raise Unavailable("token-unavailable", error.advice, cause=error.code) from error
        if read(data) != issue:
            raise Unavailable("trust-list-unsound", "The trust list does not read as it was written.")
        return data


def certified_signer(
    shelf: TrustListShelf, token: Token, issuance: Issuance, name: ServiceName, clock: Clock
) -> ListSigner:
    """The key `trust-list` of the token with a certificate that lasts; both are made where they are missing.

    Raises `Unavailable` where the token or the database does not answer.
    """
    try:
        key = token.signing_key(LABEL)
    except KeyMissing:
        key = token.generate_signing_key(LABEL, KeySpec.P256)
    except HsmError as error:
        raise Unavailable("token-unavailable", error.advice, cause=error.code) from error
    standing = _standing(shelf)
    now = clock.now()
    if standing is not None:
        parsed = x509.Certificate.load(standing)
        if parsed.public_key.dump() == key.public_spki and parsed.not_valid_after - now > _AHEAD:
            return ListSigner(standing, key.sign_digest)
    issued = issuance.issue_now("trust-list", name, key.public_spki, issuer="infrastructure", in_device=True)
    shelf.directory.mkdir(parents=True, exist_ok=True)
    write_atomic(shelf.directory / SIGNER_FILE, to_pem(issued.der))
    return ListSigner(issued.der, key.sign_digest)


def _standing(shelf: TrustListShelf) -> bytes | None:
    try:
        return shelf.signer()
    except TspError:
        return None


def _damaged() -> Unavailable:
    return Unavailable("trust-list-damaged", "The trust list cannot be read at the moment.")
