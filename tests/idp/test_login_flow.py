"""A person signs in to a service: the pages, the clock, the consent, the session."""

from pathlib import Path

import pytest
from sqlalchemy import update

from tests.conftest import TokenFactory
from tests.idp.login_kit import (
    ISSUER,
    LOW,
    PASSWORD,
    SUBSTANTIAL,
    Answer,
    Party,
    Person,
    World,
    details,
    enter_data,
    make_world,
    raise_level,
    register,
    returned,
    send,
)
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.randomness import Randomness
from tsp.idp.accounts.tables import Account, AccountState


@pytest.fixture
def world(
    tmp_path: Path, database: Database, token_factory: TokenFactory, clock: SettableClock, randomness: Randomness
) -> World:
    return make_world(tmp_path, database, token_factory("identity"), clock, randomness)


@pytest.fixture
def person(world: World) -> Person:
    return register(world)


def claims_of(party: Party, answer: Answer) -> dict[str, object]:
    response = party.token(answer)
    assert response.status_code == 200, response.text
    return party.claims(response.json()["id_token"])


# --- the whole way ----------------------------------------------------------------------------------


@pytest.mark.requirement("LOG-1", "LOG-2", "LOG-4", "LOG-7", "OID-1")
def test_a_person_signs_in_to_a_service(world: World, person: Person) -> None:
    browser = world.browser()
    page, answer = person.visit(browser, world.portal, scope="openid email")
    assert "Preizkusni portal" in page.words()
    page = send(browser, page.expect("idp.login"), email=person.email, password=PASSWORD)
    assert "456" in page.words()
    assert "041" not in page.words()
    page = browser.press(page.expect("idp.choose"), "method", "sms")
    page = send(browser, page.expect("idp.code"), code=world.code())
    assert "ana@posta.test" in page.expect("idp.consent").words()
    browser.press(page, "decision", "allow")
    response = world.portal.token(returned(browser, answer))
    assert response.status_code == 200, response.text
    claims = world.portal.claims(response.json()["id_token"])
    assert claims["nonce"] == answer.nonce
    assert claims["amr"] == ["pwd", "sms", "mfa"]
    assert claims["acr"] == LOW
    assert claims["auth_time"] == claims["iat"] == int(world.clock.now().timestamp())
    bearer = {"authorization": f"Bearer {response.json()['access_token']}"}
    told = world.http.get(f"{ISSUER}/userinfo", headers=bearer).json()
    assert told == {"sub": claims["sub"], "email": "ana@posta.test", "email_verified": True}


@pytest.mark.requirement("LOG-1")
def test_the_login_page_names_the_service_its_support_and_its_terms_in_both_languages(world: World) -> None:
    for language, name, heading in (("sl", "Preizkusni portal", "Prijava"), ("en", "Test portal", "Sign in")):
        browser = world.browser()
        page = browser.get(world.portal.begin(ui_locales=language).url).expect("idp.login")
        assert page.heading == heading
        assert name in page.words()
        links = page.links()
        assert "mailto:pomoc@portal.test" in links
        assert "https://portal.test/pogoji" in links
        assert "https://portal.test/politika" in links
        assert any("/register?request=" in link for link in links)


@pytest.mark.requirement("LOG-2")
def test_a_login_text_names_the_service_and_its_code_is_the_only_one_that_counts(world: World, person: Person) -> None:
    browser = world.browser()
    page, answer = person.visit(browser, world.portal)
    page = send(browser, page, email=person.email, password=PASSWORD)
    page = browser.press(page, "method", "sms")
    assert "Preizkusni portal" in world.messages("sms")[-1]
    code = world.code()
    wrong = f"{(int(code) + 1) % 1_000_000:06d}"
    page = send(browser, page.expect("idp.code"), code=wrong)
    assert page.expect("idp.code").errors
    page = send(browser, page, code=f"{code[:3]} {code[3:]}")
    browser.press(page.expect("idp.consent"), "decision", "allow")
    assert returned(browser, answer).code


@pytest.mark.requirement("OID-1")
def test_a_signed_in_person_is_not_asked_again_and_has_another_mark_at_each_service(
    world: World, person: Person
) -> None:
    browser = world.browser()
    first = claims_of(world.portal, person.sign_in(browser, world.portal))
    world.clock.advance(minutes=5)
    page, answer = person.visit(browser, world.portal)
    again = claims_of(world.portal, returned(browser, answer))
    assert again["sub"] == first["sub"]
    assert again["auth_time"] == first["auth_time"] != again["iat"]
    page, answer = person.visit(browser, world.data)
    page = enter_data(person, browser, page)
    browser.press(page.expect("idp.consent"), "decision", "allow")
    assert claims_of(world.data, returned(browser, answer))["sub"] != first["sub"]


# --- the clock (LOG-3) ------------------------------------------------------------------------------


@pytest.mark.requirement("LOG-3")
def test_after_three_minutes_the_login_fails_and_one_press_starts_it_again(world: World, person: Person) -> None:
    browser = world.browser()
    page, answer = person.visit(browser, world.portal)
    assert page.elements("//*[@role='timer'][@data-deadline='180']")
    world.clock.advance(seconds=180)
    page = send(browser, page, email=person.email, password=PASSWORD)
    assert "3" in page.expect("idp.expired").words()
    page = send(browser, page, email=person.email)
    assert page.expect("idp.login").elements(f"//input[@name='email'][@value='{person.email}']")
    page = person.log_in(browser, page)
    browser.press(page.expect("idp.consent"), "decision", "allow")
    assert returned(browser, answer).code


@pytest.mark.requirement("LOG-3")
def test_every_step_of_a_login_is_under_the_clock(world: World, person: Person) -> None:
    browser = world.browser()
    page, _ = person.visit(browser, world.portal)
    world.clock.advance(seconds=60)
    page = send(browser, page, email=person.email, password=PASSWORD)
    world.clock.advance(seconds=60)
    page = browser.press(page.expect("idp.choose"), "method", "sms")
    assert page.expect("idp.code").elements("//*[@role='timer'][@data-deadline='60']")
    code = world.code()
    world.clock.advance(seconds=60)
    page = send(browser, page, code=code)
    page.expect("idp.expired")
    page = browser.submit(page.forms()[0])
    assert page.expect("idp.login").has_form("password")


@pytest.mark.requirement("LOG-3")
def test_consent_given_too_late_is_no_login_but_the_session_spares_the_codes(world: World, person: Person) -> None:
    browser = world.browser()
    page, answer = person.visit(browser, world.portal)
    page = person.log_in(browser, page).expect("idp.consent")
    world.clock.advance(seconds=181)
    page = browser.press(page, "decision", "allow").expect("idp.expired")
    page = browser.submit(page.forms()[0]).expect("idp.consent")
    browser.press(page, "decision", "allow")
    assert returned(browser, answer).code


@pytest.mark.requirement("LOG-3", "REG-4")
def test_a_registration_from_the_login_page_parks_the_request_and_takes_it_up_again(world: World) -> None:
    browser = world.browser()
    answer = world.portal.begin()
    page = browser.get(answer.url)
    page = browser.get(page.expect("idp.login").links("/register?request=")[0])
    assert "Preizkusni portal" in page.words()
    world.clock.advance(minutes=10)
    person = register(world, browser=browser, page=page)
    page = browser.get(f"{ISSUER}/register/done")
    page = browser.get(page.links("/authorize/resume?request=")[0])
    assert page.elements("//*[@role='timer'][@data-deadline='180']")
    page = person.log_in(browser, page)
    browser.press(page.expect("idp.consent"), "decision", "allow")
    assert returned(browser, answer).code


@pytest.mark.requirement("LOG-3")
def test_a_request_cannot_be_taken_up_for_ever(world: World) -> None:
    browser = world.browser()
    page = browser.get(world.portal.begin().url)
    reference = page.links("/register?request=")[0].partition("request=")[2]
    world.clock.advance(minutes=59)
    browser.get(f"{ISSUER}/authorize/resume?request={reference}").expect("idp.login")
    world.clock.advance(minutes=2)
    page = browser.get(f"{ISSUER}/authorize/resume?request={reference}")
    assert page.expect("idp.error").status == 403


# --- wrong things ------------------------------------------------------------------------------------


@pytest.mark.requirement("LOG-1", "SEC-1")
def test_an_unknown_address_and_a_wrong_password_get_the_same_page(world: World, person: Person) -> None:
    pages = []
    for email, password in ((person.email, "Narobe-2026.geslo"), ("nihce@posta.test", PASSWORD)):
        browser = world.browser()
        page, _ = person.visit(browser, world.portal)
        page = send(browser, page, email=email, password=password).expect("idp.login")
        pages.append((page.status, page.errors, page.heading))
        assert page.elements(f"//input[@name='email'][@value='{email}']")
        assert not page.elements("//input[@name='password'][@value]")
    assert pages[0] == pages[1]
    assert pages[0][1]


@pytest.mark.requirement("LOG-1")
def test_guessing_passwords_ends_in_a_pause(world: World, person: Person) -> None:
    browser = world.browser()
    page, _ = person.visit(browser, world.portal)
    for _ in range(5):
        page = send(browser, page, email=person.email, password="Narobe-2026.geslo").expect("idp.login")
    page = send(browser, page, email=person.email, password=PASSWORD).expect("idp.login")
    assert page.status == 429
    world.clock.advance(seconds=31)
    send(browser, page, email=person.email, password=PASSWORD).expect("idp.choose")


def test_a_login_belongs_to_the_browser_in_which_it_began(world: World, person: Person) -> None:
    browser, stranger = world.browser(), world.browser()
    answer = world.portal.begin()
    page = browser.get(answer.url)
    reference = page.links("/register?request=")[0].partition("request=")[2]
    stranger.get(world.portal.begin().url).expect("idp.login")
    for path in ("/login", "/authorize/resume"):
        assert stranger.get(f"{ISSUER}{path}?request={reference}").expect("idp.error").status == 403
    assert stranger.get(answer.url).expect("idp.error").status == 403
    assert browser.get(answer.url).expect("idp.login").links("/register")[0].endswith(reference)


def test_two_tabs_have_a_login_each(world: World, person: Person) -> None:
    browser = world.browser()
    one, first = person.visit(browser, world.portal)
    two, second = person.visit(browser, world.portal)
    page = person.log_in(browser, one)
    browser.press(page.expect("idp.consent"), "decision", "allow")
    assert returned(browser, first).code
    page = send(browser, two, email=person.email, password=PASSWORD)
    world.clock.advance(seconds=31)
    page = browser.press(page.expect("idp.choose"), "method", "sms")
    send(browser, page.expect("idp.code"), code=world.code())
    assert returned(browser, second).code != first.code


def test_the_back_button_never_leads_past_or_back_before_a_step(world: World, person: Person) -> None:
    browser = world.browser()
    first, answer = person.visit(browser, world.portal)
    address = answer.url
    page = send(browser, first, email=person.email, password=PASSWORD).expect("idp.choose")
    send(browser, first, email=person.email, password=PASSWORD).expect("idp.choose")
    page = browser.press(page, "method", "sms").expect("idp.code")
    code = world.code()
    page = send(browser, page, code=code).expect("idp.consent")
    browser.press(page, "decision", "allow")
    assert returned(browser, answer).code
    page = browser.press(page, "decision", "allow")
    assert page.expect("idp.error").status == 409
    assert browser.get(address).expect("idp.error").status == 409


@pytest.mark.requirement("LOG-2")
def test_a_code_can_be_sent_again_only_after_a_pause(world: World, person: Person) -> None:
    browser = world.browser()
    page, _ = person.visit(browser, world.portal)
    page = send(browser, page, email=person.email, password=PASSWORD)
    page = browser.press(page, "method", "sms").expect("idp.code")
    old = world.code()
    assert browser.press(page, "method", "sms").expect("idp.code").status == 429
    world.clock.advance(seconds=31)
    page = browser.press(page, "method", "sms").expect("idp.code")
    assert page.status == 200
    if world.code() != old:
        assert send(browser, page, code=old).expect("idp.code").errors
    send(browser, page, code=world.code()).expect("idp.consent")


@pytest.mark.requirement("LOG-2")
def test_a_way_that_the_account_does_not_have_is_refused(world: World, person: Person) -> None:
    browser = world.browser()
    page, _ = person.visit(browser, world.portal)
    page = send(browser, page, email=person.email, password=PASSWORD).expect("idp.choose")
    assert page.form("method").choices("method") == ["sms"]
    form = page.form("method")
    form.element.xpath(".//button[@name='method']")[0].set("value", "sms:somebody-else")
    assert browser.submit(form, "method").expect("idp.choose").errors


# --- consent (LOG-4, LOG-5) ---------------------------------------------------------------------------


@pytest.mark.requirement("LOG-4")
def test_consent_is_remembered_until_the_service_asks_for_more(world: World, person: Person) -> None:
    browser = world.browser()
    person.sign_in(browser, world.portal)
    _, answer = person.visit(browser, world.portal)
    assert returned(browser, answer).code
    page, _ = person.visit(browser, world.portal, scope="openid email")
    assert "ana@posta.test" in page.expect("idp.consent").words()
    page, _ = person.visit(browser, world.portal, prompt="consent")
    page.expect("idp.consent")


@pytest.mark.requirement("LOG-4")
def test_only_claims_that_the_service_is_configured_for_are_listed_and_released(world: World, person: Person) -> None:
    browser = world.browser()
    asked = '{"id_token": {"tax_number": null, "email": null, "birthdate": {"essential": true}}}'
    page, answer = person.visit(browser, world.portal, claims=asked)
    page = person.log_in(browser, page).expect("idp.consent")
    listed = [element.get("data-claim") for element in page.elements("//dt[@data-claim]")]
    assert listed == ["email"]
    browser.press(page, "decision", "allow")
    claims = claims_of(world.portal, returned(browser, answer))
    assert claims["email"] == "ana@posta.test"
    assert not {"tax_number", "birthdate", "given_name"} & set(claims)


@pytest.mark.requirement("LOG-4")
@pytest.mark.parametrize("where", ["login", "consent"])
def test_cancelling_tells_the_service_and_nobody_is_logged_in_there(world: World, person: Person, where: str) -> None:
    browser = world.browser()
    page, answer = person.visit(browser, world.portal)
    if where == "consent":
        page = person.log_in(browser, page).expect("idp.consent")
        browser.press(page, "decision", "cancel")
    else:
        cancel = next(form for form in page.forms() if form.element.get("action") == "/login/cancel")
        browser.submit(cancel)
    query = returned(browser, answer).query
    assert query == {"error": "access_denied", "iss": ISSUER, "state": answer.state}


@pytest.mark.requirement("LOG-5")
def test_a_service_that_demands_personal_data_bars_entry_and_shows_the_way(world: World, person: Person) -> None:
    browser = world.browser()
    page, answer = person.visit(browser, world.data, scope="openid tax_number")
    page = person.log_in(browser, page).expect("idp.level")
    page = enter_data(person, browser, page)
    assert person.tax_number in page.expect("idp.consent").words()
    browser.press(page, "decision", "allow")
    assert returned(browser, answer).query["from"] == "idp"
    assert claims_of(world.data, answer)["acr"] == LOW


# --- prompt, max_age, the expected person (OpenID Connect Core 3.1.2.1) --------------------------------


@pytest.mark.requirement("OID-1")
def test_prompt_none_never_shows_a_page(world: World, person: Person) -> None:
    browser = world.browser()

    def silent(**parameters: str) -> dict[str, str]:
        answer = world.portal.begin(prompt="none", **parameters)
        browser.get(answer.url)
        return returned(browser, answer).query

    assert silent()["error"] == "login_required"
    page, answer = person.visit(browser, world.portal)
    page = person.log_in(browser, page).expect("idp.consent")
    assert silent()["error"] == "consent_required"
    browser.press(page, "decision", "allow")
    assert returned(browser, answer).code
    assert silent()["code"]
    assert silent(scope="openid email")["error"] == "consent_required"


@pytest.mark.requirement("OID-1")
def test_prompt_login_and_max_age_ask_anew(world: World, person: Person) -> None:
    browser = world.browser()
    person.sign_in(browser, world.portal)
    world.clock.advance(minutes=2)
    page, answer = person.visit(browser, world.portal, prompt="login")
    person.log_in(browser, page.expect("idp.login"))
    claims = claims_of(world.portal, returned(browser, answer))
    assert claims["auth_time"] == int(world.clock.now().timestamp())
    world.clock.advance(minutes=2)
    _, answer = person.visit(browser, world.portal, max_age="120")
    assert returned(browser, answer).code
    world.clock.advance(seconds=1)
    page, _ = person.visit(browser, world.portal, max_age="120")
    page.expect("idp.login")


@pytest.mark.requirement("OID-1")
def test_another_person_than_the_expected_one_is_a_failed_login(world: World, person: Person) -> None:
    other = register(world, "bor@posta.test", "031 222 333")
    browser = world.browser()
    expected = claims_of(world.portal, other.sign_in(world.browser(), world.portal))["sub"]
    person.sign_in(browser, world.portal)
    wanted = f'{{"id_token": {{"sub": {{"essential": true, "value": "{expected}"}}}}}}'
    page, answer = person.visit(browser, world.portal, claims=wanted)
    world.clock.advance(seconds=31)
    person.log_in(browser, page.expect("idp.login"))
    assert returned(browser, answer).query["error"] == "access_denied"
    page, answer = person.visit(browser, world.portal, claims=wanted, prompt="login")
    other.log_in(browser, page)
    assert claims_of(world.portal, returned(browser, answer))["sub"] == expected


# --- acr (OID-2) --------------------------------------------------------------------------------------


@pytest.mark.requirement("OID-2")
def test_an_essential_acr_that_cannot_be_met_is_a_failed_login(world: World, person: Person) -> None:
    wanted = '{"id_token": {"acr": {"essential": true, "values": ["http://eidas.europa.eu/LoA/high"]}}}'
    browser = world.browser()
    page, answer = person.visit(browser, world.portal, claims=wanted)
    page = person.log_in(browser, page).expect("idp.level")
    assert not page.links("/identification-key") + page.links("/personal-data")
    browser.submit(page.forms()[-1])
    assert returned(browser, answer).query["error"] == "unmet_authentication_requirements"


@pytest.mark.requirement("OID-2", "ACC-4", "SIG-3")
def test_an_essential_acr_is_reached_by_an_identification_key_and_never_pretended(world: World, person: Person) -> None:
    wanted = f'{{"id_token": {{"acr": {{"essential": true, "values": ["{SUBSTANTIAL}"]}}}}}}'
    browser = world.browser()
    page, answer = person.visit(browser, world.portal, claims=wanted, acr_values=SUBSTANTIAL)
    page = person.log_in(browser, page).expect("idp.level")
    page = raise_level(person, browser, page)
    browser.press(page.expect("idp.consent"), "decision", "allow")
    assert claims_of(world.portal, returned(browser, answer))["acr"] == SUBSTANTIAL


@pytest.mark.requirement("OID-2")
def test_a_wish_for_an_acr_changes_nothing_about_what_happened(world: World, person: Person) -> None:
    answer = person.sign_in(world.browser(), world.portal, acr_values=SUBSTANTIAL)
    assert claims_of(world.portal, answer)["acr"] == LOW


# --- the session ---------------------------------------------------------------------------------------


def test_a_session_ends_after_a_quarter_of_an_hour_without_use(world: World, person: Person) -> None:
    browser = world.browser()
    person.sign_in(browser, world.portal)
    world.clock.advance(minutes=14)
    _, answer = person.visit(browser, world.portal)
    assert returned(browser, answer).code
    world.clock.advance(minutes=15)
    page, _ = person.visit(browser, world.portal)
    page.expect("idp.login")


@pytest.mark.requirement("ACC-5")
def test_a_blocked_account_has_no_session_no_code_and_no_token(world: World, person: Person) -> None:
    browser = world.browser()
    token = world.portal.token(person.sign_in(browser, world.portal)).json()["access_token"]
    _, answer = person.visit(browser, world.portal)
    with world.database.write() as session:
        session.execute(update(Account).values(state=AccountState.BLOCKED))
    assert world.portal.token(returned(browser, answer)).json()["error"] == "invalid_grant"
    bearer = {"authorization": f"Bearer {token}"}
    assert world.http.get(f"{ISSUER}/userinfo", headers=bearer).status_code == 401
    page, _ = person.visit(browser, world.portal)
    assert send(browser, page.expect("idp.login"), email=person.email, password=PASSWORD).expect("idp.login").errors
    browser.get(f"{ISSUER}/personal-data").expect("idp.home")


@pytest.mark.requirement("OID-1")
def test_a_service_signs_its_person_out(world: World, person: Person) -> None:
    browser = world.browser()
    response = world.portal.token(person.sign_in(browser, world.portal)).json()
    world.clock.advance(minutes=10)
    hint = response["id_token"]
    browser.get(f"{ISSUER}/logout?id_token_hint={hint}&post_logout_redirect_uri=http://localhost:8499/bye&state=x")
    assert browser.trail[-1] == "http://localhost:8499/bye?state=x"
    page, _ = person.visit(browser, world.portal)
    page.expect("idp.login")


@pytest.mark.requirement("OID-1", "SEC-2")
@pytest.mark.parametrize("parameters", [{}, {"authorization_details": details()}], ids=["consent", "approval"])
def test_after_a_logout_no_tab_goes_on_as_that_person(world: World, person: Person, parameters: dict[str, str]) -> None:
    """The next one at this browser neither sees nor sends the person's data, and approves nothing."""
    browser = world.browser()
    party = world.sign if parameters else world.portal
    page, _ = person.visit(browser, party, **parameters)
    page = person.log_in(browser, page)
    if parameters:
        page = raise_level(person, browser, page)
        page = browser.press(page, "decision", "allow").expect("idp.approve")
    tab = browser.trail[-1]
    out = browser.get(f"{ISSUER}/logout")
    browser.submit(out.expect("idp.logout").forms()[0]).expect("idp.logged_out")
    assert person.given_name not in browser.get(tab).expect("idp.expired").words()
    button = {"idp.consent": ("decision", "allow"), "idp.approve": ("method", "sms")}[page.name]
    again = browser.press(page, *button).expect("idp.expired")
    browser.submit(again.forms()[0]).expect("idp.login")


@pytest.mark.requirement("LOG-1", "SEC-2")
def test_guesses_from_elsewhere_keep_nobody_out_of_their_own_browser(world: World, person: Person) -> None:
    browser, stranger = world.browser(), world.browser()
    person.sign_in(browser, world.portal)
    world.clock.advance(minutes=13 * 60)
    page, _ = person.visit(stranger, world.portal)
    for _ in range(5):
        page = send(stranger, page, email=person.email, password="Narobe-2026.geslo").expect("idp.login")
    assert send(stranger, page, email=person.email, password=PASSWORD).status == 429
    page, _ = person.visit(browser, world.portal)
    send(browser, page.expect("idp.login"), email=person.email, password=PASSWORD).expect("idp.choose")


@pytest.mark.requirement("OID-1")
def test_without_a_token_of_the_person_signing_out_is_asked_first_and_leads_nowhere_else(
    world: World, person: Person
) -> None:
    browser = world.browser()
    person.sign_in(browser, world.portal)
    page = browser.get(f"{ISSUER}/logout?client_id=test-portal&post_logout_redirect_uri=http://evil.test/")
    _, answer = person.visit(browser, world.portal)
    assert returned(browser, answer).code
    browser.submit(page.expect("idp.logout").forms()[0]).expect("idp.logged_out")
    assert browser.trail[-1] == f"{ISSUER}/logout/confirm"
    page, _ = person.visit(browser, world.portal)
    page.expect("idp.login")
    page = browser.get(f"{ISSUER}/logout?id_token_hint=not.a.token")
    assert page.expect("idp.error").status == 400


@pytest.mark.requirement("ACB-1")
def test_a_posted_logout_is_taken_up_by_get(world: World) -> None:
    response = world.http.post(f"{ISSUER}/logout", data={"client_id": "test-portal", "state": "x"})
    assert response.status_code == 303
    assert response.headers["location"] == "/logout?client_id=test-portal&state=x"
