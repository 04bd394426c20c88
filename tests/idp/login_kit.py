"""The whole identity provider over HTTP, a person with a phone, and a relying party of its own make.

The relying party is written from the standards with joserfc alone: nothing of `tsp.idp.oidc` is used.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet
from sqlalchemy import select, text
from starlette.testclient import TestClient

import hsm
from sandbox.browser import Browser
from sandbox.page import Page
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.outbound import Outbound, OutboundResponse
from tsp.core.randomness import Randomness, new_id, new_token
from tsp.core.sealing import Sealer
from tsp.core.settings import Settings, load_settings
from tsp.idp.app import idp_app
from tsp.idp.credentials.password import Cost
from tsp.notify.outbox import context
from tsp.notify.tables import Message

ROOT = Path(__file__).resolve().parents[2]
ISSUER = "http://localhost:8401"
PORTAL = "http://localhost:8499/callback"
SIGN = "http://localhost:8498/callback"
DATA = "http://localhost:8497/callback?from=idp"
LOW, SUBSTANTIAL, HIGH = (f"http://eidas.europa.eu/LoA/{level}" for level in ("low", "substantial", "high"))
CHEAP = Cost(passes=1, memory=64, lanes=1)
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
PASSWORD = "Skrivno-geslo.2026"

FILES = {
    "test-portal": """
client_id = "test-portal"
name = {{ sl = "Preizkusni portal", en = "Test portal" }}
organisation = {{ id = "test-bank", name = "TEST Banka d.d." }}
support = {{ email = "pomoc@portal.test" }}
terms_url = "https://portal.test/pogoji"
policy_url = "https://portal.test/politika"
redirect_uris = ["http://localhost:8499/callback"]
post_logout_redirect_uris = ["http://localhost:8499/bye"]
jwk = {jwk}
scopes = ["openid", "profile", "email"]
claims = ["given_name", "family_name", "email", "email_verified"]
""",
    "test-sign": """
client_id = "test-sign"
name = {{ sl = "Preizkusni podpis", en = "Test signing" }}
organisation = {{ id = "test-sign", name = "TEST Podpisi d.o.o." }}
support = {{ email = "pomoc@podpis.test" }}
redirect_uris = ["http://localhost:8498/callback"]
jwk = {jwk}
minimum_acr = "substantial"
claims = ["given_name", "family_name"]
signature_kinds = ["advanced", "advanced-qualified", "qualified"]
""",
    "test-data": """
client_id = "test-data"
name = {{ sl = "Preizkusni register", en = "Test register" }}
organisation = {{ id = "test-data", name = "TEST Register" }}
support = {{ email = "pomoc@register.test" }}
redirect_uris = ["http://localhost:8497/callback?from=idp"]
jwk = {jwk}
scopes = ["openid", "tax_number"]
claims = ["tax_number"]
required_data = true
""",
    "test-branch": """
client_id = "test-branch"
name = {{ sl = "Preizkusna poslovalnica", en = "Test branch" }}
organisation = {{ id = "test-bank", name = "TEST Banka d.d." }}
support = {{ email = "pomoc@banka.test" }}
grants = ["client_credentials"]
jwk = {jwk}
scopes = ["identification-keys", "revocations", "inventory"]
""",
}


@dataclass(frozen=True)
class Register(Outbound):
    """A register that agrees with everybody."""

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
        return OutboundResponse(200, {}, b'{"match": true}')


@dataclass
class Answer:
    """What came back to a relying party's address, and what the party kept until then."""

    url: str
    verifier: str
    nonce: str
    state: str

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.url).query, keep_blank_values=True))

    @property
    def code(self) -> str:
        assert self.query["iss"] == ISSUER
        assert self.query["state"] == self.state
        return self.query["code"]


@dataclass
class Party:
    """A relying party."""

    client_id: str
    redirect_uri: str
    http: httpx2.Client
    clock: SettableClock
    randomness: Randomness
    key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256"))

    @property
    def public_jwk(self) -> dict[str, Any]:
        return dict(self.key.as_dict(private=False))

    def assertion(self, key: ECKey | None = None, header: dict[str, Any] | None = None, **claims: Any) -> str:
        now = int(self.clock.now().timestamp())
        values = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": ISSUER,
            "jti": new_id(self.randomness),
            "iat": now,
            "exp": now + 60,
            **claims,
        }
        known = {name: value for name, value in values.items() if value is not None}
        return jwt.encode({"alg": "ES256", **(header or {})}, known, key or self.key)

    def post(self, path: str, form: Mapping[str, str], assertion: str | None = None) -> httpx2.Response:
        """An authenticated form post; `form` may overrule everything."""
        body = {
            "client_id": self.client_id,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion or self.assertion(),
            **form,
        }
        return self.http.post(f"{ISSUER}{path}", data=body)

    def pushed(self, **parameters: str) -> tuple[httpx2.Response, Answer]:
        """PAR with everything right but what `parameters` overrule."""
        verifier, state, nonce = (new_token(self.randomness) for _ in range(3))
        form = {
            "response_type": "code",
            "redirect_uri": self.redirect_uri,
            "scope": "openid",
            "state": state,
            "nonce": nonce,
            "code_challenge": s256(verifier),
            "code_challenge_method": "S256",
            **parameters,
        }
        sent = {name: value for name, value in form.items() if value != "<none>"}
        return self.post("/par", sent), Answer("", verifier, nonce, state)

    def begin(self, **parameters: str) -> Answer:
        """The address that a browser is sent to, as the answer's address until it comes back."""
        response, answer = self.pushed(**parameters)
        assert response.status_code == 201, response.text
        query = urlencode({"client_id": self.client_id, "request_uri": response.json()["request_uri"]})
        answer.url = f"{ISSUER}/authorize?{query}"
        return answer

    def token(self, answer: Answer, **overrule: str) -> httpx2.Response:
        """Redeems a code."""
        form = {
            "grant_type": "authorization_code",
            "code": overrule.get("code") or answer.code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": answer.verifier,
            **overrule,
        }
        return self.post("/token", form)

    def claims(self, id_token: str) -> dict[str, Any]:
        """The claims of an ID Token under the published keys."""
        keys = KeySet.import_key_set(self.http.get(f"{ISSUER}/jwks").json())
        read = jwt.decode(id_token, keys, algorithms=["ES256"])
        assert read.claims["iss"] == ISSUER
        assert read.claims["aud"] == self.client_id
        return dict(read.claims)


@dataclass
class World:
    """One installation of the identity provider with four relying parties."""

    settings: Settings
    database: Database
    token: hsm.Token
    clock: SettableClock
    randomness: Randomness
    http: TestClient
    portal: Party
    sign: Party
    data: Party
    branch: Party

    def browser(self) -> Browser:
        """Another browser with cookies of its own."""
        return Browser(TestClient(self.http.app, base_url=ISSUER, follow_redirects=False))

    def messages(self, channel: str) -> list[str]:
        """The texts of all messages of a channel, oldest first, as the phone or mailbox gets them."""
        sealer = Sealer(self.token.aead_key("outbox"), self.randomness, "outbox")
        # Times are no order, as the clock stands: the databases know themselves which row was written first.
        first = "rowid" if self.database.is_sqlite else "xmin::text::bigint, cmin::text::bigint"
        with self.database.read() as session:
            rows = list(session.scalars(select(Message).where(Message.channel == channel).order_by(text(first))))
            opened = [json.loads(sealer.open(row.sealed, context(row.id))) for row in rows]
        return [str(content["text"]) for content in opened]

    def code(self, channel: str = "sms") -> str:
        """The code in the latest message."""
        found = re.findall(r"\b\d{6}\b", self.messages(channel)[-1])
        assert found
        return str(found[0])


@dataclass
class Person:
    """Somebody with an account."""

    world: World
    email: str
    tax_number: str = "15012557"
    given_name: str = "Ana"
    family_name: str = "Žnidaršič"
    date_of_birth: str = "1980-05-17"
    puk: str = ""

    def log_in(self, browser: Browser, page: Page) -> Page:
        """Password and SMS code from the login page on; whatever page or answer follows."""
        page = send(browser, page.expect("idp.login"), email=self.email, password=PASSWORD)
        page = browser.press(page.expect("idp.choose"), "method", "sms")
        return send(browser, page.expect("idp.code"), code=self.world.code())

    def visit(self, browser: Browser, party: Party, **parameters: str) -> tuple[Page, Answer]:
        """Goes where a service sends the browser; the page that is shown there."""
        answer = party.begin(**parameters)
        return browser.get(answer.url), answer

    def sign_in(self, browser: Browser, party: Party, **parameters: str) -> Answer:
        """A whole login with consent where it is asked for."""
        page, answer = self.visit(browser, party, **parameters)
        if page.name == "idp.login":
            page = self.log_in(browser, page)
        if page.name == "idp.consent":
            page = browser.press(page, "decision", "allow")
        return returned(browser, answer)


def send(browser: Browser, page: Page, **fields: str | bool) -> Page:
    """Fills the form with these fields and presses its plain button."""
    return browser.submit(page.form(*fields).fill(**fields))


def returned(browser: Browser, answer: Answer) -> Answer:
    """The answer with the address that the browser ended at."""
    answer.url = browser.trail[-1]
    assert "/callback?" in answer.url, browser.trail
    return answer


def s256(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def make_world(
    directory: Path, database: Database, token: hsm.Token, clock: SettableClock, randomness: Randomness
) -> World:
    """Sets up configuration, keys and application."""
    settings = _settings(directory)
    _keys(token)
    parties = {name: _party(name, clock, randomness) for name in FILES}
    for name, party in parties.items():
        jwk = ", ".join(f'{k} = "{v}"' for k, v in party.public_jwk.items())
        path = directory / "conf" / "relying-parties" / f"{name}.toml"
        path.write_text(FILES[name].format(jwk=f"{{ {jwk} }}"))
    database.create_all()
    app = idp_app(
        settings,
        database=database,
        token=token,
        outbound=Register(),
        clock=clock,
        randomness=randomness,
        password_cost=CHEAP,
    )
    http = TestClient(app, base_url=ISSUER, follow_redirects=False)
    for party in parties.values():
        party.http = http
    return World(settings, database, token, clock, randomness, http, *parties.values())


def _settings(directory: Path) -> Settings:
    conf = directory / "conf"
    (conf / "relying-parties").mkdir(parents=True)
    (conf / "tsp.toml").write_text((ROOT / "conf" / "tsp.toml").read_text())
    (conf / "policies").mkdir()
    (conf / "policies" / "assurance.toml").write_text((ROOT / "conf" / "policies" / "assurance.toml").read_text())
    settings = load_settings(conf / "tsp.toml")
    secret = settings.var / settings.register_.token_file
    secret.parent.mkdir(parents=True)
    secret.write_text("test-token")
    secret.chmod(0o600)
    return settings


def _keys(token: hsm.Token) -> None:
    for label in ("idp-id-token", "idp-approval"):
        token.generate_signing_key(label, hsm.KeySpec.P256)
    for label in ("password-hmac", "code-hmac", "index-hmac"):
        token.generate_hmac_key(label)
    for label in ("personal-data", "outbox"):
        token.generate_aead_key(label)


def _party(name: str, clock: SettableClock, randomness: Randomness) -> Party:
    addresses = {"test-portal": PORTAL, "test-sign": SIGN, "test-data": DATA, "test-branch": ""}
    return Party(name, addresses[name], httpx2.Client(), clock, randomness)


def register(
    world: World,
    email: str = "ana@posta.test",
    phone: str = "041 123 456",
    *,
    browser: Browser | None = None,
    page: Page | None = None,
) -> Person:
    """A new account of level low by the public pages, in a browser of its own or from a page on."""
    browser = browser or world.browser()
    page = send(
        browser,
        page or browser.get(f"{ISSUER}/register"),
        email=email,
        password=PASSWORD,
        password_again=PASSWORD,
        phone_country="+386",
        phone=phone,
        terms=True,
    )
    page = send(browser, page.expect("idp.register-email"), code=world.code("mail"))
    page = send(browser, page.expect("idp.register-sms"), code=world.code("sms"))
    puk = page.expect("idp.register-puk").text("puk")
    send(browser, page, acknowledged=True).expect("idp.register-done")
    return Person(world, email, puk=puk)


def enter_data(person: Person, browser: Browser, page: Page) -> Page:
    """Personal data from the page idp.level on; the page that follows."""
    page = browser.get(page.expect("idp.level").links("/personal-data")[0])
    page = browser.press(page.expect("idp.personal-data-pin"), "send")
    page = send(browser, page, code=person.world.code("mail"))
    return send(
        browser,
        page.expect("idp.personal-data"),
        given_name=person.given_name,
        family_name=person.family_name,
        tax_number=person.tax_number,
        date_of_birth=person.date_of_birth,
    )


def raise_level(person: Person, browser: Browser, page: Page) -> Page:
    """Personal data and an identification key from the page idp.level on; the page that follows."""
    page = enter_data(person, browser, page)
    page = browser.get(page.expect("idp.level").links("/identification-key")[0])
    return send(browser, page.expect("idp.identification-key"), identification_key=identification_key(person))


def identification_key(person: Person) -> str:
    """A key from the branch over its machine interface."""
    branch = person.world.branch
    granted = branch.post("/token", {"grant_type": "client_credentials", "scope": "identification-keys"})
    assert granted.status_code == 200, granted.text
    answer = branch.http.post(
        f"{ISSUER}/branch/identification-keys",
        headers={"authorization": f"Bearer {granted.json()['access_token']}"},
        json={
            "given_name": person.given_name,
            "family_name": person.family_name,
            "tax_number": person.tax_number,
            "date_of_birth": person.date_of_birth,
            "document": {"kind": "identity-card", "number": "IE1234567"},
            "officer": "Uradna Oseba",
        },
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["key"])


def details(kind: str = "qualified", *, label: str = "Pogodba o kreditu 2026-118.pdf", mark: str = "a") -> str:
    """authorization_details of one document."""
    document = {"label": label, "pages": 14, "digest_shown": mark * 64, "digest_signed": mark * 63 + "0"}
    return json.dumps([{"type": "signature", "kind": kind, "session": "session-1234", "documents": [document]}])
