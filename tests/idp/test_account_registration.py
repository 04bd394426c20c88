"""The registration wizard, driven by forms as a browser without JavaScript sends them."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from sandbox.browser import Browser
from sandbox.page import Page
from tests.conftest import TokenFactory
from tests.idp.account_world import EMAIL, ORIGIN, PASSWORD, PHONE, AccountWorld, everything_in
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.errors import Conflict, Refused
from tsp.core.randomness import Randomness
from tsp.idp.accounts import tables
from tsp.idp.accounts.pages import COOKIE
from tsp.idp.accounts.service import AccountSession
from tsp.idp.credentials.gate import Factor
from tsp.idp.credentials.keys import Index
from tsp.idp.credentials.tables import OneTimeCode


@pytest.fixture
def world(
    database: Database, clock: SettableClock, randomness: Randomness, token_factory: TokenFactory
) -> AccountWorld:
    return AccountWorld(database, clock, randomness, token_factory("identity"))


def _accounts(world: AccountWorld) -> int:
    with world.database.read() as session:
        return session.scalar(select(func.count()).select_from(tables.Account)) or 0


def _begin(world: AccountWorld, browser: Browser, **changes: str | bool) -> Page:
    return world.fill_in(browser, browser.get(f"{ORIGIN}/register"), **changes)


def _at_sms(world: AccountWorld, browser: Browser) -> Page:
    page = _begin(world, browser).expect("idp.register-email")
    return world.answer(browser, page, world.mailed_code()).expect("idp.register-sms")


def _at_puk(world: AccountWorld, browser: Browser) -> Page:
    page = _at_sms(world, browser)
    return world.answer(browser, page, world.texted_code()).expect("idp.register-puk")


@pytest.mark.requirement("REG-1", "REG-3", "REG-4")
def test_the_whole_wizard_makes_one_account_and_leads_to_the_service(world: AccountWorld) -> None:
    browser = world.browser()
    page = browser.get(f"{ORIGIN}/register?request=parked-1").expect("idp.register")
    assert page.heading == "Ustvari račun"
    assert "Elektronska banka" in page.words()
    page = world.fill_in(browser, page).expect("idp.register-email")
    page = world.answer(browser, page, world.mailed_code()).expect("idp.register-sms")
    page = world.answer(browser, page, world.texted_code()).expect("idp.register-puk")
    puk = page.text("puk")
    assert len(puk) == 8
    assert puk.isalnum()
    assert _accounts(world) == 0, "nothing is an account before the tick"
    page = browser.submit(page.form("acknowledged").fill(acknowledged=True)).expect("idp.register-done")
    assert page.links("/authorize/resume") == [f"{ORIGIN}/authorize/resume?request=parked-1"]
    assert "Na storitev" in page.words()
    account = world.wing.accounts.check_password(EMAIL, PASSWORD)
    assert account.active
    assert account.language == "sl"
    assert [kind for kind, _ in world.events] == ["account-created"]
    assert EMAIL not in repr(world.events)
    with world.database.read() as session:
        assert not world.wing.accounts.needs_puk(session, account.id)
        assert [phone.masked for phone in world.wing.accounts.phones(session, account.id)] == ["••• ••• 456"]


@pytest.mark.requirement("REG-2")
def test_the_strength_of_the_password_is_shown(world: AccountWorld) -> None:
    weak, strong = world.browser(), world.browser()
    page = _begin(world, weak, password="Aaaa-1234", password_again="Aaaa-1234")
    assert "Vaše geslo je srednje močno." in page.expect("idp.register-email").words()
    long = "Modra-Skleda7-in-rdeč-vrč"
    page = _begin(world, strong, email="eva@primer.si", password=long, password_again=long)
    assert "Vaše geslo je zelo močno." in page.expect("idp.register-email").words()


@pytest.mark.requirement("REG-1", "NOT-1")
def test_messages_are_in_the_persons_language_and_the_owner_is_told_of_the_account(world: AccountWorld) -> None:
    world.register_person()
    world.deliver()
    code, notice = (letter for letter in world.mail.letters if letter.to == EMAIL)
    assert code.subject == "Potrditvena koda za račun Enkrat"
    assert "Velja 5 minut." in code.text
    assert notice.subject == "Vaš račun Enkrat je ustvarjen"
    assert "enkratno geslo" in world.sms.letters[0].text
    english = world.browser("en")
    _begin(world, english, email="john.smith@example.com")
    world.deliver()
    assert world.mail.letters[-1].subject == "Confirmation code for the account Enkrat"
    assert "It is valid for 5 minutes." in world.mail.letters[-1].text


@pytest.mark.requirement("REG-1", "REG-2")
@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"email": "ana@"}, "email", "Preverite e-naslov"),
        ({"password": "kratko", "password_again": "kratko"}, "password", "Geslo ne sme biti krajše od 8 znakov"),
        ({"password": "Geslo123!", "password_again": "Geslo124!"}, "password_again", "Gesli se ne ujemata"),
        ({"password": "Password1!", "password_again": "Password1!"}, "password", "lahko uganiti"),
        ({"phone": "01 234 56 78"}, "phone", "Preverite številko mobilnega telefona"),
        ({"phone": "12"}, "phone", "Preverite številko mobilnega telefona"),
        ({"terms": False}, "terms", "Pogoji uporabe"),
    ],
)
def test_what_is_wrong_is_said_beside_its_field_and_the_rest_is_kept(
    world: AccountWorld, changes: dict[str, str | bool], field: str, sentence: str
) -> None:
    browser = world.browser()
    form = browser.get(f"{ORIGIN}/register").form("email")
    values: dict[str, str | bool] = {
        "email": EMAIL,
        "password": PASSWORD,
        "password_again": PASSWORD,
        "phone": PHONE,
        "terms": True,
        **changes,
    }
    submission = form.fill(**values)
    submission.element.set("novalidate", "")  # the browser's own check is not what is tested
    page = browser.submit(submission).expect("idp.register")
    assert page.status == 400
    (error,) = page.elements(f"//*[@id='{field}-error']")
    assert sentence in (error.text or "")
    again = dict(_sent(page))
    assert again["email"] == values["email"]
    assert again["phone"] == values["phone"]
    world.deliver()
    assert not world.mail.letters


def _sent(page: Page) -> list[tuple[str, str]]:
    form = page.form("email")
    form.element.set("novalidate", "")
    return form.submission().fields


@pytest.mark.requirement("REG-6")
def test_a_password_that_was_right_need_not_be_typed_again_after_another_error(world: AccountWorld) -> None:
    browser = world.browser()
    page = _begin(world, browser, phone="01 234 56 78").expect("idp.register")
    assert PASSWORD not in page.words()
    page = world.fill_in(browser, page, password="", password_again="").expect("idp.register-email")
    page = world.answer(browser, page, world.mailed_code())
    page = world.answer(browser, page, world.texted_code())
    browser.submit(page.form("acknowledged").fill(acknowledged=True)).expect("idp.register-done")
    assert world.wing.accounts.check_password(EMAIL, PASSWORD).active


@pytest.mark.requirement("REG-1")
def test_codes_are_forgiven_spaces_and_hyphens(world: AccountWorld) -> None:
    browser = world.browser()
    page = _begin(world, browser)
    code = world.mailed_code()
    page = world.answer(browser, page, f" {code[:3]} {code[3:]} ").expect("idp.register-sms")
    code = world.texted_code()
    world.answer(browser, page, f"{code[:3]}-{code[3:]}").expect("idp.register-puk")


@pytest.mark.requirement("REG-1")
def test_a_wrong_code_is_said_in_one_sentence_and_five_of_them_end_the_code(world: AccountWorld) -> None:
    browser = world.browser()
    page = _begin(world, browser)
    code = world.mailed_code()
    wrong = f"{(int(code) + 1) % 1_000_000:06d}"
    for _ in range(5):
        page = world.answer(browser, page, wrong).expect("idp.register-email")
        assert page.errors == ["Koda ni pravilna. Preverite jo in jo vpišite znova."]
    page = world.answer(browser, page, code).expect("idp.register-email")
    assert page.errors == ["Koda je bila prevečkrat napačno vpisana. Zahtevajte novo."]
    assert _accounts(world) == 0


@pytest.mark.requirement("REG-1", "REG-6")
def test_asking_again_waits_then_sends_a_new_code_and_the_old_one_dies(
    world: AccountWorld, clock: SettableClock
) -> None:
    browser = world.browser()
    page = _begin(world, browser)
    first = world.mailed_code()
    page = browser.press(page, "resend").expect("idp.register-email")
    assert page.status == 429
    assert "Počakajte" in page.errors[0]
    world.deliver()
    assert len(world.mail.letters) == 1
    clock.advance(seconds=30)
    page = browser.press(page, "resend").expect("idp.register-email")
    assert "Prejšnja ne velja več" in page.words()
    second = world.mailed_code()
    assert len(world.mail.letters) == 2
    if first != second:
        page = world.answer(browser, page, first).expect("idp.register-email")
    world.answer(browser, page, second).expect("idp.register-sms")


@pytest.mark.requirement("REG-1")
def test_a_code_dies_after_five_minutes(world: AccountWorld, clock: SettableClock) -> None:
    browser = world.browser()
    page = _begin(world, browser)
    code = world.mailed_code()
    clock.advance(minutes=5)
    page = world.answer(browser, page, code).expect("idp.register-email")
    assert page.errors == ["Ta koda ne velja več. Zahtevajte novo."]
    page = browser.press(page, "resend")
    world.answer(browser, page, world.mailed_code()).expect("idp.register-sms")


@pytest.mark.requirement("REG-6")
def test_a_code_that_does_not_come_is_explained_when_its_time_has_come(
    world: AccountWorld, clock: SettableClock
) -> None:
    browser = world.browser()
    page = _begin(world, browser)
    assert not page.elements("//details[@open]")
    assert "treh minutah" in page.words()
    assert "20 minutah" in page.words()
    assert "podpora@enkrat.test" in page.words()
    clock.advance(minutes=3)
    assert browser.get(f"{ORIGIN}/register/email").elements("//details[@open]")
    page = world.answer(browser, page, world.mailed_code()).expect("idp.register-sms")
    assert "petih minutah" in page.words()
    clock.advance(minutes=4, seconds=59)
    assert not browser.get(f"{ORIGIN}/register/sms").elements("//details[@open]")
    clock.advance(seconds=1)
    assert browser.get(f"{ORIGIN}/register/sms").elements("//details[@open]")


@pytest.mark.requirement("REG-6")
def test_going_back_to_correct_the_address_keeps_what_was_typed(world: AccountWorld) -> None:
    browser = world.browser()
    page = _begin(world, browser, email="anna.novak@primer.si").expect("idp.register-email")
    (back,) = page.links("/register")[:1]
    page = browser.get(back).expect("idp.register")
    fields = dict(_sent(page))
    assert fields["email"] == "anna.novak@primer.si"
    assert (fields["phone"], fields["phone_country"], fields["terms"]) == (PHONE, "+386", "yes")
    page = browser.submit(page.form("email").fill(email=EMAIL)).expect("idp.register-email")
    world.answer(browser, page, world.mailed_code(EMAIL)).expect("idp.register-sms")


@pytest.mark.requirement("REG-6")
def test_going_back_to_correct_the_number_does_not_ask_for_the_address_again(world: AccountWorld) -> None:
    browser = world.browser()
    _at_sms(world, browser)
    page = browser.get(f"{ORIGIN}/register").expect("idp.register")
    page = browser.submit(page.form("email").fill(phone="031 222 333")).expect("idp.register-sms")
    assert "+386 31 222 333" in page.words()
    world.deliver()
    old = world.texted_code("+38641123456")
    new = world.texted_code("+38631222333")
    if old != new:
        page = world.answer(browser, page, old).expect("idp.register-sms")
    world.answer(browser, page, new).expect("idp.register-puk")


@pytest.mark.requirement("REG-1")
@pytest.mark.parametrize("step", ["form", "email", "sms", "puk"])
def test_every_step_can_be_cancelled_and_leaves_nothing(world: AccountWorld, step: str) -> None:
    browser = world.browser()
    reach = {
        "form": lambda: browser.get(f"{ORIGIN}/register"),
        "email": lambda: _begin(world, browser),
        "sms": lambda: _at_sms(world, browser),
        "puk": lambda: _at_puk(world, browser),
    }
    browser.press(reach[step](), "cancel").expect("idp.home")
    with world.database.read() as session:
        assert session.scalar(select(func.count()).select_from(tables.Registration)) == 0
        assert session.scalar(select(func.count()).select_from(OneTimeCode)) == 0
    assert _accounts(world) == 0
    browser.get(f"{ORIGIN}/register/sms").expect("idp.register")


@pytest.mark.requirement("REG-1", "REG-4")
def test_cancelling_a_registration_from_a_service_takes_its_request_up_again(world: AccountWorld) -> None:
    browser = world.browser()
    page = world.fill_in(browser, browser.get(f"{ORIGIN}/register?request=parked-7"))
    browser.press(page, "cancel").expect("idp.resumed")
    assert browser.trail[-1] == f"{ORIGIN}/authorize/resume?request=parked-7"


@pytest.mark.requirement("REG-1")
def test_a_stranger_does_not_learn_that_an_address_has_an_account(world: AccountWorld) -> None:
    world.register_person()
    world.deliver()
    world.mail.letters.clear()
    taken, free = world.browser(), world.browser()
    first = _begin(world, taken).expect("idp.register-email")
    second = _begin(world, free, email="eva.novak@primer.si").expect("idp.register-email")
    assert first.words().replace(EMAIL, "@") == second.words().replace("eva.novak@primer.si", "@")
    world.deliver()
    to_owner, to_new = world.mail.letters
    assert to_owner.subject == "Račun Enkrat že imate"
    assert not any(word.isdigit() and len(word) == 6 for word in to_owner.text.split())
    assert to_new.subject == "Potrditvena koda za račun Enkrat"
    answers = [
        world.answer(browser, page, "000000" if world.mailed_code("eva.novak@primer.si") != "000000" else "111111")
        for browser, page in ((taken, first), (free, second))
    ]
    assert answers[0].errors == answers[1].errors
    assert {a.status for a in answers} == {403}


@pytest.mark.requirement("REG-1")
def test_no_code_is_ever_right_for_an_address_that_has_an_account(
    world: AccountWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.register_person()
    monkeypatch.setattr("tsp.idp.credentials.codes.new_digits", lambda _randomness, _length: "123456")
    browser = world.browser()
    page = _begin(world, browser)
    page = world.answer(browser, page, "123456").expect("idp.register-email")
    assert page.errors == ["Koda ni pravilna. Preverite jo in jo vpišite znova."]


@pytest.mark.requirement("REG-5")
def test_two_accounts_may_share_a_number(world: AccountWorld) -> None:
    world.register_person()
    world.register_person("eva.novak@primer.si")
    assert _accounts(world) == 2


@pytest.mark.requirement("REG-3")
def test_the_puk_has_to_be_acknowledged_and_is_not_shown_afterwards(world: AccountWorld) -> None:
    browser = world.browser()
    page = _at_puk(world, browser)
    puk = page.text("puk")
    form = page.form("acknowledged")
    form.element.set("novalidate", "")
    page = browser.submit(form).expect("idp.register-puk")
    assert page.errors == ["Kodo PUK prepišite in shranite na varno mesto, nato označite okence."]
    assert page.text("puk") == puk, "a page loaded again must not show another code than the one written down"
    page = browser.submit(page.form("acknowledged").fill(acknowledged=True)).expect("idp.register-done")
    for path in ("/register/puk", "/register/done", "/register"):
        assert puk not in browser.get(ORIGIN + path).words()


@pytest.mark.requirement("SEC-1")
def test_nothing_that_was_typed_or_shown_stands_in_the_database_in_clear(
    world: AccountWorld, database: Database
) -> None:
    browser = world.browser()
    page = _at_puk(world, browser)
    secrets = [page.text("puk"), PASSWORD, EMAIL, "41123456", "41 123 456"]
    browser.submit(page.form("acknowledged").fill(acknowledged=True)).expect("idp.register-done")
    dump = everything_in(database)
    for secret in secrets:
        assert secret not in dump
        assert secret.encode().hex() not in dump.lower()


@pytest.mark.requirement("REG-1")
def test_a_registration_that_is_left_alone_ends_after_an_hour(world: AccountWorld, clock: SettableClock) -> None:
    browser = world.browser()
    page = _at_sms(world, browser)
    clock.advance(minutes=60)
    page = world.answer(browser, page, "123456").expect("idp.register")
    assert "Začnite znova" in page.words()
    assert world.wing.accounts.sweep() >= 1
    with world.database.read() as session:
        assert session.scalar(select(func.count()).select_from(tables.Registration)) == 0


def test_pages_lead_to_the_step_that_is_due(world: AccountWorld) -> None:
    browser = world.browser()
    browser.get(f"{ORIGIN}/register/puk").expect("idp.register")
    _at_sms(world, browser)
    for path in ("/register/email", "/register/puk", "/register/done"):
        browser.get(ORIGIN + path).expect("idp.register-sms")


@pytest.mark.parametrize("reference", ["//evil.example", "https://evil.example", "a b", "x" * 200, "../up", "a&b=c"])
def test_only_an_opaque_reference_travels_along(world: AccountWorld, reference: str) -> None:
    browser = world.browser()
    page = browser.get(f"{ORIGIN}/register?request={reference.replace('&', '%26').replace(' ', '%20')}")
    assert dict(_sent(page))["request"] == ""


@pytest.mark.requirement("REG-1")
def test_two_registrations_of_one_address_make_one_account(world: AccountWorld) -> None:
    first, second = world.browser(), world.browser()
    one = _at_puk(world, first)
    two = _at_puk(world, second)
    first.submit(one.form("acknowledged").fill(acknowledged=True)).expect("idp.register-done")
    late = second.submit(two.form("acknowledged").fill(acknowledged=True)).expect("idp.error")
    assert "Račun s tem e-naslovom že obstaja" in late.words()
    assert _accounts(world) == 1


@pytest.mark.requirement("REG-1")
def test_five_presses_of_one_tick_make_one_account(world: AccountWorld) -> None:
    browser = world.browser()
    _at_puk(world, browser)
    token = browser._client.cookies[f"enkrat-idp-{COOKIE}"]
    start = threading.Barrier(5)

    def press() -> str:
        start.wait()
        try:
            return world.wing.registrations.acknowledge(token)
        except (Conflict, Refused) as error:
            return error.code

    with ThreadPoolExecutor(5) as pool:
        outcomes = [f.result() for f in [pool.submit(press) for _ in range(5)]]
    assert sorted(outcomes).count("registration-moved-on") == 4
    assert _accounts(world) == 1


@pytest.mark.requirement("REG-1", "OPS-2")
def test_five_registrations_of_one_address_at_once_make_one_account(world: AccountWorld) -> None:
    tokens = []
    for _ in range(5):
        browser = world.browser()
        _at_puk(world, browser)
        tokens.append(browser._client.cookies[f"enkrat-idp-{COOKIE}"])
    start = threading.Barrier(5)

    def acknowledge(token: str) -> str:
        start.wait()
        try:
            world.wing.registrations.acknowledge(token)
        except (Conflict, Refused) as error:
            return error.code
        return "made"

    with ThreadPoolExecutor(5) as pool:
        outcomes = list(pool.map(acknowledge, tokens))
    assert outcomes.count("made") == 1, outcomes
    assert _accounts(world) == 1


@pytest.mark.requirement("REG-1")
def test_messages_to_one_number_have_a_limit_that_a_used_code_lifts(world: AccountWorld, clock: SettableClock) -> None:
    browser = world.browser()
    page = _at_sms(world, browser)
    for _ in range(9):
        clock.advance(seconds=31)
        page = browser.press(page, "resend").expect("idp.register-sms")
        assert page.status == 200
    clock.advance(seconds=31)
    page = browser.press(page, "resend").expect("idp.register-sms")
    assert "Poslanih je bilo preveč sporočil" in page.errors[0]
    clock.advance(minutes=5)
    page = browser.press(page, "resend")
    assert page.status == 200
    world.answer(browser, page, world.texted_code()).expect("idp.register-puk")
    other = world.browser()
    page = _begin(world, other, email="eva.novak@primer.si")
    world.answer(other, page, world.mailed_code("eva.novak@primer.si")).expect("idp.register-sms")


@pytest.mark.requirement("REG-1", "LOG-2", "ACC-3")
def test_registrations_of_strangers_use_up_nobody_elses_messages(world: AccountWorld, clock: SettableClock) -> None:
    """Whoever registers with somebody's number or address must not keep the owner out of the account."""
    world.register_person()
    stranger = world.browser()
    page = _begin(world, stranger, email="tujec@primer.si")
    page = world.answer(stranger, page, world.mailed_code("tujec@primer.si")).expect("idp.register-sms")
    other = world.browser()
    mails = _begin(world, other)
    for _ in range(12):
        clock.advance(seconds=31)
        page, mails = stranger.press(page, "resend"), other.press(mails, "resend")
    assert (page.status, mails.status) == (429, 429)
    account_id = world.account_id()
    with world.database.write() as session:
        world.wing.accounts.send_login_code(session, account_id, "login", b"login", lambda code, _: f"Koda {code}")
    assert len(world.texted_code()) == 6
    world.wing.personal_data.send_pin(AccountSession(account_id, "s", clock.now(), ("pwd",), "low"))


@pytest.mark.requirement("REG-1")
def test_many_registrations_from_one_place_have_to_wait(world: AccountWorld, clock: SettableClock) -> None:
    here = Index(world.index_key).of("source", "testclient")
    for _ in range(100):
        world.wing.accounts.gate.attempt((Factor.REGISTRATION, here))
    browser = world.browser()
    assert _begin(world, browser).expect("idp.error").status == 429
    clock.advance(seconds=5)
    _begin(world, browser).expect("idp.register-email")


def test_the_journal_and_the_account_are_one_transaction(world: AccountWorld) -> None:
    browser = world.browser()
    page = _at_puk(world, browser)

    def refuse(*_arguments: object) -> None:
        raise Refused("journal-closed", "The journal is closed.")

    world.wing.registrations._journal = refuse  # type: ignore[assignment]
    browser.submit(page.form("acknowledged").fill(acknowledged=True)).expect("idp.error")
    assert _accounts(world) == 0
    world.wing.registrations._journal = lambda *_: None
    page = browser.get(f"{ORIGIN}/register/puk").expect("idp.register-puk")
    browser.submit(page.form("acknowledged").fill(acknowledged=True)).expect("idp.register-done")


def test_a_form_of_another_site_is_refused(world: AccountWorld) -> None:
    browser = world.browser()
    page = browser.get(f"{ORIGIN}/register")
    fields = dict(_sent(page)) | {"csrf_token": "x" * 43}
    answer = browser._client.post(f"{ORIGIN}/register", data=fields, headers={"origin": ORIGIN})
    assert answer.status_code == 403
