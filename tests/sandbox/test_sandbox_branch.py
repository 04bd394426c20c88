"""The branch office against a stand-in for the platform that checks the client as RFC 7523 says."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from sandbox.branch import Branch, branch_app
from sandbox.oauth import BranchClient
from sandbox.randomness import SystemRandomness
from sandbox.settings import Limits
from tsp.core.clock import SettableClock

IDP = "http://localhost:8401"
APPLICANT = {
    "given_name": "Špela",
    "family_name": "Žnidaršič",
    "tax_number": "50223054",
    "date_of_birth": "1985-06-15",
    "document": {"kind": "identity-card", "number": "IE1234567"},
    "officer": "Maja Kralj",
}
FORM = {
    **{name: str(APPLICANT[name]) for name in ("given_name", "family_name", "tax_number", "date_of_birth", "officer")},
    "document_kind": "identity-card",
    "document_number": "IE1234567",
    "document_checked": "yes",
}


@dataclass
class StandIn:
    """The platform's token endpoint and branch interface; `broken` makes one answer wrong."""

    key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256"))
    broken: str = ""
    assertions: list[dict[str, Any]] = field(default_factory=list)
    applicants: list[dict[str, Any]] = field(default_factory=list)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self.metadata),
                Route("/token", self.token, methods=["POST"]),
                Route("/branch/identification-keys", self.keys, methods=["POST"]),
            ]
        )

    async def metadata(self, _request: Request) -> Response:
        issuer = "http://elsewhere.example" if self.broken == "issuer" else IDP
        return JSONResponse({"issuer": issuer, "token_endpoint": f"{IDP}/token"})

    async def token(self, request: Request) -> Response:
        form = await request.form()
        assert form["grant_type"] == "client_credentials"
        assert form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        checked = jwt.decode(str(form["client_assertion"]), self.key, algorithms=["ES256"])
        self.assertions.append({**checked.header, **checked.claims})
        if self.broken == "client":
            return JSONResponse({"error": "invalid_client", "error_description": "unknown key"}, 401)
        if self.broken == "text":
            return PlainTextResponse("oops", 500)
        scheme = "MAC" if self.broken == "scheme" else "Bearer"
        return JSONResponse({"access_token": "access-1", "token_type": scheme, "expires_in": 60})

    async def keys(self, request: Request) -> Response:
        assert request.headers["authorization"] == "Bearer access-1"
        self.applicants.append(await request.json())
        if self.broken == "key":
            return JSONResponse({})
        return JSONResponse({"key": "ABCD-EFGH-JKMN", "expires_at": "2026-12-23T10:00:00Z"}, 201)


@pytest.fixture
def platform() -> StandIn:
    return StandIn()


@pytest.fixture
def client(platform: StandIn, clock: SettableClock) -> Iterator[TestClient]:
    transport = httpx2.ASGITransport(app=platform.app())
    http = httpx2.AsyncClient(transport=transport)
    branch_client = BranchClient(http, IDP, "sandbox-branch", platform.key, clock, SystemRandomness())
    inner = branch_app(Branch("TEST Poslovalnica", branch_client, Limits()))

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with http:
            yield

    app = Starlette(routes=[Mount("/", inner)], lifespan=lifespan)
    with TestClient(app, base_url="http://localhost:8414") as made:
        yield made


def test_the_branch_proves_itself_by_its_own_key(client: TestClient, platform: StandIn, clock: SettableClock) -> None:
    for _ in range(2):
        answer = client.post("/api/identification-keys", json=APPLICANT)
        assert answer.status_code == 201
        assert answer.json() == {"key": "ABCD-EFGH-JKMN", "expires_at": "2026-12-23T10:00:00Z"}
    assert platform.applicants == [APPLICANT, APPLICANT]
    first, second = platform.assertions
    now = int(clock.now().timestamp())
    assert (first["iss"], first["sub"], first["aud"]) == ("sandbox-branch", "sandbox-branch", IDP)
    assert (first["iat"], first["exp"], first["alg"]) == (now, now + 60, "ES256")
    assert first["kid"] == platform.key.thumbprint()
    assert first["jti"] != second["jti"]


@pytest.mark.parametrize(
    ("broken", "status", "code"),
    [
        ("client", 502, "platform-refused"),
        ("issuer", 502, "platform-metadata"),
        ("text", 502, "platform-answer"),
        ("scheme", 502, "platform-answer"),
        ("key", 502, "platform-answer"),
    ],
)
def test_what_the_platform_answers_instead_is_told(
    client: TestClient, platform: StandIn, broken: str, status: int, code: str
) -> None:
    platform.broken = broken
    answer = client.post("/api/identification-keys", json=APPLICANT)
    assert (answer.status_code, answer.json()["error"]) == (status, code)


def test_the_reason_of_a_refusal_is_shown_to_the_officer(client: TestClient, platform: StandIn) -> None:
    platform.broken = "client"
    page = client.post("/", data=FORM)
    assert page.status_code == 502
    assert "invalid_client - unknown key" in page.text
    assert 'value="Žnidaršič"' in page.text


def test_a_silent_platform_is_told(platform: StandIn, clock: SettableClock) -> None:
    def silent(_request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("nobody there")

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(silent))
    branch_client = BranchClient(http, IDP, "sandbox-branch", platform.key, clock, SystemRandomness())
    app = branch_app(Branch("TEST", branch_client, Limits()))
    answer = TestClient(app, base_url="http://localhost").post("/api/identification-keys", json=APPLICANT)
    assert (answer.status_code, answer.json()["error"]) == (503, "platform-silent")


def test_an_officer_hands_out_a_key_on_the_page(client: TestClient, platform: StandIn) -> None:
    empty = client.get("/", params={"given_name": "Špela"}).text
    assert "TEST Poslovalnica" in empty
    assert 'value="Špela"' in empty
    page = client.post("/", data=FORM)
    assert '<output class="key" id="identification-key">ABCD-EFGH-JKMN</output>' in page.text
    assert platform.applicants == [APPLICANT]


@pytest.mark.parametrize(
    ("changed", "marked"),
    [
        ({"tax_number": "50223055"}, 1),
        ({"date_of_birth": "15. 6. 1985", "officer": ""}, 2),
        ({"document_number": ""}, 1),
        ({"document_checked": ""}, 0),
        ({"document_kind": "library-card"}, 0),
    ],
)
def test_without_right_data_and_a_checked_document_there_is_no_key(
    client: TestClient, platform: StandIn, changed: dict[str, str], marked: int
) -> None:
    page = client.post("/", data=FORM | changed)
    assert page.status_code == 400
    assert page.text.count('aria-invalid="true"') == marked
    assert 'class="error"' in page.text
    assert platform.applicants == []


def test_json_with_strange_members_is_refused(client: TestClient) -> None:
    assert client.post("/api/identification-keys", json=APPLICANT | {"level": "high"}).status_code == 400
