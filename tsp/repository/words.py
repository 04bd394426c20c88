"""The words of the repository's pages; each has its Slovene in the catalogue."""

from typing import Final

AUTHORITIES: Final = {
    "root": "Root: certifies the authorities below it and nothing else",
    "qualified": "Issues qualified certificates, and no others",
    "nonqualified": "Issues certificates that are not qualified to people and organisations",
    "infrastructure": "Certifies the provider's own services: time-stamps, status, servers",
}
STATUS: Final = {"valid": "valid now", "not-yet": "not valid yet", "expired": "expired", "revoked": "revoked"}
STATUS_KINDS: Final = {"valid": "", "not-yet": "plain", "expired": "plain", "revoked": "danger"}

SERVICES: Final = {
    "CA/QC": "Authority that issues qualified certificates",
    "CA/PKC": "Authority that issues other certificates",
    "TSA/QTST": "Qualified time-stamps",
    "TSA": "Time-stamps",
    "Certstatus/OCSP/QC": "Status of qualified certificates (OCSP)",
    "Certstatus/OCSP": "Status of other certificates (OCSP)",
}
SERVICE_STATUS: Final = {"granted": "in operation", "withdrawn": "withdrawn"}
