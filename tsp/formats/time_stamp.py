"""Time-stamp requests and replies as a requester sees them (RFC 3161, EN 319 422 5.1). Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime

from asn1crypto import cms, tsp

from tsp.core import der
from tsp.core.errors import Invalid, Unavailable

MEDIA_TYPE = "application/timestamp-query"
_SHA256 = der.seq(der.oid("2.16.840.1.101.3.4.2.1"))
#: PKIStatus granted and grantedWithMods.
_GRANTED = (0, 1)


@dataclass(frozen=True)
class Token:
    """A TimeStampToken (DER), the time it states, and the certificate of the unit that made it."""

    der: bytes
    gen_time: datetime
    certificate: bytes


def time_stamp_request(imprint: bytes, nonce: int) -> bytes:
    """TimeStampReq for a SHA-256 imprint; the token shall bring its certificates."""
    return der.seq(
        der.integer(1),
        der.seq(_SHA256, der.octet_string(imprint)),
        der.integer(nonce),
        der.boolean(True),
    )


def read_reply(reply: bytes, imprint: bytes, nonce: int) -> Token:
    """The token of a reply to exactly this request.

    The signature on it is not checked here; that is the validator's. Raises `Unavailable`
    (time-stamp-refused) for a rejection and for everything that does not fit.
    """
    try:
        token = cms.ContentInfo.load(_granted_token(reply), strict=True)
        signed: cms.SignedData = token["content"]
        info: tsp.TSTInfo = signed["encap_content_info"]["content"].parsed
        found = info["message_imprint"]
        fits = (
            found["hash_algorithm"]["algorithm"].native == "sha256"
            and found["hashed_message"].native == imprint
            and info["nonce"].native == nonce
        )
        if not fits:
            raise _refused("other-request")
        gen_time: datetime = info["gen_time"].native
        return Token(token.dump(), gen_time.astimezone(UTC), _unit_certificate(signed))
    except (Invalid, ValueError, TypeError, LookupError, AttributeError, StopIteration) as error:
        raise _refused("malformed") from error


def _granted_token(reply: bytes) -> bytes:
    """The timeStampToken of a TimeStampResp (RFC 3161, 2.4.2), where its status grants one."""
    status_info, *token = der.children(der.read_one(reply).content)
    status = next(der.children(status_info.content))
    if status.tag != 0x02 or int.from_bytes(status.content, "big") not in _GRANTED or len(token) != 1:
        raise _refused("rejected")
    return token[0].encoded


def _unit_certificate(signed: cms.SignedData) -> bytes:
    """The certificate that the one signer names by issuer and serial number."""
    (signer,) = signed["signer_infos"]
    wanted = signer["sid"].chosen
    for choice in signed["certificates"]:
        certificate = choice.chosen
        same_issuer = certificate.issuer == wanted["issuer"]
        if same_issuer and certificate.serial_number == wanted["serial_number"].native:
            encoded: bytes = certificate.dump()
            return encoded
    raise _refused("no-certificate")


def _refused(cause: str) -> Unavailable:
    return Unavailable(
        "time-stamp-refused",
        "The time-stamping service is briefly unavailable. Your signature is kept; please try again in a moment.",
        cause=cause,
    )
