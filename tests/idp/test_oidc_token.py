"""What services get for a code, once; and what they get for themselves."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from tests.conftest import TokenFactory
from tests.idp.login_kit import ASSERTION_TYPE, ISSUER, Person, World, make_world, register
from tsp.core.clock import SettableClock
from tsp.core.database import Base, Database
from tsp.core.randomness import Randomness, new_token


@pytest.fixture
def world(
    tmp_path: Path, database: Database, token_factory: TokenFactory, clock: SettableClock, randomness: Randomness
) -> World:
    return make_world(tmp_path, database, token_factory("identity"), clock, randomness)


@pytest.fixture
def person(world: World) -> Person:
    return register(world)


def error(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["error"]


def userinfo(world: World, token: str) -> Any:
    return world.http.get(f"{ISSUER}/userinfo", headers={"authorization": f"Bearer {token}"})


INVALID = (400, "invalid_grant")


@pytest.mark.requirement("OID-1")
@pytest.mark.parametrize(
    "overrule",
    [
        {"code_verifier": "x" * 43},
        {"code_verifier": "short"},
        {"redirect_uri": "http://localhost:8499/other"},
        {"code": "guess"},
    ],
)
def test_a_wrong_verifier_address_or_code_gets_nothing(world: World, person: Person, overrule: dict[str, str]) -> None:
    answer = person.sign_in(world.browser(), world.portal)
    assert error(world.portal.token(answer, **overrule)) == INVALID
    right_afterwards = world.portal.token(answer)
    if "code" in overrule:
        assert right_afterwards.status_code == 200
    else:
        assert error(right_afterwards) == INVALID


@pytest.mark.requirement("OID-1")
def test_a_code_is_good_for_one_minute_and_one_client(world: World, person: Person) -> None:
    browser = world.browser()
    answer = person.sign_in(browser, world.portal)
    world.clock.advance(seconds=59)
    assert world.portal.token(answer).status_code == 200
    _, answer = person.visit(browser, world.portal)
    answer.url = browser.trail[-1]
    world.clock.advance(seconds=60)
    assert error(world.portal.token(answer)) == INVALID
    _, answer = person.visit(browser, world.portal)
    answer.url = browser.trail[-1]
    assert error(world.sign.token(answer, redirect_uri=world.portal.redirect_uri)) == INVALID
    assert error(world.portal.token(answer)) == INVALID


@pytest.mark.requirement("OID-1")
def test_a_second_use_of_a_code_takes_back_what_the_first_gave(world: World, person: Person) -> None:
    answer = person.sign_in(world.browser(), world.portal, scope="openid email")
    token = world.portal.token(answer).json()["access_token"]
    assert userinfo(world, token).json()["email"] == person.email
    world.clock.advance(seconds=120)
    assert error(world.portal.token(answer)) == INVALID
    refused = userinfo(world, token)
    assert error(refused) == (401, "invalid_token")
    assert refused.headers["www-authenticate"] == 'Bearer error="invalid_token"'


@pytest.mark.requirement("OID-1", "OPS-2")
def test_of_five_who_bring_the_same_code_one_gets_the_tokens(world: World, person: Person) -> None:
    answer = person.sign_in(world.browser(), world.portal)
    forms = [
        {
            "client_id": "test-portal",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": world.portal.assertion(),
            "grant_type": "authorization_code",
            "code": answer.code,
            "redirect_uri": world.portal.redirect_uri,
            "code_verifier": answer.verifier,
        }
        for _ in range(5)
    ]
    results: list[Any] = []
    gate = threading.Barrier(5)

    def contend(form: dict[str, str]) -> None:
        client = TestClient(world.http.app, base_url=ISSUER)
        gate.wait()
        results.append(client.post(f"{ISSUER}/token", data=form))

    threads = [threading.Thread(target=contend, args=(form,)) for form in forms]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses = sorted(result.status_code for result in results)
    assert statuses == [200, 400, 400, 400, 400]
    token = next(result.json()["access_token"] for result in results if result.status_code == 200)
    assert userinfo(world, token).status_code == 401


@pytest.mark.requirement("OID-1")
def test_an_access_token_lives_five_minutes_and_only_as_a_bearer_header(world: World, person: Person) -> None:
    body = world.portal.token(person.sign_in(world.browser(), world.portal)).json()
    token = body["access_token"]
    assert body["token_type"] == "Bearer"
    assert userinfo(world, token).status_code == 200
    posted = world.http.post(f"{ISSUER}/userinfo", headers={"authorization": f"bearer {token}"})
    assert posted.status_code == 200
    for headers in ({}, {"authorization": token}, {"authorization": f"Basic {token}"}, {"authorization": "Bearer "}):
        assert world.http.get(f"{ISSUER}/userinfo?access_token={token}", headers=headers).status_code == 401
    world.clock.advance(seconds=body["expires_in"])
    assert userinfo(world, token).status_code == 401


@pytest.mark.requirement("SEC-1")
def test_no_code_and_no_token_stands_in_the_database(world: World, person: Person) -> None:
    browser = world.browser()
    answer = person.sign_in(browser, world.portal)
    body = world.portal.token(answer).json()
    cookies = dict(browser._client.cookies)
    secrets = [answer.code, answer.verifier, body["access_token"], *cookies.values()]
    with world.database.read() as session:
        dump = repr([session.execute(select(table)).fetchall() for table in Base.metadata.sorted_tables])
    assert len(cookies) >= 3
    assert not [secret for secret in secrets if secret in dump]
    assert answer.nonce not in dump


@pytest.mark.requirement("OID-1")
def test_the_token_endpoint_answers_in_oauths_words(world: World, person: Person) -> None:
    portal, branch = world.portal, world.branch
    assert error(portal.post("/token", {})) == (400, "unsupported_grant_type")
    assert error(portal.post("/token", {"grant_type": "password"})) == (400, "unsupported_grant_type")
    assert error(portal.post("/token", {"grant_type": "client_credentials"})) == (400, "unauthorized_client")
    assert error(branch.post("/token", {"grant_type": "authorization_code"})) == (400, "unauthorized_client")
    assert error(portal.post("/token", {"grant_type": "authorization_code"})) == (400, "invalid_request")
    assert error(branch.post("/token", {"grant_type": "client_credentials"})) == (400, "invalid_scope")
    wrong = {"grant_type": "client_credentials", "scope": "openid"}
    assert error(branch.post("/token", wrong)) == (400, "invalid_scope")
    assert error(world.http.post(f"{ISSUER}/token", data={"grant_type": "x"})) == (401, "invalid_client")


@pytest.mark.requirement("OID-1", "ACC-4")
def test_a_clients_own_token_is_for_the_branch_and_a_persons_is_not(world: World, person: Person) -> None:
    granted = world.branch.post("/token", {"grant_type": "client_credentials", "scope": "identification-keys"})
    body = granted.json()
    assert body["token_type"] == "Bearer"
    assert body["scope"] == "identification-keys"
    assert userinfo(world, body["access_token"]).status_code == 401
    persons = world.portal.token(person.sign_in(world.browser(), world.portal)).json()["access_token"]
    for token, status in ((persons, 401), (new_token(world.randomness), 401), (body["access_token"], 400)):
        headers = {"authorization": f"Bearer {token}"}
        answer = world.http.post(f"{ISSUER}/branch/identification-keys", headers=headers, json={})
        assert answer.status_code == status
    world.clock.advance(seconds=body["expires_in"])
    headers = {"authorization": f"Bearer {body['access_token']}"}
    assert world.http.post(f"{ISSUER}/branch/identification-keys", headers=headers, json={}).status_code == 401


@pytest.mark.requirement("SIG-6")
def test_a_login_and_a_consent_stand_in_the_audit_log_without_personal_data(world: World, person: Person) -> None:
    person.sign_in(world.browser(), world.portal, scope="openid email")
    with world.database.read() as session:
        rows = session.connection().exec_driver_sql("SELECT content FROM audit_entry").fetchall()
    contents = [json.loads(row[0]) for row in rows]
    kinds = [content["kind"] for content in contents]
    assert {"consent-given", "login-finished"} <= set(kinds)
    finished = contents[kinds.index("login-finished")]["facts"]
    assert finished["client"] == "test-portal"
    assert finished["means"] == ["password", "sms-code"]
    assert finished["claims"] == ["email", "email_verified"]
    assert person.email not in repr(contents)
