"""The rules of the OCSP responder: which authority is asked about, what may be said, and who signs it."""

import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from asn1crypto import x509
from cryptography import x509 as cryptography_x509
from cryptography.exceptions import InvalidSignature

from hsm.errors import HsmError
from tsp.ca.crl import REASONS
from tsp.ca.tables import CertificateStatus
from tsp.core.clock import Clock
from tsp.core.errors import Invalid, TspError, Unavailable
from tsp.ocsp.request import IssuerId, OcspRequest, parse_request
from tsp.ocsp.response import (
    GOOD,
    NEVER_ISSUED,
    STATUSES,
    UNKNOWN,
    ResponderTemplate,
    ResponseStatus,
    archive_cutoff,
    error_response,
    error_response_of,
    revoked,
    single_response,
)
from tsp.ocsp.source import StatusSource

#: CertIDs come with SHA-256 (RFC 9919), with SHA-1 from older clients, and with the longer ones on request.
_HASHES: Final = ("sha1", "sha256", "sha384", "sha512")
_log = logging.getLogger(__name__)


class Signer(Protocol):
    """A responder's key, as `hsm.SigningKey` is one."""

    @property
    def public_spki(self) -> bytes: ...

    def sign_digest(self, digest: bytes) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Delegation:
    """A key that may answer for one authority: its role in the certificate table, its certificate (DER), and the
    responder's certificate (DER), issued by the authority itself, with its key."""

    role: str
    issuer: bytes
    certificate: bytes
    signer: Signer


@dataclass(frozen=True, slots=True)
class Answer:
    """An OCSPResponse, and from when to when anyone may keep it: not at all where there are no times."""

    body: bytes
    this_update: datetime | None = None
    next_update: datetime | None = None


Question = tuple[ResponderTemplate, tuple[bytes, ...]]
Statuses = tuple[CertificateStatus | None, ...]


class GivenAnswers:
    """Signed answers that may be given again for `reuse`: to the same question, with the same responder's certificate,
    while the statuses are still those. The `most` that were asked for last are remembered."""

    def __init__(self, reuse: timedelta, most: int = 10_000) -> None:
        self._reuse = reuse
        self._most = most
        self._answers: OrderedDict[Question, tuple[Statuses, Answer]] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, question: Question, statuses: Statuses, now: datetime) -> Answer | None:
        """The answer that stands, if there is one."""
        with self._lock:
            known, answer = self._answers.get(question, ((), None))
            if answer is None or answer.this_update is None or answer.next_update is None or known != statuses:
                return None
            if not answer.this_update <= now < min(answer.this_update + self._reuse, answer.next_update):
                return None
            self._answers.move_to_end(question)
            return answer

    def keep(self, question: Question, statuses: Statuses, answer: Answer) -> None:
        """Remembers an answer, in place of an older one."""
        if not self._reuse:
            return
        with self._lock:
            self._answers[question] = statuses, answer
            self._answers.move_to_end(question)
            while len(self._answers) > self._most:
                self._answers.popitem(last=False)


class OcspResponder:
    """Answers for several authorities, each with its own delegated key.

    `validity` is the time from thisUpdate to nextUpdate. An answer without nonce is given again for `reuse`, as
    long as the status read anew is the one that it tells: a revocation shows at once, in every process. What was
    never issued is never good (EN 319 411-1 OVR-6.6.3-02) but unknown, or with `extended_revoke` revoked. Raises
    `Invalid` (ocsp-certificate-unfit) where key, responder's certificate and authority do not belong together.
    """

    def __init__(
        self,
        *,
        delegations: Sequence[Delegation],
        source: StatusSource,
        clock: Clock,
        validity: timedelta,
        reuse: timedelta = timedelta(0),
        extended_revoke: bool = False,
    ) -> None:
        #: How many times keys and certificates were taken up.
        self.generation = 0
        self.delegate(delegations)
        self._given = GivenAnswers(reuse)
        self._source = source
        self._clock = clock
        self._validity = validity
        self._never_issued = NEVER_ISSUED if extended_revoke else UNKNOWN

    def delegate(self, delegations: Sequence[Delegation]) -> None:
        """From now on these keys and certificates answer. Raises `Invalid` (ocsp-certificate-unfit), and leaves
        everything as it was, where one does not hold."""
        issuers: dict[IssuerId, _Issuer] = {}
        for delegation in delegations:
            issuer = _Issuer(delegation)
            issuers |= dict.fromkeys(issuer.identifiers, issuer)
        self._issuers = issuers
        self.generation += 1

    def now(self) -> datetime:
        """The time that answers are made with. Raises `Unavailable` while it is not to be believed."""
        return self._clock.now()

    def answer(self, request: bytes, revision: int | None = None) -> Answer:
        """The response to any octets; `revision` as for `respond`. Never raises."""
        try:
            return self.respond(parse_request(request), revision)
        except TspError as error:
            if error.code not in STATUSES:
                _log.error("no status told: %s", error.code)
            return Answer(error_response_of(error))
        except Exception:  # noqa: BLE001  (the edge: it is logged, and told by its status only)
            _log.exception("unexpected error")
            return Answer(error_response(ResponseStatus.INTERNAL_ERROR))

    def respond(self, request: OcspRequest, revision: int | None = None) -> Answer:
        """The signed response. `revision` is the number of changes known before (`watch.StatusWatch`), None where
        it is not known: then statuses are read anew.

        Raises `Invalid` (ocsp-unauthorized) where the request names no authority of ours, or several: then no one
        key may sign for all. `Unavailable` where database, token or certificate fail.
        """
        issuer = self._issuer_of(request)
        now = self._clock.now().astimezone(UTC).replace(microsecond=0)
        next_update = issuer.until(now, self._validity)
        asked = request.certificates
        serials = [c.serial for c in asked if c.issuer in issuer.identifiers]
        found = iter(self._source.statuses(issuer.role, serials, revision))
        known = [next(found) if c.issuer in issuer.identifiers else None for c in asked]
        # Whoever asks too early must not keep others from the status of a certificate that is about to be issued.
        kept = request.nonce is None and None not in known
        question = issuer.template, tuple(c.encoded for c in asked)
        if kept and (given := self._given.find(question, tuple(known), now)) is not None:
            return given
        told = [
            UNKNOWN if c.issuer not in issuer.identifiers else self._never_issued if k is None else _status(k)
            for c, k in zip(asked, known, strict=True)
        ]
        singles = [
            single_response(c.encoded, status, now, next_update, issuer.extensions(k))
            for c, k, status in zip(asked, known, told, strict=True)
        ]
        extended = NEVER_ISSUED in told
        data = issuer.template.response_data(now, singles, request.nonce, extended_revoke=extended)
        body = issuer.template.response(data, issuer.sign(data))
        if not kept:
            return Answer(body)
        answer = Answer(body, now, next_update)
        self._given.keep(question, tuple(known), answer)
        return answer

    def _issuer_of(self, request: OcspRequest) -> "_Issuer":
        issuers = self._issuers
        named = {id(i): i for c in request.certificates if (i := issuers.get(c.issuer)) is not None}
        if len(named) != 1:
            raise Invalid("ocsp-unauthorized", "This responder does not answer for the issuer in question.")
        return next(iter(named.values()))


def _status(known: CertificateStatus) -> bytes:
    """CertStatus of a certificate that was issued."""
    if known.revoked_at is None:
        return GOOD
    return revoked(known.revoked_at, REASONS.get(known.reason or "", 0))


class _Issuer:
    """One authority with its delegated responder."""

    def __init__(self, delegation: Delegation) -> None:
        self.role = delegation.role
        self.template = ResponderTemplate(delegation.certificate)
        responder = self.template.certificate
        if responder.public_key.dump() != delegation.signer.public_spki or not _issued(delegation):
            raise Invalid(
                "ocsp-certificate-unfit",
                f"The certificate of the OCSP responder for '{delegation.role}' must be for the key in the token and "
                "issued by that very authority. Have the authority issue one for this key.",
                role=delegation.role,
            )
        self._issuer = x509.Certificate.load(delegation.issuer)
        self._signer = delegation.signer
        self._from: datetime = responder.not_valid_before
        self._to: datetime = responder.not_valid_after
        self._extensions = archive_cutoff(self._issuer.not_valid_before)
        #: The names under which CertIDs may speak of this authority.
        self.identifiers = frozenset(self._identifiers())

    def _identifiers(self) -> list[IssuerId]:
        name, key = self._issuer.subject.dump(), bytes(self._issuer.public_key["public_key"])
        return [IssuerId(h, hashlib.new(h, name).digest(), hashlib.new(h, key).digest()) for h in _HASHES]

    def until(self, now: datetime, validity: timedelta) -> datetime:
        """nextUpdate: no later than the responder's own certificate lives."""
        until = min(now + validity, self._to)
        if not self._from <= now < until:
            raise Unavailable(
                "ocsp-certificate-expired",
                "The certificate of the OCSP responder is not valid now. The authority must issue a new one.",
                role=self.role,
            )
        return until

    def extensions(self, known: CertificateStatus | None) -> bytes:
        """Statuses are kept for good: since the authority began (EN 319 411-2 CSS-6.3.10-10)."""
        return self._extensions if known is not None else b""

    def sign(self, data: bytes) -> bytes:
        """The signature over ResponseData."""
        try:
            return self._signer.sign_digest(hashlib.new(self.template.hash_name, data).digest())
        except HsmError as error:
            _log.error("%s", error.advice)
            raise Unavailable(
                error.code, "The service is briefly unavailable. Nothing was lost; please try again in a moment."
            ) from error


def _issued(delegation: Delegation) -> bool:
    """Whether the authority itself signed the responder's certificate (RFC 6960, 4.2.2.2)."""
    try:
        issuer = cryptography_x509.load_der_x509_certificate(delegation.issuer)
        cryptography_x509.load_der_x509_certificate(delegation.certificate).verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
