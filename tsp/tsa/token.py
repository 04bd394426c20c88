"""Requests, tokens and responses of the time-stamp protocol (RFC 3161): values in, DER out."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Final

from asn1crypto import x509

from tsp.core import der
from tsp.core.errors import Invalid, TspError

#: RFC 3161 sets no bound on the nonce; 64 octets are four times what clients send.
MAX_NONCE_OCTETS: Final = 64
MAX_STATUS_TEXT: Final = 200

_ID_SIGNED_DATA = der.oid("1.2.840.113549.1.7.2")
_ID_CT_TST_INFO = der.oid("1.2.840.113549.1.9.16.1.4")
_ID_CONTENT_TYPE = der.oid("1.2.840.113549.1.9.3")
_ID_MESSAGE_DIGEST = der.oid("1.2.840.113549.1.9.4")
_ID_SIGNING_CERTIFICATE_V2 = der.oid("1.2.840.113549.1.9.16.2.47")
_ID_PE_QC_STATEMENTS = der.oid("1.3.6.1.5.5.7.1.3")
_ESI4_QTST_STATEMENT_1 = der.oid("0.4.0.19422.1.1")
_QUALIFIED_STATEMENTS = der.seq(der.seq(_ESI4_QTST_STATEMENT_1))
_V1 = der.integer(1)

_HASH_OIDS = {
    der.oid("2.16.840.1.101.3.4.2.1"): "sha256",
    der.oid("2.16.840.1.101.3.4.2.2"): "sha384",
    der.oid("2.16.840.1.101.3.4.2.3"): "sha512",
    der.oid("2.16.840.1.101.3.4.2.8"): "sha3_256",
    der.oid("2.16.840.1.101.3.4.2.9"): "sha3_384",
    der.oid("2.16.840.1.101.3.4.2.10"): "sha3_512",
}
_DIGEST_ALGORITHM = {name: der.seq(oid) for oid, name in _HASH_OIDS.items()}
#: What TSU keys sign with: curve of the certificate -> digest, signature AlgorithmIdentifier (RFC 5758, 3.2).
_SIGNATURE = {
    "secp256r1": ("sha256", der.seq(der.oid("1.2.840.10045.4.3.2"))),
    "secp384r1": ("sha384", der.seq(der.oid("1.2.840.10045.4.3.3"))),
}


class Failure(IntEnum):
    """PKIFailureInfo bits (RFC 3161, 2.4.2)."""

    BAD_ALG = 0
    BAD_REQUEST = 2
    BAD_DATA_FORMAT = 5
    TIME_NOT_AVAILABLE = 14
    UNACCEPTED_POLICY = 15
    UNACCEPTED_EXTENSION = 16
    ADD_INFO_NOT_AVAILABLE = 17
    SYSTEM_FAILURE = 25


#: The protocol's word for each error; what is not listed is a failure of ours.
FAILURES: Final[dict[str, Failure]] = {
    "timestamp-bad-algorithm": Failure.BAD_ALG,
    "timestamp-bad-request": Failure.BAD_REQUEST,
    "timestamp-bad-format": Failure.BAD_DATA_FORMAT,
    "der-malformed": Failure.BAD_DATA_FORMAT,
    "time-not-available": Failure.TIME_NOT_AVAILABLE,
    "timestamp-unaccepted-policy": Failure.UNACCEPTED_POLICY,
    "timestamp-unaccepted-extension": Failure.UNACCEPTED_EXTENSION,
    "timestamp-information-unavailable": Failure.ADD_INFO_NOT_AVAILABLE,
}


@dataclass(frozen=True, slots=True)
class TimeStampRequest:
    """A request that can be answered. `imprint` is the MessageImprint as it was sent, to be echoed.

    `qualified_wanted`: the request's own extension insists on a qualified time-stamp (decision 0023).
    """

    hash_name: str
    digest: bytes
    imprint: bytes
    policy: bytes | None
    nonce: int | None
    certificate_wanted: bool
    qualified_wanted: bool = False


def parse_request(data: bytes) -> TimeStampRequest:
    """Reads a TimeStampReq (RFC 3161, 2.4.1).

    Raises `Invalid` with a code of `FAILURES`: hashes other than those of SHA-2 and SHA-3 from 256 bits on
    (TS 119 312, 9.2), and extensions that are not known here, are refused. `policy` is the OID as encoded;
    whether it is served, and whether a qualified time-stamp can be had, is the authority's business.
    """
    outer = der.read_one(data)
    if outer.tag != 0x30:
        raise _bad_format("not a sequence")
    fields = list(der.children(outer.content))
    if len(fields) < 2 or fields[0].tag != 0x02 or fields[1].tag != 0x30:
        raise _bad_format("version and imprint are missing")
    if fields[0].encoded != _V1:
        raise Invalid("timestamp-bad-request", "Only version 1 of the time-stamp protocol is served.")
    optional = {f.tag: f for f in fields[2:]}
    order = [tag for tag in (0x06, 0x02, 0x01, 0xA0) if tag in optional]
    if [f.tag for f in fields[2:]] != order:
        raise _bad_format("unexpected field")
    qualified_wanted = _parse_extensions(optional.get(0xA0))
    hash_name, digest = _parse_imprint(fields[1])
    return TimeStampRequest(
        hash_name=hash_name,
        digest=digest,
        imprint=fields[1].encoded,
        policy=optional[0x06].encoded if 0x06 in optional else None,
        nonce=_parse_nonce(optional.get(0x02)),
        certificate_wanted=_parse_boolean(optional.get(0x01)),
        qualified_wanted=qualified_wanted,
    )


def _parse_imprint(imprint: der.Tlv) -> tuple[str, bytes]:
    parts = list(der.children(imprint.content))
    if [p.tag for p in parts] != [0x30, 0x04]:
        raise _bad_format("message imprint")
    algorithm = list(der.children(parts[0].content))
    if not algorithm or algorithm[0].tag != 0x06 or len(algorithm) > 2:
        raise _bad_format("hash algorithm")
    name = _HASH_OIDS.get(algorithm[0].encoded)
    if name is None:
        raise Invalid(
            "timestamp-bad-algorithm",
            "Use SHA-256, SHA-384, SHA-512 or SHA-3 of these lengths for the message imprint.",
        )
    # Parameters are absent or NULL for these (RFC 5754, 2); for SHA-3 absent (RFC 9688, 2), but OpenSSL writes NULL.
    if len(algorithm) == 2 and algorithm[1].encoded != der.NULL:
        raise _bad_format("hash algorithm parameters")
    if len(parts[1].content) != hashlib.new(name).digest_size:
        raise _bad_format("length of the hash")
    return name, parts[1].content


def _parse_nonce(field: der.Tlv | None) -> int | None:
    if field is None:
        return None
    content = field.content
    if not 1 <= len(content) <= MAX_NONCE_OCTETS:
        raise _bad_format("length of the nonce")
    # DER has one form for a number (X.690, 8.3.2). Another one would come back changed, and the client would refuse it.
    if len(content) > 1 and content[0] == (0xFF if content[1] & 0x80 else 0x00):
        raise _bad_format("nonce not shortest")
    return int.from_bytes(content, "big", signed=True)


def _parse_extensions(field: der.Tlv | None) -> bool:
    """Whether the extensions ask for a qualified time-stamp, which is all that they may ask for here."""
    if field is None:
        return False
    extensions = list(der.children(field.content))
    read = [_parse_extension(extension) for extension in extensions]
    if not read or len({identifier for identifier, _ in read}) != len(read):
        raise _bad_format("extensions")
    for identifier, value in read:
        if identifier != _ID_PE_QC_STATEMENTS:
            raise Invalid("timestamp-unaccepted-extension", "This service does not know an extension of the request.")
        if value != _QUALIFIED_STATEMENTS:
            raise Invalid("timestamp-information-unavailable", "The statement that is asked for is not made here.")
    return True


def _parse_extension(extension: der.Tlv) -> tuple[bytes, bytes]:
    """Identifier as encoded, and value; critical or not makes no difference (RFC 3161, 2.4.1)."""
    parts = list(der.children(extension.content)) if extension.tag == 0x30 else []
    if [p.tag for p in parts] not in ([0x06, 0x04], [0x06, 0x01, 0x04]):
        raise _bad_format("extension")
    if len(parts) == 3:
        _parse_boolean(parts[1])
    return parts[0].encoded, parts[-1].content


def _parse_boolean(field: der.Tlv | None) -> bool:
    if field is None:
        return False
    if field.content not in (b"\x00", b"\xff"):
        raise _bad_format("certReq")
    return field.content == b"\xff"


def _bad_format(why: str) -> Invalid:
    return Invalid("timestamp-bad-format", "The request is not a valid TimeStampReq.", why=why)


def accuracy(milliseconds: int) -> bytes:
    """Accuracy of 1 to 1000 ms (EN 319 422, 5.2.2: present, and one second or better)."""
    if not 1 <= milliseconds <= 1000:
        raise ValueError("accuracy is 1 to 1000 milliseconds")
    seconds, millis = divmod(milliseconds, 1000)
    return der.seq(
        der.integer(seconds) if seconds else b"",
        der.implicit(0, der.integer(millis)) if millis else b"",
    )


#: EN 319 422, 9.1: the claim to be a qualified electronic time-stamp, as a non-critical extension [1].
QUALIFIED_CLAIM: Final = der.implicit(
    1, der.seq(der.seq(_ID_PE_QC_STATEMENTS, der.octet_string(_QUALIFIED_STATEMENTS)))
)


def tst_info(
    request: TimeStampRequest,
    *,
    policy: bytes,
    serial: int,
    moment: datetime,
    encoded_accuracy: bytes,
    extensions: bytes = b"",
) -> bytes:
    """TSTInfo (RFC 3161, 2.4.2; EN 319 422, 5.2): ordering stays FALSE, the nonce comes back.

    `policy` is an encoded OID; `moment` is told to the millisecond, rounded down.
    """
    told = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    return der.seq(
        _V1,
        policy,
        request.imprint,
        der.integer(serial),
        der.generalized_time(told),
        encoded_accuracy,
        der.integer(request.nonce) if request.nonce is not None else b"",
        extensions,
    )


class TokenTemplate:
    """The parts of a TimeStampToken that one TSU certificate fixes, encoded once.

    `hash_name` is the digest that the TSU's key signs. Raises `Invalid` (tsu-certificate-unfit) for a
    certificate that is not one of a TSU on P-256 or P-384 (RFC 3161, 2.3; EN 319 422, 6).
    """

    def __init__(self, certificate: bytes, chain: Sequence[bytes] = ()) -> None:
        parsed = tsu_certificate(certificate)
        self.hash_name, algorithm = _SIGNATURE[parsed.public_key.curve[1]]
        issuer = parsed.issuer.dump()
        serial = der.integer(parsed.serial_number)
        self._content_type = der.seq(_ID_CONTENT_TYPE, der.set_of(_ID_CT_TST_INFO))
        # RFC 5816: ESSCertIDv2, whose default hash SHA-256 is not encoded; issuerSerial names the certificate.
        ess_cert_id = der.seq(
            der.octet_string(hashlib.sha256(certificate).digest()),
            der.seq(der.seq(der.explicit(4, issuer)), serial),
        )
        self._signing_certificate = der.seq(_ID_SIGNING_CERTIFICATE_V2, der.set_of(der.seq(der.seq(ess_cert_id))))
        digest_algorithm = _DIGEST_ALGORITHM[self.hash_name]
        self._version_and_digests = der.integer(3) + der.set_of(digest_algorithm)
        self._certificates = der.implicit(0, der.set_of(*{certificate, *chain}))
        self._signer = _V1 + der.seq(issuer, serial) + digest_algorithm
        self._algorithm = algorithm

    def signed_attributes(self, info: bytes) -> bytes:
        """The DER SET OF that the key signs over a TSTInfo: content type, its digest, the certificate."""
        digest = hashlib.new(self.hash_name, info).digest()
        return der.set_of(
            self._content_type,
            der.seq(_ID_MESSAGE_DIGEST, der.set_of(der.octet_string(digest))),
            self._signing_certificate,
        )

    def token(self, info: bytes, attributes: bytes, signature: bytes, *, with_certificates: bool) -> bytes:
        """The TimeStampToken: ContentInfo with SignedData and its one SignerInfo (RFC 3161, 2.4.2)."""
        signer = der.seq(self._signer, der.implicit(0, attributes), self._algorithm, der.octet_string(signature))
        signed_data = der.seq(
            self._version_and_digests,
            der.seq(_ID_CT_TST_INFO, der.explicit(0, der.octet_string(info))),
            self._certificates if with_certificates else b"",
            der.set_of(signer),
        )
        return der.seq(_ID_SIGNED_DATA, der.explicit(0, signed_data))


def tsu_certificate(certificate: bytes) -> x509.Certificate:
    """A TSU's certificate, read and checked (RFC 3161, 2.3; EN 319 422, 6). `Invalid` (tsu-certificate-unfit)."""
    try:
        parsed = x509.Certificate.load(certificate, strict=True)
        usage = parsed.extended_key_usage_value
        fit = (
            usage is not None
            and usage.native == ["time_stamping"]
            and "extended_key_usage" in parsed.critical_extensions
            and parsed.public_key.algorithm == "ec"
            and parsed.public_key.curve[1] in _SIGNATURE
        )
    except (ValueError, TypeError):
        fit = False
    if not fit:
        raise Invalid(
            "tsu-certificate-unfit",
            "The certificate of the time-stamping unit needs a P-256 or P-384 key and time-stamping as its sole, "
            "critical extended key usage. Have the authority issue one with the profile for time-stamping units.",
        )
    return parsed


def granted(token: bytes) -> bytes:
    """TimeStampResp with PKIStatus granted."""
    return der.seq(_GRANTED, token)


def rejection(failure: Failure, text: str) -> bytes:
    """TimeStampResp with PKIStatus rejection, one failure bit and one sentence."""
    free_text = der.seq(der.utf8(text[:MAX_STATUS_TEXT]))
    return der.seq(der.seq(der.integer(2), free_text, der.named_bits(failure)))


def rejection_of(error: TspError) -> bytes:
    """The rejection that tells an error of our family in the protocol's own words."""
    return rejection(FAILURES.get(error.code, Failure.SYSTEM_FAILURE), error.sentence)


_GRANTED = der.seq(der.integer(0))
