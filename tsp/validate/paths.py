"""From a certificate to a trust anchor: chain, validity at a time, revocation status (EN 319 102-1, 5.2.6).

pyHanko's certvalidator builds and checks paths (RFC 5280, clause 6) and verifies OCSP answers and
CRLs. The rules about time are here: a chain is judged at the time of use, and status information
counts when it was made after that time, or was current at it.
"""
# mypy: disallow-untyped-calls=False
# (pyHanko's annotations have gaps.)

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from asn1crypto import crl as asn1_crl
from asn1crypto import ocsp as asn1_ocsp
from asn1crypto import x509
from cryptography.exceptions import InvalidSignature
from pyhanko_certvalidator.context import ValidationContext
from pyhanko_certvalidator.errors import (
    CRLValidationError,
    DisallowedAlgorithmError,
    OCSPValidationError,
    PathBuildingError,
    PathValidationError,
    RevokedError,
)
from pyhanko_certvalidator.path import ValidationPath
from pyhanko_certvalidator.policy_decl import NO_REVOCATION, CertRevTrustPolicy
from pyhanko_certvalidator.revinfo.archival import CRLContainer, OCSPContainer
from pyhanko_certvalidator.revinfo.validate_crl import verify_crl
from pyhanko_certvalidator.revinfo.validate_ocsp import verify_ocsp_response
from pyhanko_certvalidator.sig_validate import DefaultSignatureValidator
from pyhanko_certvalidator.validate import async_validate_path

from tsp.validate.algorithms import AlgorithmPolicy
from tsp.validate.report import CertificateFacts, Status, SubIndication
from tsp.validate.statements import statements_of

#: How far the clocks of two machines may differ before a time contradicts another.
TOLERANCE = timedelta(minutes=1)
_MAX_PATHS = 16
_MAX_CERTIFICATES = 300
_MAX_STATUS_DATA = 300

#: Reasons that say nothing against what was done before.
_OUT_OF_SERVICE = frozenset(("affiliation_changed", "superseded", "cessation_of_operation"))

_SHORT_NAMES = {
    "common_name": "CN",
    "organization_name": "O",
    "organizational_unit_name": "OU",
    "country_name": "C",
    "surname": "SN",
    "given_name": "GN",
    "serial_number": "serialNumber",
    "organization_identifier": "organizationIdentifier",
    "pseudonym": "pseudonym",
}


@dataclass(frozen=True)
class StatusData:
    """One OCSP answer or CRL, and whether it came with the document."""

    kind: Literal["ocsp", "crl"]
    value: asn1_ocsp.OCSPResponse | asn1_crl.CertificateList
    this_update: datetime
    in_document: bool


@dataclass
class Material:
    """All that a validation may use: anchors from outside, the rest from the document or from outside."""

    anchors: list[x509.Certificate]
    certificates: list[x509.Certificate] = field(default_factory=list)
    status_data: list[StatusData] = field(default_factory=list)

    def add_certificates(self, certificates: Iterable[x509.Certificate]) -> None:
        known = {c.dump() for c in self.certificates}
        fresh = [c for c in certificates if c.dump() not in known]
        self.certificates += fresh[: _MAX_CERTIFICATES - len(self.certificates)]

    def add_ocsp(self, encoded: bytes, *, in_document: bool) -> None:
        """An OCSPResponse; what cannot be read or is not successful does not count."""
        try:
            value = asn1_ocsp.OCSPResponse.load(encoded, strict=True)
            dates = [container.issuance_date for container in OCSPContainer.load_multi(value)]
            if dates and None not in dates:
                certificates = value.basic_ocsp_response["certs"]
                self.add_certificates(list(certificates) if certificates else [])
                self._add(StatusData("ocsp", value, max(d for d in dates if d is not None), in_document))
        except (ValueError, TypeError, KeyError):
            return

    def add_crl(self, encoded: bytes, *, in_document: bool) -> None:
        """A CertificateList; what cannot be read does not count."""
        try:
            value = asn1_crl.CertificateList.load(encoded, strict=True)
            issued = CRLContainer(value).issuance_date
            if issued is not None:
                self._add(StatusData("crl", value, issued, in_document))
        except (ValueError, TypeError, KeyError):
            return

    def _add(self, data: StatusData) -> None:
        if len(self.status_data) < _MAX_STATUS_DATA:
            self.status_data.append(data)


@dataclass(frozen=True)
class ChainResult:
    """The chain from the certificate up, and what is wrong with it (`None`: nothing)."""

    problem: SubIndication | None
    chain: tuple[CertificateFacts, ...]


@dataclass(frozen=True)
class Times:
    """The moments that count for one use of a key.

    `used_at`: when it was used. `proven_at`: when the result is proven to have existed; the same
    for a signer whose time is that proof, later for a time-stamping unit, whose token only says
    its own time. `judged_at`: the time of validation; newer status information is not used.
    """

    used_at: datetime
    proven_at: datetime
    judged_at: datetime


async def check_chain(certificate: x509.Certificate, material: Material, times: Times) -> ChainResult:
    """Builds and judges the chain of a certificate whose key was used."""
    paths = await _paths(certificate, material)
    if not paths:
        return ChainResult(SubIndication.NO_CERTIFICATE_CHAIN_FOUND, (facts_of(certificate, Status.UNKNOWN),))
    if not _valid_at(certificate, times.used_at) or not _valid_at(certificate, times.proven_at):
        return ChainResult(SubIndication.OUT_OF_BOUNDS_NO_POE, _facts(paths[0]))
    worst = ChainResult(SubIndication.CERTIFICATE_CHAIN_GENERAL_FAILURE, _facts(paths[0]))
    for path in paths:
        for moment in sorted({times.used_at, times.proven_at}):
            problem = await _pkix_problem(path, material, moment)
            if problem is not None:
                break
        if problem is not None:
            worst = ChainResult(problem, _facts(path))
            continue
        result = await _with_status(path, material, times)
        if result.problem is None:
            return result
        worst = result
    return worst


def _valid_at(certificate: x509.Certificate, moment: datetime) -> bool:
    return bool(certificate.not_valid_before <= moment <= certificate.not_valid_after)


def _context(
    material: Material, moment: datetime, *, ocsps: Sequence[object] = (), crls: Sequence[object] = ()
) -> ValidationContext:
    """Paths at `moment` without any look at revocation, and without the network."""
    return ValidationContext(
        trust_roots=material.anchors,
        other_certs=material.certificates,
        moment=moment,
        best_signature_time=moment,
        allow_fetching=False,
        revinfo_policy=CertRevTrustPolicy(NO_REVOCATION),
        ocsps=ocsps,
        crls=crls,
        time_tolerance=TOLERANCE,
        algorithm_usage_policy=AlgorithmPolicy(),
    )


async def _paths(certificate: x509.Certificate, material: Material) -> list[ValidationPath]:
    context = _context(material, datetime(2000, 1, 1, tzinfo=UTC))
    found: list[ValidationPath] = []
    tried = 0
    iterator = context.path_builder.async_build_paths_lazy(certificate)
    try:
        async for path in iterator:
            tried += 1
            if _is_linked(path):
                found.append(path)
            if tried == _MAX_PATHS:
                break
    except PathBuildingError:
        return found
    finally:
        await iterator.cancel()
    return sorted(found, key=lambda path: path.pkix_len)


def _is_linked(path: ValidationPath) -> bool:
    """Whether each certificate is signed with the key of the next: equal names alone make no chain."""
    certificates = list(path.iter_certs(include_root=True))
    for issuer, subject in itertools.pairwise(certificates):
        try:
            DefaultSignatureValidator().validate_signature(
                subject["signature_value"].native,
                subject["tbs_certificate"].dump(),
                issuer.public_key,
                subject["signature_algorithm"],
            )
        except (InvalidSignature, ValueError, TypeError):
            return False
    return True


async def _pkix_problem(path: ValidationPath, material: Material, moment: datetime) -> SubIndication | None:
    try:
        await async_validate_path(_context(material, moment), path)
    except DisallowedAlgorithmError as error:
        gone = error.banned_since is not None
        return SubIndication.CRYPTO_CONSTRAINTS_FAILURE_NO_POE if gone else SubIndication.CRYPTO_CONSTRAINTS_FAILURE
    except (PathValidationError, ValueError):
        return SubIndication.CERTIFICATE_CHAIN_GENERAL_FAILURE
    return None


async def _with_status(path: ValidationPath, material: Material, times: Times) -> ChainResult:
    """The status of every certificate below the anchor; the worst of them decides."""
    chain: list[CertificateFacts] = []
    problem: SubIndication | None = None
    certificates = list(reversed(list(path.iter_certs(include_root=True))))
    for place, certificate in enumerate(certificates):
        if place == len(certificates) - 1:
            chain.append(facts_of(certificate, Status.TRUST_ANCHOR))
            break
        facts = await _status(certificate, path, material, times)
        chain.append(facts)
        if facts.status is Status.REVOKED:
            problem = SubIndication.REVOKED_NO_POE if place == 0 else SubIndication.REVOKED_CA_NO_POE
        elif facts.status is Status.UNKNOWN and problem is None:
            problem = SubIndication.TRY_LATER
    return ChainResult(problem, tuple(chain))


async def _status(
    certificate: x509.Certificate, path: ValidationPath, material: Material, times: Times
) -> CertificateFacts:
    stated = statements_of(certificate)
    if not certificate.ca and (stated.short_term or stated.no_revocation):
        return facts_of(certificate, Status.NOT_NEEDED)
    usable = [data for data in material.status_data if data.this_update <= times.judged_at + TOLERANCE]
    newest: CertificateFacts | None = None
    for data in sorted(usable, key=lambda d: (d.this_update, d.in_document), reverse=True):
        if newest is not None and not data.in_document:
            continue
        answer = await _answer(data, certificate, path, material, times)
        if answer is None:
            continue
        newest = newest or answer
        if data.in_document:
            # The newest answer decides; an answer in the document says that it would do without others.
            return replace(newest, status_in_document=True)
    return newest or facts_of(certificate, Status.UNKNOWN)


async def _answer(
    data: StatusData, certificate: x509.Certificate, path: ValidationPath, material: Material, times: Times
) -> CertificateFacts | None:
    """What one OCSP answer or CRL says of a certificate; nothing where it does not say it reliably."""
    try:
        await _ask(data, certificate, path, material, max(times.used_at, data.this_update))
    except RevokedError as error:
        status = Status.REVOKED if _counts(error, times) else Status.GOOD
        return facts_of(certificate, status, data, revoked_at=error.revocation_dt)
    except (CRLValidationError, OCSPValidationError, PathValidationError, ValueError, LookupError):
        return None
    return facts_of(certificate, Status.GOOD, data)


def _counts(revoked: RevokedError, times: Times) -> bool:
    """Whether a revocation touches the use.

    Not where the use is proven to be older (EN 319 102-1, 5.5.4, step 4), nor where a time-stamping
    unit was only put out of service after it (RFC 3161, 4, item 1).
    """
    if revoked.revocation_dt > times.proven_at:
        return False
    return times.used_at >= revoked.revocation_dt or revoked.reason.native not in _OUT_OF_SERVICE


async def _ask(
    data: StatusData, certificate: x509.Certificate, path: ValidationPath, material: Material, moment: datetime
) -> None:
    """Returns where the answer is trustworthy, current at `moment` and good; raises otherwise."""
    if data.kind == "ocsp":
        await verify_ocsp_response(certificate, path, _context(material, moment, ocsps=[data.value]))
    else:
        await verify_crl(certificate, path, _context(material, moment, crls=[data.value]))


def _facts(path: ValidationPath) -> tuple[CertificateFacts, ...]:
    certificates = list(reversed(list(path.iter_certs(include_root=True))))
    return tuple(
        facts_of(c, Status.TRUST_ANCHOR if place == len(certificates) - 1 else Status.UNKNOWN)
        for place, c in enumerate(certificates)
    )


def facts_of(
    certificate: x509.Certificate,
    status: Status,
    data: StatusData | None = None,
    *,
    revoked_at: datetime | None = None,
) -> CertificateFacts:
    """A certificate as the report shows it."""
    common_name = certificate.subject.native.get("common_name")
    return CertificateFacts(
        subject=_name(certificate.subject),
        common_name=common_name if isinstance(common_name, str) else _name(certificate.subject),
        issuer=_name(certificate.issuer),
        serial=f"{certificate.serial_number:x}",
        not_before=certificate.not_valid_before,
        not_after=certificate.not_valid_after,
        sha256=certificate.sha256.hex(),
        status=status,
        status_source=data.kind if data else None,
        status_time=data.this_update if data else None,
        status_in_document=data.in_document if data else False,
        revoked_at=revoked_at,
        statements=statements_of(certificate),
    )


def _name(name: x509.Name) -> str:
    """A distinguished name on one line, as written in the certificate."""
    parts = []
    for relative in name.chosen:
        for attribute in relative:
            kind = attribute["type"].native
            parts.append(f"{_SHORT_NAMES.get(kind, kind)}={attribute['value'].native}")
    return ", ".join(parts)
