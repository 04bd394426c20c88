"""Validation of one PDF signature (EN 319 102-1, clauses 5.3 and 5.5; PAdES rules of EN 319 142-1, clause 6.3)."""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime

from asn1crypto import algos, cms, core, x509
from pyhanko.sign.general import CMSExtractionError, extract_certificate_info, find_cms_attribute_iter
from pyhanko.sign.validation.errors import SignatureValidationError
from pyhanko.sign.validation.generic_cms import get_signing_cert_attr, validate_sig_integrity
from pyhanko.sign.validation.pdf_embedded import EmbeddedPdfSignature

from tsp.formats.pdf_file import READ_ERRORS, value_of
from tsp.validate.algorithms import AlgorithmPolicy, problem_of
from tsp.validate.document import Unreadable, changes_after
from tsp.validate.paths import ChainResult, Material, Times, check_chain, facts_of
from tsp.validate.report import Changes, Indication, Level, Signature, Status, SubIndication, TimeStamp, explain
from tsp.validate.timestamps import check_token
from tsp.validate.words import CHANGES

#: Extended key usages that go with signing documents; a certificate with only others is for something else.
_SIGNING_PURPOSES = frozenset(
    (
        "any_extended_key_usage",
        "email_protection",
        "client_auth",
        "microsoft_document_signing",
        "adobe_authentic_documents_trust",
        "1.2.840.113583.1.1.5",
        "1.3.6.1.5.5.7.3.36",  # id-kp-documentSigning (RFC 9336)
    )
)


@dataclass(frozen=True)
class Proofs:
    """When the document as a whole is proven to have existed, from document time-stamps over the signature."""

    judged_at: datetime
    earliest_document_stamp: datetime | None = None
    archive_stamp_covers_store: bool = False

    @property
    def proven_at(self) -> datetime:
        return self.earliest_document_stamp or self.judged_at


def unreadable(field: Unreadable, judged_at: datetime) -> Signature:
    """The report of a field whose value cannot be processed at all."""
    return _failed(field.field_name, SubIndication.FORMAT_FAILURE, judged_at)


def _failed(field_name: str, problem: SubIndication, judged_at: datetime) -> Signature:
    return Signature(
        field_name=field_name,
        indication=problem.indication,
        sub_indication=problem,
        explanation=explain(problem),
        intact=False,
        whole_file=False,
        later_changes=Changes.NOT_ALLOWED,
        level=Level.NOT_BASELINE,
        claimed_time=None,
        best_signature_time=judged_at,
        digest_algorithm=None,
        signature_algorithm=None,
    )


async def check_signature(signature: EmbeddedPdfSignature, material: Material, proofs: Proofs) -> Signature:
    """Judges one signature: form, signer, octets, later changes, time, chain, status."""
    judged_at = proofs.judged_at
    try:
        return await _check(signature, material, proofs)
    except CMSExtractionError:
        problem = SubIndication.NO_SIGNING_CERTIFICATE_FOUND
    except SignatureValidationError as error:
        stated = error.ades_subindication.standard_name if error.ades_subindication is not None else ""
        known = stated in SubIndication.__members__
        problem = SubIndication(stated) if known else SubIndication.FORMAT_FAILURE
    except READ_ERRORS:
        problem = SubIndication.FORMAT_FAILURE
    return _failed(signature.field_name, problem, judged_at)


async def _check(signature: EmbeddedPdfSignature, material: Material, proofs: Proofs) -> Signature:
    signer_info = signature.signer_info
    certificates = extract_certificate_info(signature.signed_data)
    signer = certificates.signer_cert
    whole_file, changes = changes_after(signature)
    intact, valid = validate_sig_integrity(signer_info, signer, "data", signature.compute_digest())
    stamps = await _signature_stamps(signature, material, proofs) if intact and valid else ()
    proven = [stamp.time for stamp in stamps if stamp.passed and stamp.time is not None]
    best_time = min([*proven, proofs.proven_at, proofs.judged_at])
    is_proven = bool(proven) or proofs.earliest_document_stamp is not None
    report = Signature(
        field_name=signature.field_name,
        indication=Indication.TOTAL_PASSED,
        sub_indication=None,
        explanation=explain(None),
        intact=intact and valid,
        whole_file=whole_file,
        later_changes=changes,
        level=Level.NOT_BASELINE,
        claimed_time=signature.self_reported_timestamp,
        best_signature_time=best_time,
        digest_algorithm=signature.md_algorithm,
        signature_algorithm=signer_info["signature_algorithm"]["algorithm"].native,
        chain=(facts_of(signer, Status.UNKNOWN),),
        time_stamps=stamps,
    )
    problem = _problem_of_octets(intact, valid, changes)
    if problem is None:
        times = Times(used_at=best_time, proven_at=best_time, judged_at=proofs.judged_at)
        found = await check_chain(signer, material, times)
        report = replace(report, chain=found.chain)
        problem = _problem_of_trust(signature, signer, found, best_time, is_proven=is_proven)
    report = _concluded(report, problem)
    return replace(report, level=_level(signature, report, proofs))


def _concluded(report: Signature, problem: SubIndication | None) -> Signature:
    indication = problem.indication if problem else Indication.TOTAL_PASSED
    changed = problem in (SubIndication.FORMAT_FAILURE, SubIndication.SIG_CONSTRAINTS_FAILURE) and report.intact
    explanation = CHANGES[report.later_changes] if changed else explain(problem)
    return replace(report, indication=indication, sub_indication=problem, explanation=explanation)


def _problem_of_octets(intact: bool, valid: bool, changes: Changes) -> SubIndication | None:
    if not intact:
        return SubIndication.HASH_FAILURE
    if not valid:
        return SubIndication.SIG_CRYPTO_FAILURE
    if changes is Changes.UNCLEAR:
        return SubIndication.SIG_CONSTRAINTS_FAILURE
    return SubIndication.FORMAT_FAILURE if changes is Changes.NOT_ALLOWED else None


def _problem_of_trust(
    signature: EmbeddedPdfSignature,
    signer: x509.Certificate,
    found: ChainResult,
    best_time: datetime,
    *,
    is_proven: bool,
) -> SubIndication | None:
    """Chain first; then what the certificate is for, and whether algorithms were good at that time."""
    if found.problem is SubIndication.OUT_OF_BOUNDS_NO_POE and is_proven and best_time < signer.not_valid_before:
        return SubIndication.NOT_YET_VALID
    if found.problem is not None:
        return found.problem
    if not _may_sign(signer):
        return SubIndication.CHAIN_CONSTRAINTS_FAILURE
    policy, info = AlgorithmPolicy(), signature.signer_info
    return problem_of(
        policy.signature_algorithm_allowed(info["signature_algorithm"], best_time, signer.public_key),
        policy.digest_algorithm_allowed(info["digest_algorithm"], best_time),
        policy.digest_combination_allowed(info["signature_algorithm"], _plain(info["digest_algorithm"]), best_time),
    )


def _plain(algorithm: algos.DigestAlgorithm) -> algos.DigestAlgorithm:
    """Without parameters, which may be absent or NULL and mean the same (RFC 5754, 2)."""
    return algos.DigestAlgorithm({"algorithm": algorithm["algorithm"].native})


def _may_sign(signer: x509.Certificate) -> bool:
    """An end entity's certificate with nonRepudiation or digitalSignature, and no other purpose than signing."""
    usage, purposes = signer.key_usage_value, signer.extended_key_usage_value
    if signer.ca or (usage is not None and not {"digital_signature", "non_repudiation"} & usage.native):
        return False
    return purposes is None or bool(_SIGNING_PURPOSES & set(purposes.native))


async def _signature_stamps(
    signature: EmbeddedPdfSignature, material: Material, proofs: Proofs
) -> tuple[TimeStamp, ...]:
    value = signature.signer_info["signature"].native
    stamps = []
    for token in find_cms_attribute_iter(signature.signer_info["unsigned_attrs"], "signature_time_stamp_token"):
        stamp = await check_token(
            token,
            lambda algorithm: hashlib.new(algorithm, value).digest(),
            material,
            kind="signature-time-stamp",
            proven_at=proofs.proven_at,
            judged_at=proofs.judged_at,
        )
        stamps.append(stamp)
    return tuple(stamps)


def _level(signature: EmbeddedPdfSignature, report: Signature, proofs: Proofs) -> Level:
    """The highest baseline level whose conditions all hold."""
    if not _is_baseline(signature):
        return Level.NOT_BASELINE
    stamped = [s for s in report.time_stamps if s.passed and s.time is not None]
    if not stamped and proofs.earliest_document_stamp is None:
        return Level.B_B
    chains = [report.chain, *(s.chain for s in stamped)]
    settled = all(_in_document(f.status, f.status_in_document) for chain in chains for f in chain)
    if not settled or value_of(signature.reader.root, "/DSS") is None:
        return Level.B_T
    return Level.B_LTA if proofs.archive_stamp_covers_store else Level.B_LT


def _in_document(status: Status, in_document: bool) -> bool:
    return status in (Status.NOT_NEEDED, Status.TRUST_ANCHOR) or (status is not Status.UNKNOWN and in_document)


def _is_baseline(signature: EmbeddedPdfSignature) -> bool:
    """The requirements of PAdES B-B that can be read off the signature (EN 319 142-1, table 1)."""
    dictionary, info = signature.sig_object, signature.signer_info
    attributes = info["signed_attrs"]
    if isinstance(attributes, core.Void) or get_signing_cert_attr(attributes) is None:
        return False
    return (
        value_of(dictionary, "/SubFilter") == "/ETSI.CAdES.detached"
        and "/M" in dictionary
        and "/Cert" not in dictionary
        and not list(find_cms_attribute_iter(attributes, "signing_time"))
        and _content_absent(signature.signed_data)
    )


def _content_absent(signed_data: cms.SignedData) -> bool:
    return isinstance(signed_data["encap_content_info"]["content"], core.Void)
