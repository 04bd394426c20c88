"""The small browser against small pages: forms as browsers send them, redirects, cookies, clear errors."""

from urllib.parse import parse_qsl

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from sandbox.browser import Browser
from sandbox.page import Page, PageError, Upload

URL = "http://localhost:8400/start"
FORM = """<body data-page="test.form"><main><h1>Vnesite  podatke</h1>
<p class="error" id="e">Koda ni <b>prava</b>.</p><div role="alert">Koda ni prava.</div>
<p class="error" hidden>Skrito</p><!-- x -->
<form id="f" action="/answer?x=1" method="post">
<input type="hidden" name="csrf" value="č1">
<input name="email" required>
<input name="disabled" value="no" disabled>
<fieldset disabled><input name="off" value="no"></fieldset>
<input type="checkbox" name="terms" value="yes" required>
<input type="checkbox" name="news" checked>
<input type="radio" name="kind" value="advanced" checked><input type="radio" name="kind" value="qualified">
<select name="country"><option value="+385">HR</option><option value="+386" selected>SI</option></select>
<textarea name="note">abc</textarea>
<input type="submit" value="Send">
<button name="method" value="sms">SMS</button><button name="method" value="sms:2" formaction="/other">SMS 2</button>
<button name="decision" value="cancel" formnovalidate>Cancel</button>
<button type="button" name="never" value="x">x</button>
</form>
<input name="outside" value="1" form="f">
<p id="puk"> ABCD <b>1234</b> </p>
<a href="/download/1">Prenesi</a><a href="https://elsewhere.example/">x</a><img src="pages/1.png" alt="">
</main></body>"""
DEFAULTS = [
    ("csrf", "č1"),
    ("news", "on"),
    ("kind", "advanced"),
    ("country", "+386"),
    ("note", "abc"),
    ("outside", "1"),
]


def _page(html: str = FORM, policy: str = "") -> Page:
    return Page(URL, 200, html.encode(), policy)


def test_a_page_tells_what_it_says() -> None:
    page = _page()
    assert (page.name, page.heading, page.errors) == ("test.form", "Vnesite podatke", ["Koda ni prava."])
    assert page.text("puk") == "ABCD 1234"
    assert page.links("download") == ["http://localhost:8400/download/1"]
    assert page.images() == ["http://localhost:8400/pages/1.png"]
    assert page.has_form("email", "method")
    assert not page.has_form("email", "password")
    assert page.form("email").choices("kind") == ["advanced", "qualified"]
    assert page.form("email").choices("method") == ["sms", "sms:2"]


def test_a_form_sends_what_a_browser_would() -> None:
    form = _page().form("email").fill(email="a@x", terms=True, kind="qualified", news=False)
    sent = form.submission()
    assert (sent.method, sent.url, sent.multipart) == ("POST", "http://localhost:8400/answer?x=1", False)
    assert sent.fields == [
        ("csrf", "č1"),
        ("email", "a@x"),
        ("terms", "yes"),
        ("kind", "qualified"),
        ("country", "+386"),
        ("note", "abc"),
        ("outside", "1"),
    ]
    assert form.submission("method").fields[-1] == ("method", "sms")
    second = form.submission("method", "sms:2")
    assert (second.url, second.fields[-1]) == ("http://localhost:8400/other", ("method", "sms:2"))


def test_required_fields_hold_a_form_back_unless_the_button_says_otherwise() -> None:
    form = _page().form("email")
    with pytest.raises(PageError, match=r"required fields are empty: email, terms"):
        form.submission()
    assert form.submission("decision", "cancel").fields == [
        ("csrf", "č1"),
        ("email", ""),
        *DEFAULTS[1:],
        ("decision", "cancel"),
    ]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda page: page.expect("test.other"), "expected test.other, but this is test.form"),
        (lambda page: page.text("none"), "no element has the id none"),
        (lambda page: page.form("password"), "no form has password"),
        (lambda page: page.form("email").fill(password="x"), "the form has no field password"),
        (lambda page: page.form("email").fill(off="x"), "the form has no field off"),
        (lambda page: page.form("email").fill(kind="none"), "kind offers advanced, qualified, not none"),
        (lambda page: page.form("email").fill(country="+1"), r"country offers \+385, \+386, not \+1"),
        (lambda page: page.form("email").submission("method", "push"), "no button method push"),
        (lambda page: page.form("email").submission("never"), "no button never"),
    ],
)
def test_what_a_page_does_not_have_is_told_with_what_it_says(wrong: object, sentence: str) -> None:
    assert callable(wrong)
    with pytest.raises(PageError, match=sentence) as caught:
        wrong(_page())
    assert "Koda ni prava" in str(caught.value)
    assert URL in str(caught.value)


def test_a_page_without_errors_is_described_by_its_words() -> None:
    with pytest.raises(PageError, match=r"a page without name .*: Stran ne obstaja"):
        _page("<main>Stran <i>ne</i> obstaja</main>").expect("sign.home")


@given(st.binary(max_size=400))
def test_no_octets_break_a_page(html: bytes) -> None:
    page = Page(URL, 200, html)
    assert isinstance(page.words(), str)
    assert page.form("x") if page.has_form("x") else page.errors is not None


async def _form(_request: Request) -> Response:
    return HTMLResponse(FORM, headers={"Content-Security-Policy": "default-src 'none'; form-action 'self'"})


async def _answer(request: Request) -> Response:
    answer = RedirectResponse("/end?a=1", 303)
    answer.set_cookie("seen", request.headers["origin"].replace(":", "."), httponly=True)
    return answer


async def _end(request: Request) -> Response:
    body = f'<body data-page="test.end"><p id="said">{request.method} {request.cookies.get("seen")}</p></body>'
    return HTMLResponse(body)


async def _upload(request: Request) -> Response:
    async with request.form() as form:
        document = form["document"]
        assert not isinstance(document, str)
        content = (await document.read()).decode()
        said = f"{form['kind']} {document.filename} {document.content_type} {content}"
    return HTMLResponse(f'<p id="said">{said}</p>')


async def _upload_page(_request: Request) -> Response:
    return HTMLResponse(
        '<form action="/upload" method="post" enctype="multipart/form-data">'
        '<input type="file" name="document" required><input name="kind" value="qualifi€d"><button>x</button></form>'
    )


async def _search(request: Request) -> Response:
    if request.url.query:
        return HTMLResponse(f'<p id="said">{dict(parse_qsl(request.url.query))}</p>')
    return HTMLResponse('<form><input name="q" value="č"><button>x</button></form>')


async def _file(request: Request) -> Response:
    extended = "; filename*=UTF-8''%C5%BEig.pdf" if request.url.query else ""
    headers = {"Content-Disposition": f'attachment; filename="pogodba.pdf"{extended}'}
    return Response(b"%PDF", media_type="application/pdf", headers=headers)


APP = Starlette(
    routes=[
        Route("/start", _form),
        Route("/answer", _answer, methods=["POST"]),
        Route("/other", lambda _: RedirectResponse("http://localhost:8401/next", 303), methods=["POST"]),
        Route("/end", _end),
        Route("/upload", _upload_page),
        Route("/upload", _upload, methods=["POST"]),
        Route("/search", _search),
        Route("/file", _file),
        Route("/json", lambda _: JSONResponse({"error": "x"}, 400)),
        Route("/loop", lambda _: RedirectResponse("/loop", 302)),
        Route("/broken", lambda _: HTMLResponse("<main>Ni mogoče</main>", 500)),
    ]
)


@pytest.fixture
def browser() -> Browser:
    return Browser(TestClient(APP, base_url="http://localhost:8400"))


def test_a_form_is_sent_and_its_redirect_followed_by_get_with_cookies(browser: Browser) -> None:
    page = browser.press(browser.get(URL).expect("test.form"), "method", "sms", email="a@x", terms="yes")
    assert page.expect("test.end").text("said") == "GET http.//localhost.8400"
    assert browser.trail == ["http://localhost:8400/answer?x=1", "http://localhost:8400/end?a=1"]


def test_files_are_sent_as_multipart(browser: Browser) -> None:
    form = browser.get("http://localhost:8400/upload").form("document")
    with pytest.raises(PageError, match="required fields are empty: document"):
        form.submission()
    form.fill(document=Upload("pogodba č.pdf", b"%PDF", "application/pdf"))
    assert browser.submit(form).text("said") == "qualifi€d pogodba č.pdf application/pdf %PDF"


def test_get_forms_become_queries(browser: Browser) -> None:
    page = browser.get("http://localhost:8400/search")
    assert browser.submit(page.form("q")).text("said") == "{'q': 'č'}"


def test_a_form_may_not_lead_where_its_page_forbids(browser: Browser) -> None:
    form = browser.get(URL).form("email").fill(email="a@x", terms=True)
    with pytest.raises(PageError, match=r"browsers refuse to go on to http://localhost:8401: form-action is 'self'"):
        browser.submit(form, "method", "sms:2")


def test_files_are_downloaded_with_their_name(browser: Browser) -> None:
    got = browser.download("http://localhost:8400/file")
    assert (got.name, got.media_type, got.content) == ("pogodba.pdf", "application/pdf", b"%PDF")
    assert browser.download("http://localhost:8400/file?extended").name == "žig.pdf"
    with pytest.raises(PageError, match=r"expected a file .*500\): Ni mogoče"):
        browser.download("http://localhost:8400/broken")


@pytest.mark.parametrize(
    ("path", "sentence"),
    [("json", r'answered 400 with no page: \{"error":"x"\}'), ("loop", "too many redirects"), ("file", "no page")],
)
def test_what_is_no_page_is_told(browser: Browser, path: str, sentence: str) -> None:
    with pytest.raises(PageError, match=sentence):
        browser.get(f"http://localhost:8400/{path}")


def test_a_site_that_is_not_there_is_told() -> None:
    def silent(_request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    browser = Browser(httpx2.Client(transport=httpx2.MockTransport(silent)))
    with pytest.raises(PageError, match="does not answer: ConnectError refused"):
        browser.get(URL)
