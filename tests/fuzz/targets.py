"""What strangers' octets reach without an account: each target takes any octets and must end in order.

A target raises only for a finding.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from asn1crypto import ocsp as asn1_ocsp

from tests.small_pki import Ca
from tests.tsa.conftest import TimeStampResp
from tsp.ca.request import CertificateRequest, read_request
from tsp.ca.tables import CertificateStatus
from tsp.core import der
from tsp.core.clock import SettableClock
from tsp.core.errors import Invalid
from tsp.core.randomness import SystemRandomness
from tsp.ocsp.http import from_path
from tsp.ocsp.responder import Delegation, OcspResponder
from tsp.tsa import sntp
from tsp.tsa.authority import TimeStampAuthority
from tsp.tsa.clock_guard import ClockGuard
from tsp.tsa.journal import Given

CORPUS = Path(__file__).parent / "corpus"
Target = Callable[[bytes], object]
MOMENT = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
KNOWN = 0x1001


class SoftKey:
    """Signs nothing: only the shape matters here."""

    def __init__(self, public_spki: bytes) -> None:
        self.public_spki = public_spki

    def sign_digest(self, digest: bytes) -> bytes:
        return der.seq(der.integer(1), der.integer(1))


class OneCertificate:
    """A source that knows one certificate, and one that was revoked."""

    def statuses(self, issuer: str, serials: object, revision: int | None = None) -> list[CertificateStatus | None]:
        assert isinstance(serials, list)
        return [self._status(serial) if serial in (KNOWN, KNOWN + 1) else None for serial in serials]

    @staticmethod
    def _status(serial: int) -> CertificateStatus:
        revoked = MOMENT if serial == KNOWN + 1 else None
        return CertificateStatus(
            f"{serial:032x}",
            "qualified",
            "advanced",
            MOMENT,
            MOMENT,
            MOMENT,
            revoked,
            "keyCompromise" if revoked else None,
        )


class Recorder:
    """A journal that forgets."""

    def record(self, given: Given) -> None:
        assert len(given.token_digest) == 32


#: The corpus names this very authority.
CA = Ca("TEST Fuzzed", secret=4711)
_CLOCK = SettableClock(MOMENT)
_RESPONDER = OcspResponder(
    delegations=[Delegation("qualified", CA.der, CA.ocsp(CA.spki), SoftKey(CA.spki))],
    source=OneCertificate(),
    clock=_CLOCK,
    validity=timedelta(hours=1),
    reuse=timedelta(minutes=1),
)
_AUTHORITY = TimeStampAuthority(
    signer=SoftKey(CA.spki),
    certificate=CA.tsu(CA.spki),
    chain=[CA.der],
    policy="0.4.0.2023.1.1",
    accuracy_ms=500,
    guard=ClockGuard(_CLOCK, timedelta(seconds=1)),
    randomness=SystemRandomness(),
    journal=Recorder(),
)


def ocsp_request(data: bytes) -> asn1_ocsp.OCSPResponse:
    """The responder: a response in strict DER for any octets, never internalError."""
    response = asn1_ocsp.OCSPResponse.load(_RESPONDER.answer(data).body, strict=True)
    told = response["response_status"].native
    assert told in {"successful", "malformed_request", "unauthorized"}, told
    return response


def ocsp_path(data: bytes) -> bytes | None:
    """The path of a GET: a request, or malformed."""
    try:
        return from_path(data)
    except Invalid as error:
        assert error.code == "ocsp-malformed"
        return None


def time_stamp_request(data: bytes) -> TimeStampResp:
    """The time-stamping unit: a reply in strict DER for any octets, never systemFailure."""
    response = TimeStampResp.load(_AUTHORITY.answer(data), strict=True)
    failure = response["status"]["fail_info"].native
    assert failure is None or "system_failure" not in failure
    assert (response["status"]["status"].native == "granted") == (response["time_stamp_token"].native is not None)
    return response


def certificate_request(data: bytes) -> CertificateRequest | None:
    """A certificate request: one whose key is proven, or refused by name."""
    try:
        return read_request(data)
    except Invalid as error:
        assert error.code.startswith(("request-", "key-")), error.code
        return None


def time_answer(data: bytes) -> object:
    """A time server's datagram, which anybody may send: a reading, or unfit."""
    try:
        return sntp.read(data, data[24:32], sent=MOMENT, took=0.01)
    except Invalid as error:
        assert error.code == "sntp-unfit"
        return None


TARGETS: dict[str, Target] = {
    "ocsp-request": ocsp_request,
    "ocsp-path": ocsp_path,
    "time-stamp-request": time_stamp_request,
    "certificate-request": certificate_request,
    "time-answer": time_answer,
}


def corpus(name: str) -> list[bytes]:
    """What is kept of a target's inputs: one of each kind, and whatever was once a finding."""
    return [file.read_bytes() for file in sorted((CORPUS / name).iterdir())]
