"""A report as plain text, for terminals and mail."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from tsp.validate import words
from tsp.validate.report import CertificateFacts, Signature, TimeStamp, ValidationReport

Row = tuple[str, str]


def as_text(report: ValidationReport) -> str:
    """A table of two columns for the document, each signature and each document time-stamp (English, UTC)."""
    parts = [_table(_document(report))]
    parts += [_table(_signature(signature)) for signature in report.signatures]
    parts += [_table(_stamp(stamp)) for stamp in report.document_time_stamps]
    return "\n\n".join(parts) + "\n"


def _table(rows: Iterable[Row]) -> str:
    rows = list(rows)
    width = max(len(term) for term, _ in rows)
    return "\n".join(f"{term.ljust(width)}  {_clean(value)}" for term, value in rows)


def _clean(value: str) -> str:
    """One line without control characters: names come from strangers, and terminals obey."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value)


def _document(report: ValidationReport) -> Iterator[Row]:
    yield "Document", f"SHA-256 {report.sha256}, {report.size} bytes"
    yield "Checked at", _time(report.validated_at)
    yield "Result", report.indication or "no signature"


def _signature(signature: Signature) -> Iterator[Row]:
    yield "Signature", signature.field_name
    result = str(signature.indication)
    yield "Result", f"{result} {signature.sub_indication}" if signature.sub_indication else result
    yield "", signature.explanation
    if signature.signer:
        yield "Signer", signature.signer.subject
        yield "Issuer", signature.signer.issuer
    yield "Level", words.LEVELS[signature.level]
    yield "Claimed time", _time(signature.claimed_time) if signature.claimed_time else "none"
    yield "Proven time", _time(signature.best_signature_time)
    yield "Later changes", words.CHANGES[signature.later_changes]
    for certificate in signature.chain:
        yield "Certificate", _certificate(certificate)
    for stamp in signature.time_stamps:
        yield "Time-stamp", _stamp_line(stamp)


def _stamp(stamp: TimeStamp) -> Iterator[Row]:
    yield "Time-stamp", stamp.field_name or ""
    yield "Result", _stamp_line(stamp)


def _stamp_line(stamp: TimeStamp) -> str:
    result = "valid" if stamp.passed else f"not usable ({stamp.sub_indication})"
    return f"{_time(stamp.time) if stamp.time else 'no time'} by {stamp.authority or 'unknown'}: {result}"


def _certificate(certificate: CertificateFacts) -> str:
    source = f" ({certificate.status_source.upper()})" if certificate.status_source else ""
    return f"{certificate.common_name}: {words.STATUSES[certificate.status]}{source}"


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
