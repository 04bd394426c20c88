"""The face of role `repository`: files for machines, pages for people."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from tsp.ca.http import App
from tsp.ca.http import repository_app as machine_files
from tsp.core.clock import Clock
from tsp.repository.library import Library
from tsp.repository.pages import RepositoryPages
from tsp.repository.sample_pages import SamplePages
from tsp.repository.samples import SampleShelf
from tsp.repository.statement_pages import StatementPages
from tsp.repository.trust_pages import TrustListPages
from tsp.repository.trust_publication import TrustListShelf
from tsp.repository.typeset import Press
from tsp.web import Pages


@dataclass(frozen=True, slots=True)
class Shelves:
    """What the pages show besides the authorities.

    `places` are the addresses of the disclosure statement that certificates name, by language; `titles` are
    what the certificate profiles are called.
    """

    library: Library
    places: Mapping[str, str]
    trust_list: TrustListShelf
    samples: SampleShelf
    titles: Mapping[str, str]


def repository_app(pages: Pages, directory: Path, clock: Clock, shelves: Shelves) -> App:
    """The repository over the ceremony's directory (`<var>/ca`), open to anyone (EN 319 411-1, 6.1)."""
    press = Press(pages.languages, pages.name, pages.operator, ZoneInfo("Europe/Ljubljana"), demo=pages.demo)
    statements = StatementPages(pages, shelves.library, press, dict(shelves.places))
    trust_list = TrustListPages(pages, shelves.trust_list)
    samples = SamplePages(pages, shelves.samples, shelves.titles, directory, clock)
    home = RepositoryPages(pages, directory, clock, statements, trust_list)
    people = pages.application([*home.routes(), *statements.routes(), *trust_list.routes(), *samples.routes()])
    return machine_files(directory, clock, people)
