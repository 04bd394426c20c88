"""The story of a key, read from the evidence of one signature (EVD-1), as the result page tells it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

#: RFC 8176 values, strongest first, and what the page calls them (keys of the catalogues).
_METHODS = {
    "sc": "certificate on a card",
    "hwk": "your security key",
    "swk": "your device",
    "sms": "SMS code",
    "otp": "one-time code",
}
_LEVELS = {
    "http://eidas.europa.eu/LoA/substantial": "substantial",
    "http://eidas.europa.eu/LoA/high": "high",
}


@dataclass(frozen=True)
class Story:
    """What happened, with the moments that the record states; None where it states none."""

    kind: str
    signer: str
    level_of_assurance: str
    method: str | None
    own_proof: bool
    approved_at: datetime | None
    generated_at: datetime | None
    algorithm: str
    certified_at: datetime | None
    valid_until: datetime | None
    signed_at: datetime | None
    digest_signed: str
    destroyed_at: datetime | None
    gone: bool
    stamped_at: datetime | None
    validated_at: datetime | None
    level: str

    @property
    def lifetime_ms(self) -> int | None:
        """How long the key existed, in thousandths of a second, rounded up: from made to destroyed."""
        if self.generated_at is None or self.destroyed_at is None:
            return None
        microseconds = round((self.destroyed_at - self.generated_at).total_seconds() * 1_000_000)
        return max(1, -(-microseconds // 1000))


def tell(result: Mapping[str, Any], certificate: bytes) -> Story:
    """The story of a finished session's result. Moments of the key are the engine's, the rest the site's."""
    evidence: Mapping[str, Any] = result["evidence"]
    approval, key, times = (_part(evidence, name) for name in ("approval", "key", "times"))
    methods = approval.get("amr", [])
    destruction = _part(key, "destruction")
    return Story(
        kind=str(approval.get("kind", "")),
        signer=_signer(certificate),
        level_of_assurance=_LEVELS.get(str(approval.get("acr")), ""),
        method=next((words for name, words in _METHODS.items() if name in methods), None),
        own_proof=approval.get("attestation") not in (None, "attested-by-provider"),
        approved_at=_moment(approval.get("issued_at")),
        generated_at=_moment(times.get("generated")),
        algorithm=str(key.get("algorithm", "")),
        certified_at=_moment(times.get("certified")),
        valid_until=_moment(_part(evidence, "certificate").get("not_after")),
        signed_at=_moment(times.get("signed")),
        digest_signed=str(_part(evidence, "document").get("digest_signed", "")),
        destroyed_at=_moment(times.get("destroyed")),
        gone=destruction.get("destroyed_call_ok") is True and destruction.get("found_after") == 0,
        stamped_at=_moment(result.get("stamped_at")),
        validated_at=_moment(result.get("validated_at")),
        level=str(result.get("level", "")),
    )


def _part(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = values.get(name)
    return part if isinstance(part, Mapping) else {}


def _moment(text: object) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) else None


def _signer(certificate: bytes) -> str:
    names = x509.load_der_x509_certificate(certificate).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""
