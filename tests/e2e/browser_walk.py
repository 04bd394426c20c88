"""A person with a real browser: walks the pages, looks at each at phone and desktop width, and at its accessibility."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx2
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from sandbox.clock import SystemClock
from sandbox.contract import make_contract
from sandbox.inbox import Inbox
from sandbox.people import Person, make_person
from sandbox.randomness import SystemRandomness

PHONE, DESKTOP = (390, 844), (1280, 900)
#: WCAG 2.2 AA and what it builds on.
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
PASSWORD = "Modra-Sraka-2026!"
_MAX_PAGES = 60
CHROMIUM = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium; a machine without it fails here."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=list(CHROMIUM))
        yield browser
        browser.close()


@dataclass
class Walk:
    """One person's way. `shots` receives a picture of every page at both widths."""

    page: Page
    person: Person
    inbox: Inbox
    branch: str
    client: httpx2.Client
    shots: Path
    registered: bool = False
    seen: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def watch(self) -> None:
        """Takes note of every script error and every break of the content security policy."""

        def note(message: ConsoleMessage) -> None:
            if message.type == "error" and "status of 4" not in message.text:
                self.problems.append(f"{self.page.url}: {message.text}")

        self.page.on("console", note)
        self.page.on("pageerror", lambda error: self.problems.append(f"{self.page.url}: {error}"))

    @property
    def name(self) -> str:
        return self.page.locator("body").get_attribute("data-page") or ""

    def look(self) -> str:
        """Pictures, accessibility and width of the page where the person stands; returns its name."""
        name = self.name
        if name in self.seen:
            return name
        self.seen.append(name)
        # Pictures of pages load as one scrolls to them.
        for image in self.page.locator("img[loading=lazy]").all():
            image.scroll_into_view_if_needed()
        self.page.wait_for_load_state("networkidle")
        self.page.evaluate("scrollTo(0, 0)")
        for width, height in (DESKTOP, PHONE):
            self.page.set_viewport_size({"width": width, "height": height})
            self.page.screenshot(path=self.shots / f"{name}-{width}.png", full_page=True)
            wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            if wide > 0:
                self.problems.append(f"{name} is {wide} px wider than {width} px")
        found = Axe().run(self.page, options=RULES)
        self.problems += [f"{name}: {v['id']}: {v['help']}" for v in found.response["violations"]]
        return name

    def to(self, *goals: str) -> None:
        """Does what each page asks until one of the goals is reached."""
        for _ in range(_MAX_PAGES):
            name = self.look()
            if name in goals:
                return
            step = self._steps().get(name)
            assert step is not None, f"no way on from {name}: {self.page.inner_text('main')}"
            step()
        raise AssertionError(f"no end on the way to {goals}")

    def press(self, selector: str) -> None:
        """Clicks and waits for the next page."""
        with self.page.expect_navigation():
            self.page.locator(selector).first.click()

    def _steps(self) -> dict[str, Callable[[], None]]:
        return {
            "idp.login": self._log_in if self.registered else lambda: self.press("a[href*='/register']"),
            "idp.register": self._register,
            "idp.register-email": lambda: self._code(self.inbox.mailed_code(self.person.email)),
            "idp.register-sms": lambda: self._code(self.inbox.texted_code(self.person.phone)),
            "idp.register-puk": self._puk,
            "idp.register-done": lambda: self.press("main a.button"),
            "idp.choose": lambda: self.press("button[value=sms]"),
            "idp.code": lambda: self._code(self.inbox.texted_code(self.person.phone)),
            "idp.level": self._raise_level,
            "idp.personal-data-pin": self._pin,
            "idp.personal-data": self._personal_data,
            "idp.personal-data-done": lambda: self.press("main a.button"),
            "idp.identification-key": self._identification_key,
            "idp.identification-key-done": lambda: self.press("main a.button"),
            "idp.consent": lambda: self.press("button[value=allow]"),
            "idp.approve": self._approve,
            "sign.waiting": lambda: self.page.wait_for_url("**/documents/*", wait_until="load"),
        }

    def _submit(self, **fields: str) -> None:
        for name, value in fields.items():
            self.page.fill(f"[name={name}]", value)
        self.press("main form button:not([name=cancel]):not(.quiet)")

    def _register(self) -> None:
        self.page.check("[name=terms]")
        self.page.select_option("[name=phone_country]", self.person.phone_country)
        self._submit(
            email=self.person.email, password=PASSWORD, password_again=PASSWORD, phone=self.person.phone_national
        )

    def _code(self, code: str) -> None:
        # Typed as people paste it: with a space in the middle.
        self._submit(code=f"{code[:3]} {code[3:]}")

    def _puk(self) -> None:
        assert len(self.page.inner_text("#puk").strip()) >= 8
        self.page.check("[name=acknowledged]")
        self.registered = True
        self._submit()

    def _log_in(self) -> None:
        self._submit(email=self.person.email, password=PASSWORD)

    def _raise_level(self) -> None:
        ready = self.page.locator("main a[href*='/identification-key']")
        self.press("main a[href*='/identification-key']" if ready.count() else "main a[href*='/personal-data']")

    def _pin(self) -> None:
        if self.page.locator("button[name=send]").count():
            self.press("button[name=send]")
            self.seen.remove("idp.personal-data-pin")
        else:
            self._code(self.inbox.mailed_code(self.person.email))

    def _personal_data(self) -> None:
        person = self.person
        self._submit(
            given_name=person.given_name,
            family_name=person.family_name,
            tax_number=person.tax_number,
            date_of_birth=person.date_of_birth,
        )

    def _identification_key(self) -> None:
        person = self.person
        applicant: dict[str, Any] = {
            "given_name": person.given_name,
            "family_name": person.family_name,
            "tax_number": person.tax_number,
            "date_of_birth": person.date_of_birth,
            "document": {"kind": person.document_kind, "number": person.document_number},
            "officer": "TEST Uslužbenka",
        }
        answer = self.client.post(f"{self.branch}/api/identification-keys", json=applicant).raise_for_status()
        self._submit(identification_key=str(answer.json()["key"]))

    def _approve(self) -> None:
        if not self.page.locator("[name=code]").count():
            self.press("button[value=sms]")
            self.seen.remove("idp.approve")
            return
        code = self.inbox.texted_code(self.person.phone)
        if self.page.locator("[name=password]").count():
            self._submit(code=code, password=PASSWORD)
        else:
            self._submit(code=code)


@contextmanager
def new_walk(
    browser: Browser,
    urls: dict[str, str],
    person: Person,
    shots: Path,
    *,
    locale: str,
    scheme: Literal["dark", "light"] = "light",
) -> Iterator[Walk]:
    """A fresh browser profile in this language and colour scheme, for a person whom the register knows."""
    shots.mkdir(parents=True, exist_ok=True)
    context = browser.new_context(locale=locale, color_scheme=scheme, viewport={"width": 390, "height": 844})
    with httpx2.Client(timeout=30) as client:
        inbox = Inbox(client, urls["mailbox"], urls["phone"])
        walk = Walk(context.new_page(), person, inbox, urls["branch"], client, shots)
        walk.watch()
        yield walk
    context.close()


def known_person(urls: dict[str, str]) -> Person:
    """Somebody whom the register knows."""
    person = make_person(SystemRandomness(), SystemClock())
    httpx2.post(f"{urls['register']}/api/persons", json=person.as_json()).raise_for_status()
    return person


def sign_in_browser(urls: dict[str, str], walk: Walk, directory: Path) -> Path:
    """From the front page to the verified file; returns the signed document."""
    document = directory / "Pogodba o kreditu.pdf"
    document.write_bytes(make_contract(walk.person, SystemClock()))
    walk.page.goto(urls["sign"])
    walk.look()
    walk.press("main a.button")
    walk.to("sign.upload")
    walk.page.set_input_files("[name=document]", document)
    walk.press("main form button")
    walk.to("sign.document")
    walk.page.check("[name=kind][value=qualified]", force=True)
    walk.press("button[value=approve]")
    walk.to("sign.result")
    with walk.page.expect_download() as download:
        walk.page.locator("a[href$='/download']").first.click()
    signed = directory / "signed.pdf"
    download.value.save_as(signed)
    walk.page.goto(f"{urls['sign']}/signatures")
    walk.look()
    walk.page.goto(urls["validate"])
    walk.look()
    walk.page.set_input_files("input[type=file]", signed)
    walk.press("main form button")
    walk.look()
    return signed
