"""The session of a browser: how its cookie looks, when it ends."""

from datetime import timedelta

import pytest
from starlette.requests import Request
from starlette.responses import Response

from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.randomness import Randomness
from tsp.idp.accounts.assurance import Means
from tsp.idp.session import CurrentSession, Sessions
from tsp.web import Pages

MEANS = frozenset({Means.PASSWORD, Means.SMS_CODE})


class Site:
    """Sessions of one face, and a browser that keeps its cookie."""

    def __init__(self, database: Database, clock: SettableClock, randomness: Randomness, origin: str) -> None:
        pages = Pages(name="Enkrat", face="idp", origin=origin, support="a@b.test", randomness=randomness)
        self.database = database
        self.sessions = Sessions(database, clock, randomness, pages)
        self.cookie = ""
        self.header = ""

    def log_in(self, account: str) -> None:
        with self.database.write() as session:
            token = self.sessions.begin(session, account, MEANS)
        response = Response()
        self.sessions.attach(response, token)
        self.header = response.headers["set-cookie"]
        self.cookie = self.header.partition(";")[0]

    def request(self) -> Request:
        return Request({"type": "http", "headers": [(b"cookie", self.cookie.encode())]})

    def current(self) -> CurrentSession | None:
        return self.sessions.current(self.request())


@pytest.fixture
def site(database: Database, clock: SettableClock, randomness: Randomness) -> Site:
    return Site(database, clock, randomness, "http://localhost:8401")


@pytest.mark.requirement("SEC-2")
def test_the_cookie_is_for_this_host_and_out_of_reach_of_scripts(
    database: Database, clock: SettableClock, randomness: Randomness, site: Site
) -> None:
    secure = Site(database, clock, randomness, "https://idp.enkrat.test")
    secure.log_in("a")
    site.log_in("a")
    for text in ("HttpOnly", "SameSite=lax", "Path=/"):
        assert text in secure.header
        assert text in site.header
    assert secure.header.startswith("__Host-enkrat-idp-session=")
    assert "Secure" in secure.header
    assert "Domain" not in secure.header
    assert site.header.startswith("enkrat-idp-session=")


@pytest.mark.requirement("SEC-2")
def test_each_login_is_a_session_of_its_own(site: Site, clock: SettableClock) -> None:
    site.log_in("a")
    first, before = site.cookie, site.current()
    clock.advance(seconds=5)
    site.log_in("a")
    after = site.current()
    assert before is not None
    assert after is not None
    assert site.cookie != first
    assert (before.account_id, before.means) == (after.account_id, after.means) == ("a", MEANS)
    assert after.auth_time - before.auth_time == timedelta(seconds=5)


@pytest.mark.requirement("SEC-2")
def test_a_session_ends_with_disuse_and_at_the_latest_after_twelve_hours(site: Site, clock: SettableClock) -> None:
    site.log_in("a")
    for _ in range(51):
        clock.advance(minutes=14)
        assert site.current() is not None
    clock.advance(minutes=6)
    assert site.current() is None
    site.log_in("a")
    clock.advance(seconds=899)
    assert site.current() is not None
    clock.advance(seconds=900)
    assert site.current() is None


@pytest.mark.requirement("SEC-2")
def test_all_sessions_of_an_account_can_be_ended_and_nobody_elses(
    site: Site, database: Database, clock: SettableClock, randomness: Randomness
) -> None:
    others = Site(database, clock, randomness, "http://localhost:8401")
    site.log_in("a")
    others.log_in("b")
    with database.write() as session:
        site.sessions.end_all(session, "a")
    assert site.current() is None
    assert others.current() is not None
    others.sessions.end(others.request(), Response())
    assert others.current() is None


def test_no_cookie_and_a_guessed_one_are_nobody(site: Site) -> None:
    assert site.current() is None
    site.log_in("a")
    site.cookie = "enkrat-idp-session=" + "A" * 43
    assert site.current() is None
