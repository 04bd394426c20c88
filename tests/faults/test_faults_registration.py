"""The identity provider killed at any step of a registration: an account with all that belongs to it, or nothing."""

import json
from pathlib import Path

import pytest
from sqlalchemy import func, select

from sandbox.page import Form, Page, PageError
from tests.conftest import TokenFactory
from tests.faults.account_worker import ANA, LoggedWorld, MortalFace
from tests.idp.account_world import EMAIL, ORIGIN, PASSWORD, PHONE
from tests.zygote import Zygote
from tsp.audit.tables import Entry
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.idp.accounts import tables
from tsp.idp.accounts.assurance import Level, Proof
from tsp.idp.accounts.steps import IdentityStep, RegistrationStep
from tsp.idp.credentials.gate import Factor
from tsp.idp.credentials.tables import OneTimeCode
from tsp.notify.tables import Message

FORM = {"email": EMAIL, "password": PASSWORD, "password_again": PASSWORD, "phone": PHONE, "terms": True}
DATA = json.loads(ANA.to_json())


class House:
    """The provider, a person in front of it, and what is in its tables."""

    def __init__(self, world: LoggedWorld, face: MortalFace) -> None:
        self.world, self.face = world, face
        self.browser = face.browser()
        self.puk = self.key = ""
        self.patient = True

    def send(self, form: Form, button: str = "") -> Page:
        """Sends a form; where no answer comes, sends it again, as a browser does when the page is loaded anew."""
        try:
            return self.browser.submit(form, button)
        except PageError:
            self.world.deliver()
            self.world.clock.advance(seconds=1)
            if not self.patient:
                raise
            page = self.browser.submit(form, button)
            assert page.errors == [], "the second try must find what the first one left"
            return page

    def step(self, page: Page) -> Page:
        """What this page asks for."""
        match page.name:
            case "idp.register":
                return self.send(page.form("email").fill(**FORM))
            case "idp.register-email":
                return self.send(page.form("code").fill(code=self.world.mailed_code()))
            case "idp.register-sms":
                return self.send(page.form("code").fill(code=self.world.texted_code()))
            case "idp.register-puk":
                self.puk = page.text("puk")
                return self.send(page.form("acknowledged").fill(acknowledged=True))
            case "idp.personal-data-pin" if not page.has_form("code"):
                return self.send(page.form("send"), "send")
            case "idp.personal-data-pin":
                return self.send(page.form("code").fill(code=self.world.mailed_code()))
            case "idp.personal-data":
                return self.send(page.form("tax_number").fill(**DATA))
            case "idp.personal-data-done":
                return self.browser.get(f"{ORIGIN}/identification-key")
            case "idp.identification-key":
                return self.send(page.form("identification_key").fill(identification_key=self.key))
        raise AssertionError(page.describe("nothing to do here"))

    def walk(self, path: str, end: str) -> None:
        page = self.browser.get(ORIGIN + path)
        for _ in range(12):
            if page.name == end:
                return
            page = self.step(page)
        raise AssertionError(page.describe(f"never came to {end}"))

    def count(self, table: type, **values: object) -> int:
        with self.world.database.read() as session:
            return session.scalar(select(func.count()).select_from(table).filter_by(**values)) or 0


@pytest.fixture
def world(database: Database, clock: SettableClock, token_factory: TokenFactory) -> LoggedWorld:
    return LoggedWorld(database, clock, token_factory("identity"))


def house_of(world: LoggedWorld, zygote: Zygote, directory: Path, step: str) -> House:
    return House(world, MortalFace(world, zygote, directory, step))


def check_whole_account(house: House) -> None:
    """One account with everything that belongs to it, told once, and nothing of a registration besides."""
    world = house.world
    world.deliver()
    accounts = world.wing.accounts
    account = accounts.check_password(EMAIL, PASSWORD)
    assert account.active
    attempt = accounts.gate.attempt((Factor.PUK, account.id))
    with world.database.write() as session:
        assert accounts.puks.check(session, attempt, account.id, house.puk)
    with world.database.read() as session:
        assert [phone.masked[-3:] for phone in accounts.phones(session, account.id)] == [PHONE[-3:]]
    assert [house.count(table) for table in (tables.Account, tables.AccountEmail, tables.AccountPhone)] == [1, 1, 1]
    assert house.count(Entry, kind="account-created") == 1
    assert house.count(Message, purpose="account-created") == 1
    world.clock.advance(minutes=121)
    accounts.sweep()
    assert [house.count(table) for table in (tables.Registration, OneTimeCode)] == [0, 0]


@pytest.mark.requirement("REG-1")
@pytest.mark.parametrize("step", RegistrationStep)
def test_a_registration_killed_at_any_step_goes_on(
    world: LoggedWorld, zygote: Zygote, tmp_path: Path, step: RegistrationStep
) -> None:
    house = house_of(world, zygote, tmp_path, step)
    house.walk("/register?request=parked-1", "idp.register-done")
    assert house.face.killed == 1
    assert house.browser.get(f"{ORIGIN}/register/done").links("/authorize/resume?request=parked-1")
    check_whole_account(house)


@pytest.mark.requirement("REG-1")
@pytest.mark.parametrize("step", RegistrationStep)
def test_after_a_kill_the_same_address_and_number_can_register_from_the_start(
    world: LoggedWorld, zygote: Zygote, tmp_path: Path, step: RegistrationStep
) -> None:
    house = house_of(world, zygote, tmp_path, step)
    house.patient = False
    with pytest.raises(PageError):
        house.walk("/register", "idp.register-done")
    assert house.face.killed == 1
    assert house.count(tables.Account) == (step is RegistrationStep.CREATED)
    house.browser = house.face.browser()
    if step is RegistrationStep.CREATED:
        house.step(house.browser.get(f"{ORIGIN}/register")).expect("idp.register-email")
        world.deliver()
        assert "že imate" in world.mail.letters[-1].subject
    else:
        house.walk("/register", "idp.register-done")
    check_whole_account(house)


@pytest.mark.requirement("ACC-3", "ACC-4")
@pytest.mark.parametrize("step", IdentityStep)
def test_proofs_of_identity_killed_at_any_step_count_once(
    world: LoggedWorld, zygote: Zygote, tmp_path: Path, step: IdentityStep
) -> None:
    world.register_person()
    world.deliver()
    account = world.log_in()
    house = house_of(world, zygote, tmp_path, step)
    house.key = world.branch_key()
    house.walk("/personal-data", "idp.identification-key-done")
    assert house.face.killed == 1
    assert world.wing.personal_data.confirmed(account) == ANA
    assert world.wing.identification.level(account) is Level.SUBSTANTIAL
    assert house.count(tables.PersonalData) == 1
    methods = (Proof.REGISTER, Proof.IDENTIFICATION_KEY)
    assert [house.count(tables.IdentityVerification, method=method) for method in methods] == [1, 1]
    assert house.count(Entry, kind="identity-verified") == 2
    told = ("personal-data-confirmed", "level-raised")
    assert [house.count(Message, purpose=purpose) for purpose in told] == [1, 1]
