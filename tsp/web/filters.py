"""How values are written for people: by locale, in the installation's time zone."""

from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_time
from babel.numbers import format_currency, format_decimal, format_percent

#: In Slovene a date says the month in the genitive; the locale data know only the nominative.
_SLOVENE_MONTHS = (
    "januarja",
    "februarja",
    "marca",
    "aprila",
    "maja",
    "junija",
    "julija",
    "avgusta",
    "septembra",
    "oktobra",
    "novembra",
    "decembra",
)
_UNITS = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


def short_digest(digest: str) -> str:
    """First and last eight characters of a hexadecimal digest, in groups of four, as people compare them."""
    if len(digest) <= 16:
        return digest
    head, tail = digest[:8], digest[-8:]
    return f"{head[:4]} {head[4:]} … {tail[:4]} {tail[4:]}"


class Writer:
    """The hand of one language; every public method is a template filter."""

    def __init__(self, locale: Locale, zone: ZoneInfo) -> None:
        self._locale = locale
        self._zone = zone
        self._slovene = locale.language == "sl"

    def date(self, moment: datetime) -> str:
        """23. novembra 2026"""
        local = moment.astimezone(self._zone)
        if self._slovene:
            return f"{local.day}. {_SLOVENE_MONTHS[local.month - 1]} {local.year}"
        return format_date(local, format="long", locale=self._locale)

    def date_time(self, moment: datetime) -> str:
        """23. novembra 2026, 11:21"""
        return f"{self.date(moment)}, {self.clock(moment)}"

    def clock(self, moment: datetime) -> str:
        """11:21"""
        return format_time(moment.astimezone(self._zone), "H:mm" if self._slovene else "HH:mm", locale=self._locale)

    def clock_s(self, moment: datetime) -> str:
        """11:21:04, where no more is known"""
        return f"{moment.astimezone(self._zone):%H:%M:%S}"

    def clock_ms(self, moment: datetime) -> str:
        """10:21:04,113: with thousandths of a second, for the story of a signature."""
        local = moment.astimezone(self._zone)
        return f"{local:%H:%M:%S}{',' if self._slovene else '.'}{local.microsecond // 1000:03d}"

    def number(self, value: float) -> str:
        return format_decimal(value, locale=self._locale)

    def money(self, value: float, currency: str) -> str:
        return format_currency(value, currency, locale=self._locale)

    def percent(self, value: float) -> str:
        return format_percent(value, locale=self._locale)

    def size(self, count: int) -> str:
        """Bytes in the unit that reads best; units of 1000 as file managers show them."""
        for unit, factor in _UNITS:
            if count >= factor:
                return f"{format_decimal(round(count / factor, 1), locale=self._locale)} {unit}"
        return f"{count} B"


def filters_for(locale: Locale, zone: ZoneInfo) -> dict[str, Callable[..., str]]:
    """The template filters of one language."""
    writer = Writer(locale, zone)
    return {
        "date": writer.date,
        "datetime": writer.date_time,
        "clock": writer.clock,
        "clock_ms": writer.clock_ms,
        "clock_s": writer.clock_s,
        "number": writer.number,
        "money": writer.money,
        "percent": writer.percent,
        "size": writer.size,
        "digest": short_digest,
    }
