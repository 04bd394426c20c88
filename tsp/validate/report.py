"""The result of a validation in the words of EN 319 102-1 (clause 5.1.3) and TS 119 102-2.

Plain values that travel as JSON: the isolated process makes them, pages, REST and command line show
them. Sentences are English and keys of the catalogues.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import TypeAdapter

from tsp.validate.words import EXPLANATIONS


class Indication(StrEnum):
    """Main status indication of a signature (EN 319 102-1, table 5)."""

    TOTAL_PASSED = "TOTAL-PASSED"
    TOTAL_FAILED = "TOTAL-FAILED"
    INDETERMINATE = "INDETERMINATE"

    @property
    def uri(self) -> str:
        """TS 119 102-2, 4.2.4.2."""
        return f"urn:etsi:019102:mainindication:{self.value.lower()}"


class SubIndication(StrEnum):
    """Sub-indications (EN 319 102-1, table 6)."""

    FORMAT_FAILURE = "FORMAT_FAILURE"
    HASH_FAILURE = "HASH_FAILURE"
    SIG_CRYPTO_FAILURE = "SIG_CRYPTO_FAILURE"
    REVOKED = "REVOKED"
    EXPIRED = "EXPIRED"
    NOT_YET_VALID = "NOT_YET_VALID"
    SIG_CONSTRAINTS_FAILURE = "SIG_CONSTRAINTS_FAILURE"
    CHAIN_CONSTRAINTS_FAILURE = "CHAIN_CONSTRAINTS_FAILURE"
    CERTIFICATE_CHAIN_GENERAL_FAILURE = "CERTIFICATE_CHAIN_GENERAL_FAILURE"
    CRYPTO_CONSTRAINTS_FAILURE = "CRYPTO_CONSTRAINTS_FAILURE"
    POLICY_PROCESSING_ERROR = "POLICY_PROCESSING_ERROR"
    SIGNATURE_POLICY_NOT_AVAILABLE = "SIGNATURE_POLICY_NOT_AVAILABLE"
    TIMESTAMP_ORDER_FAILURE = "TIMESTAMP_ORDER_FAILURE"
    NO_SIGNING_CERTIFICATE_FOUND = "NO_SIGNING_CERTIFICATE_FOUND"
    NO_CERTIFICATE_CHAIN_FOUND = "NO_CERTIFICATE_CHAIN_FOUND"
    NO_CERTIFICATE_CHAIN_FOUND_NO_POE = "NO_CERTIFICATE_CHAIN_FOUND_NO_POE"
    REVOKED_NO_POE = "REVOKED_NO_POE"
    REVOKED_CA_NO_POE = "REVOKED_CA_NO_POE"
    OUT_OF_BOUNDS_NOT_REVOKED = "OUT_OF_BOUNDS_NOT_REVOKED"
    OUT_OF_BOUNDS_NO_POE = "OUT_OF_BOUNDS_NO_POE"
    REVOCATION_OUT_OF_BOUNDS_NO_POE = "REVOCATION_OUT_OF_BOUNDS_NO_POE"
    CRYPTO_CONSTRAINTS_FAILURE_NO_POE = "CRYPTO_CONSTRAINTS_FAILURE_NO_POE"
    NO_POE = "NO_POE"
    TRY_LATER = "TRY_LATER"
    SIGNED_DATA_NOT_FOUND = "SIGNED_DATA_NOT_FOUND"

    @property
    def uri(self) -> str:
        """TS 119 102-2, 4.2.4.3."""
        return f"urn:etsi:019102:subindication:{self.value}"

    @property
    def indication(self) -> Indication:
        """The main indication that this sub-indication goes with."""
        return Indication.TOTAL_FAILED if self in _FAILURES else Indication.INDETERMINATE


_FAILURES = frozenset(
    (
        SubIndication.FORMAT_FAILURE,
        SubIndication.HASH_FAILURE,
        SubIndication.SIG_CRYPTO_FAILURE,
        SubIndication.REVOKED,
        SubIndication.EXPIRED,
        SubIndication.NOT_YET_VALID,
    )
)


class Level(StrEnum):
    """Baseline level of a PAdES signature (EN 319 142-1, clause 6)."""

    NOT_BASELINE = "not-baseline"
    B_B = "B-B"
    B_T = "B-T"
    B_LT = "B-LT"
    B_LTA = "B-LTA"


class Changes(StrEnum):
    """What was added to the file after a signature."""

    NONE = "none"
    VALIDATION_DATA = "validation-data"
    FORM_AND_SIGNATURES = "form-and-signatures"
    ANNOTATIONS = "annotations"
    UNCLEAR = "unclear"
    NOT_ALLOWED = "not-allowed"


class Status(StrEnum):
    """What is known of a certificate's revocation at the time that matters."""

    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"
    NOT_NEEDED = "not-needed"
    TRUST_ANCHOR = "trust-anchor"


@dataclass(frozen=True)
class Statements:
    """What a certificate says of itself (EN 319 412-5, EN 319 412-1). A claim: no trusted list was asked."""

    qualified: bool = False
    qscd: bool = False
    purpose: Literal["esign", "eseal", "web"] | None = None
    short_term: bool = False
    no_revocation: bool = False


@dataclass(frozen=True)
class CertificateFacts:
    """One certificate of a chain with what was found out about its status.

    `status_source` and `status_time` are those of the newest reliable answer; `status_in_document`
    says that the document brings an answer along, be it that one or an older one.
    """

    subject: str
    common_name: str
    issuer: str
    serial: str
    not_before: datetime
    not_after: datetime
    sha256: str
    status: Status
    status_source: Literal["ocsp", "crl"] | None = None
    status_time: datetime | None = None
    status_in_document: bool = False
    revoked_at: datetime | None = None
    statements: Statements = Statements()


@dataclass(frozen=True)
class TimeStamp:
    """A time-stamp token: a signature time-stamp, or a document time-stamp with its field."""

    kind: Literal["signature-time-stamp", "document-time-stamp"]
    time: datetime | None
    passed: bool
    sub_indication: SubIndication | None
    authority: str | None
    qualified_claim: bool = False
    field_name: str | None = None
    chain: tuple[CertificateFacts, ...] = ()


@dataclass(frozen=True)
class Signature:
    """One signature of the document.

    `intact` says that the signed octets are unchanged and the signature value fits; `whole_file`
    that nothing was added after it. `best_signature_time` is the earliest time at which the
    signature is proven to exist; the time of validation where nothing proves more.
    """

    field_name: str
    indication: Indication
    sub_indication: SubIndication | None
    explanation: str
    intact: bool
    whole_file: bool
    later_changes: Changes
    level: Level
    claimed_time: datetime | None
    best_signature_time: datetime
    digest_algorithm: str | None
    signature_algorithm: str | None
    chain: tuple[CertificateFacts, ...] = ()
    time_stamps: tuple[TimeStamp, ...] = ()

    @property
    def signer(self) -> CertificateFacts | None:
        """The signing certificate, where one was found."""
        return self.chain[0] if self.chain else None


@dataclass(frozen=True)
class ValidationReport:
    """What was found in one document, in the order in which it was signed."""

    validated_at: datetime
    sha256: str
    size: int
    signatures: tuple[Signature, ...]
    document_time_stamps: tuple[TimeStamp, ...] = ()

    @property
    def indication(self) -> Indication | None:
        """The weakest indication of all signatures; `None` where the document has none."""
        found = {signature.indication for signature in self.signatures}
        for indication in (Indication.TOTAL_FAILED, Indication.INDETERMINATE, Indication.TOTAL_PASSED):
            if indication in found:
                return indication
        return None

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values; `from_json` reads it back."""
        dumped: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return dumped

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "ValidationReport":
        """The report of `to_json`; pydantic's `ValidationError` for anything else."""
        return _ADAPTER.validate_python(values)

    def to_api(self) -> dict[str, Any]:
        """The JSON of the REST interface: `to_json`, the overall indication, and the standard's URIs."""
        answer = self.to_json()
        for values, signature in zip(answer["signatures"], self.signatures, strict=True):
            values["indication_uri"] = signature.indication.uri
            values["sub_indication_uri"] = signature.sub_indication.uri if signature.sub_indication else None
        return {"indication": self.indication, **answer}


_ADAPTER = TypeAdapter(ValidationReport)


def explain(sub_indication: SubIndication | None) -> str:
    """The sentence for people (English, key of the catalogues)."""
    return EXPLANATIONS[sub_indication.value if sub_indication else ""]
