"""The account half of the identity provider as a web application, with its neighbours played by the test.

The register is a set of persons, the post and the phone are lists; keys are in a real token.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from sqlalchemy import MetaData, select
from sqlalchemy.orm import Session
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

import hsm
from sandbox.browser import Browser
from sandbox.page import Page
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.errors import Refused, Unavailable
from tsp.core.outbound import Outbound
from tsp.core.randomness import Randomness
from tsp.core.sealing import Sealer
from tsp.core.steps import unwatched
from tsp.idp.accounts.branch import Branch
from tsp.idp.accounts.http import branch_routes
from tsp.idp.accounts.identification import Identification
from tsp.idp.accounts.identity_pages import identity_routes
from tsp.idp.accounts.notices import Notices
from tsp.idp.accounts.pages import registration_routes
from tsp.idp.accounts.person import Person
from tsp.idp.accounts.personal_data import PersonalDataEntry
from tsp.idp.accounts.register import Register
from tsp.idp.accounts.registration import Registrations
from tsp.idp.accounts.resume import Way
from tsp.idp.accounts.service import Accounts, AccountSession
from tsp.idp.accounts.texts import Texts
from tsp.idp.accounts.verification import Verifications
from tsp.idp.credentials.codes import Codes
from tsp.idp.credentials.gate import Gate
from tsp.idp.credentials.keys import Index
from tsp.idp.credentials.password import Cost, Passwords
from tsp.idp.credentials.puk import Puks
from tsp.notify.outbox import Outbox
from tsp.notify.runner import Runner
from tsp.notify.sending import Letter
from tsp.web import Languages, Pages

ORIGIN = "http://testserver"
EMAIL, PASSWORD, PHONE = "ana.novak@primer.si", "Modra-Skleda7", "041 123 456"
LANGUAGES = Languages()
CHEAP = Cost(passes=1, memory=8, lanes=1)


class PlayedRegister(Register):
    """Knows the persons in `known`; silent while `silent`."""

    def __init__(self) -> None:
        super().__init__("http://register.invalid", "token", Outbound())
        self.known: list[Person] = []
        self.silent = False
        self.asked = 0

    def agrees(self, person: Person) -> bool:
        self.asked += 1
        if self.silent:
            raise Unavailable("register-unavailable", "The register does not answer just now.")
        return any(person.same_as(known) for known in self.known)


@dataclass
class Postbox:
    """Everything that was sent, oldest first."""

    letters: list[Letter] = field(default_factory=list)

    def send(self, letter: Letter) -> None:
        self.letters.append(letter)


@dataclass(frozen=True)
class Wing:
    """The use cases of the account half."""

    accounts: Accounts
    registrations: Registrations
    personal_data: PersonalDataEntry
    identification: Identification
    branch: Branch


class AccountWorld:
    """One platform; `browser()` is a new person's browser, `session` who is logged in.

    `again` opens the keys that an earlier world made in the token; `on_step` is told of each step.
    """

    def __init__(
        self,
        database: Database,
        clock: SettableClock,
        randomness: Randomness,
        token: hsm.Token,
        *,
        again: bool = False,
        on_step: Callable[[StrEnum], None] = unwatched,
    ) -> None:
        self.database, self.clock, self.randomness = database, clock, randomness
        self.aead_key = token.aead_key if again else token.generate_aead_key
        self.hmac_key = token.hmac_key if again else token.generate_hmac_key
        self.on_step = on_step
        self.outbox_key = self.aead_key("outbox")
        self.index_key = self.hmac_key("index-hmac")
        self.register = PlayedRegister()
        self.events: list[tuple[str, dict[str, str]]] = []
        self.wing = _build(self)
        self.session: AccountSession | None = None
        self.mail, self.sms = Postbox(), Postbox()
        self.app = self._application()

    def write_down(self, _session: Session, kind: str, payload: Mapping[str, str]) -> None:
        """The audit log, played."""
        self.events.append((kind, dict(payload)))

    def _application(self) -> Starlette:
        pages = Pages(
            name="Enkrat",
            face="idp",
            origin=ORIGIN,
            support="podpora@enkrat.test",
            randomness=self.randomness,
            languages=LANGUAGES,
        )
        way = Way(service=lambda _request, reference: "Elektronska banka" if reference else "")
        return pages.application(
            [
                *registration_routes(pages, self.wing.registrations, self.clock, way),
                *identity_routes(
                    pages,
                    self.wing.personal_data,
                    self.wing.identification,
                    self.clock,
                    current_account=lambda _request: self.session,
                    log_in=lambda _request: PlainTextResponse("log in first", 401),
                    way=way,
                ),
                *branch_routes(self.wing.branch, _branch_of),
                Route("/", pages.view(lambda r: pages.render(r, "web/terms.html", page="idp.home"))),
                Route("/authorize/resume", pages.view(lambda r: pages.render(r, "web/terms.html", page="idp.resumed"))),
            ]
        )

    def browser(self, language: str = "sl") -> Browser:
        client = TestClient(self.app, base_url=ORIGIN, raise_server_exceptions=True)
        return Browser(client, language)

    # --- messages -------------------------------------------------------------------------------

    def deliver(self) -> None:
        """Sends everything that waits in the outbox."""
        sealer = Sealer(self.outbox_key, self.randomness, "outbox")
        senders = {"mail": self.mail, "sms": self.sms}
        runner = Runner(self.database, sealer, self.clock, self.randomness, senders)
        while runner.run_once():
            pass

    def mailed_code(self, to: str = EMAIL) -> str:
        """The code in the latest mail to this address."""
        self.deliver()
        return _latest_code(self.mail.letters, to)

    def texted_code(self, to: str = "+38641123456") -> str:
        """The code in the latest text message to this number."""
        self.deliver()
        return _latest_code(self.sms.letters, to)

    # --- people ---------------------------------------------------------------------------------

    def fill_in(self, browser: Browser, page: Page, **changes: str | bool) -> Page:
        """The first page of a registration, filled in and sent."""
        fields: dict[str, str | bool] = {
            "email": EMAIL,
            "password": PASSWORD,
            "password_again": PASSWORD,
            "phone_country": "+386",
            "phone": PHONE,
            "terms": True,
            **changes,
        }
        return browser.submit(page.form("email").fill(**fields))

    def answer(self, browser: Browser, page: Page, code: str) -> Page:
        """Types a code and presses the first button."""
        return browser.submit(page.form("code").fill(code=code))

    def register_person(self, email: str = EMAIL, phone: str = PHONE, reference: str = "") -> str:
        """Drives the whole wizard; the PUK."""
        browser = self.browser()
        number = f"+386{phone.replace(' ', '')[1:]}"
        page = browser.get(f"{ORIGIN}/register" + (f"?request={reference}" if reference else ""))
        page = self.fill_in(browser, page, email=email, phone=phone).expect("idp.register-email")
        page = self.answer(browser, page, self.mailed_code(email)).expect("idp.register-sms")
        page = self.answer(browser, page, self.texted_code(number)).expect("idp.register-puk")
        puk = page.text("puk")
        browser.submit(page.form("acknowledged").fill(acknowledged=True)).expect("idp.register-done")
        return puk

    def account_id(self, email: str = EMAIL) -> str:
        with self.database.read() as session:
            found = self.wing.accounts.find_by_email(session, email)
        assert found is not None
        return found.id

    def log_in(self, email: str = EMAIL, session_id: str = "session-1") -> AccountSession:
        """Makes this account the one that the identity pages see."""
        self.session = AccountSession(
            self.account_id(email), session_id, self.clock.now(), ("pwd", "sms"), "http://eidas.europa.eu/LoA/low"
        )
        return self.session


def _latest_code(letters: Sequence[Letter], to: str) -> str:
    """While the clock stands still, messages without a code may have been sent after it."""
    for letter in reversed(letters):
        found = re.search(r"\b\d{6}\b", letter.text)
        if letter.to == to and found is not None:
            return found[0]
    raise AssertionError(f"no code among {[letter.text for letter in letters if letter.to == to]}")


def _branch_of(request: Request) -> str:
    if request.headers.get("authorization") != "Bearer branch-token":
        raise Refused("token-invalid", "The access token is not valid.")
    return "banka"


def _build(world: AccountWorld) -> Wing:
    """The account half from real parts, but for its neighbours."""
    database, clock, randomness = world.database, world.clock, world.randomness
    code_key = world.hmac_key("code-hmac")
    index = Index(world.index_key)
    sealer = Sealer(world.aead_key("personal-data"), randomness, "personal-data")
    outbox = Outbox(Sealer(world.outbox_key, randomness, "outbox"), randomness, clock)
    gate = Gate(database, clock)
    codes = Codes(database, code_key, gate, clock, randomness)
    puks = Puks(code_key, gate, clock, randomness)
    passwords = Passwords(world.hmac_key("password-hmac"), clock, randomness, cost=CHEAP)
    texts = Texts(LANGUAGES, name="Enkrat", support="podpora@enkrat.test")
    notices = Notices(sealer, outbox)
    verifications = Verifications(clock, randomness, world.write_down)
    return Wing(
        accounts=Accounts(
            database=database,
            clock=clock,
            index=index,
            serial_key=world.index_key,
            sealer=sealer,
            gate=gate,
            passwords=passwords,
            codes=codes,
            puks=puks,
            outbox=outbox,
            notices=notices,
            verifications=verifications,
        ),
        registrations=Registrations(
            database=database,
            clock=clock,
            randomness=randomness,
            index=index,
            sealer=sealer,
            gate=gate,
            codes=codes,
            passwords=passwords,
            puks=puks,
            outbox=outbox,
            texts=texts,
            journal=world.write_down,
            on_step=world.on_step,
        ),
        personal_data=PersonalDataEntry(
            database=database,
            clock=clock,
            index=index,
            sealer=sealer,
            gate=gate,
            codes=codes,
            register=world.register,
            notices=notices,
            texts=texts,
            verifications=verifications,
            on_step=world.on_step,
        ),
        identification=Identification(
            database=database,
            clock=clock,
            index=index,
            sealer=sealer,
            gate=gate,
            notices=notices,
            texts=texts,
            verifications=verifications,
            on_step=world.on_step,
        ),
        branch=Branch(
            database=database,
            clock=clock,
            randomness=randomness,
            index=index,
            sealer=sealer,
            journal=world.write_down,
        ),
    )


def everything_in(database: Database) -> str:
    """Every value of every row that the database holds, octets in hexadecimal."""
    found = MetaData()
    found.reflect(database.engine)
    values: list[str] = []
    with database.engine.connect() as connection:
        for table in found.sorted_tables:
            for row in connection.execute(select(table)):
                values += [value.hex() if isinstance(value, bytes) else str(value) for value in row]
    assert values
    return "\n".join(values)
