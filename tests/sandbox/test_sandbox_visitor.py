"""What a person does on pages that the usual journey does not meet, and where a journey gives up."""

from collections.abc import Callable
from urllib.parse import parse_qsl

import httpx2
import pytest

from sandbox.browser import Browser
from sandbox.inbox import Inbox
from sandbox.page import Page, PageError
from sandbox.people import make_person
from sandbox.randomness import SystemRandomness
from sandbox.visitor import Account, Step, Visitor, ids_of
from tsp.core.clock import SettableClock

IDP = "http://localhost:8401"
BUTTONS = '<a class="button" href="/identification-key">x</a><a class="button quiet" href="/on?request=r-1">x</a>'
RESUME = (
    '<form method="post" action="/resume"><input type="hidden" name="request" value="r-1"><button>x</button></form>'
)
CANCEL = (
    '<form method="post" action="/cancel"><input type="hidden" name="request" value="r-1"><button>x</button></form>'
)


def _page(name: str, body: str = "") -> Page:
    html = f'<body data-page="{name}"><header><a class="button" href="/home">x</a></header><main>{body}</main></body>'
    return Page(f"{IDP}/here?request=r-0", 200, html.encode())


class Site:
    """Answers every request with one page and remembers what was asked."""

    def __init__(self, answer: str = "sign.upload") -> None:
        self.answer = answer
        self.asked: list[tuple[str, str, dict[str, str]]] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append((request.method, request.url.raw_path.decode(), dict(parse_qsl(request.content.decode()))))
        body = f'<body data-page="{self.answer}"><main>{RESUME}</main></body>'
        return httpx2.Response(200, html=body)


@pytest.fixture
def visitor_of(clock: SettableClock) -> Callable[[Site, list[Step]], Visitor]:
    def make(site: Site, steps: list[Step]) -> Visitor:
        client = httpx2.Client(transport=httpx2.MockTransport(site))
        account = Account(make_person(SystemRandomness(), clock), "secret", puk="AB12CD34")
        inbox = Inbox(client, "http://localhost:8411", "http://localhost:8412")
        return Visitor(
            account, Browser(client), inbox, client, "http://localhost:8414", clock, steps.append, lambda _: None
        )

    return make


@pytest.mark.parametrize(
    ("page", "asked"),
    [
        (_page("idp.expired", RESUME + CANCEL), ("POST", "/resume", {"request": "r-1"})),
        (_page("idp.personal-data-done", BUTTONS), ("GET", "/on?request=r-1", {})),
        (_page("idp.identification-key-done", BUTTONS), ("GET", "/on?request=r-1", {})),
        (_page("idp.level", BUTTONS), ("GET", "/identification-key", {})),
    ],
)
def test_pages_that_come_when_one_was_there_before(
    visitor_of: Callable[[Site, list[Step]], Visitor], page: Page, asked: tuple[str, str, dict[str, str]]
) -> None:
    site, steps = Site(), list[Step]()
    assert visitor_of(site, steps).walk(page, "sign.upload").name == "sign.upload"
    assert site.asked == [asked]
    assert steps[0].ids["login"] in ("r-0", "r-1")


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        (_page("idp.level", "Pišite podpori"), "no way to a higher level, but .*: Pišite podpori"),
        (_page("idp.register-done"), "no way on"),
        (_page("idp.unheard-of", "Novo"), "stopped here, but this is idp.unheard-of .*: Novo"),
    ],
)
def test_pages_without_a_way_on_are_quoted(
    visitor_of: Callable[[Site, list[Step]], Visitor], page: Page, sentence: str
) -> None:
    with pytest.raises(PageError, match=sentence):
        visitor_of(Site(), []).walk(page, "sign.upload")


def test_a_circle_has_an_end(visitor_of: Callable[[Site, list[Step]], Visitor]) -> None:
    site = Site("idp.expired")
    with pytest.raises(PageError, match=r"no end after 60 pages on the way to sign\.upload"):
        visitor_of(site, []).walk(_page("idp.expired", RESUME), "sign.upload")
    assert len(site.asked) == 60


def test_ids_come_from_addresses() -> None:
    assert ids_of(Page("http://localhost:8400/documents/ab-1/download?x=1&request=r.2", 200, b"")) == {
        "login": "r.2",
        "document": "ab-1",
    }
    assert ids_of(Page("http://localhost:8400/other", 200, b"")) == {}
