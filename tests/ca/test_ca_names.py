"""Names: encoded as another encoder does it, and nothing that has no place in a certificate gets in."""

import unicodedata

import pytest
from asn1crypto import core, x509
from hypothesis import given, settings
from hypothesis import strategies as st

from tsp.ca.names import PersonName, ServiceName, dns_name
from tsp.core.errors import Invalid

LETTERS = [chr(code) for code in range(0x41, 0x180) if unicodedata.name(chr(code), "").startswith("LATIN")]
WORDS = st.text(LETTERS, min_size=1, max_size=40)
SERIALS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-:", min_size=1, max_size=64)
COUNTRIES = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=2, max_size=2)


def reference(*pairs: tuple[str, core.Asn1Value]) -> bytes:
    """The same name by asn1crypto."""
    rdns = [
        x509.RelativeDistinguishedName([x509.NameTypeAndValue({"type": kind, "value": value})]) for kind, value in pairs
    ]
    return bytes(x509.Name("", x509.RDNSequence(rdns)).dump())


def utf8(value: str) -> x509.DirectoryString:
    return x509.DirectoryString("utf8_string", core.UTF8String(unicodedata.normalize("NFC", value)))


def printable(value: str) -> x509.DirectoryString:
    return x509.DirectoryString("printable_string", core.PrintableString(value))


@settings(deadline=None)
@given(WORDS, WORDS, COUNTRIES, SERIALS)
def test_person_is_encoded_as_asn1crypto_does(given_name: str, surname: str, country: str, serial: str) -> None:
    assert PersonName(given_name, surname, country, serial).der() == reference(
        ("country_name", printable(country)),
        ("serial_number", printable(serial)),
        ("surname", utf8(surname)),
        ("given_name", utf8(given_name)),
        ("common_name", utf8(f"{given_name} {surname}")),
    )


@settings(deadline=None)
@given(WORDS, WORDS)
def test_service_is_encoded_as_asn1crypto_does(organisation: str, common_name: str) -> None:
    assert ServiceName("SI", organisation, "VATSI-10000003", common_name).der() == reference(
        ("country_name", printable("SI")),
        ("organization_name", utf8(organisation)),
        ("organization_identifier", utf8("VATSI-10000003")),
        ("common_name", utf8(common_name)),
    )


@pytest.mark.requirement("CA-4")
def test_pseudonym_stands_in_its_own_attribute_and_is_marked() -> None:
    name = x509.Name.load(PersonName(None, None, "SI", "1", pseudonym="Sova").der()).native
    assert name == {"country_name": "SI", "serial_number": "1", "pseudonym": "Sova", "common_name": "Sova:PN"}


@pytest.mark.requirement("CA-4")
@settings(deadline=None)
@given(WORDS, WORDS)
def test_person_of_an_organisation_is_encoded_as_asn1crypto_does(surname: str, organisation: str) -> None:
    name = PersonName(None, surname, "SI", "1", organisation=organisation, organisation_identifier="NTRSI-1234567000")
    assert name.der() == reference(
        ("country_name", printable("SI")),
        ("organization_name", utf8(organisation)),
        ("organization_identifier", utf8("NTRSI-1234567000")),
        ("serial_number", printable("1")),
        ("surname", utf8(surname)),
        ("common_name", utf8(surname)),
    )


@pytest.mark.requirement("CA-4")
@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"organisation": "Podjetje"}, "organisation-incomplete"),
        ({"organisation_identifier": "VATSI-1"}, "organisation-incomplete"),
        ({"organisation": "Podjetje", "organisation_identifier": "12345678"}, "organisation-identifier-unfit"),
        ({"organisation": "VATSI-1", "organisation_identifier": "VATSI-1"}, "organisation-identifier-unfit"),
        ({"organisation": " ", "organisation_identifier": "VATSI-1"}, "name-unfit"),
        ({"given_name": None, "pseudonym": "Sova", "common_name": "Sova"}, "pseudonym-unmarked"),
    ],
)
def test_unfit_form_of_a_person_is_refused(values: dict[str, str | None], code: str) -> None:
    with pytest.raises(Invalid) as caught:
        PersonName(**({"given_name": "Ana", "surname": None, "country": "SI", "serial_number": "1"} | values))
    assert caught.value.code == code


def test_one_name_and_another_display_form_are_enough() -> None:
    name = x509.Name.load(PersonName(None, "Novak", "SI", "1", common_name="J. Novak").der()).native
    assert name == {"country_name": "SI", "serial_number": "1", "surname": "Novak", "common_name": "J. Novak"}


def test_decomposed_letters_are_composed() -> None:
    composed = PersonName("Žiga", "Čuk", "SI", "1")
    assert PersonName("Z\u030ciga", "C\u030cuk", "SI", "1") == composed
    assert composed.common_name == "Žiga Čuk"


@pytest.mark.parametrize(
    ("serial", "semantic"),
    [
        ("TINSI-12345678", True),
        ("PNOSI-0101990500001", True),
        ("PASSK-P3000180", True),
        ("TAXSI-12345678", False),
        ("EI:SE-200007292386", False),
        ("12345678", False),
        ("TINSI", False),
    ],
)
def test_semantics_are_seen_in_the_identifier(serial: str, semantic: bool) -> None:
    assert PersonName("Ana", "Novak", "SI", serial).semantic is semantic


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("", "Novak", "SI", "1"), "name-unfit"),
        ((" Ana", "Novak", "SI", "1"), "name-unfit"),
        (("Ana\n", "Novak", "SI", "1"), "name-unfit"),
        (("A\u202ena", "Novak", "SI", "1"), "name-unfit"),
        (("A\x00na", "Novak", "SI", "1"), "name-unfit"),
        (("A" * 201, "Novak", "SI", "1"), "name-unfit"),
        (("Ana", "Novak", "si", "1"), "country-unfit"),
        (("Ana", "Novak", "SVN", "1"), "country-unfit"),
        (("Ana", "Novak", "SI", ""), "serial-number-unfit"),
        (("Ana", "Novak", "SI", "č"), "serial-number-unfit"),
        (("Ana", "Novak", "SI", "1" * 65), "serial-number-unfit"),
        ((None, None, "SI", "1"), "name-incomplete"),
        (("Ana", "Novak", "SI", "1", "Sova"), "name-incomplete"),
        ((None, "Novak", "SI", "1", "Sova"), "name-incomplete"),
        (("Ana", "Нoвak", "SI", "1"), "name-scripts-mixed"),
        (("Ana", "Novak", "SI", "1", None, "Ана Novak"), "name-scripts-mixed"),
    ],
)
def test_unfit_person_is_refused(arguments: tuple[str, ...], code: str) -> None:
    with pytest.raises(Invalid) as caught:
        PersonName(*arguments)
    assert caught.value.code == code
    assert not any(value in str(caught.value.facts) for value in arguments if value and len(value) > 3)


@pytest.mark.parametrize("identifier", ["", "12345678", "XYZSI-1", "VATSI", "vatSI-1", "LEISI-1"])
def test_unfit_organisation_identifier_is_refused(identifier: str) -> None:
    with pytest.raises(Invalid):
        ServiceName("SI", "Enkrat", identifier, "TSU")


def test_organisation_identifier_is_not_the_name() -> None:
    with pytest.raises(Invalid, match="cannot be its name"):
        ServiceName("SI", "VATSI-1", "VATSI-1", "TSU")


@pytest.mark.parametrize("name", ["localhost", "sign.example.si", "a-b.c0.si"])
def test_host_names_pass(name: str) -> None:
    assert dns_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "Sign.si", "-a.si", "a-.si", "a..si", "a.si.", "*.si", "a_b.si", "š.si", "a" * 64]
)
def test_unfit_host_names_are_refused(name: str) -> None:
    with pytest.raises(Invalid):
        dns_name(name)


@settings(deadline=None)
@given(st.text(max_size=300), st.text(max_size=20))
def test_whatever_is_accepted_can_be_read_back(given_name: str, serial: str) -> None:
    try:
        name = PersonName(given_name, None, "SI", serial)
    except Invalid:
        return
    read = x509.Name.load(name.der(), strict=True).native
    assert (read["given_name"], read["serial_number"]) == (unicodedata.normalize("NFC", given_name), serial)
