"""What the signing site needs from others, as it sees them; `tsp/app.py` plugs the real ones in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class DigestSigner(Protocol):
    """The site's own P-256 key for client authentication (`hsm.SigningKey` of the label `site-client`)."""

    @property
    def public_spki(self) -> bytes: ...

    def sign_digest(self, digest: bytes) -> bytes: ...


class SignedDigest(Protocol):
    """What the engine gives for one digest (lower-case hex SHA-256): CMS and certificate as DER, the record of

    how the signature was made, and that record's leaf hash (hex) in the public log.
    """

    @property
    def digest(self) -> str: ...

    @property
    def cms(self) -> bytes: ...

    @property
    def certificate(self) -> bytes: ...

    @property
    def evidence_id(self) -> str: ...

    @property
    def evidence(self) -> Mapping[str, Any]: ...

    @property
    def leaf(self) -> str: ...


class SigningPort(Protocol):
    """The signing engine. Errors are those of the family, with the engine's own codes."""

    def sign(self, approval: str, proof: str, digests: Sequence[str]) -> Sequence[SignedDigest]:
        """Signs the digests (lower-case hex SHA-256) that `approval` (SAD) names.

        `proof` shows that the caller holds the key that the approval is bound to. Asking again with
        the same approval and digests gives the same result.
        """
        ...


@dataclass(frozen=True)
class Verdict:
    """The validator's conclusion in the words of EN 319 102-1: `TOTAL-PASSED`, `INDETERMINATE`, `TOTAL-FAILED`.

    `level` is the baseline level found (B-B, B-T, B-LT, B-LTA).
    """

    indication: str
    sub_indication: str
    level: str

    @property
    def passed(self) -> bool:
        return self.indication == "TOTAL-PASSED"


class ValidationPort(Protocol):
    """The validator: judges one signature of a PDF, by its field, as a stranger would."""

    def judge(self, pdf: bytes, field_name: str) -> Verdict: ...


class PackagePort(Protocol):
    """Makes the evidence package of a signature from the log (`tsp.audit.package.EvidencePackages`)."""

    def build(self, leaf: str, record: Mapping[str, Any], cms: bytes) -> bytes:
        """One file for the signature whose entry has this leaf hash (hex)."""
        ...
