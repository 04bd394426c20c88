"""The login: nothing is believed before it is checked, and nobody sees what is another's."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc.jwk import ECKey

from tests.sign.street import ANA, BOR, CLIENT_ID, IDP, SITE, Street, Visitor

pytestmark = pytest.mark.requirement("LOG-7", "SEC-2")

LOW = "http://eidas.europa.eu/LoA/low"
HIGH = "http://eidas.europa.eu/LoA/high"


@pytest.mark.requirement("SIG-3")
def test_login_asks_for_a_name_and_an_assurance_that_may_sign(street: Street) -> None:
    away = street.browser().get("/login?next=/upload", **{"accept-language": "en"}).headers["location"]
    asked = street.provider.asked(away)
    wanted = json.loads(asked["claims"])["id_token"]
    assert set(wanted) == {"given_name", "family_name", "acr"}
    assert wanted["acr"]["essential"] is True
    assert LOW not in wanted["acr"]["values"]
    assert (asked["scope"], asked["ui_locales"], asked["client_id"]) == ("openid", "en", CLIENT_ID)


def test_login_leads_back_to_where_one_was_going(street: Street) -> None:
    visitor = street.browser()
    assert visitor.get("/signatures").headers["location"] == "/login?next=/signatures"
    assert visitor.log_in(path="/signatures").headers["location"] == "/signatures"
    assert "Ana Žnidaršič" in visitor.get("/signatures").text
    assert visitor.get("/login?next=/upload").headers["location"] == "/upload"


@pytest.mark.parametrize("path", ["https://evil.example", "//evil.example", "/\\evil.example"])
def test_login_never_leads_away(street: Street, path: str) -> None:
    assert street.browser().log_in(path=path).headers["location"] == "/"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "http://evil.example"},
        {"aud": "another-site"},
        {"aud": [CLIENT_ID, "another-site"]},
        {"azp": "another-site"},
        {"nonce": "another"},
        {"nonce": None},
        {"exp": 1},
        {"exp": "soon"},
        {"iat": 1},
        {"iat": None},
        {"sub": None},
        {"sub": ""},
        {"sub": 5},
    ],
    ids=str,
)
def test_login_fails_with_a_wrong_id_token(street: Street, changes: dict[str, Any]) -> None:
    street.provider.claims_changes = changes
    visitor = street.browser()
    away = visitor.get("/login").headers["location"]
    answer = visitor.get(street.provider.answer(away))
    assert answer.status_code == 403
    assert "login-refused" in answer.text
    assert "/login" in visitor.get("/upload").headers["location"]


def test_login_fails_with_a_strange_key(street: Street) -> None:
    visitor = street.browser()
    visitor.log_in()
    published, street.provider.id_key = street.provider.id_key, ECKey.generate_key("P-256", private=True)
    other = street.browser()
    answer = other.get(street.provider.answer(other.get("/login").headers["location"]))
    assert answer.status_code == 403
    assert published.thumbprint() != street.provider.id_key.thumbprint()


def test_login_ok_after_the_provider_changed_its_key(street: Street) -> None:
    street.browser().log_in()
    street.provider.id_key = ECKey.generate_key("P-256", private=True)
    street.clock.advance(seconds=31)
    street.browser().log_in()
    assert street.door.asked.count(f"GET {IDP}/jwks") == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"id_token": "eyJhbGciOiJub25lIn0.e30."},
        {"id_token": None},
        {"access_token": 5},
        {"expires_in": "300"},
        {"authorization_details": ["x"]},
    ],
    ids=str,
)
def test_login_fails_with_a_strange_token_answer(street: Street, changes: dict[str, Any]) -> None:
    street.provider.token_changes = changes
    visitor = street.browser()
    answer = visitor.get(street.provider.answer(visitor.get("/login").headers["location"]))
    assert answer.status_code in (403, 503)
    assert visitor.get("/upload").status_code == 303


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "http://evil.example"},
        {"token_endpoint": "http://evil.example/token"},
        {"token_endpoint": f"{IDP}.evil.example/token"},
        {"jwks_uri": None},
        {"authorization_endpoint": 7},
    ],
    ids=str,
)
def test_provider_that_contradicts_itself_is_not_used(street: Street, changes: dict[str, Any]) -> None:
    street.provider.metadata_changes = changes
    answer = street.browser().get("/login")
    assert answer.status_code == 503
    assert all(url.endswith("openid-configuration") for url in street.door.asked)


def test_provider_that_is_down_can_be_tried_again(street: Street) -> None:
    street.door.down.add(IDP)
    visitor = street.browser()
    answer = visitor.get("/login?next=/upload")
    assert answer.status_code == 503
    assert 'href="/login"' in answer.text
    street.door.down.clear()
    visitor.log_in()
    assert 'data-page="sign.upload"' in visitor.get("/upload").text


@pytest.mark.requirement("SIG-3", "OID-2")
@pytest.mark.parametrize("acr", [LOW, "", "urn:mace:incommon:iap:gold"])
def test_login_with_low_assurance_is_refused(street: Street, acr: str) -> None:
    visitor = street.browser()
    answer = visitor.get(street.provider.answer(visitor.get("/login").headers["location"], acr=acr))
    assert answer.status_code == 403
    assert "assurance-too-low" in answer.text


def test_login_with_high_assurance_is_fine(street: Street) -> None:
    visitor = street.browser()
    visitor.get(street.provider.answer(visitor.get("/login").headers["location"], acr=HIGH))
    assert visitor.get("/upload").status_code == 200


@pytest.mark.parametrize("missing", ["given_name", "family_name"])
def test_login_without_a_name_is_refused(street: Street, missing: str) -> None:
    visitor = street.browser()
    person = {name: value for name, value in ANA.items() if name != missing}
    answer = visitor.get(street.provider.answer(visitor.get("/login").headers["location"], person))
    assert answer.status_code == 403
    assert "names-missing" in answer.text


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        ("access_denied", 303, ""),
        ("unmet_authentication_requirements", 403, "assurance-too-low"),
        ("server_error", 403, "login-refused"),
    ],
)
def test_login_that_was_refused_over_there(street: Street, error: str, status: int, words: str) -> None:
    visitor = street.browser()
    answer = visitor.get(street.provider.answer(visitor.get("/login").headers["location"], error=error))
    assert answer.status_code == status
    assert words in answer.text


def test_answer_is_taken_once(street: Street) -> None:
    visitor = street.browser()
    back = street.provider.answer(visitor.get("/login").headers["location"])
    assert visitor.get(back).status_code == 303
    assert "login-unknown" in visitor.get(back).text


def test_answer_is_taken_only_in_the_browser_it_belongs_to(street: Street) -> None:
    ana, bor = street.browser(), street.browser()
    back = street.provider.answer(ana.get("/login").headers["location"])
    bor.get("/login")
    assert "login-unknown" in bor.get(back).text
    assert bor.get("/upload").status_code == 303


def test_answer_is_taken_only_for_an_hour(street: Street) -> None:
    visitor = street.browser()
    back = street.provider.answer(visitor.get("/login").headers["location"])
    street.clock.advance(minutes=61)
    assert "login-unknown" in visitor.get(back).text


@pytest.mark.parametrize("iss", ["", "&iss=http%3A%2F%2Fevil.example"])
def test_answer_of_another_provider_is_refused(street: Street, iss: str) -> None:
    visitor = street.browser()
    back = street.provider.answer(visitor.get("/login").headers["location"])
    query = {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}
    answer = visitor.get(f"/callback?state={query['state']}&code={query['code']}{iss}")
    assert answer.status_code == 403
    assert f"POST {IDP}/token" not in street.door.asked


@pytest.mark.parametrize("query", ["", "?state=", "?state=x&code=y", "?error=access_denied", "?state=%ff"])
def test_answer_to_nothing_is_refused(street: Street, query: str) -> None:
    assert "login-unknown" in street.browser().get(f"/callback{query}").text


def test_login_ends_without_use(street: Street, ana: Visitor) -> None:
    street.clock.advance(minutes=29)
    assert ana.get("/upload").status_code == 200
    street.clock.advance(minutes=29)
    assert ana.get("/upload").status_code == 200
    street.clock.advance(minutes=30)
    assert ana.get("/upload").status_code == 303


def test_login_ends_after_twelve_hours(street: Street, ana: Visitor) -> None:
    for _ in range(35):
        street.clock.advance(minutes=20)
        assert ana.get("/upload").status_code == 200
    street.clock.advance(minutes=20)
    assert ana.get("/upload").status_code == 303


def test_logout_ends_it_on_both_sides(ana: Visitor) -> None:
    stolen = dict(ana.client.cookies)
    answer = ana.client.post("/logout", data={"csrf_token": ana.token()})
    assert answer.headers["location"].startswith(f"{IDP}/logout?")
    query = parse_qs(urlsplit(answer.headers["location"]).query)
    assert query == {"client_id": [CLIENT_ID], "post_logout_redirect_uri": [f"{SITE}/"]}
    ana.client.cookies.update(stolen)
    assert ana.get("/upload").status_code == 303


def test_logout_works_while_the_provider_is_down(street: Street, ana: Visitor) -> None:
    street.door.down.add(IDP)
    street.clock.advance(minutes=20)
    token = ana.token()
    answer = ana.client.post("/logout", data={"csrf_token": token})
    assert answer.status_code == 303
    assert ana.get("/upload").status_code == 303


def test_logout_needs_the_form_of_this_site(ana: Visitor) -> None:
    assert ana.client.post("/logout", data={"csrf_token": "x"}).status_code == 403
    assert ana.get("/upload").status_code == 200


PATHS = ["", "/status", "/pages/1.png", "/download", "/evidence"]


@pytest.mark.parametrize("path", PATHS)
def test_what_is_anothers_does_not_exist(street: Street, ana: Visitor, contract: bytes, path: str) -> None:
    document = ana.bring(contract)
    ana.approve(document)
    bor = street.browser()
    bor.log_in(BOR)
    mine, unknown = ana.get(f"{document}{path}"), bor.get(f"/documents/{'x' * 22}{path}")
    theirs = bor.get(f"{document}{path}")
    assert mine.status_code == 200
    assert theirs.status_code == unknown.status_code == 404
    assert "Pogodba" not in theirs.text


@pytest.mark.parametrize("action", ["approve", "delete", "continue"])
def test_what_is_anothers_cannot_be_touched(street: Street, ana: Visitor, contract: bytes, action: str) -> None:
    document = ana.bring(contract)
    bor = street.browser()
    bor.log_in(BOR)
    assert bor.press(document, action, kind="qualified").status_code == 404
    assert 'data-page="sign.document"' in ana.get(document).text


@pytest.mark.parametrize("path", PATHS)
def test_stranger_is_sent_to_the_login(street: Street, ana: Visitor, contract: bytes, path: str) -> None:
    document = ana.bring(contract)
    answer = street.browser().get(f"{document}{path}")
    assert answer.headers["location"] == f"/login?next={document}{path}"


def test_form_after_the_end_of_the_login_leads_back_to_the_document(
    street: Street, ana: Visitor, contract: bytes
) -> None:
    document = ana.bring(contract)
    street.clock.advance(minutes=31)
    answer = ana.press(document, "approve", kind="qualified")
    assert answer.headers["location"] == f"/login?next={document}"


@pytest.mark.parametrize("path", ["../../etc/passwd", "%2e%2e%2f", "a" * 21, "a" * 23, "x.png", "a%00b"])
def test_document_has_an_id_and_nothing_else(ana: Visitor, path: str) -> None:
    assert ana.get(f"/documents/{path}").status_code == 404
