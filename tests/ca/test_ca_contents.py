"""CA-4: what a qualified certificate must say, read item by item with other people's tools."""

import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtensionOID, NameOID
from pyasn1.codec.der.decoder import decode
from pyasn1_alt_modules import rfc3739

from tests.ca.ca_kit import (
    CREATOR,
    EMPLOYEE,
    HIDDEN_EMPLOYEE,
    NOW,
    PERSON,
    PSEUDONYM,
    URLS,
    SoftKey,
    authority,
    issuer,
    profiles,
    rsa_spki,
)
from tsp.ca.names import PersonName, ServiceName, SubjectName

SPKI = SoftKey().public_spki
PSS = rsa_spki(pss="sha256")
ISSUER = issuer("qualified")
PERSONS = (PERSON, PSEUDONYM, EMPLOYEE, HIDDEN_EMPLOYEE)
QUALIFIED: list[tuple[str, SubjectName, bytes]] = [
    *(("qualified", form, SPKI) for form in PERSONS),
    *(("advanced-qualified", form, SPKI) for form in PERSONS),
    *((kind, CREATOR, spki) for kind in ("qualified-seal", "advanced-qualified-seal") for spki in (SPKI, PSS)),
]
COMPLIANCE, SSCD, TYPE, PDS = (f"0.4.0.1862.1.{last}" for last in (1, 4, 6, 5))


def made(profile: str, subject: SubjectName, spki: bytes) -> bytes:
    whole = authority({"qualified": ISSUER})
    return whole.issue(whole.prepare(profile, subject, spki, now=NOW)).der


def statements(certificate: x509.Certificate) -> dict[str, bytes]:
    """The qualified statements by pyasn1, which shares nothing with the builder or its own lints."""
    value = certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier("1.3.6.1.5.5.7.1.3")).value
    found, rest = decode(value.value, asn1Spec=rfc3739.QCStatements())
    assert rest == b""
    infos = {str(one["statementId"]): one["statementInfo"] for one in found}
    return {dotted: bytes(info) if info.hasValue() else b"" for dotted, info in infos.items()}


def text(certificate: x509.Name, oid: x509.ObjectIdentifier) -> str:
    (found,) = certificate.get_attributes_for_oid(oid)
    return str(found.value)


@pytest.mark.requirement("CA-4")
@pytest.mark.parametrize(("profile", "subject", "spki"), QUALIFIED)
def test_qualified_certificate_says_everything(profile: str, subject: SubjectName, spki: bytes, tmp_path: Path) -> None:
    der = made(profile, subject, spki)
    read = x509.load_der_x509_certificate(der)
    stated = statements(read)
    # Annex I and III (a): it is qualified, for signatures or for seals, and where the disclosure statement is.
    assert stated[COMPLIANCE] == b""
    kinds, _ = decode(stated[TYPE])
    assert [str(kind) for kind in kinds] == [f"0.4.0.1862.1.6.{1 if isinstance(subject, PersonName) else 2}"]
    places, _ = decode(stated[PDS])
    assert {str(place[1]): str(place[0]) for place in places} == dict(URLS.pds)
    # (b): the provider with its member state, name and registration number.
    assert text(read.issuer, NameOID.COUNTRY_NAME) == "SI"
    assert text(read.issuer, NameOID.ORGANIZATION_NAME) == "Enkrat TEST d.o.o."
    assert text(read.issuer, NameOID.ORGANIZATION_IDENTIFIER) == "VATSI-10000003"
    # (c): the name, or the pseudonym clearly marked; for a seal its creator with the registration number.
    _says_who(read.subject, subject)
    # (d): the public key.
    assert asn1_x509.Certificate.load(der).public_key.dump() == spki
    # (e): beginning and end.
    lifetime = timedelta(seconds=profiles()[profile].lifetime.seconds - 1)
    assert (read.not_valid_before_utc, read.not_valid_after_utc) == (NOW, NOW + lifetime)
    # (f): a serial number that no other certificate of the provider has.
    assert read.serial_number.bit_length() > 64
    assert x509.load_der_x509_certificate(made(profile, subject, spki)).serial_number != read.serial_number
    # (g): the provider's signature.
    algorithm = read.signature_hash_algorithm
    assert algorithm is not None
    ISSUER.public.verify(read.signature, read.tbs_certificate_bytes, ec.ECDSA(algorithm))
    # (h) and (i): where the issuer's certificate is free to fetch, and where the status can be asked.
    access = read.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    found = {place.access_method: place.access_location.value for place in access}
    assert found == {
        AuthorityInformationAccessOID.OCSP: URLS.ocsp,
        AuthorityInformationAccessOID.CA_ISSUERS: f"{URLS.repository}/qualified.cer",
    }
    (point,) = read.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert [name.value for name in point.full_name or ()] == [f"{URLS.repository}/qualified.crl"]
    # (j): that the key is in a QSCD, exactly where it is.
    assert (SSCD in stated) == profile.startswith("qualified")
    policies = read.extensions.get_extension_for_class(x509.CertificatePolicies).value
    assert f"0.4.0.194112.1.{_policy(profile)}" in [policy.policy_identifier.dotted_string for policy in policies]
    assert not any(extension.critical for extension in read.extensions if extension.oid != ExtensionOID.KEY_USAGE)


def _policy(profile: str) -> int:
    """EN 319 411-2, 5.3: QCP-n, QCP-l, QCP-n-qscd, QCP-l-qscd."""
    return ("advanced-qualified", "advanced-qualified-seal", "qualified", "qualified-seal").index(profile)


def _says_who(name: x509.Name, subject: SubjectName) -> None:
    present = {attribute.oid: attribute.value for attribute in name}
    if isinstance(subject, ServiceName):
        assert (present[NameOID.ORGANIZATION_NAME], present[NameOID.ORGANIZATION_IDENTIFIER]) == (
            "Podjetje d.o.o.",
            "VATSI-12345679",
        )
        return
    assert (NameOID.PSEUDONYM in present) == (subject.pseudonym is not None)
    assert (NameOID.GIVEN_NAME in present) == (subject.given_name is not None)
    assert (NameOID.ORGANIZATION_IDENTIFIER in present) == (subject.organisation is not None)
    if subject.pseudonym is not None:
        assert present[NameOID.PSEUDONYM] == subject.pseudonym
        assert present[NameOID.COMMON_NAME] == f"{subject.pseudonym}:PN"
    else:
        assert (present[NameOID.GIVEN_NAME], present[NameOID.SURNAME]) == (subject.given_name, subject.surname)


@pytest.mark.requirement("CA-3", "CA-4")
@pytest.mark.parametrize(
    ("profile", "subject"),
    [
        ("advanced", PERSON),
        ("advanced-seal", CREATOR),
        ("authentication", PERSON),
        ("operator", EMPLOYEE),
    ],
)
def test_other_certificate_claims_nothing(profile: str, subject: SubjectName) -> None:
    whole = authority()
    read = x509.load_der_x509_certificate(whole.issue(whole.prepare(profile, subject, SPKI, now=NOW)).der)
    try:
        stated = statements(read)
    except x509.ExtensionNotFound:
        stated = {}
    assert {COMPLIANCE, SSCD, TYPE, PDS} & set(stated) == set()
    policies = read.extensions.get_extension_for_class(x509.CertificatePolicies).value
    assert not any(policy.policy_identifier.dotted_string.startswith("0.4.0.194112.") for policy in policies)


@pytest.mark.requirement("CA-4")
@pytest.mark.parametrize(
    ("profile", "subject", "words"),
    [
        (
            "qualified",
            HIDDEN_EMPLOYEE,
            ["pseudonym = Varuh", "CN = Varuh:PN", "organizationIdentifier = NTRSI-1234567000"],
        ),
        ("qualified-seal", CREATOR, ["O = Podjetje d.o.o.", "organizationIdentifier = VATSI-12345679"]),
    ],
)
def test_openssl_shows_the_subject(profile: str, subject: SubjectName, words: list[str], tmp_path: Path) -> None:
    (tmp_path / "ee.der").write_bytes(made(profile, subject, SPKI))
    arguments = [
        "openssl",
        "x509",
        "-inform",
        "DER",
        "-in",
        tmp_path / "ee.der",
        "-noout",
        "-subject",
        "-ext",
        "keyUsage",
    ]
    shown = subprocess.run([*arguments, "-nameopt", "utf8,sep_comma_plus_space"], capture_output=True, check=True)
    output = re.sub(r"\s*=\s*", " = ", shown.stdout.decode())
    assert [word for word in words if word not in output] == []
    assert "Non Repudiation" in output
    assert "Digital Signature" not in output


def test_public_key_of_a_certificate_is_read_by_cryptography() -> None:
    read = x509.load_der_x509_certificate(made("qualified-seal", CREATOR, PSS))
    plain = read.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert plain == rsa_spki()  # the key itself; that it is bound to PSS stands in the certificate
    assert read.not_valid_before_utc == datetime(2026, 11, 23, 10, tzinfo=UTC)
