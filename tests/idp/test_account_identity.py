"""Personal data behind an e-mailed PIN, identification keys from a branch, and what they make of an account."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import pytest
from sqlalchemy import func, select
from starlette.testclient import TestClient

from sandbox.browser import Browser
from sandbox.page import Page
from tests.conftest import TokenFactory
from tests.idp.account_world import EMAIL, ORIGIN, AccountWorld, everything_in
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.errors import Refused, TooMany
from tsp.core.randomness import Randomness
from tsp.idp.accounts import tables
from tsp.idp.accounts.assurance import Level, Means
from tsp.idp.accounts.person import Person
from tsp.idp.accounts.service import AccountSession

ANA = Person("Ana", "Novak Žerjav", "50223054", date(1980, 5, 31))
FIELDS = {
    "given_name": "Ana",
    "family_name": "Novak Žerjav",
    "tax_number": "50223054",
    "date_of_birth": "1980-05-31",
}
OTHER = "eva.novak@primer.si"


@pytest.fixture
def world(
    database: Database, clock: SettableClock, randomness: Randomness, token_factory: TokenFactory
) -> AccountWorld:
    made = AccountWorld(database, clock, randomness, token_factory("identity"))
    made.register.known.append(ANA)
    made.register_person()
    made.log_in()
    return made


def _open_form(world: AccountWorld, browser: Browser, query: str = "", email: str = EMAIL) -> Page:
    page = browser.get(f"{ORIGIN}/personal-data{query}").expect("idp.personal-data-pin")
    page = browser.press(page, "send").expect("idp.personal-data-pin")
    return world.answer(browser, page, world.mailed_code(email)).expect("idp.personal-data")


def _fill(browser: Browser, page: Page, **changes: str) -> Page:
    return browser.submit(page.form("tax_number").fill(**{**FIELDS, **changes}))


def _confirm(world: AccountWorld) -> None:
    browser = world.browser()
    _fill(browser, _open_form(world, browser)).expect("idp.personal-data-done")


def _branch(world: AccountWorld, **changes: Any) -> Any:
    content = {
        **FIELDS,
        "document": {"kind": "identity-card", "number": "IE1234567"},
        "officer": "Referentka 7",
        **changes,
    }
    client = TestClient(world.app, base_url=ORIGIN)
    return client.post("/branch/identification-keys", json=content, headers={"authorization": "Bearer branch-token"})


def _key(world: AccountWorld, **changes: Any) -> str:
    answer = _branch(world, **changes)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["key"])


def _proofing(world: AccountWorld, email: str = EMAIL) -> tuple[Level, str | None]:
    account_id = world.account_id(email)
    with world.database.read() as session:
        found = world.wing.accounts.proofing(session, account_id)
        return found.level, found.verification_id


# --- personal data ------------------------------------------------------------------------------


@pytest.mark.requirement("ACC-3", "NOT-1")
def test_personal_data_that_agree_are_kept_and_raise_no_level(world: AccountWorld) -> None:
    browser = world.browser()
    page = browser.get(f"{ORIGIN}/personal-data").expect("idp.personal-data-pin")
    world.deliver()
    assert not any("PIN" in letter.subject for letter in world.mail.letters), "nothing is sent before Naprej"
    assert "a•••@primer.si" in page.words()
    page = _open_form(world, browser)
    assert page.heading == "Osebni podatki"
    page = _fill(browser, page).expect("idp.personal-data-done")
    assert "nizka" in page.words()
    level, verification = _proofing(world)
    assert level is Level.LOW
    assert verification is not None
    account_id = world.account_id()
    with world.database.read() as session:
        accounts = world.wing.accounts
        assert accounts.has_personal_data(session, account_id)
        identity = accounts.identity(session, account_id)
    assert identity is not None
    assert (identity.given_name, identity.family_name, identity.country) == ("Ana", "Novak Žerjav", "SI")
    assert (identity.tax_number, identity.date_of_birth) == ("50223054", date(1980, 5, 31))
    world.deliver()
    assert world.mail.letters[-1].subject == "Vašemu računu so dodani osebni podatki"
    assert ("identity-verified", "register-agreement") in [(k, p.get("method")) for k, p in world.events]
    assert "50223054" not in repr(world.events)


@pytest.mark.requirement("ACC-3")
def test_a_mismatch_rejects_with_one_clear_sentence_and_keeps_what_was_typed(world: AccountWorld) -> None:
    browser = world.browser()
    page = _fill(browser, _open_form(world, browser), date_of_birth="1980-05-30").expect("idp.personal-data")
    assert page.errors == ["Podatki se ne ujemajo z registrom. Preverite vse štiri in jih znova potrdite."]
    assert dict(page.form("tax_number").submission().fields)["family_name"] == "Novak Žerjav"
    account_id = world.account_id()
    with world.database.read() as session:
        assert not world.wing.accounts.has_personal_data(session, account_id)
        assert world.wing.accounts.identity(session, account_id) is None
    _fill(browser, page).expect("idp.personal-data-done")


@pytest.mark.requirement("ACC-3")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("given_name", "4n4"),
        ("family_name", " - "),
        ("tax_number", "50223055"),
        ("tax_number", "5022305"),
        ("date_of_birth", "2030-01-01"),
        ("date_of_birth", "31. 2. 1980"),
    ],
)
def test_what_cannot_be_right_is_not_asked_of_the_register(world: AccountWorld, field: str, value: str) -> None:
    browser = world.browser()
    page = _fill(browser, _open_form(world, browser), **{field: value}).expect("idp.personal-data")
    assert page.status == 400
    assert [e.get("id") for e in page.elements("//p[@class='error']")] == [f"{field}-error"]
    assert world.register.asked == 0


@pytest.mark.requirement("ACC-3")
def test_the_pin_is_needed_bound_to_the_session_and_the_form_closes(world: AccountWorld, clock: SettableClock) -> None:
    browser = world.browser()
    page = _open_form(world, browser)
    world.log_in(session_id="session-2")
    _fill(browser, page).expect("idp.personal-data-pin")
    world.log_in(session_id="session-1")
    clock.advance(minutes=15)
    page = _fill(browser, page).expect("idp.personal-data-pin")
    assert world.register.asked == 0


@pytest.mark.requirement("ACC-3")
def test_a_wrong_pin_opens_nothing(world: AccountWorld, clock: SettableClock) -> None:
    browser = world.browser()
    page = browser.press(browser.get(f"{ORIGIN}/personal-data/pin"), "send")
    pin = world.mailed_code()
    page = world.answer(browser, page, f"{(int(pin) + 1) % 1_000_000:06d}").expect("idp.personal-data-pin")
    assert page.errors == ["Koda ni pravilna. Preverite jo in jo vpišite znova."]
    browser.get(f"{ORIGIN}/personal-data").expect("idp.personal-data-pin")
    page = browser.press(page, "resend").expect("idp.personal-data-pin")
    assert page.status == 429
    clock.advance(minutes=5)
    page = world.answer(browser, page, pin).expect("idp.personal-data-pin")
    page = browser.press(page, "resend")
    world.answer(browser, page, world.mailed_code()).expect("idp.personal-data")


@pytest.mark.requirement("ACC-3", "REG-5")
def test_a_person_has_one_verified_account(world: AccountWorld) -> None:
    _confirm(world)
    world.register_person(OTHER)
    world.log_in(OTHER, "session-2")
    browser = world.browser()
    page = _fill(browser, _open_form(world, browser, email=OTHER)).expect("idp.personal-data")
    assert "Ti podatki že pripadajo preverjenemu računu" in page.errors[0]
    account_id = world.account_id(OTHER)
    with world.database.read() as session:
        assert not world.wing.accounts.has_personal_data(session, account_id)


@pytest.mark.requirement("ACC-3", "REG-5")
def test_five_accounts_with_the_same_person_at_once_make_one_verified(world: AccountWorld) -> None:
    sessions: list[AccountSession] = []
    for number in range(5):
        email = f"oseba{number}@primer.si"
        world.register_person(email)
        account = world.log_in(email, f"many-{number}")
        world.wing.personal_data.send_pin(account)
        world.wing.personal_data.open_form(account, world.mailed_code(email))
        sessions.append(account)

    def enter(account: AccountSession) -> str:
        try:
            world.wing.personal_data.enter(account, ANA)
        except Exception as error:  # noqa: BLE001  (each outcome is looked at below)
            return getattr(error, "code", repr(error))
        return "ok"

    with ThreadPoolExecutor(5) as pool:
        outcomes = list(pool.map(enter, sessions))
    assert sorted(outcomes) == ["ok", *["person-has-account"] * 4]


@pytest.mark.requirement("ACC-3")
def test_confirmed_data_stay_as_they_are(world: AccountWorld) -> None:
    browser = world.browser()
    form = _open_form(world, browser)
    _fill(browser, form).expect("idp.personal-data-done")
    _fill(browser, form, given_name="Eva").expect("idp.personal-data-done")
    browser.get(f"{ORIGIN}/personal-data/pin").expect("idp.personal-data-done")
    assert world.register.asked == 1


@pytest.mark.requirement("ACC-3", "SEC-2")
def test_the_register_is_no_oracle(world: AccountWorld, clock: SettableClock) -> None:
    browser = world.browser()
    page = _open_form(world, browser)
    for day in range(1, 6):
        page = _fill(browser, page, date_of_birth=f"1981-01-0{day}").expect("idp.personal-data")
    page = _fill(browser, page).expect("idp.personal-data")
    assert page.status == 429
    assert "Preveč poskusov" in page.errors[0]
    assert world.register.asked == 5
    clock.advance(minutes=5)
    _fill(browser, page).expect("idp.personal-data-done")


@pytest.mark.requirement("ACC-3")
def test_a_silent_register_costs_no_attempt_and_nothing_is_lost(world: AccountWorld) -> None:
    browser = world.browser()
    page = _open_form(world, browser)
    world.register.silent = True
    for _ in range(7):
        page = _fill(browser, page).expect("idp.personal-data")
        assert page.status == 503
    world.register.silent = False
    _fill(browser, page).expect("idp.personal-data-done")


@pytest.mark.requirement("ACC-3", "LOG-5")
def test_the_service_is_taken_up_again_after_the_data_and_after_cancelling(world: AccountWorld) -> None:
    browser = world.browser()
    page = _open_form(world, browser, "?request=parked-3")
    assert "Elektronska banka" in page.words()
    browser.press(page, "cancel").expect("idp.resumed")
    page = _fill(browser, browser.get(f"{ORIGIN}/personal-data?request=parked-3")).expect("idp.resumed")
    assert browser.trail[-1] == f"{ORIGIN}/authorize/resume?request=parked-3"
    page = browser.get(f"{ORIGIN}/identification-key?request=parked-3").expect("idp.identification-key")
    browser.press(page, "cancel").expect("idp.resumed")


@pytest.mark.parametrize("path", ["/personal-data", "/personal-data/pin", "/identification-key"])
def test_nobody_gets_in_without_a_login(world: AccountWorld, path: str) -> None:
    browser = world.browser()
    page = _open_form(world, browser)
    token = dict(page.form("tax_number").fill(**FIELDS).submission().fields)["csrf_token"]
    world.session = None
    client = browser._client
    assert client.get(ORIGIN + path).status_code == 401
    posted = client.post(ORIGIN + path, data={**FIELDS, "csrf_token": token}, headers={"origin": ORIGIN})
    assert posted.status_code == 401


# --- identification keys ------------------------------------------------------------------------


@pytest.mark.requirement("ACC-4", "NOT-1")
def test_a_key_from_the_branch_raises_the_level(world: AccountWorld) -> None:
    _confirm(world)
    before = _proofing(world)[1]
    key = _key(world)
    assert [len(part) for part in key.split("-")] == [4, 4, 4]
    browser = world.browser()
    page = browser.get(f"{ORIGIN}/identification-key").expect("idp.identification-key")
    typed = f" {key.replace('-', ' ').lower()} "
    page = browser.submit(page.form("identification_key").fill(identification_key=typed))
    assert "srednja" in page.expect("idp.identification-key-done").words()
    level, verification = _proofing(world)
    assert level is Level.SUBSTANTIAL
    assert verification not in (None, before)
    policy = world.wing.accounts.policy
    assert policy.acr(level, [Means.PASSWORD, Means.SMS_CODE]) is Level.SUBSTANTIAL
    assert policy.acr(level, [Means.PASSWORD]) is Level.LOW
    world.deliver()
    assert "zdaj: srednja" in world.mail.letters[-1].text


@pytest.mark.requirement("ACC-4")
def test_a_key_is_good_once_and_only_for_its_person(world: AccountWorld) -> None:
    _confirm(world)
    wing, account = world.wing, world.log_in()
    for changes, code in (
        ({"given_name": "Eva"}, "identification-key-mismatch"),
        ({"tax_number": "15012557"}, "identification-key-mismatch"),
        ({"date_of_birth": "1980-05-30"}, "identification-key-mismatch"),
    ):
        with pytest.raises(Refused) as refusal:
            wing.identification.redeem(account, _key(world, **changes))
        assert refusal.value.code == code
    key = _key(world, given_name="ANA", family_name="Novak  Žerjav")
    assert wing.identification.redeem(account, key) is Level.SUBSTANTIAL
    with pytest.raises(Refused, match="identification-key-wrong"):
        wing.identification.redeem(account, key)


@pytest.mark.requirement("ACC-4")
def test_a_key_that_another_person_tried_stays_good_for_its_own(world: AccountWorld) -> None:
    eva = Person("Eva", "Kralj", "15012557", date(1990, 1, 1))
    world.register.known.append(eva)
    world.register_person(OTHER)
    thief = world.log_in(OTHER, "session-2")
    world.wing.personal_data.send_pin(thief)
    world.wing.personal_data.open_form(thief, world.mailed_code(OTHER))
    world.wing.personal_data.enter(thief, eva)
    owner = world.log_in()
    _confirm(world)
    key = _key(world)
    with pytest.raises(Refused, match="identification-key-mismatch"):
        world.wing.identification.redeem(thief, key)
    assert world.wing.identification.redeem(owner, key) is Level.SUBSTANTIAL


@pytest.mark.requirement("ACC-4")
def test_a_key_expires_and_needs_confirmed_data(world: AccountWorld, clock: SettableClock) -> None:
    browser = world.browser()
    browser.get(f"{ORIGIN}/identification-key").expect("idp.personal-data-pin")
    account = world.log_in()
    with pytest.raises(Refused, match="personal-data-missing"):
        world.wing.identification.redeem(account, _key(world))
    _confirm(world)
    key = _key(world)
    clock.advance(days=30)
    with pytest.raises(Refused, match="identification-key-wrong"):
        world.wing.identification.redeem(account, key)
    clock.advance(days=30, seconds=1)
    assert world.wing.accounts.sweep() >= 1
    with world.database.read() as session:
        assert session.scalar(select(func.count()).select_from(tables.IdentificationKey)) == 0


@pytest.mark.requirement("ACC-4", "SEC-2")
def test_keys_cannot_be_guessed_at_will(world: AccountWorld, clock: SettableClock) -> None:
    _confirm(world)
    account, key = world.log_in(), _key(world)
    for number in range(5):
        with pytest.raises(Refused, match="identification-key-wrong"):
            world.wing.identification.redeem(account, f"AAAA-AAAA-AAA{number}")
    with pytest.raises(TooMany):
        world.wing.identification.redeem(account, key)
    page = world.browser().get(f"{ORIGIN}/identification-key")
    browser = world.browser()
    page = browser.get(f"{ORIGIN}/identification-key")
    page = browser.submit(page.form("identification_key").fill(identification_key=key))
    assert page.expect("idp.identification-key").status == 429
    clock.advance(minutes=1)
    assert world.wing.identification.redeem(account, key) is Level.SUBSTANTIAL


@pytest.mark.requirement("ACC-4")
def test_of_five_contenders_for_one_key_one_wins(world: AccountWorld) -> None:
    _confirm(world)
    account, key = world.log_in(), _key(world)

    def redeem(_: int) -> str:
        try:
            world.wing.identification.redeem(account, key)
        except Refused as error:
            return error.code
        return "ok"

    with ThreadPoolExecutor(5) as pool:
        outcomes = list(pool.map(redeem, range(5)))
    assert outcomes.count("ok") == 1
    assert outcomes.count("identification-key-wrong") == 4
    with world.database.read() as session:
        assert len(tables.verifications(session, account.account_id)) == 2


@pytest.mark.requirement("ACC-4", "SEC-1")
def test_a_key_and_its_person_are_not_in_the_database_in_clear(world: AccountWorld, database: Database) -> None:
    key = _key(world).replace("-", "")
    dump = everything_in(database)
    for secret in (key, "Žerjav", "50223054", "IE1234567"):
        assert secret not in dump
        assert secret.encode().hex() not in dump.lower()


# --- the branch's interface ---------------------------------------------------------------------


@pytest.mark.requirement("ACC-4")
def test_the_branch_gets_a_key_and_its_end(world: AccountWorld) -> None:
    answer = _branch(world)
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["expires_at"] == "2026-12-23T10:00:00Z"
    with world.database.read() as session:
        row = session.scalars(select(tables.IdentificationKey)).one()
        assert (row.organisation, row.officer) == ("banka", "Referentka 7")
    assert world.events[-1][0] == "identification-key-issued"


@pytest.mark.requirement("ACC-4")
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"tax_number": "50223055"}, "tax_number-invalid"),
        ({"given_name": ""}, "given_name-invalid"),
        ({"date_of_birth": "31.5.1980"}, "request-malformed"),
        ({"date_of_birth": "1980-02-31"}, "date_of_birth-invalid"),
        ({"document": {"kind": "library-card", "number": "123"}}, "request-malformed"),
        ({"document": None}, "request-malformed"),
        ({"officer": ""}, "request-malformed"),
        ({"surplus": "x"}, "request-malformed"),
        ({"officer": "x" * 20_000}, "request-too-large"),
    ],
)
def test_a_request_that_is_not_right_is_refused_by_name(
    world: AccountWorld, changes: dict[str, Any], code: str
) -> None:
    answer = _branch(world, **changes)
    assert answer.status_code == 400
    assert answer.json()["error"] == code
    assert "50223055" not in answer.text


@pytest.mark.requirement("ACC-4", "SEC-2")
def test_without_a_good_token_there_is_no_key(world: AccountWorld) -> None:
    client = TestClient(world.app, base_url=ORIGIN)
    for headers in ({}, {"authorization": "Bearer another"}):
        answer = client.post("/branch/identification-keys", json={}, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith('Bearer error="invalid_token"')
    garbage = client.post(
        "/branch/identification-keys", content=b"\xff{", headers={"authorization": "Bearer branch-token"}
    )
    assert (garbage.status_code, garbage.json()["error"]) == (400, "request-malformed")
