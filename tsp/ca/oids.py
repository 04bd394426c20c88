"""Object identifiers under the names that their standards give them."""

from typing import Final

# X.520 and RFC 4519 attribute types
AT_COMMON_NAME: Final = "2.5.4.3"
AT_SURNAME: Final = "2.5.4.4"
AT_SERIAL_NUMBER: Final = "2.5.4.5"
AT_COUNTRY_NAME: Final = "2.5.4.6"
AT_ORGANIZATION_NAME: Final = "2.5.4.10"
AT_GIVEN_NAME: Final = "2.5.4.42"
AT_PSEUDONYM: Final = "2.5.4.65"
AT_ORGANIZATION_IDENTIFIER: Final = "2.5.4.97"

# RFC 5280, 4.2: extensions
CE_SUBJECT_KEY_IDENTIFIER: Final = "2.5.29.14"
CE_KEY_USAGE: Final = "2.5.29.15"
CE_PRIVATE_KEY_USAGE_PERIOD: Final = "2.5.29.16"
CE_SUBJECT_ALT_NAME: Final = "2.5.29.17"
CE_BASIC_CONSTRAINTS: Final = "2.5.29.19"
CE_CRL_NUMBER: Final = "2.5.29.20"
CE_CRL_REASONS: Final = "2.5.29.21"
CE_NAME_CONSTRAINTS: Final = "2.5.29.30"
CE_CRL_DISTRIBUTION_POINTS: Final = "2.5.29.31"
CE_CERTIFICATE_POLICIES: Final = "2.5.29.32"
CE_POLICY_MAPPINGS: Final = "2.5.29.33"
CE_AUTHORITY_KEY_IDENTIFIER: Final = "2.5.29.35"
CE_POLICY_CONSTRAINTS: Final = "2.5.29.36"
CE_EXT_KEY_USAGE: Final = "2.5.29.37"
CE_INHIBIT_ANY_POLICY: Final = "2.5.29.54"
CE_NO_REV_AVAIL: Final = "2.5.29.56"  # RFC 9608
PE_AUTHORITY_INFO_ACCESS: Final = "1.3.6.1.5.5.7.1.1"
PE_QC_STATEMENTS: Final = "1.3.6.1.5.5.7.1.3"  # RFC 3739
PKIX_OCSP_NOCHECK: Final = "1.3.6.1.5.5.7.48.1.5"  # RFC 6960, 4.2.2.2.1
EXT_VALASSURED_ST_CERTS: Final = "0.4.0.194121.2.1"  # EN 319 412-1, 5.2

ANY_POLICY: Final = "2.5.29.32.0"
AD_OCSP: Final = "1.3.6.1.5.5.7.48.1"
AD_CA_ISSUERS: Final = "1.3.6.1.5.5.7.48.2"

KP_SERVER_AUTH: Final = "1.3.6.1.5.5.7.3.1"
KP_TIME_STAMPING: Final = "1.3.6.1.5.5.7.3.8"
KP_OCSP_SIGNING: Final = "1.3.6.1.5.5.7.3.9"

# EN 319 412-5 statements, EN 319 412-1 semantics, EN 319 411-2 policies
QCS_QC_COMPLIANCE: Final = "0.4.0.1862.1.1"
QCS_QC_SSCD: Final = "0.4.0.1862.1.4"
QCS_QC_PDS: Final = "0.4.0.1862.1.5"
QCS_QC_TYPE: Final = "0.4.0.1862.1.6"
QCS_QC_CC_LEGISLATION: Final = "0.4.0.1862.1.7"
QCT_ESIGN: Final = "0.4.0.1862.1.6.1"
QCS_PKIX_QC_SYNTAX_V2: Final = "1.3.6.1.5.5.7.11.2"
SEMANTICS_NATURAL: Final = "0.4.0.194121.1.1"
QCP_N: Final = "0.4.0.194112.1.0"
QCP_L: Final = "0.4.0.194112.1.1"
QCP_N_QSCD: Final = "0.4.0.194112.1.2"
QCP_L_QSCD: Final = "0.4.0.194112.1.3"
#: Every policy of EN 319 411-2 that says "qualified", with whether its keys live in a QSCD.
QUALIFIED_POLICIES: Final = {QCP_N: False, QCP_L: False, QCP_N_QSCD: True, QCP_L_QSCD: True}

# RFC 5480 and RFC 5758
EC_PUBLIC_KEY: Final = "1.2.840.10045.2.1"
SECP256R1: Final = "1.2.840.10045.3.1.7"
SECP384R1: Final = "1.3.132.0.34"
ECDSA_WITH_SHA256: Final = "1.2.840.10045.4.3.2"
ECDSA_WITH_SHA384: Final = "1.2.840.10045.4.3.3"

# RFC 5652: certs-only messages
SIGNED_DATA: Final = "1.2.840.113549.1.7.2"
DATA: Final = "1.2.840.113549.1.7.1"
