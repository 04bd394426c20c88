"""Everything around the signing site on one street, in one process, over HTTP: nothing of it is pretended

but the identity provider, which is a small stranger's own. Any house can be closed for a while (`down`).
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

import hsm
from tests.engine.engine_kit import TERMS, profiles
from tsp.audit.checkpoint import VerifierKey
from tsp.audit.entries import Writer
from tsp.audit.package import EvidencePackages
from tsp.ca.authority import Authority, IssuingKey
from tsp.ca.http import repository_app
from tsp.ca.plan import ISSUERS, SUBSCRIBER_ISSUERS
from tsp.ca.store import CaStore
from tsp.ca.upkeep import register
from tsp.ca.urls import RepositoryUrls
from tsp.core.clock import Clock, SettableClock
from tsp.core.database import Database
from tsp.core.errors import Unavailable
from tsp.core.isolated import Isolated
from tsp.core.jwk import public_key
from tsp.core.outbound import Outbound, OutboundResponse
from tsp.core.randomness import SystemRandomness
from tsp.engine.activation import ActivationPolicy, Activator, default_levels
from tsp.engine.engine import Engine
from tsp.engine.liveness import Liveness
from tsp.engine.onetime import OneTimeSigner
from tsp.engine.protocol import SignatureResult, SignRequest
from tsp.ocsp.http import ocsp_app
from tsp.ocsp.responder import Delegation
from tsp.sign.app import sign_app
from tsp.sign.login_pages import Site
from tsp.sign.requests import Policy
from tsp.sign.validation import OwnValidator
from tsp.tsa.http import tsa_app
from tsp.validate.trust import TrustAnchors
from tsp.web import Pages

SITE, IDP = "http://localhost:8400", "http://localhost:8401"
TSA, OCSP, REPOSITORY, LOG, QTSA = (f"http://localhost:84{n:02d}" for n in (3, 4, 5, 6, 7))
VALIDATE = "http://localhost:8402"
URLS = RepositoryUrls(REPOSITORY, OCSP, {"en": "https://enkrat.test/pds/en.pdf"})
CLIENT_ID = "enkrat-sign"
SUBSTANTIAL = "http://eidas.europa.eu/LoA/substantial"
ANA = {"sub": "ana-at-this-site", "given_name": "Ana", "family_name": "Žnidaršič"}
BOR = {"sub": "bor-at-this-site", "given_name": "Bor", "family_name": "Primer"}


class StreetDoor:
    """`Outbound` of the street: each origin is an ASGI application; those in `down` do not answer."""

    def __init__(self) -> None:
        self.houses: dict[str, TestClient] = {}
        self.down: set[str] = set()
        self.asked: list[str] = []

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        timeout: float | None = None,
        max_bytes: int | None = None,
    ) -> OutboundResponse:
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(url))
        self.asked.append(f"{method} {url}")
        if origin in self.down or origin not in self.houses:
            raise Unavailable("peer-unavailable", "A service that is needed here does not answer.", host=origin)
        answer = self.houses[origin].request(method, url, headers=dict(headers or {}), content=content)
        return OutboundResponse(answer.status_code, dict(answer.headers), answer.content)


@dataclass
class Provider:
    """A small OpenID provider of somebody else's, strict where the profile is; `spoil` changes what it answers."""

    clock: Clock
    client_jwk: dict[str, Any]
    id_key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", private=True))
    approval_key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", private=True))
    pushed: dict[str, dict[str, str]] = field(default_factory=dict)
    codes: dict[str, tuple[dict[str, str], dict[str, str], str]] = field(default_factory=dict)
    metadata_changes: dict[str, Any] = field(default_factory=dict)
    claims_changes: dict[str, Any] = field(default_factory=dict)
    site: str = SITE
    issuer: str = IDP
    token_changes: dict[str, Any] = field(default_factory=dict)
    sad_changes: dict[str, Any] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)

    @property
    def now(self) -> int:
        return int(self.clock.now().timestamp())

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._metadata),
                Route("/jwks", self._jwks),
                Route("/par", self._par, methods=["POST"]),
                Route("/token", self._token, methods=["POST"]),
                Route("/authorize", self._agree),
            ]
        )

    def _metadata(self, _request: Request) -> Response:
        names = {
            "authorization_endpoint": "authorize",
            "token_endpoint": "token",
            "pushed_authorization_request_endpoint": "par",
            "jwks_uri": "jwks",
            "end_session_endpoint": "logout",
        }
        found = {
            "issuer": self.issuer,
            **{name: f"{self.issuer}/{path}" for name, path in names.items()},
            **self.metadata_changes,
        }
        return JSONResponse({name: value for name, value in found.items() if value is not None})

    def _jwks(self, _request: Request) -> Response:
        public = self.id_key.as_dict(private=False)
        return JSONResponse({"keys": [{**public, "kid": self.id_key.thumbprint(), "use": "sig"}]})

    def _agree(self, request: Request) -> Response:
        """For a real browser: whoever comes here agrees at once."""
        return RedirectResponse(self.answer(str(request.url)), 303)

    def _authenticate(self, form: dict[str, str]) -> None:
        token = jwt.decode(form["client_assertion"], ECKey.import_key(self.client_jwk), algorithms=["ES256"])
        claims = token.claims
        assert claims["iss"] == claims["sub"] == form["client_id"] == CLIENT_ID
        assert claims["aud"] == self.issuer
        assert self.now - 10 <= claims["iat"] < claims["exp"] <= self.now + 600
        assert claims["jti"] not in self.used
        self.used.add(claims["jti"])

    async def _par(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode(), strict_parsing=True))
        self._authenticate(form)
        assert form["response_type"] == "code"
        assert form["code_challenge_method"] == "S256"
        assert form["redirect_uri"] == f"{self.site}/callback"
        reference = f"urn:ietf:params:oauth:request_uri:{len(self.pushed)}"
        self.pushed[reference] = form
        return JSONResponse({"request_uri": reference, "expires_in": 90}, 201)

    def asked(self, url: str) -> dict[str, str]:
        """The request behind the address to which the site sent the browser."""
        query = parse_qs(urlsplit(url).query)
        assert url.startswith(f"{self.issuer}/authorize?")
        assert set(query) == {"client_id", "request_uri"}
        return self.pushed[query["request_uri"][0]]

    def answer(self, url: str, person: Mapping[str, str] = ANA, *, error: str = "", acr: str = SUBSTANTIAL) -> str:
        """What a person decides at the provider; the address that the browser goes back to."""
        form = self.asked(url)
        back = {"state": form["state"], "iss": self.issuer}
        if error:
            back["error"] = error
        else:
            back["code"] = f"code-{len(self.codes)}"
            self.codes[back["code"]] = (form, dict(person), acr)
        return f"{form['redirect_uri']}?{urlencode(back)}"

    async def _token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode(), strict_parsing=True))
        self._authenticate(form)
        if form["code"] not in self.codes:
            return JSONResponse({"error": "invalid_grant"}, 400)
        pushed, person, acr = self.codes.pop(form["code"])
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest())
        assert challenge.rstrip(b"=").decode() == pushed["code_challenge"]
        claims = {
            **person,
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": self.now,
            "exp": self.now + 300,
            "nonce": pushed["nonce"],
            "acr": acr,
            **self.claims_changes,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        header = {"alg": "ES256", "kid": self.id_key.thumbprint()}
        answer: dict[str, Any] = {"id_token": jwt.encode(header, claims, self.id_key), "expires_in": 300}
        if "authorization_details" in pushed:
            details = json.loads(pushed["authorization_details"])
            sad = self.sad(details[0], person, acr)
            answer |= {"access_token": sad, "token_type": "sad", "authorization_details": details}
        else:
            answer |= {"access_token": "opaque", "token_type": "Bearer"}
        return JSONResponse({**answer, **self.token_changes})

    def sad(self, detail: dict[str, Any], person: Mapping[str, str], acr: str) -> str:
        claims = {
            "iss": self.issuer,
            "aud": "enkrat-engine",
            "jti": f"approval-{len(self.used)}-{id(self)}",
            "iat": self.now,
            "exp": self.now + 300,
            "client_id": CLIENT_ID,
            "cnf": {"jkt": ECKey.import_key(self.client_jwk).thumbprint()},
            "sub": "account-1",
            "acr": acr,
            "amr": ["pwd", "sms", "mfa"],
            "auth_time": self.now - 20,
            "idv": "verification-1",
            "sid_sign": detail["session"],
            "kind": detail["kind"],
            "documents": detail["documents"],
            "subject": {
                "given_name": person["given_name"],
                "family_name": person["family_name"],
                "country": "SI",
                "serial_number": "TINSI-12345678",
            },
            **self.sad_changes,
        }
        return jwt.encode({"alg": "ES256", "typ": "sad+jwt"}, claims, self.approval_key)


@dataclass
class EnginePort:
    """The real engine behind the site's port. `before` runs ahead of a call, `lost` drops the answer after it."""

    engine: Engine
    failure: Exception | None = None
    lost: bool = False
    calls: int = 0

    def sign(self, approval: str, proof: str, digests: Sequence[str]) -> list[SignatureResult]:
        self.calls += 1
        if self.failure is not None:
            raise self.failure
        results = self.engine.sign(SignRequest(approval, proof, list(digests)))
        if self.lost:
            raise Unavailable("engine-unavailable", "Signing is briefly unavailable.")
        return results


@dataclass(frozen=True)
class Town:
    """Tokens and the ceremony's artefacts: made once, used by every test."""

    tokens: Mapping[str, hsm.Token]
    ca: Path


@dataclass
class Street:
    """One signing site with everything around it."""

    clock: SettableClock
    database: Database
    door: StreetDoor
    provider: Provider
    engine: EnginePort
    app: Starlette
    directory: Path

    @property
    def site(self) -> Site:
        """What the site is made of, for what no page shows."""
        site: Site = self.app.state.site
        return site

    def browser(self) -> "Visitor":
        return Visitor(self)


def open_street(
    stack: ExitStack,
    town: Town,
    *,
    directory: Path,
    database: Database,
    clock: SettableClock,
    isolated: Isolated,
    policy: Policy | None = None,
    origin: str = SITE,
    idp: str = IDP,
) -> Street:
    """Builds the street; `stack` closes it."""
    randomness, store, door = SystemRandomness(), CaStore(town.ca), StreetDoor()
    with database.write() as session:
        register(session, town.ca, clock.now(), Writer("certification", randomness, clock))
    site_key = town.tokens["site"].signing_key("site-client")
    provider = Provider(clock, dict(public_key(site_key.public_spki).as_dict(private=False)), site=origin, issuer=idp)
    issuers = {
        role: IssuingKey.of(role, store.certificate(role), town.tokens["ca"].signing_key(f"{role}-ca"))
        for role in SUBSCRIBER_ISSUERS
    }
    authority = Authority(profiles(), issuers, URLS, clock, randomness, qscd=True)
    chains = {role: [store.certificate(role)] for role in issuers}
    activation = ActivationPolicy(issuer=idp, levels=default_levels(qualified=True))
    engine = Engine(
        database=database,
        signer=OneTimeSigner(town.tokens["ca"], authority, chains, clock),
        activator=Activator(activation, provider.approval_key, clock),
        liveness=stack.enter_context(Liveness(directory / "run", randomness)),
        writer=Writer("engine", randomness, clock),
        clock=clock,
        randomness=randomness,
        terms=TERMS,
        on_step=lambda _step: clock.advance(seconds=0.0005),
    )
    tsa, qtsa = (
        tsa_app(
            signer=town.tokens[unit].signing_key(unit),
            certificate=store.certificate(unit),
            chain=[store.infrastructure],
            policy=policy_oid,
            accuracy_ms=500,
            max_clock_jump_ms=500,
            database=database,
            clock=clock,
            randomness=randomness,
            qualified=unit == "qtsu",
        )
        for unit, policy_oid in (("tsu", "0.4.0.2023.1.1"), ("qtsu", "1.3.6.1.4.1.32473.1.3.1"))
    )
    delegations = [
        Delegation(role, store.certificate(role), store.ocsp[role], town.tokens["ocsp"].signing_key(f"ocsp-{role}"))
        for role in ISSUERS
    ]
    # No lease: what is answered while the database is away would depend on how soon a listening thread notices.
    ocsp = ocsp_app(delegations=delegations, database=database, clock=clock, validity_seconds=3600, lease_seconds=0)
    houses: dict[str, Any] = {
        idp: provider.app(), TSA: tsa, QTSA: qtsa, OCSP: ocsp, REPOSITORY: repository_app(town.ca, clock), LOG: _log()
    }  # fmt: skip
    for address, house in houses.items():
        door.houses[address] = stack.enter_context(TestClient(house, base_url=address))
    port = EnginePort(engine)
    policy = policy or Policy()
    trust = TrustAnchors.of_installation(town.ca)
    app = sign_app(
        pages=Pages(name="Enkrat", face="sign", origin=origin, support="podpora@enkrat.test", randomness=randomness),
        database=database,
        clock=clock,
        randomness=randomness,
        outbound=cast("Outbound", door),
        isolated=isolated,
        client_key=site_key,
        documents_key=town.tokens["site"].aead_key("documents"),
        documents_directory=directory / "documents",
        engine=port,
        validator=OwnValidator(trust, isolated, clock, policy.limits.max_bytes + 1_000_000),
        client_id=CLIENT_ID,
        issuer=idp,
        tsa_urls={"advanced": TSA, "advanced-qualified": TSA, "qualified": QTSA},
        log_url=LOG,
        packages=EvidencePackages(database, lambda: VerifierKey("log.example/TEST", bytes(32))),
        validate_url=VALIDATE,
        policy=policy,
        housekeeping_seconds=None,
    )
    return Street(clock, database, door, provider, port, app, directory)


def _log() -> Starlette:
    """A log in which every leaf stands at place 184203, co-signed."""

    def inclusion(request: Request) -> Response:
        note = "log\n1\nroot\n\n— log a\n— witness b\n"
        return JSONResponse({"leaf": request.query_params["leaf"], "index": 184203, "checkpoint": note})

    return Starlette(routes=[Route("/proof/inclusion", inclusion)])


class Visitor:
    """A browser without JavaScript in front of the site."""

    def __init__(self, street: Street) -> None:
        self.street = street
        self.client = TestClient(street.app, base_url=street.provider.site, follow_redirects=False)

    def get(self, path: str, **headers: str) -> Any:
        return self.client.get(path, headers=headers)

    def token(self) -> str:
        """What the hidden field of every form repeats."""
        if "enkrat-sign-form" not in self.client.cookies:
            self.get("/")
        return self.client.cookies["enkrat-sign-form"]

    def log_in(self, person: Mapping[str, str] = ANA, path: str = "/upload") -> Any:
        away = self.get(f"/login?next={path}")
        assert away.status_code == 303
        back = self.get(self.street.provider.answer(away.headers["location"], person))
        assert back.status_code == 303, back.text
        return back

    def upload(self, pdf: bytes, name: str = "Pogodba o žitu.pdf", **headers: str) -> Any:
        return self.client.post(
            "/upload",
            data={"csrf_token": self.token()},
            files={"document": (name, pdf, "application/pdf")},
            headers=headers,
        )

    def bring(self, pdf: bytes, name: str = "Pogodba o žitu.pdf") -> str:
        """Uploads and returns the document's page."""
        answer = self.upload(pdf, name)
        assert answer.status_code == 303, answer.text
        return str(answer.headers["location"])

    def press(self, path: str, action: str, **fields: str) -> Any:
        """Presses one of the document's buttons."""
        form = {"csrf_token": self.token(), "action": action, **fields}
        return self.client.post(f"{path}/approve", data=form)

    def approve(self, path: str, person: Mapping[str, str] = ANA, *, kind: str = "qualified", error: str = "") -> Any:
        """Chooses, goes to the provider, decides there and comes back."""
        away = self.press(path, "approve", kind=kind)
        assert away.status_code == 303, away.text
        return self.get(self.street.provider.answer(away.headers["location"], person, error=error))
