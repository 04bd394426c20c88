"""Practice and disclosure statements: their texts, and the documents that texts and facts make.

A text lies in `texts/<name>.toml`, both languages side by side. Whatever a statement promises is a promise of
its own there: with its clause, the duty of docs/requirements.md and the tests that prove it, or with the word
`organisation` where only people can keep it and an audit looks.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from tsp.ca.tomlfile import Strict, read_toml
from tsp.core.errors import Invalid
from tsp.repository.facts import LANGUAGES, Facts, Language, Table

TEXTS = Path(__file__).parent / "texts"
#: Practice statement (RFC 3647), disclosure statement for certificates, disclosure statement for time-stamps.
NAMES = ("cps", "pds", "tsa")
_TABLES = Literal["certificates", "lifetimes", "authorities", "units"]


class Words(Strict):
    """A text in both languages; paragraphs are parted by an empty line."""

    sl: str = Field(min_length=1)
    en: str = Field(min_length=1)

    def of(self, language: Language) -> str:
        """The text in this language."""
        return self.sl if language == "sl" else self.en


class PromiseText(Words):
    """One promise and how it is proven."""

    clause: str = Field(min_length=1)
    requirement: tuple[Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]+-[0-9]+$")], ...] = ()
    tests: tuple[Annotated[str, StringConstraints(pattern=r"^tests/[a-z0-9_/]+\.py::test_\w+$")], ...] = ()
    organisation: bool = False

    @model_validator(mode="after")
    def _is_proven(self) -> Self:
        if self.organisation == bool(self.tests) or bool(self.tests) != bool(self.requirement):
            raise ValueError("a promise names requirement and tests, or says organisation = true")
        return self


class SectionText(Strict):
    """One numbered section. Those with a dot in their number are below the chapter of the first digits."""

    number: str = Field(pattern=r"^[1-9][0-9]*(\.[1-9][0-9]*)?$")
    title: Words
    text: Words | None = None
    table: _TABLES | None = None
    promise: tuple[PromiseText, ...] = ()


class DocumentText(Strict):
    """One statement."""

    name: Literal["cps", "pds", "tsa"]
    title: Words
    section: tuple[SectionText, ...] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Promise:
    """A promise as it is read: its sentence, its clause, the duties and the tests that prove it."""

    text: str
    clause: str
    requirement: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """A section as it is read."""

    number: str
    title: str
    paragraphs: tuple[str, ...] = ()
    table: Table | None = None
    promises: tuple[Promise, ...] = ()

    @property
    def chapter(self) -> bool:
        """Whether this begins a chapter."""
        return "." not in self.number


@dataclass(frozen=True, slots=True)
class Statement:
    """A whole document in one language, without version and date."""

    name: str
    language: Language
    title: str
    sections: tuple[Section, ...] = field(repr=False)


def load_text(name: str, directory: Path = TEXTS) -> DocumentText:
    """The text of a statement. Raises `Invalid` (statement-text-invalid) whose sentence names file and key."""
    text = read_toml(directory / f"{name}.toml", DocumentText, "statement-text-invalid")
    numbers = [tuple(int(part) for part in section.number.split(".")) for section in text.section]
    if numbers != sorted(set(numbers)) or text.name != name:
        raise Invalid("statement-text-invalid", f"{name}.toml: sections must be in order, each number once", file=name)
    return text


def statement(text: DocumentText, facts: Facts, language: Language) -> Statement:
    """The document that the text and the facts make.

    Raises `Invalid` (statement-text-invalid) for a fact that does not exist.
    """
    return Statement(
        name=text.name,
        language=language,
        title=_filled(text.title, facts, language),
        sections=tuple(_section(section, facts, language) for section in text.section),
    )


def statements(text: DocumentText, facts: Mapping[Language, Facts]) -> dict[Language, Statement]:
    """The document in every language."""
    return {language: statement(text, facts[language], language) for language in LANGUAGES}


def _section(section: SectionText, facts: Facts, language: Language) -> Section:
    whole = _filled(section.text, facts, language) if section.text else ""
    return Section(
        number=section.number,
        title=_filled(section.title, facts, language),
        paragraphs=tuple(" ".join(part.split()) for part in whole.split("\n\n") if part.strip()),
        table=facts.tables[section.table] if section.table else None,
        promises=tuple(
            Promise(" ".join(_filled(one, facts, language).split()), one.clause, one.requirement, one.tests)
            for one in section.promise
        ),
    )


def _filled(words: Words, facts: Facts, language: Language) -> str:
    try:
        return words.of(language).format_map(dict(facts.values))
    except (KeyError, ValueError, IndexError) as error:
        raise Invalid("statement-text-invalid", f"A statement quotes a fact that does not exist: {error}") from None


def digest_of(made: Mapping[Language, Statement]) -> str:
    """SHA-256 over everything that a document says, in every language."""
    whole = json.dumps({k: asdict(v) for k, v in made.items()}, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(whole.encode()).hexdigest()


def as_json(made: Statement) -> dict[str, Any]:
    """A statement for a file."""
    return asdict(made)


def from_json(value: Mapping[str, Any]) -> Statement:
    """A statement from a file that `as_json` wrote."""
    sections = tuple(
        Section(
            number=one["number"],
            title=one["title"],
            paragraphs=tuple(one["paragraphs"]),
            table=_table(one["table"]),
            promises=tuple(
                Promise(p["text"], p["clause"], tuple(p["requirement"]), tuple(p["tests"])) for p in one["promises"]
            ),
        )
        for one in value["sections"]
    )
    return Statement(value["name"], value["language"], value["title"], sections)


def _table(value: Mapping[str, Any] | None) -> Table | None:
    if value is None:
        return None
    return Table(tuple(value["headings"]), tuple(tuple(row) for row in value["rows"]))
