"""Validation of time-stamp tokens (RFC 3161; EN 319 102-1, clause 5.4)."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from asn1crypto import cms, tsp, x509
from pyhanko.sign.general import extract_certificate_info
from pyhanko.sign.validation.errors import SignatureValidationError
from pyhanko.sign.validation.generic_cms import get_signing_cert_attr, validate_sig_integrity

from tsp.formats.pdf_file import READ_ERRORS
from tsp.validate.algorithms import AlgorithmPolicy, problem_of
from tsp.validate.paths import TOLERANCE, Material, Times, check_chain
from tsp.validate.report import SubIndication, TimeStamp
from tsp.validate.statements import claims_qualified_time_stamp

Kind = Literal["signature-time-stamp", "document-time-stamp"]
#: Gives the digest of what the token should cover, by the name of the algorithm.
Imprint = Callable[[str], bytes]

_QC_STATEMENTS = "1.3.6.1.5.5.7.1.3"


@dataclass(frozen=True)
class Token:
    """A token taken apart: its time, its unit's certificate, and whether its octets are in order."""

    time: datetime
    unit: x509.Certificate
    problem: SubIndication | None
    qualified_claim: bool


async def check_token(
    token: cms.ContentInfo | cms.SignedData,
    imprint: Imprint,
    material: Material,
    *,
    kind: Kind,
    proven_at: datetime,
    judged_at: datetime,
    field_name: str | None = None,
) -> TimeStamp:
    """Judges one token that is proven to have existed at `proven_at`."""
    try:
        signed_data = token["content"] if isinstance(token, cms.ContentInfo) else token
        read = _read(signed_data, imprint, proven_at)
    except SignatureValidationError as error:
        missing = error.ades_subindication is not None and "CERTIFICATE" in error.ades_subindication.standard_name
        failure = SubIndication.NO_SIGNING_CERTIFICATE_FOUND if missing else SubIndication.FORMAT_FAILURE
        return TimeStamp(kind, None, False, failure, None, field_name=field_name)
    except READ_ERRORS:
        return TimeStamp(kind, None, False, SubIndication.FORMAT_FAILURE, None, field_name=field_name)
    times = Times(used_at=read.time, proven_at=max(proven_at, read.time), judged_at=judged_at)
    found = await check_chain(read.unit, material, times)
    early = SubIndication.TIMESTAMP_ORDER_FAILURE if read.time > judged_at + TOLERANCE else None
    problem = read.problem or early or found.problem
    return TimeStamp(
        kind,
        read.time,
        problem is None,
        problem,
        found.chain[0].common_name,
        read.qualified_claim,
        field_name,
        found.chain,
    )


def _read(signed_data: cms.SignedData, imprint: Imprint, proven_at: datetime) -> Token:
    content = signed_data["encap_content_info"]["content"]
    info = content.parsed
    if not isinstance(info, tsp.TSTInfo):
        raise SignatureValidationError("no TSTInfo")
    certificates = extract_certificate_info(signed_data)
    (signer,) = signed_data["signer_infos"]
    digest_name = signer["digest_algorithm"]["algorithm"].native
    digest = hashlib.new(digest_name, bytes(content)).digest()
    intact, valid = validate_sig_integrity(signer, certificates.signer_cert, "tst_info", digest)
    wanted = info["message_imprint"]
    covered = imprint(wanted["hash_algorithm"]["algorithm"].native)
    problem: SubIndication | None = None
    if not intact or wanted["hashed_message"].native != covered:
        problem = SubIndication.HASH_FAILURE
    elif not valid:
        problem = SubIndication.SIG_CRYPTO_FAILURE
    elif get_signing_cert_attr(signer["signed_attrs"]) is None:
        problem = SubIndication.NO_SIGNING_CERTIFICATE_FOUND
    elif not _may_stamp(certificates.signer_cert):
        problem = SubIndication.CHAIN_CONSTRAINTS_FAILURE
    else:
        problem = _problem_of_algorithms(signer, info, certificates.signer_cert, proven_at)
    return Token(info["gen_time"].native, certificates.signer_cert, problem, _qualified(info))


def _problem_of_algorithms(
    signer: cms.SignerInfo, info: tsp.TSTInfo, unit: x509.Certificate, moment: datetime
) -> SubIndication | None:
    policy = AlgorithmPolicy()
    return problem_of(
        policy.signature_algorithm_allowed(signer["signature_algorithm"], moment, unit.public_key),
        policy.digest_algorithm_allowed(signer["digest_algorithm"], moment),
        policy.digest_algorithm_allowed(info["message_imprint"]["hash_algorithm"], moment),
    )


def _may_stamp(unit: x509.Certificate) -> bool:
    """Time-stamping is the certificate's only purpose (RFC 3161, 2.3)."""
    purposes = unit.extended_key_usage_value
    return purposes is not None and purposes.native == ["time_stamping"] and not unit.ca


def _qualified(info: tsp.TSTInfo) -> bool:
    extensions = info["extensions"] or ()
    values = [e["extn_value"].contents for e in extensions if e["extn_id"].dotted == _QC_STATEMENTS]
    return any(claims_qualified_time_stamp(value) for value in values)
