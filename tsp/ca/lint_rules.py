"""The rules that a certificate is held against, each with its clause.

A rule gets a `Reading` (the certificate as an independent parser reads it, its profile, its issuer) and
answers with what is wrong, or nothing.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

from tsp.ca import oids
from tsp.ca.certificate import algorithm_of, key_name
from tsp.ca.lint_reading import Oids, PdsLocations, PrivateKeyUsagePeriod, Reading
from tsp.ca.profiles import KEY_USAGE_TYPES, Profile

#: Bits of security (TS 119 312, 9.5 compares keys by them; SP 800-57, table 2 for RSA).
STRENGTH = {"P256": 128, "P384": 192, "RSA3072": 128, "RSA3072-PSS": 128, "RSA4096": 128, "RSA4096-PSS": 128}
_USAGE = {
    "digital_signature": "digitalSignature",
    "non_repudiation": "nonRepudiation",
    "key_cert_sign": "keyCertSign",
    "crl_sign": "cRLSign",
}
_PURPOSES = {
    "serverAuth": oids.KP_SERVER_AUTH,
    "clientAuth": oids.KP_CLIENT_AUTH,
    "timeStamping": oids.KP_TIME_STAMPING,
    "OCSPSigning": oids.KP_OCSP_SIGNING,
    "documentSigning": oids.KP_DOCUMENT_SIGNING,
    "emailProtection": oids.KP_EMAIL_PROTECTION,
    "tslSigning": oids.KP_TSL_SIGNING,
}
_TYPES = {"esign": oids.QCT_ESIGN, "eseal": oids.QCT_ESEAL}
_SEMANTICS = {"natural": oids.SEMANTICS_NATURAL, "legal": oids.SEMANTICS_LEGAL}
#: EN 319 412-1 NAT-5.1.3 and LEG-5.1.4: scheme, country, hyphen, identifier.
_NATURAL_IDENTIFIER = re.compile(r"(?:PAS|IDC|PNO|TIN)[A-Z]{2}-.+")
_LEGAL_IDENTIFIER = re.compile(r"(?:(?:VAT|NTR)[A-Z]{2}|LEIXG)-.+")
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


class Rule(NamedTuple):
    """A named rule; `check` answers what is wrong, or None."""

    name: str
    clause: str
    check: Callable[[Reading], str | None]


RULES: list[Rule] = []
_Check = Callable[[Reading], str | None]


def _rule(name: str, clause: str) -> Callable[[_Check], _Check]:
    def register(check: _Check) -> _Check:
        RULES.append(Rule(name, clause, check))
        return check

    return register


def _attributes(name: Any) -> Counter[str]:
    return Counter(pair["type"].dotted for rdn in name.chosen for pair in rdn)


def _values(name: Any, dotted: str) -> list[str]:
    return [pair["value"].native for rdn in name.chosen for pair in rdn if pair["type"].dotted == dotted]


@_rule("version", "RFC 5280, 4.1.2.1")
def _version(reading: Reading) -> str | None:
    return None if reading.tbs["version"].native == "v3" else "not version 3"


@_rule("serial-number", "RFC 5280, 4.1.2.2")
def _serial_number(reading: Reading) -> str | None:
    serial = reading.tbs["serial_number"].native
    return None if 64 < serial.bit_length() <= 159 and serial > 0 else "not positive, or out of range"


@_rule("algorithm", "RFC 5280, 4.1.1.2")
def _algorithm(reading: Reading) -> str | None:
    expected = algorithm_of(reading.issuer.spki).der
    inner, outer = reading.tbs["signature"].dump(), reading.certificate["signature_algorithm"].dump()
    return None if inner == outer == expected else "inner, outer and the issuer's algorithm differ"


@_rule("issuer-name", "EN 319 412-2 GEN-4.2.3.1-2")
def _issuer_name(reading: Reading) -> str | None:
    name = reading.tbs["issuer"]
    if name.dump() != reading.issuer.name:
        return "not the issuer's own name"
    return _legal_name(name)


def _legal_name(name: Any) -> str | None:
    attributes = _attributes(name)
    needed = (oids.AT_COUNTRY_NAME, oids.AT_ORGANIZATION_NAME, oids.AT_ORGANIZATION_IDENTIFIER, oids.AT_COMMON_NAME)
    if any(attributes[dotted] != 1 for dotted in needed):
        return "C, O, organizationIdentifier and CN must be there once each"
    if _values(name, oids.AT_ORGANIZATION_NAME) == _values(name, oids.AT_ORGANIZATION_IDENTIFIER):
        return "O and organizationIdentifier are equal"
    return None


@_rule("subject-legal-person", "EN 319 412-3 LEG-4.2.1-2")
def _subject_legal(reading: Reading) -> str | None:
    return _legal_name(reading.tbs["subject"]) if reading.profile.subject == "legal-person" else None


@_rule("subject-natural-person", "EN 319 412-2 NAT-4.2.4-1")
def _subject_natural(reading: Reading) -> str | None:
    if reading.profile.subject != "natural-person":
        return None
    attributes = _attributes(reading.tbs["subject"])
    if any(attributes[dotted] != 1 for dotted in (oids.AT_COUNTRY_NAME, oids.AT_COMMON_NAME, oids.AT_SERIAL_NUMBER)):
        return "C, CN and serialNumber must be there once each"
    names = attributes[oids.AT_GIVEN_NAME] + attributes[oids.AT_SURNAME]
    if bool(names) == bool(attributes[oids.AT_PSEUDONYM]):
        return "either names or a pseudonym"
    return None


@_rule("pseudonym", "eIDAS Annex I (c)")
def _pseudonym(reading: Reading) -> str | None:
    name = reading.tbs["subject"]
    if not _values(name, oids.AT_PSEUDONYM):
        return None
    shown = _values(name, oids.AT_COMMON_NAME)
    return None if all(value.endswith(":PN") for value in shown) else "the common name does not say so"


@_rule("organisation", "EN 319 412-2 NAT-4.2.4-6")
def _organisation(reading: Reading) -> str | None:
    if reading.profile.subject != "natural-person":
        return None
    name = reading.tbs["subject"]
    attributes = _attributes(name)
    both = attributes[oids.AT_ORGANIZATION_NAME], attributes[oids.AT_ORGANIZATION_IDENTIFIER]
    if both not in ((0, 0), (1, 1)):
        return "an organisation is named by O and organizationIdentifier, once each"
    return _legal_name(name) if both == (1, 1) else None


@_rule("validity", "RFC 5280, 4.1.2.5")
def _validity(reading: Reading) -> str | None:
    certificate, lifetime = reading.certificate, timedelta(seconds=reading.profile.lifetime.seconds)
    if certificate.not_valid_after - certificate.not_valid_before + _SECOND != lifetime:
        return "not the profile's lifetime"
    for field in ("not_before", "not_after"):
        time = reading.tbs["validity"][field]
        if (time.name == "utc_time") != (time.native.year < 2050):
            return f"{field}: UTCTime to 2049, GeneralizedTime from 2050"
    return None


@_rule("validity-in-issuer", "RFC 5280, 6.1.3")
def _validity_in_issuer(reading: Reading) -> str | None:
    certificate, issuer = reading.certificate, reading.issuer
    inside = issuer.not_before <= certificate.not_valid_before and certificate.not_valid_after <= issuer.not_after
    return None if inside else "outlives its issuer"


@_rule("public-key", "TS 119 312, 9.5")
def _public_key(reading: Reading) -> str | None:
    name = key_name(reading.tbs["subject_public_key_info"].dump())
    if name not in reading.profile.keys:
        return "a key that the profile does not allow"
    return None if STRENGTH[name] <= STRENGTH[key_name(reading.issuer.spki)] else "stronger than its issuer's key"


def expected_extensions(profile: Profile, *, semantics: bool) -> dict[str, bool]:
    """The extensions that a certificate of the profile has, with whether they are critical."""
    statements, status = profile.qc_statements, profile.status
    stated = statements.compliance or statements.sscd or bool(statements.type) or statements.pds
    present = {
        oids.CE_AUTHORITY_KEY_IDENTIFIER: (True, False),
        oids.CE_SUBJECT_KEY_IDENTIFIER: (True, False),
        oids.CE_KEY_USAGE: (True, True),
        oids.CE_PRIVATE_KEY_USAGE_PERIOD: (profile.private_key_days is not None, False),
        oids.CE_CERTIFICATE_POLICIES: (bool(profile.policies), False),
        oids.CE_SUBJECT_ALT_NAME: (profile.host_names, False),
        oids.CE_BASIC_CONSTRAINTS: (profile.ca, True),
        oids.CE_EXT_KEY_USAGE: (bool(profile.extended_key_usage), profile.eku_critical),
        oids.CE_CRL_DISTRIBUTION_POINTS: (status.crl, False),
        oids.PE_AUTHORITY_INFO_ACCESS: (status.ca_issuers, False),
        oids.EXT_VALASSURED_ST_CERTS: (status.validity_assured, False),
        oids.CE_NO_REV_AVAIL: (status.no_rev_avail, False),
        oids.PKIX_OCSP_NOCHECK: (status.nocheck, False),
        oids.PE_QC_STATEMENTS: (stated or (statements.semantics is not None and semantics), False),
    }
    return {dotted: critical for dotted, (there, critical) in present.items() if there}


@_rule("extensions", "EN 319 412-2 GEN-4.1-2")
def _extensions(reading: Reading) -> str | None:
    semantics = any(dotted == oids.QCS_PKIX_QC_SYNTAX_V2 for dotted, _ in reading.statements)
    expected = expected_extensions(reading.profile, semantics=semantics)
    if reading.extension_count != len(reading.extensions):
        return "an extension is there twice"
    if set(expected) != set(reading.extensions):
        return "not the profile's extensions: " + ", ".join(sorted(set(expected) ^ set(reading.extensions)))
    wrong = [dotted for dotted, critical in expected.items() if reading.extensions[dotted][0] != critical]
    return "wrongly critical or not: " + ", ".join(wrong) if wrong else None


@_rule("authority-key-identifier", "EN 319 412-2 GEN-4.3.1-1")
def _authority_key(reading: Reading) -> str | None:
    value = reading.certificate.authority_key_identifier_value
    if value is None or value["key_identifier"].native != reading.issuer.key_id:
        return "not the issuer's key identifier"
    return "more than the key identifier" if value["authority_cert_serial_number"].native is not None else None


@_rule("subject-key-identifier", "RFC 7093, 2")
def _subject_key(reading: Reading) -> str | None:
    value = reading.certificate.key_identifier_value
    point = reading.tbs["subject_public_key_info"]["public_key"].contents[1:]
    matches = value is not None and value.native == hashlib.sha256(point).digest()[:20]
    return None if matches else "not the first 160 bits of the key's SHA-256"


@_rule("key-usage", "EN 319 412-2 NAT-4.3.2-1")
def _key_usage(reading: Reading) -> str | None:
    value = reading.certificate.key_usage_value
    usage = {_USAGE.get(bit, bit) for bit in value.native} if value is not None else set()
    if usage != set(reading.profile.key_usage):
        return "not the profile's key usage"
    if not reading.profile.ca and frozenset(usage) not in KEY_USAGE_TYPES:
        return "not of type A, B or C"
    return None


@_rule("key-period", "EN 319 421 TIS-7.6.7-04")
def _key_period(reading: Reading) -> str | None:
    value = reading.value(oids.CE_PRIVATE_KEY_USAGE_PERIOD)
    if value is None:
        return None
    period = PrivateKeyUsagePeriod.load(value, strict=True)
    begin, end = period["not_before"].native, period["not_after"].native
    if begin is None or end is None or begin != reading.certificate.not_valid_before or end <= begin:
        return "begins with the certificate and has an end"
    return None if end < reading.certificate.not_valid_after else "the key must end before the certificate"


@_rule("policies", "EN 319 412-2 GEN-4.3.3-1")
def _policies(reading: Reading) -> str | None:
    value = reading.certificate.certificate_policies_value
    found = tuple(info["policy_identifier"].dotted for info in value) if value is not None else ()
    if found != reading.profile.policies:
        return "not the profile's policies"
    if not reading.profile.ca and (not found or oids.ANY_POLICY in found):
        return "an end certificate needs a policy, and not anyPolicy"
    return None


@_rule("extended-key-usage", "RFC 5280, 4.2.1.12")
def _extended_key_usage(reading: Reading) -> str | None:
    value = reading.certificate.extended_key_usage_value
    found = {purpose.dotted for purpose in value} if value is not None else set()
    expected = {_PURPOSES[purpose] for purpose in reading.profile.extended_key_usage}
    return None if found == expected else "not the profile's purposes"


@_rule("basic-constraints", "RFC 5280, 4.2.1.9")
def _basic_constraints(reading: Reading) -> str | None:
    value = reading.certificate.basic_constraints_value
    authority = value is not None and value["ca"].native is True
    limit = value["path_len_constraint"].native if value is not None else None
    matches = authority == reading.profile.ca and limit == reading.profile.path_length
    return None if matches else "not the profile's constraints"


@_rule("host-names", "RFC 9525, 6.3")
def _host_names(reading: Reading) -> str | None:
    value = reading.certificate.subject_alt_name_value
    names = [name.name for name in value] if value is not None else []
    if reading.profile.host_names != bool(names):
        return "host names are there exactly for servers"
    return None if set(names) <= {"dns_name"} else "only host names belong there"


@_rule("status-pointers", "EN 319 412-2 GEN-4.4.1-3")
def _status_pointers(reading: Reading) -> str | None:
    status = reading.profile.status
    access = reading.certificate.authority_information_access_value
    places = [(p["access_method"].dotted, p["access_location"].native) for p in access] if access is not None else []
    expected = [oids.AD_OCSP] * status.ocsp + [oids.AD_CA_ISSUERS] * status.ca_issuers
    if [method for method, _ in places] != expected:
        return "OCSP and caIssuers are not as the profile says"
    points = reading.certificate.crl_distribution_points_value
    lists = [name.native for p in points for name in p["distribution_point"].chosen] if points is not None else []
    if bool(lists) != status.crl:
        return "CRL distribution point not as the profile says"
    fine = all(url.startswith(("http://", "https://")) for url in [*(url for _, url in places), *lists])
    return None if fine else "addresses must be http or https"


@_rule("no-status", "EN 319 412-2 GEN-4.3.11-2A")
def _no_status(reading: Reading) -> str | None:
    found = reading.extensions
    access = reading.certificate.authority_information_access_value
    ocsp = access is not None and any(place["access_method"].dotted == oids.AD_OCSP for place in access)
    pointers = ocsp or oids.CE_CRL_DISTRIBUTION_POINTS in found
    assured, no_status = oids.EXT_VALASSURED_ST_CERTS in found, oids.CE_NO_REV_AVAIL in found
    if no_status and pointers:
        return "noRevAvail beside a status address (RFC 9608, 3)"
    exempt = oids.PKIX_OCSP_NOCHECK in found or reading.self_issued
    if not pointers and not exempt and not (assured and no_status):
        return "no status address, and not validity-assured with noRevAvail"
    return None


@_rule("validity-assured", "EN 319 411-1 GEN-6.6.1-05")
def _validity_assured(reading: Reading) -> str | None:
    nulls = (oids.EXT_VALASSURED_ST_CERTS, oids.CE_NO_REV_AVAIL, oids.PKIX_OCSP_NOCHECK)
    if any(reading.value(dotted) not in (None, b"\x05\x00") for dotted in nulls):
        return "the value must be NULL"
    lifetime = reading.certificate.not_valid_after - reading.certificate.not_valid_before + _SECOND
    assured = oids.EXT_VALASSURED_ST_CERTS in reading.extensions
    return "valid for 24 hours or more" if assured and lifetime >= _DAY else None


@_rule("qc-statements", "EN 319 412-5 QCS-5-01")
def _qc_statements(reading: Reading) -> str | None:
    wanted, found = reading.profile.qc_statements, Counter(dotted for dotted, _ in reading.statements)
    if any(count > 1 for count in found.values()):
        return "a statement is there twice (QCS-4.1-02A)"
    expected = {
        oids.QCS_QC_COMPLIANCE: wanted.compliance,
        oids.QCS_QC_SSCD: wanted.sscd,
        oids.QCS_QC_TYPE: wanted.type is not None,
        oids.QCS_QC_PDS: wanted.pds,
        oids.QCS_PKIX_QC_SYNTAX_V2: wanted.semantics is not None and oids.QCS_PKIX_QC_SYNTAX_V2 in found,
    }
    if set(found) != {dotted for dotted, there in expected.items() if there}:
        return "not the profile's statements"
    infos = dict(reading.statements)
    if any(infos.get(dotted) for dotted in (oids.QCS_QC_COMPLIANCE, oids.QCS_QC_SSCD)):
        return "QcCompliance and QcSSCD carry no information"
    kind = _TYPES[wanted.type] if wanted.type else None
    if oids.QCS_QC_TYPE in infos and [o.dotted for o in Oids.load(infos[oids.QCS_QC_TYPE], strict=True)] != [kind]:
        return "QcType must name the profile's type alone"
    return None


@_rule("qc-type", "EN 319 412-5, 4.2.3")
def _qc_type(reading: Reading) -> str | None:
    info = dict(reading.statements).get(oids.QCS_QC_TYPE)
    if info is None:
        return None
    legal = bool(_attributes(reading.tbs["subject"])[oids.AT_ORGANIZATION_IDENTIFIER]) and not _natural(reading)
    wanted = oids.QCT_ESEAL if legal else oids.QCT_ESIGN
    stated = [one.dotted for one in Oids.load(info, strict=True)]
    return None if stated == [wanted] else "esign is for natural persons, eseal for legal persons"


def _natural(reading: Reading) -> bool:
    attributes = _attributes(reading.tbs["subject"])
    return any(attributes[dotted] for dotted in (oids.AT_GIVEN_NAME, oids.AT_SURNAME, oids.AT_PSEUDONYM))


@_rule("semantics", "EN 319 412-1, 5.1")
def _semantics(reading: Reading) -> str | None:
    info = dict(reading.statements).get(oids.QCS_PKIX_QC_SYNTAX_V2)
    if info is None:
        return None
    stated = [one.dotted for one in Oids.load(info, strict=True)]
    subject = reading.tbs["subject"]
    forms = {
        oids.SEMANTICS_NATURAL: (_NATURAL_IDENTIFIER, oids.AT_SERIAL_NUMBER),
        oids.SEMANTICS_LEGAL: (_LEGAL_IDENTIFIER, oids.AT_ORGANIZATION_IDENTIFIER),
    }
    wanted = reading.profile.qc_statements.semantics
    if wanted is None or stated != [_SEMANTICS[wanted]]:
        return "not the semantics of the profile's subjects"
    form, attribute = forms[stated[0]]
    fits = [form.fullmatch(value) is not None for value in _values(subject, attribute)]
    return None if fits == [True] else "the identifier has another form than the statement says"


@_rule("qc-policy", "EN 319 412-5 QCS-5.2-2")
def _qc_policy(reading: Reading) -> str | None:
    value = reading.certificate.certificate_policies_value
    found = [info["policy_identifier"].dotted for info in value] if value is not None else []
    qualified = [dotted for dotted in found if dotted in oids.QUALIFIED_POLICIES]
    stated = {dotted for dotted, _ in reading.statements}
    if bool(qualified) != (oids.QCS_QC_COMPLIANCE in stated) or len(qualified) > 1:
        return "QcCompliance and one QCP policy belong together"
    in_device = [oids.QUALIFIED_POLICIES[dotted] for dotted in qualified]
    if (oids.QCS_QC_SSCD in stated) != any(in_device):
        return "QcSSCD and a -qscd policy belong together"
    for_persons = any(dotted in (oids.QCP_N, oids.QCP_N_QSCD) for dotted in qualified)
    if qualified and for_persons != _natural(reading):
        return "QCP-n is for natural persons, QCP-l for legal persons"
    return None


@_rule("qc-complete", "EN 319 412-5 QCS-5-01")
def _qc_complete(reading: Reading) -> str | None:
    stated = {dotted for dotted, _ in reading.statements}
    needed = {oids.QCS_QC_TYPE, oids.QCS_QC_PDS}
    if oids.QCS_QC_COMPLIANCE in stated and not needed <= stated:
        return "a qualified certificate states its type and its disclosure statement"
    return None


@_rule("qc-pds", "EN 319 412-5 QCS-4.3.4-03")
def _qc_pds(reading: Reading) -> str | None:
    info = dict(reading.statements).get(oids.QCS_QC_PDS)
    if info is None:
        return None
    places = [(place["language"].native, place["url"].native) for place in PdsLocations.load(info, strict=True)]
    languages = [language for language, _ in places]
    if "en" not in languages or len(set(languages)) != len(languages):
        return "English and each language once"
    if not all(len(language) == 2 and language.islower() for language in languages):
        return "languages have two lower-case letters"
    return None if all(url.startswith("https://") for _, url in places) else "addresses must be https"
