"""OCSP requests taken apart (RFC 6960, 4.1; RFC 9654): octets in, values out."""

from dataclasses import dataclass
from typing import Final, NamedTuple

from tsp.core import der
from tsp.core.errors import Invalid

#: RFC 9919 asks clients for one certificate a request; a few more do no harm.
MAX_CERTIFICATES: Final = 16
#: RFC 9654, 2.1.
MAX_NONCE_OCTETS: Final = 128

ID_NONCE: Final = der.oid("1.3.6.1.5.5.7.48.1.2")
#: Extensions of requests that are understood: all but the nonce may be ignored by a responder.
_UNDERSTOOD = {
    ID_NONCE,
    der.oid("1.3.6.1.5.5.7.48.1.4"),  # acceptable response types: the basic one is all there is
    der.oid("1.3.6.1.5.5.7.48.1.7"),  # service locator
    der.oid("1.3.6.1.5.5.7.48.1.8"),  # preferred signature algorithms
}
_HASHES = {
    der.oid("1.3.14.3.2.26"): "sha1",
    der.oid("2.16.840.1.101.3.4.2.1"): "sha256",
    der.oid("2.16.840.1.101.3.4.2.2"): "sha384",
    der.oid("2.16.840.1.101.3.4.2.3"): "sha512",
}


class IssuerId(NamedTuple):
    """An issuer as a CertID names it. `hash_name` is empty for a hash that is not known here."""

    hash_name: str
    name_hash: bytes
    key_hash: bytes


@dataclass(frozen=True, slots=True)
class CertId:
    """A certificate in question; `encoded` goes back as it came."""

    issuer: IssuerId
    serial: int
    encoded: bytes


@dataclass(frozen=True, slots=True)
class OcspRequest:
    """What is asked. `nonce` is the whole extension, to be sent back octet for octet."""

    certificates: tuple[CertId, ...]
    nonce: bytes | None


def parse_request(data: bytes) -> OcspRequest:
    """Reads an OCSPRequest. Signatures and requestor names are allowed and not looked at.

    Raises `Invalid` (der-malformed, ocsp-malformed) for what is no request, for critical extensions that are not
    understood, and for more than `MAX_CERTIFICATES` certificates.
    """
    outer = _inside(der.read_one(data), 0x30)
    _require_tags(outer)
    fields = _inside(outer[0], 0x30)
    tags = [f.tag for f in fields]
    if tags != [tag for tag in _ORDER if tag in tags]:
        raise _malformed("fields")
    by_tag = dict(zip(tags, fields, strict=True))
    if 0xA0 in by_tag and der.read_one(by_tag[0xA0].content).encoded != der.integer(0):
        raise _malformed("version")
    if 0x30 not in by_tag:
        raise _malformed("request list")
    asked = list(der.children(by_tag[0x30].content))
    if not 1 <= len(asked) <= MAX_CERTIFICATES:
        raise _malformed("number of certificates")
    certificates = tuple(_request(one) for one in asked)
    nonce = _extensions(by_tag[0xA2]) if 0xA2 in by_tag else None
    return OcspRequest(certificates, nonce)


#: The fields of TBSRequest in their order: version, requestorName, requestList, requestExtensions.
_ORDER: Final = (0xA0, 0xA1, 0x30, 0xA2)


def _request(one: der.Tlv) -> CertId:
    fields = _inside(one, 0x30)
    _require_tags(fields)
    if len(fields) == 2:
        _extensions(fields[1])
    return _cert_id(fields[0])


def _cert_id(value: der.Tlv) -> CertId:
    fields = _inside(value, 0x30)
    if [f.tag for f in fields] != [0x30, 0x04, 0x04, 0x02] or not fields[3].content:
        raise _malformed("CertID")
    algorithm = _inside(fields[0], 0x30)
    if not 1 <= len(algorithm) <= 2 or algorithm[0].tag != 0x06:
        raise _malformed("hash algorithm")
    known = len(algorithm) == 1 or algorithm[1].encoded == der.NULL
    name = _HASHES.get(algorithm[0].encoded, "") if known else ""
    serial = int.from_bytes(fields[3].content, "big", signed=True)
    return CertId(IssuerId(name, fields[1].content, fields[2].content), serial, value.encoded)


def _extensions(wrapped: der.Tlv) -> bytes | None:
    """Checks [n] EXPLICIT Extensions; the nonce among them, if there is one."""
    nonce: bytes | None = None
    for extension in _inside(der.read_one(wrapped.content), 0x30):
        fields = _inside(extension, 0x30)
        tags = [f.tag for f in fields]
        if tags not in ([0x06, 0x04], [0x06, 0x01, 0x04]):
            raise _malformed("extension")
        critical = len(fields) == 3 and fields[1].content != b"\x00"
        if critical and fields[0].encoded not in _UNDERSTOOD:
            raise _malformed("critical extension")
        if fields[0].encoded == ID_NONCE:
            if nonce is not None:
                raise _malformed("two nonces")
            _require_nonce(fields[-1].content)
            nonce = extension.encoded
    return nonce


def _require_nonce(value: bytes) -> None:
    inner = der.read_one(value)
    if inner.tag != 0x04 or not 1 <= len(inner.content) <= MAX_NONCE_OCTETS:
        raise _malformed("nonce")


def _inside(value: der.Tlv, tag: int) -> list[der.Tlv]:
    if value.tag != tag:
        raise _malformed("not a sequence")
    return list(der.children(value.content))


def _require_tags(fields: list[der.Tlv]) -> None:
    """One sequence, and perhaps a [0] behind it: so it is with OCSPRequest and with Request."""
    if [f.tag for f in fields] not in ([0x30], [0x30, 0xA0]):
        raise _malformed("fields")


def _malformed(why: str) -> Invalid:
    return Invalid("ocsp-malformed", "The request is not a valid OCSPRequest.", why=why)
