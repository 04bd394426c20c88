"""Validation as callers see it: a document in, a report out; offline, in an isolated process."""

from datetime import datetime

from tsp.core.errors import Invalid
from tsp.core.isolated import Isolated
from tsp.validate.report import ValidationReport
from tsp.validate.trust import TrustAnchors

MAX_BYTES = 50_000_000


def validate_pdf(
    pdf: bytes, trust: TrustAnchors, at: datetime, isolated: Isolated, *, max_bytes: int = MAX_BYTES
) -> ValidationReport:
    """Validates every signature of a PDF document as of `at` (EN 319 102-1, PAdES of EN 319 142-1).

    Nothing is fetched: certificates and their status come from the document and from `trust`.
    Raises `Invalid`: document-too-large, document-not-pdf, document-encrypted, document-damaged,
    document-too-complex. A document without signatures gives a report without signatures.
    """
    if at.tzinfo is None:
        raise ValueError("naive datetime")
    if len(pdf) > max_bytes:
        raise Invalid("document-too-large", "The document is larger than this service accepts.", size=len(pdf))
    files = {"pdf": pdf}
    for kind, values in (("anchor", trust.certificates), ("crl", trust.crls), ("ocsp", trust.ocsps)):
        files |= {f"{kind}-{number:04d}": value for number, value in enumerate(values)}
    report, _ = isolated.run("tsp.validate.worker:validate", {"at": at.isoformat()}, files)
    return ValidationReport.from_json(report)
