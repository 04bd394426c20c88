"""A person approves a signature: what is shown, what the code is bound to, what the engine gets."""

import base64
import hashlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey
from starlette.testclient import TestClient

from sandbox.browser import Browser
from sandbox.page import Page
from tests.conftest import TokenFactory
from tests.idp.login_kit import (
    ISSUER,
    PASSWORD,
    SUBSTANTIAL,
    Answer,
    Person,
    World,
    details,
    make_world,
    raise_level,
    register,
    returned,
    send,
)
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.jwk import public_key
from tsp.core.randomness import Randomness

SHOWN = "aaaa aaaa … aaaa aaaa"


@pytest.fixture
def world(
    tmp_path: Path, database: Database, token_factory: TokenFactory, clock: SettableClock, randomness: Randomness
) -> World:
    return make_world(tmp_path, database, token_factory("identity"), clock, randomness)


@pytest.fixture
def person(world: World) -> Person:
    return register(world)


@pytest.fixture
def browser(world: World, person: Person) -> Browser:
    """A browser in which the person is signed in at the signing service, at level substantial."""
    made = world.browser()
    page, answer = person.visit(made, world.sign)
    page = raise_level(person, made, person.log_in(made, page))
    made.press(page.expect("idp.consent"), "decision", "allow")
    assert returned(made, answer).code
    world.clock.advance(seconds=60)
    return made


def asked(person: Person, browser: Browser, **what: str) -> tuple[Page, Answer]:
    """The page of an approval."""
    page, answer = person.visit(browser, person.world.sign, authorization_details=details(**what))
    return page.expect("idp.approve"), answer


def sent(browser: Browser, page: Page) -> Page:
    """The same page after the code was asked for."""
    return browser.press(page, "method", "sms").expect("idp.approve")


def approval_of(world: World, response: Any) -> dict[str, Any]:
    """The claims of the SAD, checked as the engine does: pinned key, typ, alg."""
    key = ECKey.import_key(public_key(world.token.signing_key("idp-approval").public_spki).as_dict(private=False))
    read = jws.deserialize_compact(response.json()["access_token"], key, algorithms=["ES256"])
    assert read.headers()["typ"] == "sad+jwt"
    claims: dict[str, Any] = json.loads(read.payload or b"")
    return claims


# --- the whole way ------------------------------------------------------------------------------------


@pytest.mark.requirement("SIG-3", "SIG-5", "OID-1", "EVD-4")
def test_an_approval_shows_what_is_signed_and_says_it_to_the_engine(
    world: World, person: Person, browser: Browser
) -> None:
    page, answer = asked(person, browser, kind="qualified")
    for words in ("Preizkusni podpis", "kvalificirani", "Pogodba o kreditu 2026-118.pdf", "14", SHOWN, "Ana Žnidaršič"):
        assert words in page.words() + page.heading
    page = sent(browser, page)
    text = world.messages("sms")[-1]
    for words in ("kvalificirani", "Preizkusni podpis", "Pogodba o kreditu 2026-118.pdf", SHOWN):
        assert words in text
    world.clock.advance(seconds=30)
    send(browser, page, code=world.code(), password=PASSWORD)
    response = world.sign.token(returned(browser, answer))
    assert response.status_code == 200, response.text
    body = response.json()
    assert body["token_type"] == "sad"
    assert body["expires_in"] <= 300
    assert body["authorization_details"] == json.loads(details("qualified"))
    now = int(world.clock.now().timestamp())
    claims = approval_of(world, response)
    assert claims.pop("jti") and claims.pop("idv") and claims.pop("sub")
    serial = claims["subject"].pop("serial_number")
    assert person.tax_number not in serial
    document = json.loads(details())[0]["documents"][0]
    assert claims == {
        "iss": ISSUER,
        "aud": "enkrat-engine",
        "iat": now,
        "exp": now + 300,
        "client_id": "test-sign",
        "cnf": {"jkt": world.sign.key.thumbprint()},
        "acr": SUBSTANTIAL,
        "amr": ["pwd", "sms", "mfa"],
        "auth_time": now,
        "sid_sign": "session-1234",
        "kind": "qualified",
        "documents": [document],
        "subject": {"given_name": "Ana", "family_name": "Žnidaršič", "country": "SI"},
    }


@pytest.mark.requirement("OID-1")
def test_the_approval_and_the_id_token_are_signed_with_different_keys(
    world: World, person: Person, browser: Browser
) -> None:
    page, answer = asked(person, browser, kind="advanced")
    send(browser, sent(browser, page), code=world.code())
    body = world.sign.token(returned(browser, answer)).json()
    header = json.loads(base64.urlsafe_b64decode(body["access_token"].split(".")[0] + "=="))
    published = [key["kid"] for key in world.http.get(f"{ISSUER}/jwks").json()["keys"]]
    assert header["kid"] not in published
    assert world.sign.claims(body["id_token"])["acr"] == SUBSTANTIAL
    refused = world.http.get(f"{ISSUER}/userinfo", headers={"authorization": f"Bearer {body['access_token']}"})
    assert refused.status_code == 401


@pytest.mark.requirement("SIG-3")
@pytest.mark.parametrize("kind", ["advanced", "advanced-qualified"])
def test_only_a_qualified_signature_asks_for_the_password_again(
    world: World, person: Person, browser: Browser, kind: str
) -> None:
    page, answer = asked(person, browser, kind=kind)
    page = sent(browser, page)
    assert not page.has_form("password")
    send(browser, page, code=world.code())
    claims = approval_of(world, world.sign.token(returned(browser, answer)))
    assert claims["kind"] == kind
    assert claims["auth_time"] == claims["iat"] - 60


# --- refusals ------------------------------------------------------------------------------------------


@pytest.mark.requirement("SIG-3", "SIG-5")
def test_nothing_but_a_fresh_code_approves(world: World, person: Person, browser: Browser) -> None:
    page, _ = asked(person, browser, kind="advanced")
    login_code = world.code()
    form = page.form("method")
    form.element.set("action", "/login/approve")
    assert browser.submit(form, "method", "sms").expect("idp.approve").errors
    page = sent(browser, page)
    if world.code() != login_code:
        assert send(browser, page, code=login_code).expect("idp.approve").errors
    assert not page.elements("//input[@type='checkbox']")


@pytest.mark.requirement("SIG-5", "CSC-2")
def test_the_code_of_one_document_approves_no_other(world: World, person: Person, browser: Browser) -> None:
    first, _ = asked(person, browser, kind="advanced", mark="a")
    first = sent(browser, first)
    code_of_first = world.code()
    second, answer = asked(person, browser, kind="advanced", mark="b", label="Nekaj drugega.pdf")
    second = send_to(browser, second, code_of_first).expect("idp.approve")
    assert second.errors
    world.clock.advance(seconds=31)
    second = sent(browser, second)
    assert "Nekaj drugega.pdf" in world.messages("sms")[-1]
    assert "bbbb bbbb" in world.messages("sms")[-1]
    if world.code() != code_of_first:
        assert send(browser, second, code=code_of_first).expect("idp.approve").errors
    send(browser, second, code=world.code())
    claims = approval_of(world, world.sign.token(returned(browser, answer)))
    assert [document["digest_shown"] for document in claims["documents"]] == ["b" * 64]


def send_to(browser: Browser, page: Page, code: str) -> Page:
    """Types a code into a page that has not asked for one yet, as a script would."""
    form = page.form("method")
    form.element.set("action", "/login/approve")
    field = form.element.makeelement("input", {"name": "code", "value": code})
    form.element.append(field)
    return browser.submit(form, "method", "sms")


@pytest.mark.requirement("SIG-3")
def test_a_wrong_password_and_a_wrong_code_sound_the_same_and_leave_the_code_unspent(
    world: World, person: Person, browser: Browser
) -> None:
    page, answer = asked(person, browser, kind="qualified")
    page = sent(browser, page)
    code = world.code()
    wrong = f"{(int(code) + 1) % 1_000_000:06d}"
    said = [
        send(browser, page, code=typed, password=password).expect("idp.approve").errors
        for typed, password in ((code, "Narobe-2026.geslo"), (wrong, PASSWORD), (wrong, "Narobe-2026.geslo"))
    ]
    assert said[0] == said[1] == said[2]
    assert said[0]
    send(browser, page, code=code, password=PASSWORD)
    assert returned(browser, answer).code


@pytest.mark.requirement("SIG-3")
def test_guessing_an_approval_ends(world: World, person: Person, browser: Browser) -> None:
    page, _ = asked(person, browser, kind="advanced")
    page = sent(browser, page)
    code = world.code()
    wrong = f"{(int(code) + 1) % 1_000_000:06d}"
    for _ in range(5):
        send(browser, page, code=wrong).expect("idp.approve")
    page = send(browser, page, code=code).expect("idp.approve")
    assert page.errors


@pytest.mark.requirement("SIG-3")
def test_an_approval_has_its_own_clock(world: World, person: Person, browser: Browser) -> None:
    page, answer = asked(person, browser, kind="advanced")
    assert page.elements("//*[@role='timer'][@data-deadline='300']")
    page = sent(browser, page)
    code = world.code()
    world.clock.advance(seconds=299)
    reference = page.elements("//input[@name='request']")[0].get("value")
    page = browser.get(f"{ISSUER}/login?request={reference}")
    assert page.elements("//*[@role='timer'][@data-deadline='1']")
    world.clock.advance(seconds=1)
    page = send(browser, page, code=code).expect("idp.expired")
    page = browser.submit(page.forms()[0]).expect("idp.approve")
    page = send_to(browser, page, code).expect("idp.approve")
    assert page.errors
    send(browser, sent(browser, page), code=world.code())
    assert approval_of(world, world.sign.token(returned(browser, answer)))["kind"] == "advanced"


@pytest.mark.requirement("SIG-3")
def test_an_old_login_approves_nothing(world: World, person: Person, browser: Browser) -> None:
    for _ in range(2):
        world.clock.advance(minutes=10)
        _, answer = person.visit(browser, world.sign)
        assert returned(browser, answer).code
    page, _ = person.visit(browser, world.sign, authorization_details=details("advanced"))
    page.expect("idp.login")


@pytest.mark.requirement("SIG-3")
def test_low_assurance_signs_nothing(world: World, person: Person) -> None:
    browser = world.browser()
    page, answer = person.visit(browser, world.sign, authorization_details=details("advanced"))
    page = person.log_in(browser, page).expect("idp.level")
    cancel = page.forms()[-1]
    browser.submit(cancel)
    assert returned(browser, answer).query["error"] == "unmet_authentication_requirements"


@pytest.mark.requirement("SIG-5")
def test_cancelling_an_approval_tells_the_service(world: World, person: Person, browser: Browser) -> None:
    page, answer = asked(person, browser)
    browser.submit(page.forms()[-1])
    assert returned(browser, answer).query["error"] == "access_denied"


@pytest.mark.requirement("SIG-5")
def test_several_documents_are_all_shown_and_stand_in_the_text_as_one_digest(
    world: World, person: Person, browser: Browser
) -> None:
    several = json.loads(details("advanced"))
    several[0]["documents"] = [
        {"label": f"Priloga {mark}.pdf", "pages": 2, "digest_shown": mark * 64, "digest_signed": mark * 63 + "0"}
        for mark in "abc"
    ]
    page, answer = person.visit(browser, world.sign, authorization_details=json.dumps(several))
    whole = hashlib.sha256(bytes.fromhex("a" * 64 + "b" * 64 + "c" * 64)).hexdigest()
    mark = f"{whole[:4]} {whole[4:8]} … {whole[-8:-4]} {whole[-4:]}"
    for words in ("Priloga a.pdf", "Priloga b.pdf", "Priloga c.pdf", mark):
        assert words in page.words()
    page = sent(browser, page)
    text = world.messages("sms")[-1]
    assert "Priloga a.pdf in še 2 dokumenta" in text
    assert mark in text
    send(browser, page, code=world.code())
    assert len(approval_of(world, world.sign.token(returned(browser, answer)))["documents"]) == 3


@pytest.mark.requirement("CSC-2", "SIG-3")
def test_of_five_who_type_the_same_code_one_gets_the_approval(world: World, person: Person, browser: Browser) -> None:
    page, _ = asked(person, browser, kind="advanced")
    page = sent(browser, page)
    submission = page.form("code").fill(code=world.code()).submission()
    cookies = dict(browser._client.cookies)
    answers: list[tuple[int, str]] = []
    gate = threading.Barrier(5)

    def contend() -> None:
        client = TestClient(world.http.app, base_url=ISSUER, follow_redirects=False, cookies=cookies)
        gate.wait()
        response = client.post(submission.url, data=dict(submission.fields))
        answers.append((response.status_code, response.headers.get("location", "")))

    threads = [threading.Thread(target=contend) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 5
    assert len([1 for _, location in answers if "code=" in location]) == 1
