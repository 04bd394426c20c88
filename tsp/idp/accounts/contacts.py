"""E-mail addresses and mobile numbers: read as people type them, kept in one normal form."""

import re
import unicodedata

import phonenumbers
from babel import Locale
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from tsp.core.errors import Invalid

MAX_EMAIL = 254
#: An addr-spec without quotes, comments and address literals (RFC 5321 4.1.2, RFC 6531 for letters).
_EMAIL = re.compile(
    r"(?P<local>[^\s@()<>\[\],;:\\\"\x00-\x20\x7f]{1,64})@"
    r"(?P<domain>(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+[^\W\d_][\w-]{0,61}[^\W_])"
)
_MOBILE = (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE, PhoneNumberType.PERSONAL_NUMBER)


def read_email(text: str) -> str:
    """The address as it will be written to. `Invalid` (email-invalid)."""
    address = unicodedata.normalize("NFC", text.strip())
    match = _EMAIL.fullmatch(address)
    local = match["local"] if match else ""
    if match is None or len(address) > MAX_EMAIL or local[0] == "." or local[-1] == "." or ".." in local:
        raise Invalid("email-invalid", "Check the e-mail address, for example name.surname@example.com.")
    return f"{local}@{match['domain'].lower()}"


def normal_email(text: str) -> str:
    """The form under which an address is searched: people do not tell upper from lower case."""
    return unicodedata.normalize("NFC", text.strip()).casefold()[: MAX_EMAIL * 2]


def masked_email(address: str) -> str:
    """An address as its owner recognises it: j•••@example.com."""
    local, _, domain = address.partition("@")
    return f"{local[:1]}•••@{domain}"


def read_phone(country: str, text: str) -> str:
    """A mobile number in E.164 from a country (SI, or +386) and what was typed. `Invalid` (phone-invalid)."""
    region = country.strip().upper()
    digits = region.lstrip("+")
    if digits.isascii() and digits.isdigit():
        region = phonenumbers.region_code_for_country_code(int(digits[:3]))
    try:
        number = phonenumbers.parse(text.strip()[:40], region)
    except phonenumbers.NumberParseException:
        raise _phone_invalid() from None
    if not phonenumbers.is_valid_number(number) or phonenumbers.number_type(number) not in _MOBILE:
        raise _phone_invalid()
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def shown_phone(number: str) -> str:
    """A number in E.164 as people write it: +386 41 123 456."""
    return phonenumbers.format_number(phonenumbers.parse(number), PhoneNumberFormat.INTERNATIONAL)


def masked_phone(number: str) -> str:
    """A number as its owner recognises it: ••• ••• 456."""
    return f"••• ••• {number[-3:]}"


def calling_codes(language: str, first: str = "+386") -> list[tuple[str, str]]:
    """Calling codes to choose from with their countries, `first` on top: ("+386", "+386 Slovenija").

    Where many countries share a code the largest are named.
    """
    names = Locale(language).territories
    rows: list[tuple[str, str]] = []
    for code, regions in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items():
        if regions == ("001",):
            continue  # satellite and service numbers belong to no country
        named = ("US", "CA") if code == 1 else regions[:2] if len(regions) == 2 else regions[:1]
        shown = ", ".join(str(names.get(region, region)) for region in named)
        rows.append((shown, f"+{code}"))
    rows.sort(key=lambda row: (row[1] != first, _sort_key(row[0])))
    return [(code, f"{code} {shown}") for shown, code in rows]


def _sort_key(name: str) -> str:
    """Alphabetical with č after c, š after s, ž after z, and other accents ignored."""
    kept = "".join(c + "\uffff" if c in "čšžČŠŽ" else c for c in name)
    plain = unicodedata.normalize("NFD", kept.replace("č", "c").replace("š", "s").replace("ž", "z"))
    return "".join(c for c in plain if not unicodedata.combining(c)).casefold()


def _phone_invalid() -> Invalid:
    return Invalid("phone-invalid", "Check the mobile number, for example 041 123 456.")
