"""Any form at all: a request in good order, or an error of the family; never anything else."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey

from tests.idp.login_kit import FILES, HIGH, LOW, PORTAL, SUBSTANTIAL
from tsp.core.errors import Invalid, Refused
from tsp.idp.accounts.assurance import Level
from tsp.idp.oidc.clients import Client, load_clients
from tsp.idp.oidc.errors import error_response, oauth_error
from tsp.idp.oidc.requests import AuthorizationRequest, parse_request

RIGHT = {
    "response_type": "code",
    "redirect_uri": PORTAL,
    "scope": "openid",
    "code_challenge": "x" * 43,
    "code_challenge_method": "S256",
}
NAMES = [*RIGHT, "state", "nonce", "claims", "prompt", "max_age", "acr_values", "authorization_details", "request"]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Client:
    directory = tmp_path_factory.mktemp("clients")
    public = ECKey.generate_key("P-256").as_dict(private=False)
    jwk = "{ " + ", ".join(f'{k} = "{v}"' for k, v in public.items()) + " }"
    (directory / "test-portal.toml").write_text(FILES["test-portal"].format(jwk=jwk))
    found = load_clients(directory, directory).get("test-portal")
    assert found is not None
    return found


def read(client: Client, form: dict[str, str]) -> AuthorizationRequest:
    return parse_request(form, client, max_documents=10)


@given(form=st.dictionaries(st.sampled_from(NAMES), st.text(max_size=40)))
def test_a_form_of_chance_is_in_order_or_refused_in_oauths_words(client: Client, form: dict[str, str]) -> None:
    try:
        request = read(client, {**RIGHT, **form})
    except (Invalid, Refused) as error:
        response = error_response(error)
        body = json.loads(bytes(response.body))
        assert response.status_code == 400
        assert body["error"] == oauth_error(error)
        assert all(" " <= c <= "~" and c not in '"\\' for c in body["error_description"])
    else:
        assert request.redirect_uri == PORTAL
        assert "openid" in request.scopes


@given(
    claims=st.dictionaries(
        st.sampled_from(["id_token", "userinfo", "other"]),
        st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists)
        | st.dictionaries(
            st.sampled_from(["acr", "sub", "email", "shoe"]),
            st.none()
            | st.dictionaries(
                st.sampled_from(["essential", "value", "values"]),
                st.booleans() | st.text(max_size=5) | st.lists(st.sampled_from([LOW, HIGH, "x"])) | st.none(),
            ),
        ),
    )
)
def test_whatever_claims_ask_for_only_configured_ones_come_through(client: Client, claims: object) -> None:
    try:
        request = read(client, {**RIGHT, "claims": json.dumps(claims)})
    except (Invalid, Refused):
        return
    assert {*request.id_token_claims, *request.userinfo_claims} <= client.claims
    assert AuthorizationRequest.model_validate_json(request.model_dump_json()) == request


@pytest.mark.requirement("OID-2")
@pytest.mark.parametrize(
    ("acr", "level"),
    [
        (None, Level.LOW),
        ({"values": [HIGH]}, Level.LOW),
        ({"essential": False, "values": [HIGH]}, Level.LOW),
        ({"essential": True, "value": HIGH}, Level.HIGH),
        ({"essential": True, "values": [HIGH, SUBSTANTIAL]}, Level.SUBSTANTIAL),
        ({"essential": True, "values": ["urn:unknown", HIGH]}, Level.HIGH),
    ],
)
def test_the_level_that_must_be_reached_is_the_lowest_that_is_essential(
    client: Client, acr: object, level: Level
) -> None:
    request = read(client, {**RIGHT, "claims": json.dumps({"id_token": {"acr": acr}})})
    assert request.required_level is level


@pytest.mark.requirement("LOG-4")
def test_scopes_ask_for_userinfo_and_the_claims_parameter_for_where_it_says(client: Client) -> None:
    claims = json.dumps({"id_token": {"given_name": None}})
    request = read(client, {**RIGHT, "scope": "openid email profile", "claims": claims})
    assert request.id_token_claims == ("given_name",)
    assert request.userinfo_claims == ("given_name", "family_name", "email", "email_verified")
    assert request.released_claims == ("given_name", "family_name", "email", "email_verified")
