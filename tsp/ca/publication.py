"""The CRLs of authorities that certify others every day: signed while their token is open, published as files.

The root's list comes from the ceremony (`upkeep`). The process that holds an issuing key runs a
`CrlPublisher`, which signs a new list at once after a revocation and otherwise well before the old one
ends (EN 319 411-1 CSS-6.3.9-05: at least every 24 hours).
"""

import fcntl
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from asn1crypto import crl as asn1_crl

from tsp.ca.authority import IssuingKey
from tsp.ca.certificate import assemble
from tsp.ca.crl import RevokedCertificate, build_tbs_crl
from tsp.ca.lint import lint_crl, unsound
from tsp.ca.revocation import revoked_certificates
from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.core.errors import TspError
from tsp.core.files import write_atomic

log = logging.getLogger("tsp.ca")


def make_crl(
    issuer: IssuingKey, *, number: int, now: datetime, validity: timedelta, revoked: Sequence[RevokedCertificate] = ()
) -> bytes:
    """A complete list (DER) that is good for `validity` from `now`, checked before it is returned.

    Raises `Unavailable` where the token does not answer or the list breaks a rule.
    """
    this_update = now.replace(microsecond=0)
    tbs = build_tbs_crl(issuer.facts, number, this_update, this_update + validity, revoked)
    crl = assemble(tbs, issuer.sign(tbs), issuer.algorithm)
    findings = lint_crl(crl, issuer.facts, issuer.public)
    if findings:
        raise unsound(findings[0].rule)
    return crl


def crl_facts(crl: bytes) -> tuple[int, datetime, datetime]:
    """Number, thisUpdate and nextUpdate of one of our CRLs."""
    parsed = asn1_crl.CertificateList.load(crl)
    tbs = parsed["tbs_cert_list"]
    return parsed.crl_number_value.native, tbs["this_update"].native, tbs["next_update"].native


@dataclass(frozen=True, slots=True)
class CrlTerms:
    """How long a list is good for, after what time the next one is signed, and how often that is looked at."""

    validity: timedelta = timedelta(hours=48)
    renewal: timedelta = timedelta(hours=12)
    look: timedelta = timedelta(seconds=30)


class CrlPublisher:
    """Keeps `<issuer>.crl` in `directory` right, for every issuer whose key is at hand.

    Several processes may do so for the same directory: a file lock lets one at a time look and sign.
    """

    def __init__(
        self,
        directory: Path,
        issuers: Mapping[str, IssuingKey],
        database: Database,
        clock: Clock,
        terms: CrlTerms | None = None,
    ) -> None:
        self._directory = directory
        self._issuers = issuers
        self._database = database
        self._clock = clock
        self._terms = terms or CrlTerms()

    def publish(self) -> list[str]:
        """Signs and publishes the lists that are due; the names of their issuers.

        Raises `Unavailable` where database or token do not answer; the lists that stand stay as they are.
        """
        with self._one_at_a_time():
            return [name for name, signer in self._issuers.items() if self._published(name, signer)]

    def run(self, stop: threading.Event) -> None:
        """Publishes until `stop`. What fails is told in the log and tried again at the next look."""
        while not stop.is_set():
            try:
                for name in self.publish():
                    log.info("published the CRL of %s", name)
            except TspError as error:
                log.error("CRL: %s %s", error.code, error.facts)
            except OSError as error:
                log.error("CRL: %s", type(error).__name__)
            stop.wait(self._terms.look.total_seconds())

    def _published(self, name: str, signer: IssuingKey) -> bool:
        with self._database.read() as session:
            revoked = revoked_certificates(session, name)
        path, now = self._directory / f"{name}.crl", self._clock.now()
        standing = _standing(path)
        if standing is not None:
            number, this_update, _ = crl_facts(standing)
            if now - this_update < self._terms.renewal and _serials(standing) == {one.serial for one in revoked}:
                return False
        else:
            number = 0
        # Seconds since 1970 rise by themselves: a list that was lost makes no number come twice (RFC 5280, 5.2.3).
        number = max(number + 1, int(now.timestamp()))
        write_atomic(path, make_crl(signer, number=number, now=now, validity=self._terms.validity, revoked=revoked))
        return True

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        with (self._directory / "crl.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _standing(path: Path) -> bytes | None:
    """The list that is published now; None where there is none that can be read."""
    try:
        der = path.read_bytes()
        asn1_crl.CertificateList.load(der, strict=True).native  # noqa: B018  (reads every field)
    except (OSError, ValueError):
        return None
    return der


def _serials(crl: bytes) -> set[int]:
    entries = asn1_crl.CertificateList.load(crl)["tbs_cert_list"]["revoked_certificates"]
    return {entry["user_certificate"].native for entry in entries}
