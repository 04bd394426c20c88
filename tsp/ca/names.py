"""Distinguished names of subjects: natural persons and legal persons (EN 319 412-2 and -3)."""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from tsp.ca import oids
from tsp.core.der import oid, printable, seq, set_of, utf8
from tsp.core.errors import Invalid

#: NAT-4.2.4-18 and LEG-4.2.1-9 allow more than RFC 5280; this is our own bound.
MAX_LENGTH = 200
#: X.520: serialNumber is a PrintableString of at most 64 characters.
_SERIAL_NUMBER = re.compile(r"[A-Za-z0-9 '()+,\-./:=?]{1,64}")
_COUNTRY = re.compile(r"[A-Z]{2}")
#: EN 319 412-1, 5.1.3: three letters of the scheme, country, hyphen, identifier.
_SEMANTIC = re.compile(r"(PAS|IDC|PNO|TIN)[A-Z]{2}-.+")
#: EN 319 412-1, 5.1.4: the same for legal persons. An LEI stands under the global code XG.
_LEGAL = re.compile(r"((VAT|NTR)[A-Z]{2}|LEIXG)-.+")
#: eIDAS Annex I (c): a pseudonym is clearly indicated, also where only the common name is shown.
_MARK = ":PN"
_DNS = re.compile(r"(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")

_C = oid(oids.AT_COUNTRY_NAME)
_O = oid(oids.AT_ORGANIZATION_NAME)
_ORGANIZATION_IDENTIFIER = oid(oids.AT_ORGANIZATION_IDENTIFIER)
_CN = oid(oids.AT_COMMON_NAME)
_SERIAL = oid(oids.AT_SERIAL_NUMBER)
_SURNAME = oid(oids.AT_SURNAME)
_GIVEN_NAME = oid(oids.AT_GIVEN_NAME)
_PSEUDONYM = oid(oids.AT_PSEUDONYM)


def _rdn(attribute: bytes, value: bytes) -> bytes:
    """RelativeDistinguishedName of one attribute."""
    size = len(attribute) + len(value)
    if size < 0x7E:  # both lengths in one octet: the usual name
        return bytes((0x31, size + 2, 0x30, size)) + attribute + value
    return set_of(seq(attribute, value))


def _text(field: str, value: str) -> str:
    """The value in Unicode normal form C, as it goes into the certificate."""
    if not value.isascii():
        value = unicodedata.normalize("NFC", value)
    if not value or value != value.strip() or len(value) > MAX_LENGTH:
        raise Invalid("name-unfit", "A name is empty, too long, or begins or ends with a space.", field=field)
    # Not printable are control, format (also the bidirectional overrides), private and unassigned characters.
    if not value.isprintable():
        raise Invalid("name-unfit", "A name holds characters that do not belong in a name.", field=field)
    return value


def _legal_identifier(value: str) -> str:
    """An organisation's identifier in a form of EN 319 412-1 LEG-5.1.4."""
    value = _text("identifier", value)
    if not _LEGAL.fullmatch(value):
        raise Invalid(
            "organisation-identifier-unfit",
            "An organisation's identifier looks like VATSI-12345678 or NTRSI-1234567000.",
        )
    return value


def _country(value: str) -> str:
    if not _COUNTRY.fullmatch(value):
        raise Invalid("country-unfit", "A country is given by its two capital letters (ISO 3166-1).")
    return value


@lru_cache(maxsize=1024)
def _script(letter: str) -> str:
    """The first word of a letter's name in Unicode, which is its script's."""
    return unicodedata.name(letter, "?").split()[0]


def _one_script(*values: str | None) -> None:
    """NAT-4.2.4-19: given name, surname and common name in one script."""
    text = "".join(value for value in values if value)
    if text.isascii():
        return
    scripts = set(map(_script, filter(str.isalpha, set(text))))
    if len(scripts) > 1:
        raise Invalid("name-scripts-mixed", "A name must be written in one script.")


@dataclass(frozen=True, slots=True, repr=False)
class PersonName:
    """A natural person (EN 319 412-2, 4.2.4).

    Either names or a pseudonym, never both (NAT-4.2.4-4). `serial_number` makes the name unique under its
    issuer (NAT-4.2.4-13). `common_name` is given name and surname unless another display form is handed in;
    a pseudonym is marked there as well. `organisation` with its `organisation_identifier` names the legal person
    that the natural person is associated with (NAT-4.2.4-6); the subject stays the natural person. Raises
    `Invalid` for what has no place in a certificate. Printed, it tells nothing of the person.
    """

    given_name: str | None
    surname: str | None
    country: str
    serial_number: str
    pseudonym: str | None = None
    common_name: str | None = None
    organisation: str | None = None
    organisation_identifier: str | None = None

    def __post_init__(self) -> None:
        for field in ("given_name", "surname", "pseudonym", "common_name", "organisation"):
            value = getattr(self, field)
            if value is not None and (text := _text(field, value)) is not value:
                object.__setattr__(self, field, text)
        _country(self.country)
        if not _SERIAL_NUMBER.fullmatch(self.serial_number) or self.serial_number != self.serial_number.strip():
            raise Invalid("serial-number-unfit", "The person's identifier must be 1 to 64 simple characters.")
        if (self.pseudonym is None) == (self.given_name is None and self.surname is None):
            raise Invalid("name-incomplete", "A certificate needs a person's name or a pseudonym, not both.")
        self._check_organisation()
        if self.common_name is None:
            object.__setattr__(self, "common_name", self._display())
        elif self.pseudonym is not None and not self.common_name.endswith(_MARK):
            raise Invalid("pseudonym-unmarked", "The common name of a pseudonym must end with :PN.")
        _one_script(self.given_name, self.surname, self.common_name)

    def _check_organisation(self) -> None:
        if self.organisation is None and self.organisation_identifier is None:
            return
        if self.organisation is None or self.organisation_identifier is None:
            raise Invalid("organisation-incomplete", "An organisation is given by its name and its identifier.")
        object.__setattr__(self, "organisation_identifier", _legal_identifier(self.organisation_identifier))
        if self.organisation == self.organisation_identifier:
            raise Invalid("organisation-identifier-unfit", "An organisation's identifier cannot be its name.")

    def _display(self) -> str:
        if self.pseudonym is not None:
            return f"{self.pseudonym}{_MARK}"
        return " ".join(part for part in (self.given_name, self.surname) if part)

    @property
    def semantic(self) -> bool:
        """Whether `serial_number` has a form that the semantics identifier for natural persons describes."""
        return _SEMANTIC.fullmatch(self.serial_number) is not None

    @property
    def shape(self) -> tuple[bool, ...]:
        """Which attributes are there: names of one shape differ in their values only."""
        return (
            self.given_name is not None,
            self.surname is not None,
            self.pseudonym is not None,
            self.organisation is not None,
            self.semantic,
        )

    def der(self) -> bytes:
        """The Name: C, O and organizationIdentifier if any, serialNumber, surname, givenName or pseudonym, CN."""
        parts = [_rdn(_C, printable(self.country))]
        if self.organisation is not None and self.organisation_identifier is not None:
            parts.append(_rdn(_O, utf8(self.organisation)))
            parts.append(_rdn(_ORGANIZATION_IDENTIFIER, utf8(self.organisation_identifier)))
        parts.append(_rdn(_SERIAL, printable(self.serial_number)))
        if self.surname is not None:
            parts.append(_rdn(_SURNAME, utf8(self.surname)))
        if self.given_name is not None:
            parts.append(_rdn(_GIVEN_NAME, utf8(self.given_name)))
        if self.pseudonym is not None:
            parts.append(_rdn(_PSEUDONYM, utf8(self.pseudonym)))
        parts.append(_rdn(_CN, utf8(self.common_name or "")))
        return seq(*parts)


@dataclass(frozen=True, slots=True)
class ServiceName:
    """A legal person or one of its services: creators of seals, authorities, time-stamping units, responders, servers.

    C, O, organizationIdentifier and CN, each exactly once (EN 319 412-3 LEG-4.2.1-2; for issuers
    EN 319 412-2, 4.2.3.1). Raises `Invalid` for what has no place in a certificate.
    """

    country: str
    organisation: str
    identifier: str
    common_name: str

    def __post_init__(self) -> None:
        _country(self.country)
        object.__setattr__(self, "organisation", _text("organisation", self.organisation))
        object.__setattr__(self, "common_name", _text("common_name", self.common_name))
        object.__setattr__(self, "identifier", _legal_identifier(self.identifier))
        if self.identifier == self.organisation:  # LEG-4.2.1-6
            raise Invalid("organisation-identifier-unfit", "An organisation's identifier cannot be its name.")

    @property
    def semantic(self) -> bool:
        """`identifier` always has a form that the semantics identifier for legal persons describes."""
        return True

    @property
    def shape(self) -> tuple[bool, ...]:
        """All service names have one shape."""
        return ()

    def der(self) -> bytes:
        """The Name: C, O, organizationIdentifier, CN."""
        return seq(
            _rdn(_C, printable(self.country)),
            _rdn(_O, utf8(self.organisation)),
            _rdn(_ORGANIZATION_IDENTIFIER, utf8(self.identifier)),
            _rdn(_CN, utf8(self.common_name)),
        )


SubjectName = PersonName | ServiceName


def dns_name(value: str) -> str:
    """A host name for a server certificate: lower case, letters, digits and hyphens; `Invalid` otherwise."""
    if not _DNS.fullmatch(value):
        raise Invalid("host-name-unfit", "A host name has lower-case letters, digits, hyphens and dots only.")
    return value
