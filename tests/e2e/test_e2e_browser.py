"""The main job in a real browser, in both languages, looked at page by page at both widths."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser

from tests.e2e.browser_walk import chromium, known_person, new_walk, sign_in_browser
from tests.harness import ROOT, Platform

SHOTS = ROOT / "var" / "screens"
PAGES = {
    *("sign.home", "sign.upload", "sign.document", "sign.result", "sign.list"),
    *("idp.login", "idp.choose", "idp.code", "idp.consent", "idp.approve", "idp.level"),
    *("idp.register", "idp.register-email", "idp.register-sms", "idp.register-puk", "idp.register-done"),
    *("idp.personal-data-pin", "idp.personal-data", "idp.identification-key"),
    *("validate.start", "validate.result"),
    *("idp.certificates", "idp.certificates-all", "repository.home"),
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as made:
        yield made


@pytest.mark.requirement("ACB-1", "LOG-1", "REG-1", "REG-2", "REG-3", "SIG-5", "SIG-7", "LOG-2", "LOG-4", "EVD-6")
@pytest.mark.parametrize(("locale", "scheme"), [("sl-SI", "light"), ("en-GB", "dark")])
def test_a_person_signs_in_a_browser(
    platform: Platform, browser: Browser, tmp_path: Path, locale: str, scheme: Literal["dark", "light"]
) -> None:
    shots = SHOTS / f"{locale[:2]}-{scheme}"
    with new_walk(browser, platform.urls, known_person(platform.urls), shots, locale=locale, scheme=scheme) as walk:
        signed = sign_in_browser(platform.urls, walk, tmp_path)
        assert platform.tsp("verify", str(signed)).returncode == 0
        for face, path in (("idp", "/certificates"), ("idp", "/certificates/all"), ("repository", "/")):
            walk.page.goto(platform.urls[face] + path)
            walk.look()
        assert not walk.problems, "\n".join(walk.problems)
        assert set(walk.seen) >= PAGES, PAGES - set(walk.seen)
        assert walk.page.locator("html").get_attribute("lang") == locale[:2]


@pytest.mark.requirement("EVD-2", "EVD-5", "ACB-1")
@pytest.mark.parametrize(("locale", "words"), [("sl-SI", "Živi zasebni ključi"), ("en-GB", "Private keys alive")])
def test_anybody_reads_the_logs_page(
    platform: Platform, browser: Browser, tmp_path: Path, locale: str, words: str
) -> None:
    shots = SHOTS / f"{locale[:2]}-log"
    with new_walk(browser, platform.urls, known_person(platform.urls), shots, locale=locale) as walk:
        walk.page.goto(platform.urls["log"])
        assert walk.look() == "audit.log"
        assert walk.page.get_by_role("heading", name=words).count() == 1
        assert "witness.sandbox.test/TEST" in walk.page.inner_text("main")
        assert not walk.problems, "\n".join(walk.problems)


@pytest.mark.requirement("REG-2")
def test_password_rules_tick_off_while_typing(platform: Platform, browser: Browser, tmp_path: Path) -> None:
    with new_walk(browser, platform.urls, known_person(platform.urls), tmp_path, locale="sl-SI") as walk:
        walk.page.goto(f"{platform.urls['idp']}/register")
        rules = walk.page.locator("[data-rule]")
        assert rules.count() == 5
        met = "[data-rule].met"
        for typed, expected in (("a", 1), ("aB", 2), ("aB1", 3), ("aB1!", 4), ("aB1!aB1!", 5)):
            walk.page.fill("[name=password]", typed)
            assert walk.page.locator(met).count() == expected, typed


@pytest.mark.requirement("REG-1")
def test_a_phone_number_is_written_in_groups(platform: Platform, browser: Browser, tmp_path: Path) -> None:
    with new_walk(browser, platform.urls, known_person(platform.urls), tmp_path, locale="sl-SI") as walk:
        walk.page.goto(f"{platform.urls['idp']}/register")
        for typed, shown in (("041123456", "041 123 456"), ("041/123-456", "041 123 456"), ("abc", "abc")):
            walk.page.fill("[name=phone]", typed)
            walk.page.locator("[name=phone]").blur()
            assert walk.page.input_value("[name=phone]") == shown


@pytest.mark.requirement("ACB-1")
def test_pages_keep_what_was_typed_and_name_the_field(platform: Platform, browser: Browser, tmp_path: Path) -> None:
    with new_walk(browser, platform.urls, known_person(platform.urls), tmp_path, locale="en-GB") as walk:
        walk.page.goto(f"{platform.urls['idp']}/register")
        walk.page.fill("[name=email]", walk.person.email)
        walk.page.fill("[name=password]", "aB1!aB1!x")
        walk.page.fill("[name=password_again]", "different-1A")
        walk.page.fill("[name=phone]", "041")
        walk.page.check("[name=terms]")
        walk.press("main form button:not([name=cancel])")
        assert walk.page.input_value("[name=email]") == walk.person.email
        assert walk.page.input_value("[name=phone]") == "041"
        wrong = walk.page.locator("[aria-invalid=true]")
        assert wrong.count() >= 2
        assert walk.look() == "idp.register"
        assert not walk.problems, "\n".join(walk.problems)
