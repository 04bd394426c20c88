"""Headers, forms, errors, languages: what every face gets from the shared frame."""

import logging
import re

import pytest
from starlette.testclient import TestClient

from tests.web.small_face import ERRORS, make_client, make_pages
from tsp.core.errors import http_status


def token_of(html: str) -> str:
    found = re.search(r'name="csrf_token" value="([^"]{43})"', html)
    assert found
    return found[1]


@pytest.mark.requirement("SEC-2")
def test_headers_of_a_page_allow_nothing_from_elsewhere(browser: TestClient) -> None:
    headers = browser.get("/").headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    for directive in ("script-src", "style-src", "img-src", "font-src", "connect-src"):
        assert policy[directive] == "'self'"
    assert policy["form-action"] == "'self' https://banka.example"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "same-origin"


@pytest.mark.requirement("SEC-2")
@pytest.mark.parametrize("path", ["/plain", "/nowhere", "/crash", "/static/nothing.css"])
def test_headers_are_there_on_every_answer(browser: TestClient, path: str) -> None:
    headers = browser.get(path).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


@pytest.mark.requirement("SEC-2")
def test_page_has_no_inline_script_or_style(browser: TestClient) -> None:
    html = browser.get("/").text
    assert not re.search(r"<script(?![^>]*\bsrc=)", html)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", html)
    assert not re.search(r'(?:src|href)="(?:https?:)?//', html)


def test_what_a_service_calls_itself_is_escaped(browser: TestClient) -> None:
    html = browser.get("/").text
    assert "Elektronska &lt;banka&gt;" in html
    assert "<banka>" not in html


def test_page_says_where_it_is_and_in_which_language(browser: TestClient) -> None:
    html = browser.get("/").text
    assert '<body data-page="gallery.all">' in html
    assert '<html lang="sl">' in html
    assert 'class="skip" href="#content"' in html
    assert "mailto:podpora@primer.si" in html


def test_form_ok_with_its_token(browser: TestClient) -> None:
    token = token_of(browser.get("/").text)
    answer = browser.post("/", data={"csrf_token": token, "email": " ana@primer.si "})
    assert answer.json() == {"email": " ana@primer.si "}


def test_form_token_stays_the_same_for_two_tabs(browser: TestClient) -> None:
    assert token_of(browser.get("/").text) == token_of(browser.get("/").text)


@pytest.mark.requirement("SEC-2")
@pytest.mark.parametrize("token", ["", "x" * 43, None])
def test_form_fails_with_a_wrong_token(browser: TestClient, token: str | None) -> None:
    browser.get("/")
    answer = browser.post("/", data={"email": "a@b.si"} | ({} if token is None else {"csrf_token": token}))
    assert answer.status_code == 403
    assert "form-expired" in answer.text


@pytest.mark.requirement("SEC-2")
def test_form_fails_without_cookie(browser: TestClient) -> None:
    token = token_of(browser.get("/").text)
    browser.cookies.clear()
    assert browser.post("/", data={"csrf_token": token}).status_code == 403


@pytest.mark.requirement("SEC-2")
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"origin": "http://testserver:81"},
    ],
)
def test_form_fails_from_elsewhere(browser: TestClient, headers: dict[str, str]) -> None:
    token = token_of(browser.get("/").text)
    assert browser.post("/", data={"csrf_token": token}, headers=headers).status_code == 403


def test_form_ok_from_our_origin(browser: TestClient) -> None:
    token = token_of(browser.get("/").text)
    ours = {"origin": "http://testserver", "sec-fetch-site": "same-origin"}
    assert browser.post("/", data={"csrf_token": token}, headers=ours).status_code == 200


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"a=1&a=2", "application/x-www-form-urlencoded"),
        (b"a=%ff", "application/x-www-form-urlencoded"),
        (b"&".join(b"f%d=1" % i for i in range(80)), "application/x-www-form-urlencoded"),
        (b'{"a": 1}', "application/json"),
        (b"a=" + b"x" * 70_000, "application/x-www-form-urlencoded"),
    ],
    ids=["repeated", "not-utf8", "many", "json", "large"],
)
def test_form_fails_when_it_cannot_be_read(browser: TestClient, body: bytes, kind: str) -> None:
    assert browser.post("/", content=body, headers={"content-type": kind}).status_code == 400


@pytest.mark.parametrize("kind", ERRORS)
def test_error_page_has_status_sentence_and_code(browser: TestClient, kind: str) -> None:
    answer = browser.get(f"/fail/{kind}", headers={"accept-language": "en"})
    assert answer.status_code == http_status(ERRORS[kind])
    assert ERRORS[kind].sentence in answer.text
    assert ERRORS[kind].code in answer.text
    assert 'data-page="idp.error"' in answer.text


def test_error_page_of_too_many_says_when_to_come_back(browser: TestClient) -> None:
    assert browser.get("/fail/too-many").headers["retry-after"] == "30"


def test_error_page_when_briefly_down_offers_to_try_again(browser: TestClient) -> None:
    assert 'href="/fail/unavailable"' in browser.get("/fail/unavailable").text


@pytest.mark.requirement("SEC-2")
def test_unexpected_error_shows_a_reference_and_nothing_else(
    browser: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        answer = browser.get("/crash")
    assert answer.status_code == 500
    reference = re.search(r"<code>([A-Z2-9]{4}-[A-Z2-9]{4})</code>", answer.text)
    assert reference
    assert "Ana" not in answer.text
    assert "RuntimeError" not in answer.text
    assert reference[1] in caplog.text
    assert "RuntimeError" in caplog.text
    assert "Ana" not in caplog.text


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_wrong_method_is_a_page_too(browser: TestClient, method: str) -> None:
    assert 'data-page="idp.error"' in browser.request(method, "/plain").text


@pytest.mark.requirement("LOG-1")
@pytest.mark.parametrize(
    ("query", "accept", "cookie", "expected"),
    [
        ("", "", None, "sl"),
        ("", "de-AT,de", None, "sl"),
        ("", "en-GB,en;q=0.9,sl;q=0.8", None, "en"),
        ("", "en;q=0.5, sl-SI;q=0.9", None, "sl"),
        ("", "en;q=abc, sl", None, "sl"),
        ("?ui_locales=fr+en", "sl", None, "en"),
        ("?lang=en", "sl", None, "en"),
        ("?ui_locales=en", "en", "sl", "sl"),
        ("", "sl", "en", "en"),
        ("", "en", "xx", "en"),
    ],
)
def test_language_is_chosen(browser: TestClient, query: str, accept: str, cookie: str | None, expected: str) -> None:
    if cookie:
        browser.cookies.set("enkrat-language", cookie)
    html = browser.get(f"/{query}", headers={"accept-language": accept}).text
    assert f'<html lang="{expected}">' in html


@pytest.mark.requirement("LOG-1")
def test_language_switch_keeps_the_page_and_its_query(browser: TestClient) -> None:
    html = browser.get("/?a=1&b=č").text
    link = re.search(r'href="(/language\?[^"]+)" lang="en"', html)
    assert link
    answer = browser.get(link[1].replace("&amp;", "&"))
    assert answer.status_code == 303
    assert answer.headers["location"] == "/?a=1&b=%C4%8D"
    assert '<html lang="en">' in browser.get(answer.headers["location"]).text


@pytest.mark.requirement("SEC-2")
@pytest.mark.parametrize(
    "back",
    ["https://evil.example", "//evil.example", "/\\evil.example", "evil", "", "/a\r\nset-cookie: x=1", "/\t/evil"],
)
def test_language_switch_never_leads_away(browser: TestClient, back: str) -> None:
    answer = browser.get("/language", params={"to": "en", "back": back})
    assert answer.headers["location"] == "/"


def test_language_switch_ignores_languages_that_we_do_not_speak(browser: TestClient) -> None:
    assert "set-cookie" not in browser.get("/language?to=de&back=/").headers


@pytest.mark.requirement("SEC-2")
def test_cookies_are_named_per_face_and_closed(browser: TestClient) -> None:
    cookie = browser.get("/session").headers["set-cookie"]
    assert cookie.startswith("enkrat-idp-session=abc;")
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= {p.strip() for p in cookie.split(";")}
    assert "Domain" not in cookie


@pytest.mark.requirement("SEC-2")
def test_cookies_with_https_are_bound_to_the_host() -> None:
    with make_client(make_pages("https://id.example", demo=False)) as browser:
        answer = browser.get("/")
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-enkrat-idp-form=")
        assert "Secure" in cookie
        assert "max-age=" in answer.headers["strict-transport-security"]
        assert "TEST" not in answer.text


def test_static_files_are_kept_for_a_year_under_names_of_their_content(browser: TestClient) -> None:
    html = browser.get("/").text
    addresses = set(re.findall(r'"(/static/[^"]+)"', html))
    assert len(addresses) >= 3
    for address in addresses:
        answer = browser.get(address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    style = next(a for a in addresses if a.endswith(".css"))
    css = browser.get(style).text
    fonts = re.findall(r'url\("([^"]+)"\)', css)
    assert len(fonts) == 2
    for font in fonts:
        assert browser.get(font).headers["content-type"] == "font/woff2"
    assert browser.get(re.sub(r"\.[0-9a-f]{12}\.", ".000000000000.", style)).status_code == 404


@pytest.mark.requirement("LOG-1")
@pytest.mark.parametrize(("path", "words"), [("/terms", "Terms of use"), ("/privacy", "Privacy policy")])
def test_terms_and_privacy_are_real_pages(browser: TestClient, path: str, words: str) -> None:
    answer = browser.get(path, headers={"accept-language": "en"})
    assert f"<h1>{words}</h1>" in answer.text
    assert len(answer.text) > 2500
