"""One running platform for all tests from outside that name no `xdist_group`: these run in one worker."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Platform, make_platform, read_json


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/e2e/" in str(item.path) and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group("platform"))


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform with everything running, two processes of each role."""
    made = make_platform(tmp_path_factory.mktemp("platform"), count=2)
    made.initialise()
    try:
        made.start()
        yield made
    finally:
        made.stop()


@dataclass(frozen=True)
class Story:
    """What one story left: the signed file, the evidence, the root, and the summary."""

    signed: Path
    root: Path
    evidence: dict[str, Any]
    summary: dict[str, Any]


def tell_story(platform: Platform, directory: Path, *more: str) -> Story:
    """One whole signature of a new person."""
    signed, summary = directory / "signed.pdf", directory / "summary.json"
    config = ("--config", str(platform.sandbox_config))
    platform.sandbox_command("sandbox.story", *config, "--out", str(signed), "--summary", str(summary), *more)
    evidence = read_json(directory / "signed.evidence.json")
    return Story(signed, platform.var / "ca" / "root.pem", evidence, read_json(summary))


@pytest.fixture(scope="session")
def story(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """The story that most tests look at."""
    return tell_story(platform, tmp_path_factory.mktemp("story"))
