"""Revocation by the person, by PUK and by an officer, through the pages and interfaces of the identity provider."""

import json
from base64 import urlsafe_b64decode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from sandbox.browser import Browser
from sandbox.page import Page
from tests.ca.list_kit import Lists
from tests.conftest import TokenFactory
from tests.idp.login_kit import (
    ISSUER,
    PASSWORD,
    Person,
    World,
    details,
    make_world,
    raise_level,
    register,
    returned,
    send,
)
from tsp.audit.entries import Writer
from tsp.audit.tables import Entry
from tsp.ca.revocation import REASONS_OF, Requester
from tsp.ca.tables import Certificate
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.randomness import Randomness
from tsp.idp.accounts.tables import Account
from tsp.idp.app import revocations
from tsp.idp.certificates.words import KINDS, OTHER_KIND, REASONS, REASONS_TOLD
from tsp.web import Languages


@pytest.fixture
def world(
    tmp_path: Path, database: Database, token_factory: TokenFactory, clock: SettableClock, randomness: Randomness
) -> World:
    return make_world(tmp_path, database, token_factory("identity"), clock, randomness)


@pytest.fixture
def lists(world: World, tmp_path: Path) -> Lists:
    return Lists(world.database, world.clock, tmp_path)


@pytest.fixture
def person(world: World) -> Person:
    return register(world)


def account_id(world: World) -> str:
    with world.database.read() as session:
        return session.scalars(select(Account.id).order_by(Account.created)).all()[-1]


def log_in(world: World, person: Person, client: TestClient | None = None) -> Browser:
    """A browser with a session at the identity provider."""
    browser = world.browser() if client is None else Browser(client)
    page, answer = person.visit(browser, world.portal)
    page = person.log_in(browser, page)
    if page.name == "idp.consent":
        browser.press(page, "decision", "allow")
    returned(browser, answer)
    return browser


def new_client(world: World) -> TestClient:
    """What a browser sends with, for requests that no page would send."""
    return TestClient(world.http.app, base_url=ISSUER, follow_redirects=False, headers={"origin": ISSUER})


def row(world: World, serial: str) -> Certificate:
    with world.database.read() as session:
        return session.get_one(Certificate, serial)


def entries(world: World) -> list[dict[str, Any]]:
    """The facts of every revocation in the log."""
    with world.database.read() as session:
        found = session.scalars(select(Entry.content).where(Entry.kind == "certificate-revoked").order_by(Entry.id))
        return [json.loads(content)["facts"] for content in found]


def revoke_page(browser: Browser, serial: str) -> Page:
    page = browser.get(f"{ISSUER}/certificates").expect("idp.certificates")
    return browser.get(page.links(f"serial={serial}")[0]).expect("idp.certificate-revoke")


@pytest.mark.requirement("CA-1", "EVD-6")
def test_a_person_revokes_their_certificate(world: World, lists: Lists, person: Person) -> None:
    ((serial, _),) = lists.issue(subject=account_id(world))
    ((other, _),) = lists.issue(subject="somebody-else")
    browser = log_in(world, person)
    shown = browser.get(f"{ISSUER}/certificates")
    assert serial in shown.words()
    assert other not in shown.words()
    page = revoke_page(browser, serial)
    assert page.form("reason").choices("reason") == list(REASONS_OF["subject"])
    page = send(browser, page, reason="keyCompromise", password=PASSWORD).expect("idp.certificates")
    assert serial not in page.words()
    revoked = row(world, serial)
    assert (revoked.revoked_at, revoked.reason) == (world.clock.now(), "keyCompromise")
    assert entries(world) == [
        {
            "serial": serial,
            "issuer": "infrastructure",
            "profile": "revocable",
            "reason": "keyCompromise",
            "by": "subject",
            "requester": account_id(world),
        }
    ]
    assert serial in world.messages("mail")[-1]
    lists.publisher().publish()


@pytest.mark.requirement("CA-1")
def test_a_wrong_password_or_no_reason_revokes_nothing(world: World, lists: Lists, person: Person) -> None:
    ((serial, _),) = lists.issue(subject=account_id(world))
    client = new_client(world)
    browser = log_in(world, person, client)
    page = send(browser, revoke_page(browser, serial), reason="superseded", password="wrong-password")
    assert page.expect("idp.certificate-revoke").status == 403
    assert page.errors
    form = page.form("reason").fill(password=PASSWORD)
    sent = form.fill(reason="superseded").submission()
    csrf = dict(sent.fields)
    for reason, code in (("certificateHold", 403), ("cACompromise", 403), ("", 403), ("because", 403)):
        answer = client.post(sent.url, data=csrf | {"reason": reason})
        assert answer.status_code == code, reason
    answer = client.post(sent.url, data=csrf | {"serial": "zz"})
    assert answer.status_code == 400
    assert row(world, serial).revoked_at is None
    assert entries(world) == []


@pytest.mark.requirement("CA-1")
def test_guesses_at_the_password_meet_pauses(world: World, lists: Lists, person: Person) -> None:
    ((serial, _),) = lists.issue(subject=account_id(world))
    browser = log_in(world, person)
    page = revoke_page(browser, serial)
    for _ in range(5):
        page = send(browser, page, reason="superseded", password="wrong-password").expect("idp.certificate-revoke")
    page = send(browser, page, reason="superseded", password=PASSWORD)
    assert (page.name, page.status) == ("idp.certificate-revoke", 429)
    assert row(world, serial).revoked_at is None


@pytest.mark.requirement("CA-1")
def test_only_the_own_certificates_and_only_after_a_login(world: World, lists: Lists, person: Person) -> None:
    ((serial, _),) = lists.issue(subject="somebody-else")
    client = new_client(world)
    browser = log_in(world, person, client)
    assert browser.get(f"{ISSUER}/certificates/revoke?serial={serial}").status == 404
    assert browser.get(f"{ISSUER}/certificates/revoke?serial=zz").status == 400
    ((own, _),) = lists.issue(subject=account_id(world))
    sent = revoke_page(browser, own).form("reason").fill(reason="superseded", password=PASSWORD).submission()
    answer = client.post(sent.url, data=dict(sent.fields) | {"serial": serial})
    assert answer.status_code == 404
    stranger = world.browser()
    assert serial not in stranger.get(f"{ISSUER}/certificates").expect("idp.certificates").words()
    assert stranger.get(f"{ISSUER}/certificates/revoke?serial={own}").name == "idp.certificates"
    assert row(world, serial).revoked_at is None


@pytest.mark.requirement("CA-1")
def test_of_a_form_sent_twice_one_revokes_and_the_other_says_so(world: World, lists: Lists, person: Person) -> None:
    ((serial, _),) = lists.issue(subject=account_id(world))
    client = new_client(world)
    browser = log_in(world, person, client)
    sent = revoke_page(browser, serial).form("reason").fill(reason="superseded", password=PASSWORD).submission()
    answers = [client.post(sent.url, data=dict(sent.fields)) for _ in range(2)]
    assert [answer.headers["location"] for answer in answers] == ["/certificates?revoked=1", "/certificates?already=1"]
    assert len(entries(world)) == 1


def by_puk(world: World, email: str) -> tuple[Browser, Page]:
    browser = world.browser()
    page = send(browser, browser.get(f"{ISSUER}/revoke").expect("idp.revoke"), email=email)
    return browser, page.expect("idp.revoke-code")


@pytest.mark.requirement("CA-1", "REG-3")
def test_the_puk_with_a_code_revokes_everything_and_is_used_up(world: World, lists: Lists, person: Person) -> None:
    serials = [serial for serial, _ in lists.issue(2, subject=account_id(world))]
    ((other, _),) = lists.issue(subject="somebody-else")
    browser, page = by_puk(world, person.email)
    code = world.code("mail")
    page = send(browser, page, code=code, puk=person.puk.lower(), reason="keyCompromise")
    page.expect("idp.revoke-done")
    assert all(row(world, serial).reason == "keyCompromise" for serial in serials)
    assert row(world, other).revoked_at is None
    assert [(one["by"], one["evidence"]) for one in entries(world)] == [("subject", "puk")] * 2
    lists.issue(subject=account_id(world))
    world.clock.advance(minutes=1)
    browser, page = by_puk(world, person.email)
    page = send(browser, page, code=world.code("mail"), puk=person.puk, reason="keyCompromise")
    assert page.expect("idp.revoke-code").status == 403


@pytest.mark.requirement("CA-1", "REG-3")
@pytest.mark.parametrize(("code", "puk"), [("right", "wrong"), ("wrong", "right"), ("other browser", "right")])
def test_neither_puk_nor_code_is_enough_alone(world: World, lists: Lists, person: Person, code: str, puk: str) -> None:
    ((serial, _),) = lists.issue(subject=account_id(world))
    browser, page = by_puk(world, person.email)
    known = world.code("mail")
    if code == "other browser":
        world.clock.advance(minutes=1)
        browser, page = by_puk(world, "nobody@posta.test")
    typed = known if code != "wrong" else f"{(int(known) + 1) % 10**6:06d}"
    page = send(browser, page, code=typed, puk=person.puk if puk == "right" else "AAAA2222", reason="superseded")
    assert page.expect("idp.revoke-code").status == 403
    assert row(world, serial).revoked_at is None
    assert entries(world) == []


@pytest.mark.requirement("CA-1", "SEC-2")
def test_strangers_learn_nothing_of_accounts(world: World, lists: Lists, person: Person) -> None:
    """The same page and the same words, whether there is such an account or not; nobody is written to."""
    sent = len(world.messages("mail"))
    seen = []
    for email in (person.email, "nobody@posta.test"):
        browser, page = by_puk(world, email)
        before = page.words()
        page = send(browser, page, code="000000", puk="AAAA2222", reason="superseded")
        seen.append((before, page.status, page.errors))
    assert seen[0] == seen[1]
    assert len(world.messages("mail")) == sent + 1


@pytest.mark.requirement("CA-1", "REG-3")
def test_guesses_at_the_puk_meet_pauses(world: World, lists: Lists, person: Person) -> None:
    ((serial, _),) = lists.issue(subject=account_id(world))
    for _ in range(5):
        browser, page = by_puk(world, person.email)
        page = send(browser, page, code=world.code("mail"), puk="AAAA2222", reason="superseded")
        assert page.expect("idp.revoke-code").status == 403
        world.clock.advance(seconds=31)
    page = send(browser, page, code=world.code("mail"), puk=person.puk, reason="superseded")
    assert (page.name, page.status) == ("idp.revoke-code", 429)
    assert row(world, serial).revoked_at is None


@pytest.mark.requirement("CA-1")
def test_with_nothing_to_revoke_code_and_puk_stay_good(world: World, lists: Lists, person: Person) -> None:
    browser, page = by_puk(world, person.email)
    code = world.code("mail")
    page = send(browser, page, code=code, puk=person.puk, reason="superseded")
    assert page.expect("idp.revoke-code").status == 404
    ((serial, _),) = lists.issue(subject=account_id(world))
    send(browser, page, code=code, puk=person.puk, reason="superseded").expect("idp.revoke-done")
    assert row(world, serial).revoked_at is not None


def access(world: World, scope: str = "revocations") -> dict[str, str]:
    granted = world.branch.post("/token", {"grant_type": "client_credentials", "scope": scope})
    assert granted.status_code == 200, granted.text
    return {"authorization": f"Bearer {granted.json()['access_token']}"}


ASKED = {"reason": "privilegeWithdrawn", "officer": "officer-3", "evidence": "file-2026/118"}


@pytest.mark.requirement("CA-1")
def test_an_officer_revokes_and_answers_for_it(world: World, lists: Lists, person: Person) -> None:
    ((serial, _),) = lists.issue(subject=account_id(world))
    headers = access(world)
    answers = [
        world.http.post(f"{ISSUER}/branch/revocations", headers=headers, json=ASKED | {"serial": serial.upper()})
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    first = {"serial": serial, "status": "revoked", "revoked_at": "2026-11-23T10:00:00Z", "reason": ASKED["reason"]}
    assert answers[0].json() == first
    assert answers[1].json() == first | {"status": "revoked-already"}
    (facts,) = entries(world)
    wanted = {"by": "officer", "requester": "officer-3", "organisation": "test-bank", "evidence": "file-2026/118"}
    assert facts | wanted == facts
    assert serial in world.messages("mail")[-1]


@pytest.mark.requirement("CA-1")
def test_of_five_officers_one_revokes(world: World, lists: Lists, person: Person) -> None:
    ((serial, _),) = lists.issue(subject=account_id(world))
    headers = access(world)

    def ask(_: int) -> str:
        client = TestClient(world.http.app, base_url=ISSUER)
        asked = ASKED | {"serial": serial}
        return str(client.post("/branch/revocations", headers=headers, json=asked).json()["status"])

    with ThreadPoolExecutor(5) as pool:
        assert sorted(pool.map(ask, range(5))) == ["revoked", *["revoked-already"] * 4]
    assert len(entries(world)) == 1


@pytest.mark.requirement("CA-1")
def test_what_an_officer_may_not_is_refused_by_name(world: World, lists: Lists) -> None:
    ((serial, _),) = lists.issue(subject="account-1")
    headers = access(world)
    wrong: list[tuple[dict[str, object], int, str]] = [
        ({"serial": "00"}, 404, "certificate-unknown"),
        ({"serial": "zz"}, 400, "serial-malformed"),
        ({"reason": "certificateHold"}, 403, "certificate-suspension-refused"),
        ({"reason": "cACompromise"}, 403, "revocation-reason-refused"),
        ({"reason": "because"}, 400, "revocation-reason-unknown"),
        ({"officer": "Ana Novak"}, 400, "officer-invalid"),
        ({"evidence": "she said so"}, 400, "evidence-invalid"),
        ({"serial": 7}, 400, "request-malformed"),
        ({"more": "x"}, 400, "request-malformed"),
    ]
    for changed, status, error in wrong:
        asked = ASKED | {"serial": serial} | changed
        answer = world.http.post(f"{ISSUER}/branch/revocations", headers=headers, json=asked)
        assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert row(world, serial).revoked_at is None


@pytest.mark.requirement("CA-1", "SEC-2")
def test_officers_need_a_token_for_this_and_do_not_reach_the_providers_own(world: World, lists: Lists) -> None:
    ((own, _),) = lists.issue(subject=None)
    asked = ASKED | {"serial": own}
    url = f"{ISSUER}/branch/revocations"
    assert world.http.post(url, json=asked).status_code == 401
    assert world.http.post(url, headers=access(world, "identification-keys"), json=asked).status_code == 403
    assert world.http.post(url, headers=access(world), content=b"x" * 20_000).status_code == 400
    answer = world.http.post(url, headers=access(world), json=asked)
    assert (answer.status_code, answer.json()["error"]) == (404, "certificate-unknown")


@pytest.mark.requirement("CA-1", "EVD-6")
def test_a_certificate_leads_to_its_holder_by_the_reference_of_approvals(world: World, lists: Lists) -> None:
    """The engine knows a person by the `sub` of an approval alone; the provider's revocation finds who to tell."""
    person, browser = register(world), world.browser()
    page, answer = person.visit(browser, world.sign)
    page = raise_level(person, browser, person.log_in(browser, page))
    browser.press(page.expect("idp.consent"), "decision", "allow")
    returned(browser, answer)
    world.clock.advance(seconds=60)
    page, answer = person.visit(browser, world.sign, authorization_details=details("advanced"))
    page = browser.press(page.expect("idp.approve"), "method", "sms")
    page = send(browser, page, code=world.code())
    token = world.sign.token(returned(browser, answer)).json()["access_token"]
    subject = json.loads(urlsafe_b64decode(token.split(".")[1] + "=="))["sub"]
    assert subject != account_id(world)
    ((serial, _), (second, _)) = lists.issue(2, subject=subject)
    assert serial in browser.get(f"{ISSUER}/certificates").words()
    page = revoke_page(browser, second)
    send(browser, page, reason="superseded", password=PASSWORD).expect("idp.certificates")
    writer = Writer("operator", world.randomness, world.clock)
    with world.database.write() as session:
        operator = Requester("provider", "operator-7", evidence="ticket-12")
        revocations(world.settings, world.token, writer).revoke(session, serial, "privilegeWithdrawn", operator)
    assert serial in world.messages("mail")[-1]
    assert languages_say("sl", "privilegeWithdrawn") in world.messages("mail")[-1]
    assert [one["by"] for one in entries(world)] == ["subject", "provider"]


def languages_say(language: str, reason: str) -> str:
    return str(Languages().text(language, REASONS_TOLD[reason]))


def test_every_word_has_its_slovene() -> None:
    languages = Languages()
    for words in (*REASONS.values(), *REASONS_TOLD.values(), *KINDS.values(), OTHER_KIND):
        assert languages.text("sl", words) != words
    assert set(REASONS) == set(REASONS_OF["subject"])
    assert set(REASONS_OF["provider"]) <= set(REASONS_TOLD)
