"""A stand-in for the platform: its pages with the names of their fields, no rules behind them.

It is the least that a journey needs. That the real pages have these names is for the tests that run
the whole platform.
"""

import html
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

import httpx2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from sandbox.branch import Branch, branch_app
from sandbox.instance import Instance
from sandbox.mailbox import Mailbox, mailbox_app
from sandbox.oauth import BranchClient
from sandbox.phone import Phone, phone_app
from sandbox.randomness import SystemRandomness
from sandbox.register import Entry, Register, register_app
from tsp.core.clock import SettableClock

SIGN, IDP = "http://localhost:8400", "http://localhost:8401"
KEY = "ABCD-EFGH-JKMN"

Fields = dict[str, str]


def page(name: str, body: str, status: int = 200) -> Response:
    policy = f"default-src 'none'; form-action 'self' {SIGN} {IDP}"
    text = f'<!doctype html><body data-page="{name}"><main><h1>{name}</h1>{body}</main></body>'
    return HTMLResponse(text, status, {"Content-Security-Policy": policy})


def form(action: str, *names: str, buttons: str = "<button>x</button>") -> str:
    inputs = "".join(
        f'<input type="checkbox" name="{n}" value="yes" required>'
        if n in ("terms", "acknowledged")
        else f'<input name="{n}" required>'
        for n in names
    )
    return f'<form method="post" action="{action}">{inputs}{buttons}</form>'


@dataclass
class StandIn:
    """One account, one login, one document. `broken` names the place where something goes wrong."""

    clock: SettableClock
    mailbox: Mailbox
    phone: Phone
    register: Register
    broken: str = ""
    account: Fields = field(default_factory=dict)
    step: str = "login"
    has_data: bool = False
    raised: bool = False
    signed_in: bool = False
    uploaded: bytes = b""
    kind: str = ""
    pictures: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    codes: int = 100000
    packages: int = 0

    # --- messages ---------------------------------------------------------------------------------

    def mail(self, text: str) -> None:
        self.mailbox.store.add(self.account["email"], text, subject="Sporočilo")

    def code(self, by: str) -> str:
        self.codes += 1
        if by == "mail":
            self.mail(f"Vaša koda je {self.codes}.")
        else:
            self.phone.store.add(self.number, f"Enkrat: {self.codes} je enkratno geslo, dokument 2026.pdf.")
        return str(self.codes)

    @property
    def number(self) -> str:
        return "+386" + self.account["phone"].removeprefix("0")

    # --- identity provider ------------------------------------------------------------------------

    def idp(self) -> Starlette:
        gets = {
            "/register": lambda _: page("idp.register", self._register_form()),
            "/register/done": lambda _: page(
                "idp.register-done", f'<a class="button" href="{"/login?request=r-1" if self.asked else "/"}">x</a>'
            ),
            "/login": self.login,
            "/personal-data": self.personal_data_page,
            "/identification-key": lambda _: page(
                "idp.identification-key", form("/identification-key", "identification_key")
            ),
            "/.well-known/openid-configuration": lambda _: JSONResponse(
                {"issuer": IDP, "token_endpoint": f"{IDP}/token"}
            ),
        }
        posts: dict[str, Callable[[Fields], Response]] = {
            "/register": self.registered,
            "/register/email": lambda f: self.checked(f, "idp.register-sms", "/register/sms", "sms"),
            "/register/sms": lambda f: self.checked(f, "idp.register-puk", "", ""),
            "/register/puk": lambda _: to("/register/done"),
            "/login/password": self.password,
            "/login/method": lambda _: self.code_page("idp.code", "/login/code", self.code("sms")),
            "/login/code": self.logged_in,
            "/login/consent": self.consent,
            "/personal-data/pin": self.pin,
            "/personal-data": self.personal_data,
            "/identification-key": self.identification_key,
            "/login/approve/send": lambda _: self.approve_page(self.code("sms")),
            "/login/approve": self.approved,
            "/token": lambda _: JSONResponse({"access_token": "t", "token_type": "Bearer"}),
            "/branch/identification-keys": lambda _: JSONResponse({"key": KEY}, 201),
        }
        return _app(gets, posts)

    def _register_form(self) -> str:
        select = (
            '<select name="phone_country"><option value="+385">HR</option><option value="+386">SI</option></select>'
        )
        return form(
            "/register", "email", "password", "password_again", "phone", "terms", buttons=f"{select}<button>x</button>"
        )

    def registered(self, fields: Fields) -> Response:
        assert fields["password"] == fields["password_again"]
        assert (fields["terms"], fields["phone_country"]) == ("yes", "+386")
        self.account = fields
        self.mail("Dobrodošli v letu 2026.")
        return self.code_page("idp.register-email", "/register/email", self.code("mail"))

    def code_page(self, name: str, action: str, expected: str, error: str = "") -> Response:
        self.expected = expected
        shown = f'<p class="error">{error}</p>' if error else ""
        return page(name, shown + form(action, "code"), 403 if error else 200)

    def checked(self, fields: Fields, name: str, action: str, by: str) -> Response:
        if fields["code"] != self.expected or self.broken == name:
            return self.code_page(name, action, self.expected, "Koda ni prava.")
        if name == "idp.register-puk":
            self.mail("Vaš račun je pripravljen.")
            return page(name, '<output id="puk">AB12CD34</output>' + form("/register/puk", "acknowledged"))
        return self.code_page(name, action, self.code(by))

    def login(self, request: Request) -> Response:
        if request.query_params.get("next") or "request" not in request.query_params:
            return to("/login?request=r-1")
        if self.broken == "error":
            return page("idp.error", '<p role="alert">Nekaj je narobe.</p>', 500)
        match self.step:
            case "login":
                return page(
                    "idp.login",
                    form("/login/password", "email", "password") + '<a href="/register?request=r-1">Ustvari račun</a>',
                )
            case "level":
                key = '<a class="button" href="/identification-key?request=r-1">x</a>'
                data = '<a class="button" href="/personal-data?request=r-1">x</a>'
                return page("idp.level", key if self.has_data else data)
            case "consent":
                return page("idp.consent", _decide("/login/consent"))
            case _:
                return self.approve_page("")

    def password(self, fields: Fields) -> Response:
        assert (fields["email"], fields["password"]) == (self.account["email"], self.account["password"])
        buttons = '<button name="method" value="sms">SMS</button>'
        return page("idp.choose", form("/login/method", buttons=buttons))

    def logged_in(self, fields: Fields) -> Response:
        assert fields["code"] == self.expected
        self.step = "consent" if self.raised else "level"
        return to("/login?request=r-1")

    def personal_data_page(self, _request: Request) -> Response:
        if self.step == "data":
            names = ("given_name", "family_name", "tax_number", "date_of_birth")
            return page("idp.personal-data", form("/personal-data", *names))
        buttons = '<button name="send" value="yes">x</button>'
        return page("idp.personal-data-pin", form("/personal-data/pin", buttons=buttons))

    def pin(self, fields: Fields) -> Response:
        if "send" in fields:
            return self.code_page("idp.personal-data-pin", "/personal-data/pin", self.code("mail"))
        assert fields["code"] == self.expected
        self.step = "data"
        return to("/personal-data")

    def personal_data(self, fields: Fields) -> Response:
        if not self.register.check(Entry.model_validate(fields)) or self.broken == "register":
            names = ("given_name", "family_name", "tax_number", "date_of_birth")
            return page(
                "idp.personal-data", '<p role="alert">Podatki se ne ujemajo.</p>' + form("/personal-data", *names), 403
            )
        self.has_data, self.step = True, "level"
        return to("/login?request=r-1")

    def identification_key(self, fields: Fields) -> Response:
        assert fields["identification_key"] == KEY
        self.raised, self.step = True, "consent"
        return to("/login?request=r-1")

    def consent(self, fields: Fields) -> Response:
        assert fields["decision"] == "allow"
        self.step = "approve"
        return to(f"{SIGN}/callback")

    def approve_page(self, expected: str) -> Response:
        self.expected = expected
        if not expected:
            return page(
                "idp.approve", form("/login/approve/send", buttons='<button name="method" value="sms">x</button>')
            )
        password = ("password",) if self.kind == "qualified" else ()
        return page("idp.approve", form("/login/approve", "code", *password))

    def approved(self, fields: Fields) -> Response:
        assert fields["code"] == self.expected
        assert fields.get("password", "") in ("", self.account["password"])
        self.step = "waiting"
        return to(f"{SIGN}/documents/d-1")

    # --- signing site -----------------------------------------------------------------------------

    def sign(self) -> Starlette:
        gets = {
            "/": lambda _: page("sign.home", '<a class="button" href="/login?next=/upload">x</a>'),
            "/login": self.to_idp,
            "/callback": lambda _: to("/upload"),
            "/upload": lambda _: page("sign.upload", _upload_form()),
            "/documents/d-1": self.document,
            "/documents/d-1/pages/{n}.png": self.picture,
            "/documents/d-1/download": lambda _: Response(self.uploaded + b"signed", media_type="application/pdf"),
            "/documents/d-1/package": self.package,
            "/documents/d-1/evidence": lambda _: JSONResponse({"id": "e-1", "certificate": {"serial": "0a"}}),
        }
        posts: dict[str, Callable[[Fields], Response]] = {"/documents/d-1/approve": self.chosen}
        app = _app(gets, posts)
        app.routes.append(Route("/upload", self.upload, methods=["POST"]))
        return app

    def to_idp(self, _request: Request) -> Response:
        self.asked.append("login")
        return to(f"{IDP}/login?request=r-1")

    async def upload(self, request: Request) -> Response:
        async with request.form() as sent:
            document = sent["document"]
            assert not isinstance(document, str)
            self.uploaded = await document.read()
        if self.broken == "upload":
            return page("sign.upload", '<p class="error">To ni PDF.</p>' + _upload_form(), 400)
        return to("/documents/d-1")

    def document(self, request: Request) -> Response:
        match self.step:
            case "waiting":
                self.step = "again"
                return page("sign.waiting", "<p>Trenutek …</p>")
            case "again":
                self.step = "waiting" if self.broken == "engine" else "pending"
                return page(
                    "sign.waiting",
                    form("/documents/d-1/approve", buttons='<button name="action" value="continue">x</button>'),
                )
            case "pending" | "finished":
                pending = '<li class="pending">x</li>' if self.step == "pending" or self.broken == "log" else ""
                self.step = "finished"
                links = '<a href="/documents/d-1/download">x</a><a href="/documents/d-1/evidence">x</a>'
                links += '<a href="/documents/d-1/package">x</a>'
                return page("sign.result", f"<ol>{pending}</ol>{links}")
        number = int(request.query_params.get("from", "1"))
        onwards = f'<a rel="next" href="?from={number + 1}">x</a>' if number < 2 else ""
        radios = "".join(f'<input type="radio" name="kind" value="{k}" required>' for k in ("qualified", "advanced"))
        buttons = '<button name="action" value="approve">x</button><button name="action" value="delete">x</button>'
        picture = f'<img src="/documents/d-1/pages/{number}.png" alt="">'
        return page("sign.document", picture + onwards + form("/documents/d-1/approve", buttons=radios + buttons))

    def package(self, _request: Request) -> Response:
        """Pending at the first look, complete at the second; pending for ever where the witness is broken."""
        self.packages += 1
        complete = self.packages > 1 and self.broken != "witness"
        return JSONResponse({"log": {}, "time_stamp": "x"} if complete else {"format": "x"})

    def picture(self, request: Request) -> Response:
        self.pictures.add(request.path_params["n"])
        return Response(b"no" if self.broken == "picture" else b"\x89PNG\r\n", media_type="image/png")

    def chosen(self, fields: Fields) -> Response:
        if fields["action"] == "continue":
            return to("/documents/d-1")
        assert fields["action"] == "approve"
        self.kind = fields["kind"]
        return to(f"{IDP}/login?request=r-2")

    def verifier(self, _request: Request) -> Response:
        """A program that says what the real one would say; its arguments are those that the story gives it."""
        state = "failed" if self.broken == "verifier" else "proven"
        words = ["--trust", "--document", "--log-key", "--witness-key", "--json"]
        text = f'import sys\nassert all(w in sys.argv for w in {words})\nprint(\'{{"state": "{state}"}}\')\n'
        return Response(text.encode(), media_type="application/zip")

    # --- the rest ---------------------------------------------------------------------------------

    def others(self) -> Starlette:
        return _app(
            {
                "/root.pem": lambda _: Response(b"-----BEGIN CERTIFICATE-----\n", media_type="application/x-pem-file"),
                "/key": lambda _: Response(b"name+id+key\n", media_type="text/plain"),
                "/verify-evidence.pyz": self.verifier,
            },
            {
                "/api/validate": lambda _: JSONResponse(
                    {"indication": "TOTAL-FAILED" if self.broken == "validator" else "TOTAL-PASSED"}
                )
            },
        )


def _upload_form() -> str:
    return (
        '<form method="post" action="/upload" enctype="multipart/form-data">'
        '<input type="file" name="document" required><button>x</button></form>'
    )


def _decide(action: str) -> str:
    values = ("cancel", "allow")
    return form(
        action, buttons="".join(f'<button name="decision" value="{v}">{html.escape(v)}</button>' for v in values)
    )


def to(address: str) -> Response:
    return RedirectResponse(address, 303)


def _app(gets: dict[str, Callable[[Request], Response]], posts: dict[str, Callable[[Fields], Response]]) -> Starlette:
    def posted(act: Callable[[Fields], Response]) -> Callable[[Request], object]:
        async def endpoint(request: Request) -> Response:
            return act(dict(parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True)))

        return endpoint

    routes = [Route(path, show) for path, show in gets.items()]
    return Starlette(routes=[*routes, *(Route(path, posted(act), methods=["POST"]) for path, act in posts.items())])


class Ports:
    """One ASGI application for all ports of localhost, told apart by the Host header."""

    def __init__(self, apps: dict[int, ASGIApp]) -> None:
        self._apps = apps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = dict(scope["headers"])[b"host"].decode()
        await self._apps[int(host.rpartition(":")[2])](scope, receive, send)


def client_of(stand_in: StandIn, instance: Instance) -> TestClient:
    """A client that reaches the stand-in and the real servers of the sandbox under the demo's addresses."""
    settings = instance.settings
    idp = stand_in.idp()
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=idp))
    branch = BranchClient(http, IDP, "sandbox-branch", instance.branch_key, stand_in.clock, SystemRandomness())
    apps: dict[int, ASGIApp] = {
        8400: stand_in.sign(),
        8401: idp,
        8402: stand_in.others(),
        8405: stand_in.others(),
        8406: stand_in.others(),
        8415: stand_in.others(),
        8411: mailbox_app(stand_in.mailbox),
        8412: phone_app(stand_in.phone, instance.gateway_token),
        8413: register_app(stand_in.register, instance.register_token),
        8414: branch_app(Branch("TEST", branch, settings.limits)),
    }
    return TestClient(Ports(apps), base_url=SIGN)
