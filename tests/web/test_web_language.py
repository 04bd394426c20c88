"""Languages: which one, how numbers and moments are written, whole catalogues with the right number of forms."""

import re
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from babel import Locale
from babel.messages.pofile import read_po
from hypothesis import given
from hypothesis import strategies as st

from tsp.web.filters import filters_for
from tsp.web.language import LOCALE_DIR, Languages, choose_language
from tsp.web.security import safe_path

CATALOGUES = sorted((LOCALE_DIR / "sl").glob("*.po"))


@pytest.mark.parametrize("catalogue", CATALOGUES, ids=lambda p: p.name)
def test_catalogue_is_whole(catalogue: Path) -> None:
    with catalogue.open("rb") as stream:
        read = read_po(stream, locale="sl")
    assert "charset=UTF-8" in catalogue.read_text()
    assert read.num_plurals == 4
    for message in read:
        if not message.id:
            continue
        assert not message.fuzzy, message.id
        ids = [message.id] if isinstance(message.id, str) else list(message.id)
        strings = [message.string] if isinstance(message.string, str) else list(message.string)
        assert all(strings), message.id
        places = set(re.findall(r"%\((\w+)\)|\{(\w+)\}", " ".join(ids)))
        for string in strings:
            assert set(re.findall(r"%\((\w+)\)|\{(\w+)\}", string)) <= places, message.id


def test_plural_has_the_slovene_dual(tmp_path: Path) -> None:
    (tmp_path / "sl").mkdir()
    (tmp_path / "sl" / "a.po").write_text(
        'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=UTF-8\\n"\n\n'
        'msgid "%(num)s page"\nmsgid_plural "%(num)s pages"\n'
        'msgstr[0] "%(num)s stran"\nmsgstr[1] "%(num)s strani"\n'
        'msgstr[2] "%(num)s strani."\nmsgstr[3] "%(num)s strani!"\n'
    )
    languages = Languages(tmp_path)

    def pages(number: int, language: str = "sl") -> str:
        return languages.plural(language, "%(num)s page", "%(num)s pages", number)

    assert [pages(n) for n in (1, 2, 3, 4, 5, 101, 0)] == [
        "1 stran", "2 strani", "3 strani.", "4 strani.", "5 strani!", "101 stran", "0 strani!",
    ]  # fmt: skip
    assert (pages(1, "en"), pages(2, "en")) == ("1 page", "2 pages")


def test_text_without_translation_is_english() -> None:
    assert Languages().text("sl", "Never translated %") == "Never translated %"


@given(st.text(max_size=60), st.text(max_size=80))
def test_language_of_any_header_is_one_of_ours(header: str, cookie: str) -> None:
    assert choose_language(cookie=cookie, wished=header.split(), accept_language=header) in ("sl", "en")


@given(st.text(max_size=40))
def test_safe_path_is_always_a_path(path: str) -> None:
    safe = safe_path(path)
    assert safe.startswith("/")
    assert not safe.startswith(("//", "/\\"))
    assert not re.search(r"[\s\\]", safe)


def test_values_are_written_as_people_write_them() -> None:
    moment = datetime(2026, 11, 23, 9, 5, 4, 7999, tzinfo=UTC)
    zone = ZoneInfo("Europe/Ljubljana")
    sl, en = filters_for(Locale("sl"), zone), filters_for(Locale("en", "GB"), zone)
    assert sl["date"](moment) == "23. novembra 2026"
    assert sl["datetime"](moment) == "23. novembra 2026, 10:05"
    assert en["datetime"](moment) == "23 November 2026, 10:05"
    assert sl["clock_ms"](moment) == "10:05:04,007"
    assert en["clock_ms"](moment) == "10:05:04.007"
    assert (sl["number"](184203), en["number"](184203)) == ("184.203", "184,203")
    assert (sl["size"](999), sl["size"](1_250_000), en["size"](50_000_000)) == ("999 B", "1,2 MB", "50 MB")
    assert sl["digest"]("9f86d081" + "0" * 48 + "15b0f00a") == "9f86 d081 … 15b0 f00a"
    assert sl["digest"]("abc") == "abc"
    assert "€" in sl["money"](12.5, "EUR")
