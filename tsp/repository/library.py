"""The published statements: each version is kept, and a new one is made only where something changed.

`<var>/repository/documents/<name>.<version>.json` holds a version in every language. Files are never changed.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tsp.core.clock import Clock
from tsp.core.errors import NotFound, Unavailable
from tsp.core.files import one_at_a_time, write_atomic
from tsp.repository.documents import (
    NAMES,
    Statement,
    as_json,
    digest_of,
    from_json,
    load_text,
    statements,
)
from tsp.repository.facts import LANGUAGES, Facts, Language

_FILE = re.compile(r"(cps|pds|tsa)\.([1-9][0-9]{0,5})\.json")


@dataclass(frozen=True, slots=True)
class Version:
    """One version of one statement, valid from its date."""

    name: str
    number: int
    date: datetime
    digest: str
    languages: Mapping[Language, Statement] = field(repr=False, hash=False, compare=False)


class Library:
    """The directory of statements. `facts` reads what they are made of."""

    def __init__(self, directory: Path, facts: Callable[[], Mapping[Language, Facts]], clock: Clock) -> None:
        self._directory = directory
        self._facts = facts
        self._clock = clock

    def due(self) -> dict[str, Mapping[Language, Statement]]:
        """The statements that would read differently now from what is published, or are not published yet."""
        facts = self._facts()
        due: dict[str, Mapping[Language, Statement]] = {}
        for name in NAMES:
            made, standing = statements(load_text(name), facts), self._newest(name)
            if standing is None or standing.digest != digest_of(made):
                due[name] = made
        return due

    def build(self) -> list[Version]:
        """Publishes a new version of each statement that is due, and returns them.

        Raises `Invalid` where a text or a fact is missing; nothing is published then.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(self._directory / "build.lock"):
            built = []
            for name, made in self.due().items():
                standing = self._newest(name)
                number = standing.number + 1 if standing else 1
                date = self._clock.now().replace(microsecond=0)
                version = Version(name, number, date, digest_of(made), made)
                write_atomic(self._directory / f"{name}.{number}.json", _octets(version))
                built.append(version)
            return built

    def numbers(self, name: str) -> list[int]:
        """The versions of a statement that are there, the newest first."""
        if not self._directory.is_dir():
            return []
        found = (_FILE.fullmatch(file.name) for file in self._directory.iterdir())
        return sorted((int(match[2]) for match in found if match and match[1] == name), reverse=True)

    def version(self, name: str, number: int | None = None) -> Version:
        """One version, or the newest; `NotFound` (statement-unknown) where there is none."""
        numbers = self.numbers(name)
        if name not in NAMES or not numbers or (number is not None and number not in numbers):
            raise NotFound("statement-unknown", "There is no such document.")
        number = number or numbers[0]
        try:
            return _read(name, number, (self._directory / f"{name}.{number}.json").read_bytes())
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Unavailable("statement-damaged", "This document cannot be read at the moment.", file=name) from error

    def _newest(self, name: str) -> Version | None:
        return self.version(name) if self.numbers(name) else None


def _octets(version: Version) -> bytes:
    value = {
        "name": version.name,
        "version": version.number,
        "date": version.date.isoformat(),
        "digest": version.digest,
        "languages": {language: as_json(made) for language, made in version.languages.items()},
    }
    return json.dumps(value, ensure_ascii=False, indent=1).encode() + b"\n"


def _read(name: str, number: int, data: bytes) -> Version:
    value = json.loads(data)
    languages = {language: from_json(value["languages"][language]) for language in LANGUAGES}
    version = Version(name, number, datetime.fromisoformat(value["date"]), value["digest"], languages)
    if digest_of(languages) != version.digest:
        raise ValueError("not what was published")
    return version
