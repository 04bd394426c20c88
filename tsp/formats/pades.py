"""PAdES (EN 319 142-1) from the caller's side: frozen document, signature, validation data.

    inspection = pades.inspect(isolated, pdf, limits)         what is in it, or why it cannot be signed
    prepared = pades.freeze(isolated, pdf, …)                 exactly the file that will be signed
    … somebody signs prepared.digest_signed and makes a CMS of it (tsp.formats.cms) …
    pdf = pades.finish(isolated, prepared, cms, …)            PAdES B-LT

Whatever reads the document runs in `Isolated`; what comes back is appended here to the original,
so that the original octets are in the result by construction. `embed` needs no reader at all.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from tsp.core.errors import Invalid
from tsp.core.isolated import Isolated
from tsp.formats.findings import Attachment, FilesAttached, Finding
from tsp.formats.placeholder import ByteRange, Prepared, fill

__all__ = [
    "Attachment",
    "DocumentLimits",
    "Finding",
    "Inspection",
    "Prepared",
    "embed",
    "finish",
    "freeze",
    "inspect",
    "render",
]

_WORKER = "tsp.formats.pades_worker"


@dataclass(frozen=True)
class DocumentLimits:
    """What is accepted: octets of the file, number of its pages, files attached to it (then shown by name)."""

    max_bytes: int = 50_000_000
    max_pages: int = 2000
    embedded_files: Literal["refuse", "show"] = "refuse"


@dataclass(frozen=True)
class EarlierSignature:
    """A signature that the document brings along, by what it says of itself (unchecked)."""

    field_name: str
    kind: Literal["signature", "time-stamp"]
    claimed_time: datetime | None
    signer: str | None


@dataclass(frozen=True)
class Inspection:
    """What a signer should know of a document. Page sizes are (width, height) in points (1/72 inch)."""

    pages: int
    page_sizes: tuple[tuple[float, float], ...]
    title: str | None
    signatures: tuple[EarlierSignature, ...]
    findings: tuple[Finding, ...]
    attachments: tuple[Attachment, ...]
    addresses: tuple[str, ...]


def inspect(isolated: Isolated, pdf: bytes, limits: DocumentLimits | None = None) -> Inspection:
    """Looks through a document.

    Raises `Invalid`: document-too-large, document-not-pdf, document-encrypted, document-damaged,
    document-too-many-pages, document-page-too-large, document-forbids-signing, document-too-complex,
    document-<finding> for what no signature may cover, `FilesAttached` (document-embedded-files).
    """
    limits = limits or DocumentLimits()
    if len(pdf) > limits.max_bytes:
        raise Invalid("document-too-large", "The document is larger than this service accepts.", size=len(pdf))
    seen, _ = isolated.run(f"{_WORKER}:inspect", {"max_pages": limits.max_pages}, {"pdf": pdf})
    attachments = tuple(Attachment(name, size) for name, size in seen["files"])
    if Finding.EMBEDDED_FILES in seen["findings"] and limits.embedded_files == "refuse":
        raise FilesAttached(attachments)
    return Inspection(
        pages=seen["pages"],
        page_sizes=tuple((width, height) for width, height in seen["page_sizes"]),
        title=seen["title"],
        signatures=tuple(_earlier(s) for s in seen["signatures"]),
        findings=tuple(Finding(code) for code in seen["findings"]),
        attachments=attachments,
        addresses=tuple(seen["addresses"]),
    )


def _earlier(described: dict[str, str | None]) -> EarlierSignature:
    claimed = described["claimed_time"]
    return EarlierSignature(
        field_name=str(described["field_name"]),
        kind="time-stamp" if described["kind"] == "time-stamp" else "signature",
        claimed_time=datetime.fromisoformat(claimed) if claimed else None,
        signer=described["signer"],
    )


def render(isolated: Isolated, pdf: bytes, page: int, width: int) -> bytes:
    """Page `page` (from 0) as a PNG picture of `width` pixels (64 to 4000).

    Raises `Invalid`: page-not-found, document-damaged, document-too-complex.
    """
    if not 64 <= width <= 4000:
        raise Invalid("width-out-of-range", "Pages are drawn 64 to 4000 pixels wide.", width=width)
    _, files = isolated.run(f"{_WORKER}:render", {"page": page, "width": width}, {"pdf": pdf})
    return files["png"]


def freeze(
    isolated: Isolated,
    pdf: bytes,
    *,
    claimed_time: datetime,
    name: str,
    reason: str | None = None,
    field_name: str | None = None,
) -> Prepared:
    """The document as it will be signed: the original octets and an appended, invisible, empty signature.

    The dictionary says ETSI.CAdES.detached, /M `claimed_time`, /Name `name` and, where given,
    /Reason. The field is a new `Signature1`, `Signature2`…, or `field_name` (new, or empty so far).
    Earlier signatures stay valid. Raises `Invalid` as `inspect` does, and signature-field-unusable.
    """
    if claimed_time.tzinfo is None:
        raise ValueError("naive datetime")
    arguments = {
        "claimed_time": claimed_time.replace(microsecond=0).isoformat(),
        "name": name,
        "reason": reason,
        "field_name": field_name,
    }
    answer, files = isolated.run(f"{_WORKER}:freeze", arguments, {"pdf": pdf})
    first, first_length, second, second_length = answer["byte_range"]
    return Prepared(pdf + files["update"], answer["field_name"], (first, first_length, second, second_length))


def embed(prepared: Prepared, cms: bytes) -> bytes:
    """The signed file: PAdES B-B, or B-T where `cms` has a signature time-stamp.

    Raises `Invalid`: signature-too-large, signature-of-other-document, cms-malformed.
    """
    return fill(prepared, cms)


def finish(
    isolated: Isolated,
    prepared: Prepared,
    cms: bytes,
    *,
    certificates: Iterable[bytes],
    ocsps: Iterable[bytes] = (),
    crls: Iterable[bytes] = (),
) -> bytes:
    """The signed file with its validation data in the document security store: PAdES B-LT.

    `cms` has its signature time-stamp; `certificates`, `ocsps` (whole OCSPResponse) and `crls` are
    DER and cover the chains of signer, time-stamp and responders. Raises `Invalid` as `embed` does.
    """
    return add_validation_data(
        isolated, embed(prepared, cms), prepared.byte_range, certificates=certificates, ocsps=ocsps, crls=crls
    )


def add_validation_data(
    isolated: Isolated,
    pdf: bytes,
    byte_range: ByteRange,
    *,
    certificates: Iterable[bytes],
    ocsps: Iterable[bytes] = (),
    crls: Iterable[bytes] = (),
) -> bytes:
    """`pdf` with validation data for the signature at `byte_range` appended."""
    files = {"pdf": pdf}
    for kind, values in (("certificate", certificates), ("ocsp", ocsps), ("crl", crls)):
        files |= _numbered(kind, list(values))
    _, produced = isolated.run(f"{_WORKER}:finish", {"byte_range": list(byte_range)}, files)
    return pdf + produced["update"]


def _numbered(kind: str, values: Sequence[bytes]) -> dict[str, bytes]:
    return {f"{kind}-{number:03d}": value for number, value in enumerate(values)}
