"""A person as registers know them: name, surname, tax number, date of birth."""

import base64
import json
import unicodedata
from dataclasses import dataclass
from datetime import date
from typing import Literal

from sqlalchemy.orm import Session
from stdnum.exceptions import ValidationError
from stdnum.si import ddv

from tsp.core.errors import Invalid
from tsp.core.sealing import Sealer
from tsp.idp.accounts import tables
from tsp.idp.credentials.keys import Mac, framed

_MAX_NAME = 80
_OLDEST = 130
_NAME_SENTENCES = {
    "given_name": "Enter your name as it stands on your identity document.",
    "family_name": "Enter your surname as it stands on your identity document.",
}


@dataclass(frozen=True)
class Person:
    """Checked in form, not yet against anything."""

    given_name: str
    family_name: str
    tax_number: str
    date_of_birth: date

    def same_as(self, other: "Person") -> bool:
        """Whether both are the same person: names compare without regard to case and spacing."""
        return _person_key(self) == _person_key(other)

    def serial_number(self, key: Mac) -> str:
        """The provider's own number for this person: 26 letters and digits, HMAC of the tax number.

        The same for the same person for ever, also after a new account; no way back without the token.
        """
        digest = key.mac(framed("person-serial-number", "SI", self.tax_number))
        return base64.b32encode(digest[:16]).decode().rstrip("=")

    def to_json(self) -> bytes:
        return json.dumps(
            {
                "given_name": self.given_name,
                "family_name": self.family_name,
                "tax_number": self.tax_number,
                "date_of_birth": self.date_of_birth.isoformat(),
            },
            ensure_ascii=False,
        ).encode()

    @classmethod
    def from_json(cls, raw: bytes) -> "Person":
        fields = json.loads(raw)
        return cls(
            fields["given_name"],
            fields["family_name"],
            fields["tax_number"],
            date.fromisoformat(fields["date_of_birth"]),
        )


def read_person(given_name: str, family_name: str, tax_number: str, date_of_birth: str, today: date) -> Person:
    """A person from what was typed.

    Raises `Invalid` with the field in its code: given_name-invalid, family_name-invalid,
    tax_number-invalid, date_of_birth-invalid.
    """
    return Person(
        read_name(given_name, "given_name"),
        read_name(family_name, "family_name"),
        read_tax_number(tax_number),
        read_birth_date(date_of_birth, today),
    )


def read_name(text: str, field: Literal["given_name", "family_name"]) -> str:
    """A name in NFC with single spaces: letters, marks, and what stands between them."""
    name = " ".join(unicodedata.normalize("NFC", text).split())
    letters = [c for c in name if unicodedata.category(c)[0] in "LM"]
    others = {c for c in name if unicodedata.category(c)[0] not in "LM"}
    if not letters or len(name) > _MAX_NAME or others - set(" '’-.·"):
        raise Invalid(f"{field}-invalid", _NAME_SENTENCES[field])
    return name


def read_tax_number(text: str) -> str:
    """Eight digits with a right check digit; spaces, hyphens and the prefix SI are forgiven."""
    try:
        number = ddv.validate(text[:40])
    except ValidationError:
        number = ""
    if not number.isascii() or not number:
        raise Invalid("tax_number-invalid", "Check the tax number: it has 8 digits.")
    return str(number)


def read_birth_date(text: str, today: date) -> date:
    """A date as 1980-05-31 or as people write it, 31. 5. 1980; not in the future."""
    born = _date(text.strip())
    if born is None or born > today or born.year < today.year - _OLDEST:
        raise Invalid("date_of_birth-invalid", "Check the date of birth, for example 31. 5. 1980.")
    return born


def stored_person(session: Session, sealer: Sealer, account_id: str) -> Person | None:
    """The account's confirmed person, None without. Sees the token."""
    row = tables.confirmed_data(session, account_id)
    return None if row is None else Person.from_json(sealer.open(row.sealed, data_context(account_id)))


def data_context(account_id: str) -> str:
    """The context under which an account's personal data are sealed."""
    return f"personal_data.sealed/{account_id}"


def _date(text: str) -> date | None:
    parts = text.split("-") if "-" in text else [p.strip() for p in text.rstrip(".").split(".")][::-1]
    if len(parts) != 3 or not all(p.isascii() and p.isdigit() and len(p) <= 4 for p in parts):
        return None
    try:
        return date(*(int(p) for p in parts))
    except ValueError:
        return None


def _person_key(person: Person) -> tuple[str, str, str, date]:
    return (_plain(person.given_name), _plain(person.family_name), person.tax_number, person.date_of_birth)


def _plain(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).replace("’", "'").casefold().split())
