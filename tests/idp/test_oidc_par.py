"""How services ask: client authentication, pushed requests, and what the browser may bring."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey
from starlette.testclient import TestClient

from tests.conftest import TokenFactory
from tests.idp.login_kit import ASSERTION_TYPE, ISSUER, PORTAL, World, details, make_world
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.randomness import Randomness


@pytest.fixture
def world(
    tmp_path: Path, database: Database, token_factory: TokenFactory, clock: SettableClock, randomness: Randomness
) -> World:
    return make_world(tmp_path, database, token_factory("identity"), clock, randomness)


def error(response: Any) -> tuple[int, str]:
    assert response.headers["cache-control"] == "no-store"
    return response.status_code, response.json()["error"]


# --- metadata -----------------------------------------------------------------------------------------


@pytest.mark.requirement("OID-1")
def test_the_metadata_promise_what_fapi_wants_and_every_endpoint_is_there(world: World) -> None:
    metadata = world.http.get(f"{ISSUER}/.well-known/openid-configuration").json()
    assert metadata["issuer"] == ISSUER
    assert metadata["require_pushed_authorization_requests"] is True
    assert metadata["authorization_response_iss_parameter_supported"] is True
    assert metadata["token_endpoint_auth_methods_supported"] == ["private_key_jwt"]
    assert metadata["code_challenge_methods_supported"] == ["S256"]
    assert metadata["subject_types_supported"] == ["pairwise"]
    assert metadata["authorization_details_types_supported"] == ["signature"]
    for name, method in (
        ("pushed_authorization_request_endpoint", "POST"),
        ("token_endpoint", "POST"),
        ("userinfo_endpoint", "GET"),
        ("jwks_uri", "GET"),
        ("authorization_endpoint", "GET"),
        ("end_session_endpoint", "GET"),
    ):
        assert world.http.request(method, metadata[name]).status_code not in (404, 405)


@pytest.mark.requirement("OID-1", "SEC-1")
def test_the_published_keys_are_public_and_one(world: World) -> None:
    keys = world.http.get(f"{ISSUER}/jwks").json()["keys"]
    assert [(key["kty"], key["crv"], key["alg"], key["use"]) for key in keys] == [("EC", "P-256", "ES256", "sig")]
    assert "d" not in keys[0]
    assert keys[0]["kid"] == ECKey.import_key(keys[0]).thumbprint()


# --- client authentication ----------------------------------------------------------------------------


@pytest.mark.requirement("OID-1")
def test_a_right_assertion_is_good_once(world: World) -> None:
    assertion = world.portal.assertion()
    form = {"grant_type": "client_credentials", "scope": "identification-keys"}
    branch = world.branch.assertion()
    assert world.branch.post("/token", form, branch).status_code == 200
    assert error(world.branch.post("/token", form, branch)) == (401, "invalid_client")
    assert error(world.portal.post("/par", {"scope": "openid"}, assertion)) == (400, "invalid_request")
    assert error(world.portal.post("/par", {"scope": "openid"}, assertion)) == (401, "invalid_client")


@pytest.mark.requirement("OID-1")
@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "test-sign"},
        {"sub": "test-sign"},
        {"iss": "nobody", "sub": "nobody"},
        {"iss": None},
        {"aud": None},
        {"aud": [ISSUER]},
        {"aud": f"{ISSUER}/token"},
        {"aud": "https://other.test"},
        {"exp": None},
        {"exp": "soon"},
        {"exp": True},
        {"exp": 0},
        {"exp": 1e300},
        {"jti": None},
        {"jti": ""},
        {"jti": 12345678},
        {"jti": "x" * 300},
    ],
)
def test_an_assertion_with_a_wrong_claim_is_refused(world: World, claims: dict[str, Any]) -> None:
    response = world.portal.post("/par", {"scope": "openid"}, world.portal.assertion(**claims))
    assert error(response) == (401, "invalid_client")


@pytest.mark.requirement("OID-1")
def test_an_assertion_lives_only_now(world: World) -> None:
    now = int(world.clock.now().timestamp())

    def answer(**claims: Any) -> tuple[int, str]:
        return error(world.portal.post("/par", {}, world.portal.assertion(**claims)))

    refused, accepted = (401, "invalid_client"), (400, "invalid_request")
    assert answer(exp=now - 11) == refused
    assert answer(exp=now - 9) == accepted
    assert answer(exp=now + 611) == refused
    assert answer(exp=now + 609) == accepted
    assert answer(iat=now + 11) == refused
    assert answer(nbf=now + 11) == refused
    assert answer(nbf=now + 9) == accepted


@pytest.mark.requirement("OID-1")
def test_only_the_clients_own_registered_key_with_es256_is_believed(world: World) -> None:
    stranger = ECKey.generate_key("P-256")
    claims = {"iss": "test-portal", "sub": "test-portal", "aud": ISSUER, "jti": "12345678", "exp": 4102444800}
    public = json.dumps(world.portal.public_jwk).encode()
    forged = [
        world.portal.assertion(stranger),
        world.portal.assertion(stranger, {"jwk": dict(stranger.as_dict(private=False))}),
        world.portal.assertion(stranger, {"kid": world.portal.key.thumbprint()}),
        world.portal.assertion(None, {"kid": "another"}),
        world.portal.assertion(None, {"typ": "sad+jwt"}),
        world.portal.assertion(None, {"crit": ["b64"], "b64": False}),
        jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(public)),
        world.sign.assertion(iss="test-portal", sub="test-portal"),
        "eyJhbGciOiJub25lIn0.eyJpc3MiOiJ0ZXN0LXBvcnRhbCJ9.",
        "a.b.c",
        "...",
        "[" * 5000,
        "x" * 20_000,
    ]
    for assertion in forged:
        assert error(world.portal.post("/par", {"scope": "openid"}, assertion)) == (401, "invalid_client")


@pytest.mark.requirement("OID-1")
def test_no_other_way_of_authenticating_is_accepted(world: World) -> None:
    form = {"client_id": "test-portal", "scope": "openid", "client_secret": "secret"}
    assert error(world.http.post(f"{ISSUER}/par", data=form)) == (401, "invalid_client")
    form = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": world.portal.assertion()}
    assert error(world.http.post(f"{ISSUER}/par", data={**form, "client_id": "test-sign"})) == (401, "invalid_client")
    assert error(world.http.post(f"{ISSUER}/par", data=form)) == (400, "invalid_request")


# --- the pushed request -------------------------------------------------------------------------------


@pytest.mark.requirement("OID-1")
@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"redirect_uri": "http://localhost:8499/callback/"}, "invalid_request"),
        ({"redirect_uri": "http://localhost:8499/callback?x=1"}, "invalid_request"),
        ({"redirect_uri": "http://localhost:8498/callback"}, "invalid_request"),
        ({"redirect_uri": "<none>"}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "<none>"}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"code_challenge": "<none>"}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": "<none>"}, "invalid_request"),
        ({"scope": "profile"}, "invalid_scope"),
        ({"scope": "openid tax_number"}, "invalid_scope"),
        ({"scope": "openid identification-keys"}, "invalid_scope"),
        ({"scope": "<none>"}, "invalid_scope"),
        ({"request": "eyJ"}, "request_not_supported"),
        ({"request_uri": "urn:x"}, "invalid_request"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"prompt": "create"}, "invalid_request"),
        ({"max_age": "-1"}, "invalid_request"),
        ({"max_age": "ten"}, "invalid_request"),
        ({"state": "š"}, "invalid_request"),
        ({"nonce": "x" * 600}, "invalid_request"),
        ({"state": ""}, "invalid_request"),
        ({"ui_locales": "x" * 3000}, "invalid_request"),
        ({"claims": "[]"}, "invalid_request"),
        ({"claims": '{"id_token": {"acr": 1}}'}, "invalid_request"),
        ({"claims": '{"id_token": 1}'}, "invalid_request"),
        ({"claims": '{"id_token": {"sub": {"value": 7}}}'}, "invalid_request"),
        ({"claims": '{"id_token": {}, "id_token": {}}'}, "invalid_request"),
        (
            {"claims": '{"id_token": {"acr": {"essential": true, "values": ["urn:mace:incommon:iap:silver"]}}}'},
            "unmet_authentication_requirements",
        ),
        (
            {"claims": '{"id_token": {"acr": {"essential": true, "values": 3}}}'},
            "unmet_authentication_requirements",
        ),
        ({"authorization_details": details("advanced")}, "invalid_authorization_details"),
    ],
)
def test_a_request_that_is_not_in_order_is_refused(world: World, parameters: dict[str, str], expected: str) -> None:
    response, _ = world.portal.pushed(**parameters)
    assert error(response) == (400, expected)
    assert set(response.json()) == {"error", "error_description"}


@pytest.mark.requirement("OID-1")
def test_a_parameter_that_comes_twice_is_refused(world: World) -> None:
    body = f"client_id=test-portal&client_assertion_type={ASSERTION_TYPE}&client_assertion={world.portal.assertion()}"
    headers = {"content-type": "application/x-www-form-urlencoded"}
    twice = f"{body}&redirect_uri={PORTAL}&redirect_uri=http://evil.test/"
    assert error(world.http.post(f"{ISSUER}/par", content=twice, headers=headers)) == (400, "invalid_request")
    as_json = world.http.post(f"{ISSUER}/par", json={"client_id": "test-portal"})
    assert error(as_json) == (400, "invalid_request")
    large = world.http.post(f"{ISSUER}/par", content=b"a=" + b"x" * 300_000, headers=headers)
    assert error(large) == (400, "invalid_request")


@pytest.mark.requirement("OID-1")
def test_a_client_for_machines_cannot_send_people(world: World) -> None:
    response = world.branch.post("/par", {"redirect_uri": PORTAL, "scope": "openid"})
    assert error(response) == (400, "unauthorized_client")


# --- what the browser brings --------------------------------------------------------------------------


@pytest.mark.requirement("OID-1")
def test_a_request_uri_is_good_for_ninety_seconds_and_one_browser(world: World) -> None:
    answer = world.portal.begin()
    world.clock.advance(seconds=89)
    browser = world.browser()
    browser.get(answer.url).expect("idp.login")
    assert world.browser().get(answer.url).expect("idp.error").status == 403
    late = world.portal.begin()
    world.clock.advance(seconds=90)
    assert world.browser().get(late.url).expect("idp.error").status == 403


def at_once(times: int, work: Callable[[], Any]) -> list[Any]:
    """Results of the same work, begun in the same moment by several."""
    gate = threading.Barrier(times)

    def contend(_number: int) -> Any:
        gate.wait()
        return work()

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(contend, range(times)))


@pytest.mark.requirement("OID-1", "OPS-2")
def test_of_five_browsers_with_one_request_uri_one_gets_the_login(world: World) -> None:
    url = world.portal.begin().url
    statuses = at_once(5, lambda: world.browser().get(url).status)
    assert sorted(statuses) == [200, 403, 403, 403, 403]


@pytest.mark.requirement("OID-1", "OPS-2")
def test_of_five_who_bring_the_same_assertion_one_is_the_client(world: World) -> None:
    form = {
        "client_id": world.branch.client_id,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": world.branch.assertion(),
        "grant_type": "client_credentials",
        "scope": "identification-keys",
    }
    answers = at_once(5, lambda: TestClient(world.http.app, base_url=ISSUER).post(f"{ISSUER}/token", data=form))
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401, 401]


@pytest.mark.requirement("OID-1")
def test_what_cannot_be_trusted_gets_a_page_and_never_a_redirect(world: World) -> None:
    url = world.portal.begin().url
    request_uri = url.rpartition("request_uri=")[2]
    for address, status in (
        (f"{ISSUER}/authorize", 400),
        (f"{ISSUER}/authorize?client_id=test-portal&redirect_uri={PORTAL}&response_type=code&scope=openid", 400),
        (f"{ISSUER}/authorize?client_id=test-sign&request_uri={request_uri}", 403),
        (f"{ISSUER}/authorize?client_id=test-portal&request_uri=https://evil.test/request.jwt", 403),
        (f"{ISSUER}/authorize?client_id=test-portal&request_uri=urn:ietf:params:oauth:request_uri:guess", 403),
        (f"{ISSUER}/authorize?client_id=test-portal&request_uri={'x' * 300}", 400),
    ):
        browser = world.browser()
        page = browser.get(address)
        assert page.expect("idp.error").status == status
        assert len(browser.trail) == 1
    world.browser().get(url).expect("idp.login")


@pytest.mark.requirement("SEC-1")
def test_what_was_pushed_is_sealed_in_the_database(world: World) -> None:
    world.sign.begin(authorization_details=details("advanced", label="Oporoka.pdf"), login_hint="ana@posta.test")
    with world.database.read() as session:
        rows = session.connection().exec_driver_sql("SELECT * FROM idp_pushed_request").fetchall()
    assert rows
    assert b"Oporoka" not in repr(rows).encode()
    assert b"ana@" not in repr(rows).encode()
