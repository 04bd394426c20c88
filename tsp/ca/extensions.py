"""The extensions of a certificate, encoded (RFC 5280, 4.2; EN 319 412-1, -2, -3, -5).

`extensions` decides by the profile which ones there are; the other functions encode one each. Nothing
is critical but key usage, an authority's basic constraints, and a time-stamping unit's key purpose
(EN 319 412-2 GEN-4.1-2).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from tsp.ca import oids
from tsp.ca.profiles import Profile, QcStatements, Status
from tsp.ca.urls import RepositoryUrls
from tsp.core.der import (
    NULL,
    TRUE,
    generalized_time,
    ia5,
    implicit,
    integer,
    named_bits,
    octet_string,
    oid,
    printable,
    seq,
    tlv,
)
from tsp.core.errors import Invalid

_KEY_USAGE_BITS = {"digitalSignature": 0, "nonRepudiation": 1, "keyCertSign": 5, "cRLSign": 6}
_KEY_PURPOSES = {
    "serverAuth": oids.KP_SERVER_AUTH,
    "clientAuth": oids.KP_CLIENT_AUTH,
    "timeStamping": oids.KP_TIME_STAMPING,
    "OCSPSigning": oids.KP_OCSP_SIGNING,
    "documentSigning": oids.KP_DOCUMENT_SIGNING,
    "emailProtection": oids.KP_EMAIL_PROTECTION,
}
_QC_TYPES = {"esign": oids.QCT_ESIGN, "eseal": oids.QCT_ESEAL}
_SEMANTICS = {"natural": oids.SEMANTICS_NATURAL, "legal": oids.SEMANTICS_LEGAL}
_URI, _DNS_NAME = 0x86, 0x82  # GeneralName: uniformResourceIdentifier [6], dNSName [2]


def extension(dotted: str, value: bytes, *, critical: bool = False) -> bytes:
    """Extension: OID, critical only where true (DER leaves the default out), value in an OCTET STRING."""
    return seq(oid(dotted), TRUE if critical else b"", octet_string(value))


def _uri(url: str) -> bytes:
    return tlv(_URI, url.encode("ascii"))


def authority_key_identifier(key_id: bytes) -> bytes:
    """Key identifier form (EN 319 412-2 GEN-4.3.1-1)."""
    return extension(oids.CE_AUTHORITY_KEY_IDENTIFIER, seq(tlv(0x80, key_id)))


def subject_key_identifier(key_id: bytes) -> bytes:
    """RFC 5280, 4.2.1.2."""
    return extension(oids.CE_SUBJECT_KEY_IDENTIFIER, octet_string(key_id))


def key_usage(usages: Sequence[str]) -> bytes:
    """Critical (RFC 5280, 4.2.1.3)."""
    bits = named_bits(*(_KEY_USAGE_BITS[usage] for usage in usages))
    return extension(oids.CE_KEY_USAGE, bits, critical=True)


def certificate_policies(policies: Sequence[str]) -> bytes:
    """The policies in the profile's order, without qualifiers (RFC 5280, 4.2.1.4 recommends OIDs alone)."""
    return extension(oids.CE_CERTIFICATE_POLICIES, seq(*(seq(oid(policy)) for policy in policies)))


def extended_key_usage(purposes: Sequence[str], *, critical: bool) -> bytes:
    """RFC 5280, 4.2.1.12."""
    return extension(oids.CE_EXT_KEY_USAGE, seq(*(oid(_KEY_PURPOSES[p]) for p in purposes)), critical=critical)


def basic_constraints(path_length: int | None) -> bytes:
    """Of an authority: cA TRUE, critical (RFC 5280, 4.2.1.9)."""
    limit = b"" if path_length is None else integer(path_length)
    return extension(oids.CE_BASIC_CONSTRAINTS, seq(TRUE, limit), critical=True)


def subject_alt_name(host_names: Sequence[str]) -> bytes:
    """dNSName entries (RFC 5280, 4.2.1.6)."""
    return extension(oids.CE_SUBJECT_ALT_NAME, seq(*(tlv(_DNS_NAME, name.encode("ascii")) for name in host_names)))


def crl_distribution_points(url: str, dotted: str = oids.CE_CRL_DISTRIBUTION_POINTS) -> bytes:
    """One point with one http address (EN 319 412-2 GEN-4.3.11-3, -4); freshestCRL has the same form."""
    full_name = tlv(0xA0, _uri(url))
    return extension(dotted, seq(seq(tlv(0xA0, full_name))))


def authority_info_access(*, ocsp: str | None, ca_issuers: str) -> bytes:
    """OCSP first where there is one, then the issuer's certificate (EN 319 412-2, 4.4.1)."""
    parts = [seq(oid(oids.AD_OCSP), _uri(ocsp))] if ocsp else []
    return extension(oids.PE_AUTHORITY_INFO_ACCESS, seq(*parts, seq(oid(oids.AD_CA_ISSUERS), _uri(ca_issuers))))


def private_key_usage_period(not_before: datetime, days: int) -> bytes:
    """From the certificate's start for `days` days, both ends included (RFC 3280, 4.2.1.4)."""
    not_after = not_before + timedelta(days=days, seconds=-1)
    value = seq(implicit(0, generalized_time(not_before)), implicit(1, generalized_time(not_after)))
    return extension(oids.CE_PRIVATE_KEY_USAGE_PERIOD, value)


def qc_statements(statements: QcStatements, pds: Mapping[str, str], *, semantics: bool) -> bytes:
    """The statements of the profile, or nothing where it makes none (EN 319 412-5, 4 and 5).

    `semantics`: the subject's identifier has the form that the semantics identifier describes.
    Raises `Invalid` (pds-missing) where a disclosure statement is due and no English one is configured.
    """
    parts: list[bytes] = []
    if statements.semantics and semantics:
        parts.append(seq(oid(oids.QCS_PKIX_QC_SYNTAX_V2), seq(oid(_SEMANTICS[statements.semantics]))))
    if statements.compliance:
        parts.append(seq(oid(oids.QCS_QC_COMPLIANCE)))
    if statements.sscd:
        parts.append(seq(oid(oids.QCS_QC_SSCD)))
    if statements.type:
        parts.append(seq(oid(oids.QCS_QC_TYPE), seq(oid(_QC_TYPES[statements.type]))))
    if statements.pds:
        if "en" not in pds:
            raise Invalid("pds-missing", "Set the address of the English disclosure statement: profiles.pds.en.")
        places = [seq(ia5(url), printable(language)) for language, url in sorted(pds.items())]
        parts.append(seq(oid(oids.QCS_QC_PDS), seq(*places)))
    return extension(oids.PE_QC_STATEMENTS, seq(*parts)) if parts else b""


def _status_extensions(status: Status, issuer: str, urls: RepositoryUrls, shard: int) -> list[bytes]:
    parts: list[bytes] = []
    if status.crl:
        parts.append(crl_distribution_points(urls.crl(issuer, shard)))
    if status.ca_issuers:
        ocsp = urls.ocsp if status.ocsp else None
        parts.append(authority_info_access(ocsp=ocsp, ca_issuers=urls.ca_issuers(issuer)))
    if status.validity_assured:
        parts.append(extension(oids.EXT_VALASSURED_ST_CERTS, NULL))
    if status.no_rev_avail:
        parts.append(extension(oids.CE_NO_REV_AVAIL, NULL))
    if status.nocheck:
        parts.append(extension(oids.PKIX_OCSP_NOCHECK, NULL))
    return parts


def extensions(
    profile: Profile,
    issuer: str,
    issuer_key_id: bytes,
    subject_key_id: bytes,
    urls: RepositoryUrls,
    *,
    semantics: bool,
    host_names: Sequence[str],
    not_before: datetime,
    shard: int = 0,
) -> bytes:
    """[3] EXPLICIT Extensions of a certificate that `issuer` (its role, as in the addresses) certifies.

    `shard` is the part of the issuer's revocation list that the certificate belongs to.
    """
    parts = [authority_key_identifier(issuer_key_id), subject_key_identifier(subject_key_id)]
    parts.append(key_usage(profile.key_usage))
    if profile.private_key_days is not None:
        parts.append(private_key_usage_period(not_before, profile.private_key_days))
    if profile.policies:
        parts.append(certificate_policies(profile.policies))
    if profile.host_names:
        parts.append(subject_alt_name(host_names))
    if profile.ca:
        parts.append(basic_constraints(profile.path_length))
    if profile.extended_key_usage:
        parts.append(extended_key_usage(profile.extended_key_usage, critical=profile.eku_critical))
    parts += _status_extensions(profile.status, issuer, urls, shard)
    parts.append(qc_statements(profile.qc_statements, urls.pds, semantics=semantics))
    return tlv(0xA3, seq(*parts))
