"""Each own rule with a sample that keeps it and one that breaks it; and the check of every certificate."""

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asn1crypto import core, keys, x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import DuplicateExtension, load_der_x509_certificate
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ca.ca_kit import NOW, PERSON, SERVICE, SoftKey, authority, issuer, profiles
from tsp.ca import extensions as made
from tsp.ca import oids
from tsp.ca.authority import IssuingKey
from tsp.ca.certificate import assemble
from tsp.ca.lint import Expected, check_issued, lint_certificate
from tsp.ca.lint_rules import RULES
from tsp.ca.names import PersonName, ServiceName
from tsp.ca.profiles import QcStatements
from tsp.core.der import seq, set_of, utf8
from tsp.core.errors import Unavailable

PROFILES = profiles()
ISSUERS = {
    "root": issuer("root", SoftKey(ec.SECP384R1())),
    "qualified": issuer("qualified"),
    "nonqualified": issuer("nonqualified"),
    "infrastructure": issuer("infrastructure", until=datetime(2040, 1, 1, tzinfo=UTC)),
}
SERVER = ServiceName("SI", "Enkrat TEST d.o.o.", "VATSI-10000003", "sign.example.si")


def sample(profile: str) -> bytes:
    """A good certificate of the profile."""
    person = PROFILES[profile].subject == "natural-person"
    name = PERSON if person else SERVER if profile == "tls-server" else SERVICE
    prepared = authority(ISSUERS).prepare(
        profile,
        name,
        SoftKey().public_spki,
        now=NOW,
        issuer=PROFILES[profile].issuers[0],
        host_names=("sign.example.si",) if profile == "tls-server" else (),
    )
    return authority_issue(prepared)


def authority_issue(prepared: Any) -> bytes:
    return prepared.ticket[0].issue(prepared).der


GOOD = {name: sample(name) for name in PROFILES if name != "root-ca"}


def findings(der: bytes, profile: str) -> set[str]:
    role = PROFILES[profile].issuers[0]
    return {finding.rule for finding in lint_certificate(der, PROFILES[profile], ISSUERS[role].facts)}


@pytest.mark.parametrize("profile", sorted(GOOD))
def test_good_sample_passes_every_rule(profile: str) -> None:
    assert findings(GOOD[profile], profile) == set()


# Ways to spoil a certificate. Each takes the parsed certificate and changes it in place.


def with_field(field: str, value: Any) -> Any:
    def spoil(certificate: x509.Certificate) -> None:
        certificate["tbs_certificate"][field] = value

    return spoil


def _as_they_are(extensions: list[x509.Extension]) -> x509.Extensions:
    """The extensions' own octets, not what asn1crypto makes of contents that it knows."""
    return x509.Extensions.load(seq(*(extension.dump() for extension in extensions)))


def with_extension(dotted: str, encoded: bytes | None) -> Any:
    """Puts an extension (as our builder encodes one) in the place of the one with the same OID, or behind all."""

    def spoil(certificate: x509.Certificate) -> None:
        found = list(certificate["tbs_certificate"]["extensions"])
        new = [] if encoded is None else [x509.Extension.load(encoded)]
        place = next((i for i, e in enumerate(found) if e["extn_id"].dotted == dotted), len(found))
        certificate["tbs_certificate"]["extensions"] = _as_they_are(found[:place] + new + found[place + 1 :])

    return spoil


def twice(dotted: str) -> Any:
    def spoil(certificate: x509.Certificate) -> None:
        found = list(certificate["tbs_certificate"]["extensions"])
        again = [e for e in found if e["extn_id"].dotted == dotted]
        certificate["tbs_certificate"]["extensions"] = _as_they_are(found + again)

    return spoil


def with_subject(name: Any) -> Any:
    return with_field("subject", x509.Name.load(name))


def with_validity(*, days: int = 0, seconds: int = 0) -> Any:
    def spoil(certificate: x509.Certificate) -> None:
        end = certificate.not_valid_after + timedelta(days=days, seconds=seconds)
        certificate["tbs_certificate"]["validity"]["not_after"] = x509.Time("utc_time", core.UTCTime(end))

    return spoil


def as_general_time(certificate: x509.Certificate) -> None:
    end = core.GeneralizedTime(certificate.not_valid_after)
    certificate["tbs_certificate"]["validity"]["not_after"] = x509.Time("general_time", end)


def statements(**values: Any) -> bytes:
    pds = values.pop("places", {"en": "https://a.si/en"})
    return made.qc_statements(QcStatements(**values), pds, semantics=True)


def raw_statements(*parts: bytes) -> Any:
    return with_extension(oids.PE_QC_STATEMENTS, made.extension(oids.PE_QC_STATEMENTS, made.seq(*parts)))


def statement(dotted: str, info: bytes = b"") -> bytes:
    return made.seq(made.oid(dotted), info)


FULL: dict[str, Any] = {"compliance": True, "type": "esign", "pds": True}
QUALIFIED = [statement(oids.QCS_QC_COMPLIANCE), statement(oids.QCS_QC_TYPE, made.seq(made.oid(oids.QCT_ESIGN)))]
PDS = statement(oids.QCS_QC_PDS, made.seq(made.seq(made.ia5("https://a.si"), made.printable("en"))))
VALASSURED = made.extension(oids.EXT_VALASSURED_ST_CERTS, made.NULL)
NO_REV_AVAIL = made.extension(oids.CE_NO_REV_AVAIL, made.NULL)
TWO_NAMES = core.Sequence.load(PERSON.der()).contents + core.Sequence.load(SERVICE.der()).contents
PERSON_PARTS = core.Sequence.load(PERSON.der()).contents
ORGANISATION_ALONE = set_of(made.seq(made.oid(oids.AT_ORGANIZATION_NAME), utf8("Podjetje d.o.o.")))
UNMARKED = PersonName(None, None, "SI", "1", pseudonym="Sova").der().replace(b"Sova:PN", b"Sova.si")

BAD = [
    ("version", "advanced", with_field("version", "v1")),
    ("serial-number", "advanced", with_field("serial_number", -5)),
    ("serial-number", "advanced", with_field("serial_number", 2**159)),
    ("serial-number", "advanced", with_field("serial_number", 2**63)),
    ("algorithm", "advanced", lambda c: c["signature_algorithm"].__setitem__("algorithm", "sha384_ecdsa")),
    ("algorithm", "advanced", lambda c: c["tbs_certificate"]["signature"].__setitem__("algorithm", "sha384_ecdsa")),
    ("issuer-name", "advanced", with_field("issuer", x509.Name.load(SERVICE.der()))),
    ("subject-legal-person", "tsu", with_subject(PERSON.der())),
    ("subject-legal-person", "tsu", with_subject(made.tlv(0x30, TWO_NAMES))),
    ("subject-natural-person", "advanced", with_subject(SERVICE.der())),
    ("subject-natural-person", "advanced", with_subject(made.tlv(0x30, TWO_NAMES))),
    ("validity", "advanced", with_validity(seconds=1)),
    ("validity", "advanced", as_general_time),
    ("validity-in-issuer", "tsu", with_validity(days=365 * 10)),
    (
        "public-key",
        "tsu",
        with_field("subject_public_key_info", keys.PublicKeyInfo.load(ISSUERS["root"].facts.spki)),
    ),
    ("extensions", "advanced", twice(oids.EXT_VALASSURED_ST_CERTS)),
    ("extensions", "advanced", with_extension(oids.EXT_VALASSURED_ST_CERTS, None)),
    (
        "extensions",
        "advanced",
        with_extension(oids.CE_POLICY_MAPPINGS, made.extension(oids.CE_POLICY_MAPPINGS, b"0\0")),
    ),
    (
        "extensions",
        "advanced",
        with_extension(
            oids.EXT_VALASSURED_ST_CERTS, made.extension(oids.EXT_VALASSURED_ST_CERTS, made.NULL, critical=True)
        ),
    ),
    (
        "extensions",
        "tsu",
        with_extension(oids.CE_EXT_KEY_USAGE, made.extended_key_usage(["timeStamping"], critical=False)),
    ),
    (
        "authority-key-identifier",
        "advanced",
        with_extension(oids.CE_AUTHORITY_KEY_IDENTIFIER, made.authority_key_identifier(bytes(20))),
    ),
    (
        "subject-key-identifier",
        "advanced",
        with_extension(oids.CE_SUBJECT_KEY_IDENTIFIER, made.subject_key_identifier(bytes(20))),
    ),
    ("key-usage", "advanced", with_extension(oids.CE_KEY_USAGE, made.key_usage(["digitalSignature"]))),
    (
        "key-usage",
        "advanced",
        with_extension(oids.CE_KEY_USAGE, made.key_usage(["nonRepudiation", "keyCertSign"])),
    ),
    (
        "key-period",
        "tsu",
        with_extension(oids.CE_PRIVATE_KEY_USAGE_PERIOD, made.private_key_usage_period(NOW, 1461)),
    ),
    (
        "key-period",
        "tsu",
        with_extension(oids.CE_PRIVATE_KEY_USAGE_PERIOD, made.private_key_usage_period(NOW - timedelta(days=1), 365)),
    ),
    (
        "policies",
        "advanced",
        with_extension(oids.CE_CERTIFICATE_POLICIES, made.certificate_policies([oids.ANY_POLICY])),
    ),
    (
        "extended-key-usage",
        "tsu",
        with_extension(oids.CE_EXT_KEY_USAGE, made.extended_key_usage(["timeStamping", "serverAuth"], critical=True)),
    ),
    ("basic-constraints", "advanced", with_extension(oids.CE_BASIC_CONSTRAINTS, made.basic_constraints(None))),
    ("basic-constraints", "subordinate-ca", with_extension(oids.CE_BASIC_CONSTRAINTS, made.basic_constraints(1))),
    ("host-names", "tls-server", with_extension(oids.CE_SUBJECT_ALT_NAME, None)),
    ("host-names", "advanced", with_extension(oids.CE_SUBJECT_ALT_NAME, made.subject_alt_name(["a.si"]))),
    (
        "status-pointers",
        "advanced",
        with_extension(
            oids.PE_AUTHORITY_INFO_ACCESS, made.authority_info_access(ocsp=None, ca_issuers="http://a.si/a.cer")
        ),
    ),
    (
        "status-pointers",
        "advanced",
        with_extension(
            oids.PE_AUTHORITY_INFO_ACCESS,
            made.authority_info_access(ocsp="ldap://a.si", ca_issuers="http://a.si/a.cer"),
        ),
    ),
    ("status-pointers", "subordinate-ca", with_extension(oids.CE_CRL_DISTRIBUTION_POINTS, None)),
    ("no-status", "advanced", with_extension(oids.CE_NO_REV_AVAIL, NO_REV_AVAIL)),
    (
        "no-status",
        "tsu",
        with_extension(
            oids.PE_AUTHORITY_INFO_ACCESS, made.authority_info_access(ocsp=None, ca_issuers="http://a.si/a.cer")
        ),
    ),
    ("validity-assured", "advanced", with_validity(days=1)),
    (
        "validity-assured",
        "advanced",
        with_extension(oids.EXT_VALASSURED_ST_CERTS, made.extension(oids.EXT_VALASSURED_ST_CERTS, b"\x04\x00")),
    ),
    (
        "qc-statements",
        "advanced",
        with_extension(oids.PE_QC_STATEMENTS, statements(**FULL)),
    ),
    ("qc-statements", "advanced-qualified", with_extension(oids.PE_QC_STATEMENTS, statements(**FULL, sscd=True))),
    ("qc-statements", "qualified", with_extension(oids.PE_QC_STATEMENTS, statements(**FULL))),
    ("qc-statements", "advanced-qualified", raw_statements(*QUALIFIED, PDS, QUALIFIED[0])),
    (
        "qc-statements",
        "advanced-qualified",
        raw_statements(statement(oids.QCS_QC_COMPLIANCE, made.NULL), QUALIFIED[1], PDS),
    ),
    (
        "qc-statements",
        "advanced-qualified",
        raw_statements(QUALIFIED[0], statement(oids.QCS_QC_TYPE, made.seq(made.oid("0.4.0.1862.1.6.2"))), PDS),
    ),
    (
        "qc-statements",
        "advanced-qualified",
        raw_statements(*QUALIFIED, PDS, statement(oids.QCS_QC_CC_LEGISLATION, made.seq())),
    ),
    (
        "qc-statements",
        "qualified-seal",
        with_extension(oids.PE_QC_STATEMENTS, statements(**FULL, sscd=True, semantics="legal")),
    ),
    ("qc-complete", "qualified", raw_statements(*QUALIFIED)),
    ("qc-complete", "qualified-seal", raw_statements(QUALIFIED[0], PDS)),
    ("qc-policy", "qualified", with_subject(SERVICE.der())),
    ("qc-policy", "advanced-qualified-seal", with_subject(PERSON.der())),
    ("qc-type", "qualified", with_subject(SERVICE.der())),
    ("qc-type", "qualified-seal", with_subject(PERSON.der())),
    ("qc-type", "qualified-seal", with_extension(oids.PE_QC_STATEMENTS, statements(**FULL, sscd=True))),
    ("semantics", "advanced", with_subject(PersonName("Ana", "Novak", "SI", "17").der())),
    ("semantics", "advanced-seal", with_subject(PERSON.der())),
    ("semantics", "advanced-seal", with_extension(oids.PE_QC_STATEMENTS, statements(semantics="natural"))),
    ("semantics", "tls-server", with_extension(oids.PE_QC_STATEMENTS, statements(semantics="legal"))),
    ("pseudonym", "qualified", with_subject(UNMARKED)),
    ("organisation", "qualified", with_subject(made.tlv(0x30, PERSON_PARTS + ORGANISATION_ALONE))),
    ("organisation", "operator", with_subject(made.tlv(0x30, PERSON_PARTS + ORGANISATION_ALONE * 2))),
    (
        "qc-policy",
        "qualified-seal",
        with_extension(oids.CE_CERTIFICATE_POLICIES, made.certificate_policies([oids.QCP_L])),
    ),
    (
        "qc-policy",
        "advanced-qualified-seal",
        with_extension(oids.CE_CERTIFICATE_POLICIES, made.certificate_policies([oids.QCP_L_QSCD])),
    ),
    ("key-usage", "authentication", with_extension(oids.CE_KEY_USAGE, made.key_usage(["nonRepudiation"]))),
    (
        "extended-key-usage",
        "operator",
        with_extension(oids.CE_EXT_KEY_USAGE, made.extended_key_usage(["documentSigning"], critical=False)),
    ),
    (
        "qc-policy",
        "advanced-qualified",
        with_extension(oids.CE_CERTIFICATE_POLICIES, made.certificate_policies([oids.QCP_N_QSCD])),
    ),
    (
        "qc-policy",
        "qualified",
        with_extension(oids.CE_CERTIFICATE_POLICIES, made.certificate_policies([oids.QCP_N])),
    ),
    (
        "qc-policy",
        "advanced",
        with_extension(oids.CE_CERTIFICATE_POLICIES, made.certificate_policies([oids.QCP_N])),
    ),
    (
        "qc-pds",
        "qualified",
        with_extension(oids.PE_QC_STATEMENTS, statements(**FULL, sscd=True, places={"en": "http://a.si"})),
    ),
    (
        "qc-pds",
        "qualified",
        with_extension(
            oids.PE_QC_STATEMENTS, statements(**FULL, sscd=True, places={"en": "https://a.si", "SL": "https://a.si"})
        ),
    ),
    (
        "qc-pds",
        "advanced-qualified",
        raw_statements(
            *QUALIFIED,
            statement(oids.QCS_QC_PDS, made.seq(made.seq(made.ia5("https://a.si"), made.printable("sl")))),
        ),
    ),
]


@pytest.mark.requirement("CA-4")
@pytest.mark.parametrize(("rule", "profile", "spoil"), BAD, ids=[f"{rule}-{profile}" for rule, profile, _ in BAD])
def test_each_rule_finds_its_bad_sample(rule: str, profile: str, spoil: Any) -> None:
    certificate = x509.Certificate.load(GOOD[profile]).copy()
    spoil(certificate)
    assert rule in findings(certificate.dump(), profile)


def test_every_rule_has_a_bad_sample() -> None:
    assert {rule.name for rule in RULES} == {rule for rule, _, _ in BAD}


@pytest.mark.parametrize("der", [b"", b"\x30\x00", b"\x04\x01\x00", GOOD["advanced"][:-1], GOOD["advanced"] + b"\x00"])
def test_what_is_no_certificate_is_a_finding(der: bytes) -> None:
    assert findings(der, "advanced") == {"parse"}


def test_without_names_and_with_a_pseudonym_is_fine() -> None:
    name = PersonName(None, None, "SI", "1", pseudonym="Sova")
    whole = authority(ISSUERS)
    prepared = whole.prepare("qualified", name, SoftKey().public_spki, now=NOW)
    assert findings(whole.issue(prepared).der, "qualified") == set()


# The check that every certificate goes through after it was signed


def signed(issuing: IssuingKey) -> tuple[bytes, Expected]:
    whole = authority({"qualified": issuing})
    prepared = whole.prepare("advanced-qualified", PERSON, SoftKey().public_spki, now=NOW)
    return whole.issue(prepared).der, prepared.expected


ISSUED, EXPECTED = signed(ISSUERS["qualified"])
OTHER_TBS, OTHER = signed(ISSUERS["qualified"])[1].tbs, signed(issuer("qualified"))[1]


def test_what_was_prepared_passes() -> None:
    public = check_issued(ISSUED, EXPECTED, ISSUERS["qualified"].public)
    assert public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == EXPECTED.spki


@pytest.mark.requirement("CA-1")
@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("bytes", {"tbs": OTHER_TBS}),
        ("serial", {"serial": EXPECTED.serial + 1}),
        ("not-before", {"not_before": NOW + timedelta(seconds=1)}),
        ("not-after", {"not_after": NOW}),
        ("public-key", {"spki": OTHER.spki}),
        ("extensions", {"extensions": {**EXPECTED.extensions, oids.CE_NO_REV_AVAIL: False}}),
        ("extensions", {"extensions": {**EXPECTED.extensions, oids.CE_KEY_USAGE: False}}),
        ("algorithm", {"algorithm": ISSUERS["root"].algorithm}),
    ],
)
def test_other_than_prepared_is_unsound(rule: str, changes: dict[str, Any]) -> None:
    with pytest.raises(Unavailable) as caught:
        check_issued(ISSUED, dataclasses.replace(EXPECTED, **changes), ISSUERS["qualified"].public)
    assert (caught.value.code, caught.value.facts["rule"]) == ("certificate-unsound", rule)


def test_foreign_signature_is_unsound() -> None:
    with pytest.raises(Unavailable) as caught:
        check_issued(ISSUED, EXPECTED, issuer("qualified").public)
    assert caught.value.facts["rule"] == "signature"


@pytest.mark.parametrize("der", [b"", ISSUED[:-1], ISSUED + b"\x00", b"\x30\x03\x02\x01\x00"])
def test_unreadable_is_unsound(der: bytes) -> None:
    with pytest.raises(Unavailable) as caught:
        check_issued(der, EXPECTED, ISSUERS["qualified"].public)
    assert caught.value.facts["rule"] == "parse"


@pytest.mark.requirement("CA-1")
# The parser warns of a negative serial number before it is found to be another one.
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@pytest.mark.parametrize("bit", [0x01, 0x80])
def test_no_damaged_octet_is_overlooked(bit: int) -> None:
    for place in range(len(ISSUED)):
        damaged = bytearray(ISSUED)
        damaged[place] ^= bit
        with pytest.raises(Unavailable, match="certificate-unsound"):
            check_issued(bytes(damaged), EXPECTED, ISSUERS["qualified"].public)


BEHIND_KEY = EXPECTED.tbs.index(EXPECTED.spki) + len(EXPECTED.spki)


def extensions_of(der: bytes) -> dict[str, bool] | None:
    """What an independent parser reads; None where it refuses."""
    try:
        return {one.oid.dotted_string: one.critical for one in load_der_x509_certificate(der).extensions}
    except (ValueError, DuplicateExtension):
        return None


@pytest.mark.requirement("CA-1")
@settings(deadline=None)
@given(st.integers(BEHIND_KEY, len(EXPECTED.tbs) - 1), st.integers(1, 255))
def test_a_builder_that_errs_is_found_out_as_by_reading_everything(place: int, change: int) -> None:
    """Prepared wrongly and signed rightly: what is known of other certificates must not stand for this one."""
    tbs = bytearray(EXPECTED.tbs)
    tbs[place] ^= change
    issuing = ISSUERS["qualified"]
    der = assemble(bytes(tbs), issuing.sign(bytes(tbs)), issuing.algorithm)
    check_issued(ISSUED, EXPECTED, issuing.public)
    try:
        check_issued(der, dataclasses.replace(EXPECTED, tbs=bytes(tbs)), issuing.public)
        passed = True
    except Unavailable:
        passed = False
    assert passed == (extensions_of(der) == EXPECTED.extensions)
