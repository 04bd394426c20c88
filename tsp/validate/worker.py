"""Validation inside the isolated process (`tsp.core.isolated`): no network, no secrets, one document.

The callers' side, with types, is `tsp.validate.service`.
"""

import asyncio
import hashlib
from dataclasses import replace
from datetime import datetime
from typing import Any

from asn1crypto import x509
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation.pdf_embedded import EmbeddedPdfSignature

from tsp.core.errors import Invalid
from tsp.formats.pdf_file import silence_libraries
from tsp.validate.document import (
    Unreadable,
    collect,
    collect_from_signature,
    covers_revision,
    has_store_at,
    open_signed,
    signatures_of,
)
from tsp.validate.paths import Material
from tsp.validate.report import Signature, SubIndication, TimeStamp, ValidationReport
from tsp.validate.signature import Proofs, check_signature, unreadable
from tsp.validate.timestamps import check_token

Files = dict[str, bytes]

silence_libraries()


def validate(arguments: dict[str, Any], files: Files) -> tuple[dict[str, Any], Files]:
    """The report of `files["pdf"]` as of `at`, with the trust of `anchor-<n>`, `crl-<n>` and `ocsp-<n>`."""
    at = datetime.fromisoformat(arguments["at"])
    material = _trusted(files)
    reader = open_signed(files["pdf"])
    found = signatures_of(reader)
    collect(reader, material)
    for signature in found:
        if isinstance(signature, EmbeddedPdfSignature):
            collect_from_signature(signature.signed_data, material)
    signatures, stamps = asyncio.run(_check_all(reader, found, material, at))
    report = ValidationReport(
        validated_at=at,
        sha256=hashlib.sha256(files["pdf"]).hexdigest(),
        size=len(files["pdf"]),
        signatures=tuple(signatures),
        document_time_stamps=tuple(stamps),
    )
    return report.to_json(), {}


def _trusted(files: Files) -> Material:
    try:
        anchors = [x509.Certificate.load(v, strict=True) for k, v in sorted(files.items()) if k.startswith("anchor-")]
        _ = [(anchor.subject.dump(), anchor.public_key.dump()) for anchor in anchors]
    except ValueError as error:
        raise Invalid("trust-anchors-unreadable", "The file with the trusted certificates cannot be read.") from error
    material = Material(anchors)
    for name, value in sorted(files.items()):
        if name.startswith("crl-"):
            material.add_crl(value, in_document=False)
        elif name.startswith("ocsp-"):
            material.add_ocsp(value, in_document=False)
    return material


async def _check_all(
    reader: PdfFileReader, found: list[EmbeddedPdfSignature | Unreadable], material: Material, at: datetime
) -> tuple[list[Signature], list[TimeStamp]]:
    """Document time-stamps from the newest back, each proving those before it; then the signatures."""
    stamps = [s for s in found if isinstance(s, EmbeddedPdfSignature) and s.sig_object_type == "/DocTimeStamp"]
    judged: list[tuple[EmbeddedPdfSignature, TimeStamp]] = []
    proven_at = at
    for stamp in reversed(stamps):
        checked = await _document_stamp(stamp, material, proven_at, at)
        judged.insert(0, (stamp, checked))
        if checked.passed and checked.time is not None:
            proven_at = min(proven_at, checked.time)
    signatures: list[Signature] = []
    for signature in found:
        if isinstance(signature, Unreadable):
            signatures.append(unreadable(signature, at))
        elif signature not in stamps:
            proofs = _proofs(reader, signature, judged, at)
            signatures.append(await check_signature(signature, material, proofs))
    return signatures, [checked for _, checked in judged]


async def _document_stamp(
    stamp: EmbeddedPdfSignature, material: Material, proven_at: datetime, at: datetime
) -> TimeStamp:
    checked = await check_token(
        stamp.signed_data,
        stamp.compute_digest,
        material,
        kind="document-time-stamp",
        proven_at=proven_at,
        judged_at=at,
        field_name=stamp.field_name,
    )
    # What was added later does not touch the proof; a stamp that covers no whole revision proves nothing.
    return (
        checked
        if covers_revision(stamp)
        else replace(checked, passed=False, sub_indication=SubIndication.FORMAT_FAILURE)
    )


def _proofs(
    reader: PdfFileReader,
    signature: EmbeddedPdfSignature,
    judged: list[tuple[EmbeddedPdfSignature, TimeStamp]],
    at: datetime,
) -> Proofs:
    later = [(stamp, c.time) for stamp, c in judged if c.passed and stamp.signed_revision > signature.signed_revision]
    times = [time for _, time in later if time is not None]
    covered = any(has_store_at(reader, stamp.signed_revision) for stamp, _ in later)
    return Proofs(at, min(times) if times else None, covered)
