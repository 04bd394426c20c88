"""A published statement as a PDF."""

from collections.abc import Iterator
from zoneinfo import ZoneInfo

from tsp.repository.documents import Promise, Section
from tsp.repository.facts import Language
from tsp.repository.library import Version
from tsp.repository.pdf import Block, make_pdf
from tsp.web.filters import filters_for
from tsp.web.language import Languages


class Press:
    """Makes PDFs of statements; `name` is the service's, `demo` marks every page with TEST."""

    def __init__(self, languages: Languages, name: str, organisation: str, zone: ZoneInfo, *, demo: bool) -> None:
        self._languages = languages
        self._name = name
        self._organisation = organisation
        self._zone = zone
        self._demo = demo

    def pdf(self, version: Version, language: Language) -> bytes:
        """The statement in this language (EN 319 411-1, Annex A; ISO 32000-1). The same version, the same octets."""
        made = version.languages[language]
        date = filters_for(self._languages.locale(language), self._zone)["date"](version.date)
        edition = self._text(language, "Version %(number)s, in force from %(date)s", number=version.number, date=date)
        blocks = [Block("title", (made.title,)), Block("lead", (self._organisation,)), Block("lead", (edition,))]
        for section in made.sections:
            blocks += self._section(section, language)
        return make_pdf(
            blocks,
            title=f"{made.title} – {self._organisation}",
            author=self._organisation,
            language=language,
            date=version.date,
            footer=f"{self._name} · {made.title} · {edition}",
            mark="TEST" if self._demo else "",
        )

    def _section(self, section: Section, language: Language) -> Iterator[Block]:
        style = "heading" if section.chapter else "subheading"
        yield Block(style, (f"{section.number} {section.title}",), 0 if section.chapter else 1)
        for paragraph in section.paragraphs:
            yield Block("text", (paragraph,))
        if section.table:
            yield Block("head", section.table.headings)
            for row in section.table.rows:
                yield Block("cell", row)
        for promise in section.promises:
            yield Block("promise", (f"• {promise.text}",))
            yield Block("proof", (self._proof(promise, language),))

    def _proof(self, promise: Promise, language: Language) -> str:
        if not promise.tests:
            return f"{promise.clause}. {self._text(language, 'Kept by the organisation; looked at in the audit.')}"
        shown = self._text(
            language,
            "Duty %(duties)s, proven by %(tests)s",
            duties=", ".join(promise.requirement),
            tests=", ".join(promise.tests),
        )
        return f"{promise.clause}. {shown}"

    def _text(self, language: Language, msgid: str, **values: object) -> str:
        return self._languages.text(language, msgid, **values)
