"""The signing site in a real browser: a phone's width and a desk's, light and dark, in both languages."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.formats.hostile_samples import REFUSED, link_and_note
from tests.sign.street import QTSA, Street, Town, Visitor, open_street
from tests.web.live import SCHEMES, WIDTHS, barriers, chromium, listener, page_of, serving, small_targets, sticks_out
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.isolated import Isolated

pytestmark = pytest.mark.requirement("SIG-7", "ACB-1")


MANY_REMARKS = link_and_note("https://primer.example.test/" + "zelo-dolga-pot/" * 12)


@pytest.fixture
def live(town: Town, tmp_path: Path, database: Database, clock: SettableClock, isolated: Isolated) -> Iterator[Street]:
    """A street whose site and provider stand on real ports."""
    (bound, origin), (beside, idp) = listener(), listener()
    with ExitStack() as stack:
        parts = {"directory": tmp_path, "database": database, "clock": clock, "isolated": isolated}
        street = open_street(stack, town, **parts, origin=origin, idp=idp)
        stack.enter_context(serving(street.app, bound))
        stack.enter_context(serving(street.provider.app(), beside))
        yield street


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.mark.parametrize("script", [True, False], ids=["with-script", "without-script"])
def test_whole_way_in_a_browser(live: Street, browser: Browser, contract: bytes, tmp_path: Path, script: bool) -> None:
    file = tmp_path / "Pogodba o žitu.pdf"
    file.write_bytes(contract)
    with page_of(browser, java_script_enabled=script) as (page, complaints):
        page.goto(live.provider.site)
        page.get_by_role("link", name="Prijava in podpis dokumenta").click()
        expect(page.locator("body")).to_have_attribute("data-page", "sign.upload")
        page.locator("input[name=document]").set_input_files(file)
        page.get_by_role("button", name="Naprej").click()
        expect(page.locator("body")).to_have_attribute("data-page", "sign.document")
        expect(page.get_by_role("heading", level=1)).to_have_text("Pogodba o žitu.pdf")
        page.get_by_role("radio", name="Napredni elektronski podpis Dokaz").check()
        page.get_by_role("button", name="Naprej na potrditev").click()
        expect(page.locator("body")).to_have_attribute("data-page", "sign.result")
        with page.expect_download() as download:
            page.get_by_role("link", name="Prenesi podpisani dokument").click()
        assert download.value.suggested_filename == "Pogodba o žitu-podpisano.pdf"
        assert download.value.path().read_bytes().startswith(contract)
        page.get_by_role("button", name="Odjava").click(no_wait_after=True)
        assert complaints == []


def test_bad_file_is_told_beside_the_field(live: Street, browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "slika.png"
    file.write_bytes(b"\x89PNG\r\n")
    with page_of(browser) as (page, _):
        page.goto(f"{live.provider.site}/upload")
        page.locator("input[name=document]").set_input_files(file)
        page.get_by_role("button", name="Naprej").click()
        error = page.get_by_role("alert")
        expect(error).to_be_visible()
        expect(error).to_have_text("Ta datoteka ni dokument PDF.")
        expect(page.locator("input[name=document]")).to_be_focused()
        expect(page.get_by_role("button", name="Naprej")).to_be_enabled()
        assert page.url.endswith("/upload")


@pytest.mark.requirement("SIG-5")
def test_files_in_a_file_are_named_beside_the_field(live: Street, browser: Browser, tmp_path: Path) -> None:
    attached, script = tmp_path / "s-prilogo.pdf", tmp_path / "s-programom.pdf"
    attached.write_bytes(REFUSED["file at a note"][0]())
    script.write_bytes(REFUSED["script at opening"][0]())
    with page_of(browser) as (page, _):
        page.goto(f"{live.provider.site}/upload")
        page.locator("input[name=document]").set_input_files(attached)
        page.get_by_role("button", name="Naprej").click()
        error, names = page.get_by_role("alert"), page.locator("[data-upload-names]")
        expect(error).to_have_attribute("data-code-of-error", "document-embedded-files")
        expect(names.get_by_role("listitem")).to_have_text(["racun.xml"])
        assert barriers(page) == []
        page.locator("input[name=document]").set_input_files(script)
        page.get_by_role("button", name="Naprej").click()
        expect(error).to_have_attribute("data-code-of-error", "document-javascript")
        expect(names).to_be_hidden()


@pytest.mark.parametrize("language", ["sl", "en"])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_pages_have_no_barriers(
    live: Street, browser: Browser, contract: bytes, width: int, scheme: str, language: str
) -> None:
    ana = Visitor(live)
    ana.log_in()
    signed, waits, stuck = (ana.bring(contract, f"Zelo dolgo ime pogodbe {n * 30}.pdf") for n in "abc")
    ana.approve(signed)
    live.door.down.add(QTSA)
    ana.approve(stuck)
    names = {signed: "result", waits: "document", stuck: "waiting", "/upload": "upload", "/signatures": "list"}
    names[ana.bring(MANY_REMARKS)] = "document"
    names |= {"/": "home", "/documents/unknown": "error"}
    options = {"viewport": {"width": width, "height": 844}, "color_scheme": scheme, "locale": language}
    with page_of(browser, **options) as (page, _):
        page.context.add_cookies(
            [{"name": c.name, "value": c.value or "", "url": live.provider.site} for c in ana.client.cookies.jar]
        )
        for path, name in names.items():
            page.goto(live.provider.site + path)
            assert page.locator("body").get_attribute("data-page") == f"sign.{name}"
            assert page.locator("html").get_attribute("lang") == language
            assert barriers(page) == [], name
            assert not sticks_out(page), name
            assert small_targets(page) == [], name
