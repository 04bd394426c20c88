"""`pades-bb-*`: signing a PDF (PAdES B-B) with a software key, pyHanko's own way ÷ ours.

Both sides get the document as octets and give the signed file as octets, in this process, with the
same P-256 key, certificate and chain. Ours is what the signing site and the engine do with the file:
`pades_worker.freeze`, CMS, `pades.embed`. A second line for information goes through
`tsp.core.isolated`, as the signing site does: with a forked child and two journeys over a socket.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign import signers
from pyhanko.sign.fields import SigSeedSubFilter
from pyhanko.sign.validation import validate_pdf_signature
from pyhanko_certvalidator import ValidationContext
from pyhanko_certvalidator.registry import SimpleCertificateStore

from benchmarks import documents
from benchmarks.kit import SoftSigner
from benchmarks.runner import Measured, Side, compare
from tsp.core.isolated import Isolated
from tsp.formats import cms, pades, pades_worker

_CLAIMED = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
_SIGNER = "Ančka Žnidaršič"


@dataclass(frozen=True)
class Sample:
    """A document, how many times faster signing it must be, and how many turns tell."""

    make: Callable[[], bytes]
    bound: float
    turns: int


SAMPLES = {
    "pades-bb-text": Sample(documents.text, 12, 60),
    "pades-bb-mixed": Sample(documents.mixed, 8, 60),
    "pades-bb-pages": Sample(documents.pages, 8, 20),
    "pades-bb-scan": Sample(documents.scan, 3, 20),
}


def measure(name: str) -> Iterator[Measured]:
    """The ratio in one process, which the bound is for, and the one through the isolated process."""
    sample = SAMPLES[name]
    pdf, signer = sample.make(), SoftSigner()
    for way in (_by_pyhanko, _by_us):
        _require_sound(way(signer, pdf), signer)
    yardstick = Side("pyHanko sign_pdf", lambda _: _by_pyhanko(signer, pdf))
    ours = Side("freeze + CMS + embed, this process", lambda _: _by_us(signer, pdf))
    yield compare(name, yardstick, ours, unit="times", bound=sample.bound, turns=sample.turns)
    isolated = Isolated()
    try:
        apart = Side("freeze + CMS + embed, isolated", lambda _: _by_us_isolated(isolated, signer, pdf))
        yield compare(f"{name}-isolated", yardstick, apart, unit="times", bound=None, turns=sample.turns)
    finally:
        isolated.close()


def _by_pyhanko(signer: SoftSigner, pdf: bytes) -> bytes:
    """As pyHanko's documentation does it: incremental writer, SimpleSigner, sign_pdf."""
    simple = signers.SimpleSigner(
        signing_cert=signer.asn1_certificate,
        signing_key=signer.asn1_key,
        cert_registry=_store(signer),
    )
    metadata = signers.PdfSignatureMetadata(
        field_name="Signature1", md_algorithm="sha256", subfilter=SigSeedSubFilter.PADES, name=_SIGNER
    )
    output = io.BytesIO()
    signers.sign_pdf(IncrementalPdfFileWriter(io.BytesIO(pdf)), metadata, simple, output=output)
    return output.getvalue()


def _store(signer: SoftSigner) -> SimpleCertificateStore:
    store = SimpleCertificateStore()  # type: ignore[no-untyped-call]  # pyHanko leaves its constructor untyped
    store.register(signer.asn1_issuer)
    return store


def _by_us(signer: SoftSigner, pdf: bytes) -> bytes:
    """The worker's function called here, and what `pades.freeze` does with its answer."""
    arguments = {"claimed_time": _CLAIMED.isoformat(), "name": _SIGNER, "reason": None, "field_name": None}
    answer, files = pades_worker.freeze(arguments, {"pdf": pdf})
    first, first_length, second, second_length = answer["byte_range"]
    byte_range = first, first_length, second, second_length
    return _signed(signer, pades.Prepared(pdf + files["update"], answer["field_name"], byte_range))


def _by_us_isolated(isolated: Isolated, signer: SoftSigner, pdf: bytes) -> bytes:
    return _signed(signer, pades.freeze(isolated, pdf, claimed_time=_CLAIMED, name=_SIGNER))


def _signed(signer: SoftSigner, prepared: pades.Prepared) -> bytes:
    attributes = cms.signed_attributes(prepared.digest_signed, signer.certificate)
    made = cms.signed_data(attributes, signer.sign(attributes), signer.certificate, [signer.issuer])
    return pades.embed(prepared, made)


def _require_sound(pdf: bytes, signer: SoftSigner) -> None:
    """A fast way to a wrong result is worth nothing: pyHanko judges both before anything is measured."""
    context = ValidationContext(trust_roots=[signer.asn1_issuer], allow_fetching=False)
    (embedded,) = PdfFileReader(io.BytesIO(pdf)).embedded_signatures
    status = validate_pdf_signature(embedded, context)
    assert status.intact and status.valid and status.trusted, status.summary()
