"""Two languages, one set of catalogues: msgids are English, every wing brings its Slovene .po file."""

from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

from babel import Locale
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations

#: The default comes first.
LANGUAGES = ("sl", "en")
LOCALE_DIR = Path(__file__).parent / "locale"


class Languages:
    """The merged catalogues of all wings, read once at start."""

    def __init__(self, directory: Path = LOCALE_DIR) -> None:
        self._translations: dict[str, NullTranslations] = {
            "sl": _translations(merge_catalogues("sl", directory)),
            "en": NullTranslations(),
        }
        self._locales = {"sl": Locale("sl"), "en": Locale("en", "GB")}

    def translations(self, language: str) -> NullTranslations:
        return self._translations[language]

    def locale(self, language: str) -> Locale:
        return self._locales[language]

    def text(self, language: str, msgid: str, **values: object) -> str:
        """The sentence in the language; `%(name)s` places are filled from `values`, if any are given."""
        sentence: str = self._translations[language].gettext(msgid)
        return sentence % values if values else sentence

    def plural(self, language: str, singular: str, plural: str, number: int, **values: object) -> str:
        """The sentence for a number (Slovene has four forms); `%(num)s` is the number."""
        sentence: str = self._translations[language].ngettext(singular, plural, number)
        return sentence % {"num": number, **values}


def merge_catalogues(language: str, directory: Path = LOCALE_DIR) -> Catalog:
    """One catalogue of all `<directory>/<language>/*.po`.

    The shared `web.po` is read first and wins where two wings translate the same words;
    fuzzy and empty entries are left out, so that English shows rather than a guess.
    """
    merged = Catalog(locale=language)
    files = sorted((directory / language).glob("*.po"), key=lambda p: (p.name != "web.po", p.name))
    for file in files:
        with file.open("rb") as stream:
            for message in read_po(stream, locale=language, domain=file.stem):
                empty = not message.string or (isinstance(message.string, tuple) and not all(message.string))
                if not message.id or empty or message.fuzzy or merged.get(_key(message.id), message.context):
                    continue
                merged.add(message.id, message.string, context=message.context)
    return merged


def _key(msgid: str | tuple[str, ...] | list[str]) -> str:
    return msgid if isinstance(msgid, str) else msgid[0]


def _translations(catalogue: Catalog) -> NullTranslations:
    compiled = BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return Translations(compiled)


def choose_language(*, cookie: str | None, wished: Iterable[str], accept_language: str | None) -> str:
    """The language of a page: the person's own choice, the caller's wish, the browser's, Slovene.

    `wished` are BCP 47 tags in order of preference (`ui_locales` of OpenID Connect Core 3.1.2.1).
    """
    if cookie in LANGUAGES:
        return cookie
    for tag in (*wished, *_by_quality(accept_language or "")):
        primary = tag.lower().split("-")[0]
        if primary in LANGUAGES:
            return primary
    return LANGUAGES[0]


def _by_quality(header: str) -> list[str]:
    """The tags of an Accept-Language header, best first (RFC 9110, 12.5.4); nonsense is skipped."""
    weighed: list[tuple[float, str]] = []
    for part in header[:1000].split(","):
        tag, _, parameter = part.strip().partition(";")
        quality = 1.0
        if parameter.strip().startswith("q="):
            try:
                quality = float(parameter.strip()[2:])
            except ValueError:
                continue
        if tag and 0 < quality <= 1:
            weighed.append((quality, tag.strip()))
    weighed.sort(key=lambda pair: -pair[0])
    return [tag for _, tag in weighed]
