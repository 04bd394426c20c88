"""Whose name a certificate for logins may bear: the proven person behind an active account."""

from collections.abc import Callable
from datetime import date

import pytest

from tests.conftest import TokenFactory
from tests.idp.account_world import ORIGIN, AccountWorld
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.errors import NotFound, Refused
from tsp.core.randomness import Randomness
from tsp.core.sealing import Sealer
from tsp.idp.accounts import tables
from tsp.idp.accounts.assurance import DEFAULT, Proof
from tsp.idp.accounts.holder import certifiable
from tsp.idp.accounts.person import Person
from tsp.idp.accounts.service import Identity
from tsp.idp.accounts.verification import Verifications

ANA = Person("Ana", "Novak Žerjav", "50223054", date(1980, 5, 31))
Ask = Callable[[str], Identity]


@pytest.fixture
def token_and_world(
    database: Database, clock: SettableClock, randomness: Randomness, token_factory: TokenFactory
) -> tuple[Ask, AccountWorld]:
    """An account whose data agree with the register, and the question that the operator's command asks."""
    token = token_factory("identity")
    world = AccountWorld(database, clock, randomness, token)
    world.register.known.append(ANA)
    world.register_person()
    world.log_in()
    browser = world.browser()
    page = browser.get(f"{ORIGIN}/personal-data")
    page = world.answer(browser, browser.press(page, "send"), world.mailed_code()).expect("idp.personal-data")
    fields = {"given_name": ANA.given_name, "family_name": ANA.family_name, "tax_number": ANA.tax_number}
    browser.submit(page.form("tax_number").fill(**fields, date_of_birth="1980-05-31")).expect("idp.personal-data-done")

    def ask(account_id: str) -> Identity:
        sealer = Sealer(token.aead_key("personal-data"), randomness, "personal-data")
        with database.read() as session:
            return certifiable(session, sealer, token.hmac_key("index-hmac"), DEFAULT, account_id)

    return ask, world


def prove(world: AccountWorld) -> None:
    """As the identification key of a branch does."""
    verifications = Verifications(world.clock, world.randomness, world.write_down)
    with world.database.write() as session:
        verifications.add(session, world.account_id(), Proof.IDENTIFICATION_KEY)


@pytest.mark.requirement("CA-3")
def test_proven_person_is_named_as_in_signatures(token_and_world: tuple[Ask, AccountWorld]) -> None:
    ask, world = token_and_world
    prove(world)
    found = ask(world.account_id())
    with world.database.read() as session:
        assert found == world.wing.accounts.identity(session, world.account_id())
    assert (found.given_name, found.family_name, found.country) == ("Ana", "Novak Žerjav", "SI")


@pytest.mark.requirement("CA-3")
def test_who_is_not_proven_or_not_active_gets_none(token_and_world: tuple[Ask, AccountWorld]) -> None:
    ask, world = token_and_world
    with pytest.raises(NotFound, match="account-unknown"):
        ask("nobody")
    with pytest.raises(Refused, match="identity-not-proven"):
        ask(world.account_id())
    prove(world)
    account_id = world.account_id()
    with world.database.write() as session:
        account = session.get(tables.Account, account_id)
        assert account is not None
        account.state = "blocked"
    with pytest.raises(Refused, match="account-not-active"):
        ask(account_id)
