"""The face of role `repository`: files for machines, pages for people."""

from pathlib import Path

from tsp.ca.http import App
from tsp.ca.http import repository_app as machine_files
from tsp.core.clock import Clock
from tsp.repository.pages import RepositoryPages
from tsp.web import Pages


def repository_app(pages: Pages, directory: Path, clock: Clock) -> App:
    """The repository over the ceremony's directory (`<var>/ca`), open to anyone (EN 319 411-1 DIS-6.1-02)."""
    people = pages.application([*RepositoryPages(pages, directory, clock).routes()])
    return machine_files(directory, clock, people)
