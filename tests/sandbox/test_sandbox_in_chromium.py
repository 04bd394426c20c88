"""The sandbox's pages in a real browser: nothing breaks the strict policy, and messages appear by themselves."""

from collections.abc import Iterator

import httpx2
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect, sync_playwright

from tests.sandbox.running import Running

PAGES = ("mailbox", "phone", "register", "branch")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    started = Running(tmp_path_factory.mktemp("sandbox"))
    for number in ("+38641123456", "+38640777888"):
        _text(started, number, "Enkrat TEST: 482191 je enkratno geslo za prijavo.")
    httpx2.post(f"{started.urls['register']}/persons/made-up", trust_env=False)
    yield started
    started.process.kill()
    started.process.communicate()


@pytest.fixture
def browser(request: pytest.FixtureRequest) -> Iterator[Page]:
    """A window as wide as the parameter says, that collects what the console complains of."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": getattr(request, "param", 390), "height": 800})
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        yield page
        chromium.close()
    assert complaints == []


def _text(running: Running, number: str, text: str) -> None:
    headers = {"Authorization": f"Bearer {running.token}"}
    message = {"id": f"{number}{text}", "to": number, "text": text}
    url = f"{running.urls['phone']}/messages"
    assert httpx2.post(url, json=message, headers=headers, trust_env=False).status_code == 202


@pytest.mark.parametrize("browser", [390, 1280], indirect=True)
def test_pages_can_be_used_by_everybody(browser: Page, running: Running) -> None:
    for service in PAGES:
        for query in ("?lang=sl", "?lang=en"):
            browser.goto(running.urls[service] + query)
            found = Axe().run(browser).response["violations"]
            assert [(rule["id"], rule["nodes"][0]["html"]) for rule in found] == [], service
            assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{service} is too wide"


def test_a_message_appears_by_itself(browser: Page, running: Running) -> None:
    browser.goto(f"{running.urls['phone']}/?to=%2B38641123456")
    expect(browser.locator(".bubbles li")).to_have_count(1)
    _text(running, "+38641123456", "Novo sporočilo 771203")
    expect(browser.get_by_text("Novo sporočilo 771203")).to_be_visible()


def test_the_register_leads_to_the_branch(browser: Page, running: Running) -> None:
    browser.goto(running.urls["register"])
    name = browser.locator("tbody td").first.inner_text()
    address = browser.get_by_role("link", name="Pojdi tja kot ta oseba").get_attribute("href") or ""
    browser.goto(f"{running.urls['branch']}/?{address.partition('?')[2]}")
    assert browser.get_by_label("Ime", exact=True).input_value() == name
