"""People who do not exist: names with č, š and ž, a valid tax number, a date of birth, a number."""

import string
import unicodedata
from dataclasses import asdict, dataclass
from datetime import date, timedelta

from sandbox.clock import Clock
from sandbox.randomness import Randomness, below, choose, letters

GIVEN_NAMES = (
    *("Alenka", "Anže", "Barbara", "Blaž", "Boštjan", "Božidar", "Breda", "Črt", "Darja", "Domen", "Franc", "Gašper"),
    *("Helena", "Irena", "Jakob", "Janez", "Jerneja", "Jože", "Katja", "Klavdija", "Lučka", "Luka", "Maja", "Marjeta"),
    *("Matjaž", "Metka", "Miha", "Mojca", "Nejc", "Neža", "Nuša", "Peter", "Polona", "Rok", "Saša", "Špela", "Tadej"),
    *("Tjaša", "Tomaž", "Urška", "Uroš", "Vesna", "Vid", "Žan", "Živa", "Žiga"),
)
SURNAMES = (
    *("Ažman", "Bizjak", "Božič", "Čebašek", "Černe", "Čuk", "Demšar", "Dolžan", "Golob", "Gorišek", "Horvatič"),
    *("Hribšek", "Jerič", "Kavčič", "Kočevar", "Korošec", "Kralj", "Križaj", "Lovšin", "Medvešček", "Mežnar", "Mlakar"),
    *(
        "Možina",
        "Oblak",
        "Pečnik",
        "Petrič",
        "Pušnik",
        "Rožman",
        "Rupnik",
        "Sušnik",
        "Šinkovec",
        "Škerjanc",
        "Štrukelj",
    ),
    *("Šuštar", "Tavčar", "Uršič", "Vidmar", "Zajšek", "Zupančič", "Žagar", "Žerjav", "Žnidaršič"),
)
#: National prefixes of Slovene mobile networks, each followed by six digits.
MOBILE_PREFIXES = ("30", "31", "40", "41", "51", "64", "68", "69", "70", "71")
MAIL_DOMAIN = "posta.example"
_YOUNGEST, _OLDEST = 18, 80


@dataclass(frozen=True)
class Person:
    """One made-up person; `phone` is in E.164 form, the date of birth an ISO date."""

    given_name: str
    family_name: str
    tax_number: str
    date_of_birth: str
    phone: str
    email: str
    document_kind: str
    document_number: str

    @property
    def name(self) -> str:
        return f"{self.given_name} {self.family_name}"

    @property
    def phone_country(self) -> str:
        return "+386"

    @property
    def phone_national(self) -> str:
        """The number as its owner would write it after choosing the country: 041123456."""
        return "0" + self.phone.removeprefix("+386")

    def as_json(self) -> dict[str, str]:
        return asdict(self)


def make_person(randomness: Randomness, clock: Clock) -> Person:
    """A person whom nobody has met: grown-up today, with a tax number and number of its own."""
    given_name, family_name = choose(randomness, GIVEN_NAMES), choose(randomness, SURNAMES)
    mark = letters(randomness, 6, string.ascii_lowercase + string.digits)
    return Person(
        given_name,
        family_name,
        make_tax_number(randomness),
        _date_of_birth(randomness, clock.now().date()).isoformat(),
        f"+386{choose(randomness, MOBILE_PREFIXES)}{letters(randomness, 6, string.digits)}",
        f"{plain(given_name)}.{plain(family_name)}.{mark}@{MAIL_DOMAIN}",
        "identity-card",
        "IE" + letters(randomness, 7, string.digits),
    )


def make_tax_number(randomness: Randomness) -> str:
    """A Slovene tax number: eight digits, the first not 0, the last a check digit."""
    while True:
        body = choose(randomness, "123456789") + letters(randomness, 6, string.digits)
        digit = check_digit(body)
        if digit is not None:
            return body + digit


def check_digit(body: str) -> str | None:
    """The check digit of seven digits: 11 less the weighted sum (8 … 2) modulo 11, with 10 written as 0.

    None where the remainder is 0: no tax number starts with these seven digits.
    """
    remainder = sum(weight * int(digit) for weight, digit in zip(range(8, 1, -1), body, strict=True)) % 11
    if remainder == 0:
        return None
    return str((11 - remainder) % 10)


def plain(name: str) -> str:
    """The name in lower-case ASCII letters, for addresses: "Žnidaršič" becomes "znidarsic"."""
    return unicodedata.normalize("NFD", name).encode("ascii", "ignore").decode().lower()


def make_password(randomness: Randomness) -> str:
    """A password of 16 characters with lower case, upper case, digit and special character."""
    groups = (string.ascii_lowercase, string.ascii_uppercase, string.digits, "!#$%*+-=?@")
    return "".join(letters(randomness, 4, group) for group in groups)


def _date_of_birth(randomness: Randomness, today: date) -> date:
    youngest = date(today.year - _YOUNGEST, 1, 1)
    return youngest - timedelta(days=1 + below(randomness, (_OLDEST - _YOUNGEST) * 365))
