"""OCSP responses put together (RFC 6960, 4.2; RFC 9919): values in, DER out."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import IntEnum
from functools import lru_cache
from typing import Final

from asn1crypto import x509

from tsp.core import der
from tsp.core.errors import Invalid, TooMany, TspError, Unavailable

_ID_PKIX_OCSP_BASIC = der.oid("1.3.6.1.5.5.7.48.1.1")
_EXTENDED_REVOKE = der.seq(der.oid("1.3.6.1.5.5.7.48.1.9"), der.octet_string(der.NULL))
_ID_ARCHIVE_CUTOFF = der.oid("1.3.6.1.5.5.7.48.1.6")
_SIGNATURE = {
    "secp256r1": ("sha256", der.seq(der.oid("1.2.840.10045.4.3.2"))),
    "secp384r1": ("sha384", der.seq(der.oid("1.2.840.10045.4.3.3"))),
}

GOOD: Final = der.implicit(0, der.NULL)
UNKNOWN: Final = der.implicit(2, der.NULL)


class ResponseStatus(IntEnum):
    """OCSPResponseStatus (RFC 6960, 4.2.1)."""

    MALFORMED_REQUEST = 1
    INTERNAL_ERROR = 2
    TRY_LATER = 3
    UNAUTHORIZED = 6


#: The protocol's word for each error of a request.
STATUSES: Final[dict[str, ResponseStatus]] = {
    "der-malformed": ResponseStatus.MALFORMED_REQUEST,
    "ocsp-malformed": ResponseStatus.MALFORMED_REQUEST,
    "ocsp-unauthorized": ResponseStatus.UNAUTHORIZED,
}


def error_response(status: ResponseStatus) -> bytes:
    """A response that says why there is no answer; it has no responseBytes."""
    return der.seq(der.enumerated(status))


def error_response_of(error: TspError) -> bytes:
    """The response that tells an error of our family."""
    other = ResponseStatus.TRY_LATER if isinstance(error, Unavailable | TooMany) else ResponseStatus.INTERNAL_ERROR
    return error_response(STATUSES.get(error.code, other))


def revoked(moment: datetime, reason_code: int) -> bytes:
    """CertStatus revoked; a CRLReason only where it says something (RFC 5280, 5.3.1)."""
    reason = der.explicit(0, der.enumerated(reason_code)) if reason_code else b""
    return der.tlv(0xA1, _time(moment) + reason)


def archive_cutoff(moment: datetime) -> bytes:
    """The singleExtensions [1] that say since when statuses are kept (RFC 6960, 4.4.4; EN 319 411-2 CSS-6.3.10-10)."""
    value = der.octet_string(_time(moment))
    return der.explicit(1, der.seq(der.seq(_ID_ARCHIVE_CUTOFF, value)))


def single_response(
    cert_id: bytes, status: bytes, this_update: datetime, next_update: datetime, extensions: bytes = b""
) -> bytes:
    """SingleResponse for a CertID as it was asked. Times in whole seconds, nextUpdate always there (RFC 9919)."""
    return der.seq(
        cert_id,
        status,
        _time(this_update),
        der.explicit(0, _time(next_update)),
        extensions,
    )


class ResponderTemplate:
    """The parts of a response that one delegated certificate fixes, encoded once.

    `hash_name` is the digest that the responder's key signs. Raises `Invalid` (ocsp-certificate-unfit) for a
    certificate that may not sign for its issuer (RFC 6960, 4.2.2.2; EN 319 411-1).
    """

    def __init__(self, certificate: bytes) -> None:
        self.certificate = responder_certificate(certificate)
        public = self.certificate.public_key
        self.hash_name, self._algorithm = _SIGNATURE[public.curve[1]]
        # ResponderID byKey: SHA-1 of the key's octets, as an identifier only (RFC 9919, 3.2.1).
        key_hash = hashlib.sha1(bytes(public["public_key"]), usedforsecurity=False).digest()
        self._responder_id = der.explicit(2, der.octet_string(key_hash))
        self._certificates = der.explicit(0, der.seq(certificate))

    def response_data(
        self, produced_at: datetime, singles: Sequence[bytes], nonce: bytes | None, *, extended_revoke: bool = False
    ) -> bytes:
        """The ResponseData that the key signs. `nonce` is the request's extension; `extended_revoke` says that
        "revoked" is told of what was never issued too (RFC 6960, 4.4.8)."""
        extensions = (nonce or b"") + (_EXTENDED_REVOKE if extended_revoke else b"")
        return der.seq(
            self._responder_id,
            _time(produced_at),
            der.join(singles),
            der.explicit(1, der.seq(extensions)) if extensions else b"",
        )

    def response(self, data: bytes, signature: bytes) -> bytes:
        """The successful OCSPResponse with the responder's certificate in it."""
        basic = der.seq(data, self._algorithm, der.bit_string(signature), self._certificates)
        return der.seq(der.enumerated(0), der.explicit(0, der.seq(_ID_PKIX_OCSP_BASIC, der.octet_string(basic))))


def responder_certificate(certificate: bytes) -> x509.Certificate:
    """A delegated responder's certificate, read and checked."""
    try:
        parsed = x509.Certificate.load(certificate, strict=True)
        usage, key_usage = parsed.extended_key_usage_value, parsed.key_usage_value
        fit = (
            usage is not None
            and "ocsp_signing" in usage.native
            and (key_usage is None or "digital_signature" in key_usage.native)
            and parsed.ocsp_no_check_value is not None
            and parsed.public_key.algorithm == "ec"
            and parsed.public_key.curve[1] in _SIGNATURE
        )
    except (ValueError, TypeError):
        fit = False
    if not fit:
        raise Invalid(
            "ocsp-certificate-unfit",
            "The certificate of an OCSP responder needs a P-256 or P-384 key, OCSP signing as extended key usage and "
            "the no-check extension. Have the authority issue one with the profile for OCSP responders.",
        )
    return parsed


@lru_cache(maxsize=1024)
def _time(moment: datetime) -> bytes:
    """GeneralizedTime in whole seconds; the same few moments stand in every answer of a second."""
    return der.generalized_time(moment.astimezone(UTC).replace(microsecond=0))


#: A certificate that was never issued, told as revoked (RFC 6960, 2.2): certificateHold since 1970.
NEVER_ISSUED: Final = revoked(datetime(1970, 1, 1, tzinfo=UTC), 6)
