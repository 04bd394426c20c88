"""The repository's pages in a real browser: no barriers, nothing sticks out, nothing that the policy forbids."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.ca.ca_kit import ROOT
from tests.repository.conftest import make_pages
from tests.repository.sample_kit import make_samples
from tests.web.live import SCHEMES, WIDTHS, barriers, chromium, listener, page_of, serving, small_targets, sticks_out
from tsp.core.clock import SettableClock
from tsp.core.randomness import Randomness
from tsp.repository.app import Shelves, repository_app

PAGES = {
    "/": "home",
    "/documents/pds": "document",
    "/trust-list": "trust_list",
    "/test-certificates": "test_certificates",
}


SCREENS = ROOT / "var" / "screens"


@pytest.fixture(scope="module")
def browser_app() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def origin(
    artefacts: Path, clock: SettableClock, randomness: Randomness, shelves: Shelves, tmp_path: Path
) -> Iterator[str]:
    make_samples(tmp_path / "samples")
    bound, address = listener()
    with serving(repository_app(make_pages(randomness, address), artefacts, clock, shelves), bound):
        yield address


@pytest.mark.requirement("ACB-1")
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_pages_have_no_barriers(browser_app: Browser, origin: str, width: int, scheme: str) -> None:
    # Each language is seen in both widths and both schemes.
    language = "sl" if (width == WIDTHS[0]) == (scheme == SCHEMES[0]) else "en"
    options = {"viewport": {"width": width, "height": 844}, "color_scheme": scheme, "locale": language}
    with page_of(browser_app, **options) as (page, complaints):
        for path, name in PAGES.items():
            page.goto(origin + path)
            assert page.locator("body").get_attribute("data-page") == f"repository.{name}"
            assert page.locator("html").get_attribute("lang") == language
            assert barriers(page) == [], path
            assert not sticks_out(page), path
            assert small_targets(page) == [], path
            page.screenshot(path=SCREENS / f"repository.{name}-{language}-{width}-{scheme}.png", full_page=True)
        assert complaints == []
