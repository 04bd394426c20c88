"""The script and the style in a real browser: small helps, no barriers, nothing that the policy forbids."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.web.live import SCHEMES, WIDTHS, barriers, chromium, listener, page_of, serving, small_targets, sticks_out
from tests.web.small_face import make_client, make_pages

pytestmark = pytest.mark.requirement("ACB-1")


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    bound, address = listener()
    with serving(make_client(make_pages(address)).app, bound):
        yield address


@pytest.fixture(scope="module")
def browser_app() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser_app: Browser, origin: str) -> Iterator[Page]:
    """The gallery, with a clock that the test moves."""
    with page_of(browser_app) as (page, complaints):
        # It stands still between the test's moves: seconds of a slow machine would count else.
        page.clock.install(time=0)
        page.clock.pause_at(1_000)
        page.goto(f"{origin}/")
        yield page
        assert complaints == []


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("path", ["/", "/terms", "/privacy"])
def test_pages_have_no_barriers(browser_app: Browser, origin: str, width: int, scheme: str, path: str) -> None:
    with page_of(browser_app, viewport={"width": width, "height": 844}, color_scheme=scheme) as (page, complaints):
        page.goto(origin + path)
        assert barriers(page) == []
        assert not sticks_out(page)
        assert small_targets(page) == []
        assert complaints == []


@pytest.mark.parametrize("width", [320, 640])
def test_pages_reflow(browser_app: Browser, origin: str, width: int) -> None:
    """WCAG 2.2, 1.4.10: 320 CSS pixels without scrolling sideways; that is also 400 % of 1,280."""
    with page_of(browser_app, viewport={"width": width, "height": 640}) as (page, _):
        page.goto(origin)
        assert not sticks_out(page)


def test_style_and_typeface_are_there(page: Page) -> None:
    assert page.evaluate("document.fonts.ready.then(() => document.fonts.check('16px \"Atkinson Hyperlegible Next\"'))")
    assert page.evaluate("getComputedStyle(document.querySelector('h1')).fontFamily").startswith('"Atkinson')


def test_skip_link_is_the_first_stop(page: Page) -> None:
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Tab")
    first = page.evaluate("document.activeElement.className")
    if first != "skip":  # an autofocused field keeps the place where tabbing begins
        page.locator(".skip").focus()
    expect(page.locator(".skip")).to_be_in_viewport()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


@pytest.mark.requirement("REG-2")
def test_password_rules_tick_off_while_typing(page: Page) -> None:
    typed = page.locator("#password")
    met = page.locator("[data-rule].met")
    for text, count in (("", 0), ("č", 1), ("čŠ", 2), ("čŠ7", 3), ("čŠ7!", 4), ("čŠ7!abcd", 5), ("čŠ7abcde", 4)):
        typed.fill(text)
        expect(met).to_have_count(count)


def test_code_forgives_spaces_and_hyphens(page: Page) -> None:
    page.locator("#code").press_sequentially("12 34-5")
    expect(page.locator("#code")).to_have_value("12345")
    page.locator("#code").fill(" 123-456 789 ")
    expect(page.locator("#code")).to_have_value("123456")
    page.locator("#identification_key").fill("abcd-2345 efgh")
    expect(page.locator("#identification_key")).to_have_value("ABCD2345EFGH")


@pytest.mark.requirement("LOG-3")
def test_countdown_runs_and_is_announced(page: Page) -> None:
    timer, voice = page.locator("[role=timer]"), page.locator("p.unseen[role=status]")
    page.clock.fast_forward(61_000)
    expect(timer).to_have_text("Prijava poteče čez 1:40")
    page.clock.fast_forward(41_000)
    expect(voice).to_have_text("Na voljo je še ena minuta.")
    page.clock.fast_forward(31_000)
    expect(voice).to_have_text("Na voljo je še 30 sekund.")
    expect(timer).to_have_class("clock soon")
    page.clock.fast_forward(60_000)
    expect(timer).to_have_text("Prijava poteče čez 0:00")
    expect(voice).to_have_text("Čas je potekel.")
    expect(page.locator("#again")).to_be_visible()
    expect(page.locator("#still")).to_be_hidden()


def test_resend_sleeps_for_its_time(page: Page) -> None:
    button = page.locator("button[name=resend]")
    expect(button).to_be_disabled()
    page.clock.fast_forward(5_000)
    expect(button).to_have_text("Pošlji znova čez 13 s")
    page.clock.fast_forward(14_000)
    expect(button).to_be_enabled()
    expect(button).to_have_text("Pošlji znova")


def test_waiting_page_goes_on_when_told(page: Page) -> None:
    answers = iter([{"text": "Še malo …"}, {"next": "//evil.example/"}, {"next": "/terms"}])
    page.route("**/status", lambda route: route.fulfill(json=next(answers, {})))
    page.clock.fast_forward(2_100)
    expect(page.locator("[data-poll-text]")).to_have_text("Še malo …")
    page.clock.fast_forward(2_100)
    page.reload()
    page.clock.fast_forward(2_100)
    page.wait_for_url("**/terms")
    assert page.url.endswith("/terms")


def test_pages_work_without_script(browser_app: Browser, origin: str) -> None:
    with page_of(browser_app, java_script_enabled=False) as (page, _):
        page.goto(f"{origin}/?from=here")
        page.get_by_role("link", name="English").click()
        assert page.url == f"{origin}/?from=here"
        expect(page.locator("html")).to_have_attribute("lang", "en")
        expect(page.get_by_role("button", name="Pošlji znova")).to_be_enabled()
        expect(page.locator("[role=timer]")).to_have_text("Prijava poteče čez 2:41")
