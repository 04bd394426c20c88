"""A person on the platform's public pages: on each page they do what the page asks of them.

A journey is a walk from page to page (`data-page`) until it reaches the page it wants. The order of
the pages is the platform's business; what a person does on each of them is written here once.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx2

from sandbox.browser import Browser
from sandbox.clock import Clock
from sandbox.inbox import Inbox
from sandbox.page import Page, PageError
from sandbox.people import Person

_MAX_PAGES = 60
#: How often a page that waits is looked at again, and the pause between two looks in seconds.
_MAX_LOOKS, _PAUSE = 40, 0.5
_WAITING = "sign.waiting"

Ids = dict[str, str]
Handler = Callable[[Page], Page]
Pause = Callable[[float], object]


class Refusal(Exception):
    """A server of the sandbox did not do its part; the message says which and why."""


@dataclass(frozen=True)
class Step:
    """One thing that the person did: its name, how long it took, and the ids that came up."""

    name: str
    seconds: float
    ids: Ids = field(default_factory=dict)


@dataclass
class Account:
    """What a person knows about their own account."""

    person: Person
    password: str
    puk: str = ""
    identification_key: str = ""


@dataclass
class Visitor:
    """A person with a browser, a mailbox and a phone. `report` hears of every step as it ends."""

    account: Account
    browser: Browser
    inbox: Inbox
    client: httpx2.Client
    branch: str
    clock: Clock
    report: Callable[[Step], object]
    pause: Pause

    def walk(self, page: Page, *goals: str) -> Page:
        """Goes on from `page` until one of the `goals` is reached.

        `PageError` where a page says that something is wrong, is not known, or leads round in a circle.
        """
        looks = 0
        for _ in range(_MAX_PAGES):
            if page.name in goals:
                return page
            looks += page.name == _WAITING
            if looks > _MAX_LOOKS:
                raise PageError(page.describe("waited long enough"))
            page = self.step(page)
        raise PageError(page.describe(f"no end after {_MAX_PAGES} pages on the way to {' or '.join(goals)}"))

    def step(self, page: Page) -> Page:
        """Does what this one page asks; `PageError` where it says that something is wrong, or is not known."""
        known = self._asked(page)
        if known is None or page.status >= 400:
            raise PageError(page.describe("stopped here"))
        name, handle = known
        return self.timed(name, lambda: handle(page), page)

    def timed(self, name: str, action: Callable[[], Page], page: Page | None = None) -> Page:
        """Runs one step and reports it with the ids that stand in the addresses before and after."""
        begun = self.clock.monotonic()
        reached = action()
        ids = {**(ids_of(page) if page else {}), **ids_of(reached)}
        self.report(Step(name, self.clock.monotonic() - begun, ids))
        return reached

    def _asked(self, page: Page) -> tuple[str, Handler] | None:
        """What this page asks of a person: the step's name, and how it is done. None for an unknown page."""
        match page.name:
            case "idp.login" if not self.account.puk:
                return "to the registration", self._to_registration
            case "idp.personal-data-pin" if page.has_form("send"):
                return "personal data: PIN asked for", self._ask_for_pin
            case "idp.approve" if not page.has_form("code"):
                return "approval: SMS asked for", self._choose_sms
            case name:
                return self._table().get(name)

    def _table(self) -> Mapping[str, tuple[str, Handler]]:
        return {
            "idp.register": ("registration: address, password, number", self._register),
            "idp.register-email": ("registration: code from the e-mail", self._mailed_code),
            "idp.register-sms": ("registration: code from the SMS", self._texted_code),
            "idp.register-puk": ("registration: PUK written down", self._puk),
            "idp.register-done": ("back to the service", self._onwards),
            "idp.login": ("login: password", self._log_in),
            "idp.choose": ("login: SMS asked for", self._choose_sms),
            "idp.code": ("login: code from the SMS", self._texted_code),
            "idp.expired": ("login begun again", self._start_again),
            "idp.level": ("a higher level is needed", self._raise_level),
            "idp.personal-data-pin": ("personal data: PIN from the e-mail", self._mailed_code),
            "idp.personal-data": ("personal data compared with the register", self._personal_data),
            "idp.personal-data-done": ("personal data confirmed", self._onwards),
            "idp.identification-key": ("identification key from the branch", self._identification_key),
            "idp.identification-key-done": ("level raised", self._onwards),
            "idp.consent": ("consent", self._consent),
            "idp.approve": ("approval: code from the SMS, signature made", self._approve),
            _WAITING: ("signature being made", self._wait),
        }

    # --- registration -----------------------------------------------------------------------------

    def _register(self, page: Page) -> Page:
        person, password = self.account.person, self.account.password
        form = page.form("email", "password_again", "phone").fill(
            email=person.email,
            password=password,
            password_again=password,
            phone_country=person.phone_country,
            phone=person.phone_national,
            terms=True,
        )
        return self.browser.submit(form)

    def _mailed_code(self, page: Page) -> Page:
        code = self.inbox.mailed_code(self.account.person.email)
        return self.browser.submit(page.form("code").fill(code=code))

    def _texted_code(self, page: Page) -> Page:
        code = self.inbox.texted_code(self.account.person.phone)
        return self.browser.submit(page.form("code").fill(code=code))

    def _puk(self, page: Page) -> Page:
        self.account.puk = page.text("puk")
        return self.browser.submit(page.form("acknowledged").fill(acknowledged=True))

    def _onwards(self, page: Page) -> Page:
        """The page's main link."""
        buttons = page.elements("//main//a[@href and contains(concat(' ', @class, ' '), ' button ')]")
        if not buttons:
            raise PageError(page.describe("no way on"))
        return self.browser.get(page.absolute(buttons[-1].get("href", "")))

    # --- login ------------------------------------------------------------------------------------

    def _to_registration(self, page: Page) -> Page:
        ways = page.links("/register")
        if not ways:
            raise PageError(page.describe("no way to the registration"))
        return self.browser.get(ways[0])

    def _log_in(self, page: Page) -> Page:
        form = page.form("email", "password").fill(email=self.account.person.email, password=self.account.password)
        return self.browser.submit(form)

    def _choose_sms(self, page: Page) -> Page:
        return self.browser.press(page, "method", "sms")

    def _start_again(self, page: Page) -> Page:
        return self.browser.submit(page.form("request"))

    def _consent(self, page: Page) -> Page:
        return self.browser.press(page, "decision", "allow")

    # --- the level of assurance -------------------------------------------------------------------

    def _raise_level(self, page: Page) -> Page:
        ways = page.links("/personal-data") or page.links("/identification-key")
        if not ways:
            raise PageError(page.describe("no way to a higher level"))
        return self.browser.get(ways[0])

    def _ask_for_pin(self, page: Page) -> Page:
        return self.browser.press(page, "send", "yes")

    def _personal_data(self, page: Page) -> Page:
        person = self.account.person
        form = page.form("given_name", "tax_number").fill(
            given_name=person.given_name,
            family_name=person.family_name,
            tax_number=person.tax_number,
            date_of_birth=person.date_of_birth,
        )
        return self.browser.submit(form)

    def _identification_key(self, page: Page) -> Page:
        self.account.identification_key = self._visit_branch()
        form = page.form("identification_key").fill(identification_key=self.account.identification_key)
        return self.browser.submit(form)

    def _visit_branch(self) -> str:
        """The key that the branch hands over for the person and their document."""
        person = self.account.person
        applicant = {
            "given_name": person.given_name,
            "family_name": person.family_name,
            "tax_number": person.tax_number,
            "date_of_birth": person.date_of_birth,
            "document": {"kind": person.document_kind, "number": person.document_number},
            "officer": "TEST Uslužbenka",
        }
        answer = post_json(self.client, f"{self.branch}/api/identification-keys", applicant)
        return str(answer["key"])

    # --- signature --------------------------------------------------------------------------------

    def _approve(self, page: Page) -> Page:
        """Types the code, and the password where the page wants it again."""
        code = self.inbox.texted_code(self.account.person.phone)
        form = page.form("code").fill(code=code)
        if "password" in form.names:
            form.fill(password=self.account.password)
        return self.browser.submit(form)

    def _wait(self, page: Page) -> Page:
        """Looks again after a pause; where the page offers to try again, tries again."""
        self.pause(_PAUSE)
        if page.has_form("action"):
            return self.browser.press(page, "action", "continue")
        return self.browser.get(page.url)


def post_json(client: httpx2.Client, url: str, body: object) -> dict[str, object]:
    """The JSON object that a server of the sandbox answers; `Refusal` with its reason otherwise."""
    try:
        answer = client.post(url, json=body)
        content = answer.json()
    except (httpx2.TransportError, ValueError) as error:
        raise Refusal(f"{url} does not answer as it should ({type(error).__name__})") from error
    if answer.status_code >= 400 or not isinstance(content, dict):
        raise Refusal(f"{url} answered {answer.status_code}: {content}")
    return content


def ids_of(page: Page) -> Ids:
    """The ids in a page's address: the login's and the document's."""
    found: Ids = {}
    if request := re.search(r"[?&]request=([A-Za-z0-9_.~-]+)", page.url):
        found["login"] = request[1]
    if document := re.match(r"/documents/([A-Za-z0-9_-]+)", urlsplit(page.url).path):
        found["document"] = document[1]
    return found
