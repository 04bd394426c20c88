"""Validation material for long-term signatures: chains, OCSP answers, CRLs, fetched where certificates point.

What is gathered is what EN 319 142-1 B-LT wants for each chain: every certificate up to its root, a
fresh OCSP answer for the end, the CRL for the authorities above. Fetching checks that an answer
belongs to the question; whether it is trustworthy is the validator's to say.
"""

import threading
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtensionOID

from tsp.core.clock import Clock
from tsp.core.errors import Unavailable
from tsp.core.outbound import Outbound
from tsp.core.randomness import Randomness

_MAX_CHAIN = 5
_MAX_BYTES = 4 * 1024 * 1024
#: Certificates of authorities and their CRLs change rarely; they are fetched again after this many seconds.
_KEPT_SECONDS = 600.0
#: id-etsi-ext-valassured-ST-certs (EN 319 412-1, 5.2): too short-lived to be revoked.
_VALIDITY_ASSURED = x509.ObjectIdentifier("0.4.0.194121.2.1")
_NO_REV_AVAIL = x509.ObjectIdentifier("2.5.29.56")


@dataclass
class Material:
    """DER values, each once: certificates, OCSPResponses, CRLs."""

    certificates: dict[bytes, None] = field(default_factory=dict)
    ocsps: dict[bytes, None] = field(default_factory=dict)
    crls: dict[bytes, None] = field(default_factory=dict)


class Collector:
    """Fetches material; safe to use from several threads."""

    def __init__(self, outbound: Outbound, clock: Clock, randomness: Randomness) -> None:
        self._outbound = outbound
        self._clock = clock
        self._randomness = randomness
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, bytes]] = {}

    def collect(self, material: Material, certificate: bytes, made_after: datetime) -> None:
        """Adds what proves this end certificate to `material`.

        OCSP answers are asked for now and must not be older than `made_after`. Raises `Unavailable`
        (status-unavailable) where anything cannot be had.
        """
        current = _load(certificate)
        for depth in range(_MAX_CHAIN):
            material.certificates[current.public_bytes(Encoding.DER)] = None
            if current.subject == current.issuer:
                return
            issuer = self._issuer_of(current)
            self._add_status(material, current, issuer, made_after, is_end=depth == 0)
            current = issuer
        raise _missing("chain-too-long")

    def _issuer_of(self, certificate: x509.Certificate) -> x509.Certificate:
        for url in _access(certificate, AuthorityInformationAccessOID.CA_ISSUERS):
            issuer = _load(self._kept_or_fetched(url))
            if issuer.subject == certificate.issuer:
                return issuer
        raise _missing("issuer")

    def _add_status(
        self,
        material: Material,
        certificate: x509.Certificate,
        issuer: x509.Certificate,
        made_after: datetime,
        *,
        is_end: bool,
    ) -> None:
        responders = _access(certificate, AuthorityInformationAccessOID.OCSP)
        if is_end and responders:
            material.ocsps[self._ocsp(responders[0], certificate, issuer, made_after)] = None
            return
        lists = _crl_urls(certificate)
        if lists:
            crl = self._kept_or_fetched(lists[0])
            _check_crl(crl, issuer)
            material.crls[crl] = None
        elif not is_end or not _cannot_be_revoked(certificate):
            raise _missing("no-status")

    def _ocsp(self, url: str, certificate: x509.Certificate, issuer: x509.Certificate, made_after: datetime) -> bytes:
        """A fresh answer (RFC 6960; the nonce of RFC 9654 keeps caches away)."""
        nonce = self._randomness.bytes(32)
        builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, SHA256())
        request = builder.add_extension(x509.OCSPNonce(nonce), critical=False).build()
        answer = self._outbound.request(
            "POST",
            url,
            headers={"content-type": "application/ocsp-request"},
            content=request.public_bytes(Encoding.DER),
            max_bytes=_MAX_BYTES,
        )
        if answer.status != 200:
            raise _missing("ocsp-status")
        _check_ocsp(answer.body, certificate.serial_number, nonce, made_after)
        return answer.body

    def _kept_or_fetched(self, url: str) -> bytes:
        now = self._clock.monotonic()
        with self._lock:
            kept = self._kept.get(url)
        if kept is not None and now - kept[0] < _KEPT_SECONDS:
            return kept[1]
        answer = self._outbound.request("GET", url, max_bytes=_MAX_BYTES)
        if answer.status != 200:
            raise _missing("fetch")
        with self._lock:
            self._kept[url] = now, answer.body
        return answer.body


def _check_ocsp(body: bytes, serial: int, nonce: bytes, made_after: datetime) -> None:
    """That the answer is `good`, to this question, and not older than asked for (its times are whole seconds)."""
    try:
        response = ocsp.load_der_ocsp_response(body)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise _missing("ocsp-unsuccessful")
        echoed = response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
        single = next(r for r in response.responses if r.serial_number == serial)
        if echoed != nonce or single.certificate_status is not ocsp.OCSPCertStatus.GOOD:
            raise _missing("ocsp-not-good")
        if single.this_update_utc < made_after.replace(microsecond=0):
            raise _missing("ocsp-too-old")
    except (ValueError, StopIteration, x509.ExtensionNotFound) as error:
        raise _missing("ocsp-malformed") from error


def _check_crl(body: bytes, issuer: x509.Certificate) -> None:
    try:
        crl = x509.load_der_x509_crl(body)
    except ValueError as error:
        raise _missing("crl-malformed") from error
    if crl.issuer != issuer.subject:
        raise _missing("crl-of-other")


def _load(certificate: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(certificate)
    except ValueError as error:
        raise _missing("certificate-malformed") from error


def _access(certificate: x509.Certificate, method: x509.ObjectIdentifier) -> list[str]:
    """The http(s) addresses of an access method (RFC 5280, 4.2.2.1)."""
    try:
        descriptions = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return []
    found = [d.access_location.value for d in descriptions if d.access_method == method]
    return [url for url in found if isinstance(url, str) and url.startswith(("http://", "https://"))]


def _crl_urls(certificate: x509.Certificate) -> list[str]:
    """The http(s) addresses of the CRL (RFC 5280, 4.2.1.13)."""
    try:
        points = certificate.extensions.get_extension_for_oid(ExtensionOID.CRL_DISTRIBUTION_POINTS).value
    except x509.ExtensionNotFound:
        return []
    assert isinstance(points, x509.CRLDistributionPoints)
    names = [str(name.value) for point in points for name in point.full_name or ()]
    return [url for url in names if url.startswith(("http://", "https://"))]


def _cannot_be_revoked(certificate: x509.Certificate) -> bool:
    return any(extension.oid in (_VALIDITY_ASSURED, _NO_REV_AVAIL) for extension in certificate.extensions)


def _missing(cause: str) -> Unavailable:
    return Unavailable(
        "status-unavailable",
        "The status of the certificates cannot be had at this moment. Your signature is kept; "
        "please try again in a moment.",
        cause=cause,
    )
