"""What a certificate says of itself: qualified certificate statements, short-term and no-revocation extensions."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Literal

from asn1crypto import x509

from tsp.core import der
from tsp.core.errors import Invalid
from tsp.validate.report import Statements

_QC_STATEMENTS = "1.3.6.1.5.5.7.1.3"
_VALIDITY_ASSURED = "0.4.0.194121.2.1"
_NO_REVOCATION_AVAILABLE = "2.5.29.56"

_QC_COMPLIANCE = der.oid("0.4.0.1862.1.1")
_QC_SSCD = der.oid("0.4.0.1862.1.4")
_QC_TYPE = der.oid("0.4.0.1862.1.6")
_QC_TYPES: dict[bytes, Literal["esign", "eseal", "web"]] = {
    der.oid("0.4.0.1862.1.6.1"): "esign",
    der.oid("0.4.0.1862.1.6.2"): "eseal",
    der.oid("0.4.0.1862.1.6.3"): "web",
}
_QTST_STATEMENT = der.oid("0.4.0.19422.1.1")

#: EN 319 412-1, 5.2.2: shorter than the longest time a revocation may take (EN 319 411-1: 24 hours).
SHORT_TERM = timedelta(hours=24)


def statements_of(certificate: x509.Certificate) -> Statements:
    """The statements; what cannot be read is not stated."""
    extensions = _extensions(certificate)
    found = dict(_statements(extensions.get(_QC_STATEMENTS, b"")))
    types = [t.encoded for t in _safe_children(found.get(_QC_TYPE, b""))]
    return Statements(
        qualified=_QC_COMPLIANCE in found,
        qscd=_QC_SSCD in found,
        purpose=_QC_TYPES.get(types[0]) if len(types) == 1 else None,
        short_term=_VALIDITY_ASSURED in extensions and _lifetime(certificate) < SHORT_TERM,
        no_revocation=_NO_REVOCATION_AVAILABLE in extensions,
    )


def claims_qualified_time_stamp(extension_value: bytes) -> bool:
    """Whether the qcStatements extension of a TSTInfo claims a qualified time-stamp (EN 319 422, 9.1)."""
    return _QTST_STATEMENT in dict(_statements(extension_value))


def _lifetime(certificate: x509.Certificate) -> timedelta:
    lifetime: timedelta = certificate.not_valid_after - certificate.not_valid_before
    return lifetime


def _extensions(certificate: x509.Certificate) -> dict[str, bytes]:
    """Extension values (the octets inside extnValue) by OID."""
    extensions = certificate["tbs_certificate"]["extensions"]
    return {e["extn_id"].dotted: e["extn_value"].contents for e in extensions or ()}


def _statements(value: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(statement OID, statement info or nothing) of a QCStatements value."""
    for statement in _safe_children(value):
        members = list(_safe_children(statement.encoded))
        if members and members[0].tag == 0x06:
            yield members[0].encoded, members[1].encoded if len(members) > 1 else b""


def _safe_children(encoded: bytes) -> list[der.Tlv]:
    """The members of one constructed value; none where it is not DER."""
    try:
        outer = der.read_one(encoded)
        return list(der.children(outer.content)) if outer.tag & 0x20 else []
    except Invalid:
        return []
