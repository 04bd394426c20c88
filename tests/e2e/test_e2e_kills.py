"""Real processes killed at telling moments between approval and file: the person goes on, one signature is made.

The moments are met from outside: the browser says when it goes from one face to the other, and a face
that is stopped for a moment leaves its caller waiting in the middle of what is asked.
"""

import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from sandbox.page import Page, PageError
from sandbox.person import World, begin_login, new_visitor
from tests.e2e.test_e2e_trouble import Guest
from tests.harness import Platform

PATIENCE = 600


@pytest.fixture(scope="module")
def guest(platform: Platform) -> Iterator[Guest]:
    world = World()
    visitor = new_visitor(platform.urls, world, lambda _step: None)
    visitor.walk(begin_login(visitor, platform.urls), "sign.upload", "sign.home")
    yield Guest(visitor, platform.urls)
    world.client.close()


def rows(platform: Platform, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(platform.var / "enkrat.db", timeout=20)) as database, database:
        return list(database.execute(query))


def number(platform: Platform, table: str, where: str = "1") -> int:
    [(found,)] = rows(platform, f"SELECT count(*) FROM {table} WHERE {where}")  # noqa: S608  (words of this file)
    assert isinstance(found, int)
    return found


def until(holds: Callable[[], bool], what: str) -> None:
    """Bounded wait."""
    pause = threading.Event()
    for _ in range(PATIENCE):
        if holds():
            return
        pause.wait(0.05)
    raise AssertionError(what)


def asked(url: str) -> bool:
    """Whether a request waits unread at the port of this face (/proc/net/tcp: local address, state 01, rx queue)."""
    port = f":{urlsplit(url).port or 0:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(line[1].endswith(port) and line[3] == "01" and int(line[4].split(":")[1], 16) for line in lines)


@contextmanager
def on_the_way_back(guest: Guest, happens: Callable[[], object]) -> Iterator[None]:
    """`happens` right before the browser brings the provider's answer to the signing site."""

    def look(request: httpx2.Request) -> None:
        if request.url.path == "/callback":
            happens()

    hooks = guest.visitor.client.event_hooks
    guest.visitor.client.event_hooks = {**hooks, "request": [look]}
    try:
        yield
    finally:
        guest.visitor.client.event_hooks = hooks


@contextmanager
def caught_asking(
    platform: Platform, role: str, ready: Callable[[], bool] = lambda: True
) -> Iterator[Callable[[], None]]:
    """A call stops the role; when somebody has asked it something, the signing site is killed and the role goes on.

    Others may ask as well: `ready` says whether the site can have come so far.
    """
    stopped = platform.of_role(role)

    def go_on() -> None:
        for process in stopped:
            process.send_signal(signal.SIGCONT)

    def kill_asker() -> None:
        until(lambda: ready() and asked(platform.urls[role]), f"nobody asks {role}")
        platform.kill("sign")
        go_on()

    watcher = threading.Thread(target=kill_asker)

    def begin() -> None:
        for process in stopped:
            process.send_signal(signal.SIGSTOP)
        watcher.start()

    try:
        yield begin
    finally:
        if watcher.ident is not None:
            watcher.join()
        go_on()
        platform.start_role("sign")
        platform.wait_until_up()


def ready_to_approve(guest: Guest) -> tuple[str, Page]:
    """The address of a new document, and the page on which its approval is given."""
    document = guest.upload(guest.contract())
    page = guest.visitor.walk(guest.ask_for_approval(document), "idp.approve")
    return document.url, page if page.has_form("code") else guest.visitor.step(page)


def session_of(document: str) -> str:
    """The id in a document's address."""
    return document.rpartition("/")[2]


def approve_anew(guest: Guest, document: str) -> None:
    page = guest.ask_for_approval(guest.visitor.browser.get(document))
    assert guest.visitor.walk(page, "sign.result").links("/download")


@pytest.mark.requirement("SIG-7", "OPS-1")
def test_a_provider_killed_after_the_approval_costs_another_approval(platform: Platform, guest: Guest) -> None:
    before = number(platform, "signature")
    document, approving = ready_to_approve(guest)
    with on_the_way_back(guest, lambda: platform.kill("idp")):
        page = guest.visitor.step(approving)
    assert page.status == 503
    platform.start_role("idp")
    platform.wait_until_up()
    assert number(platform, "signature") == before
    approve_anew(guest, document)
    assert number(platform, "signature") == before + 1
    assert "the log is sound" in platform.tsp("audit", "verify").stdout


@pytest.mark.requirement("SIG-7", "OPS-1")
def test_a_site_killed_between_the_spent_code_and_its_approval_asks_for_another(
    platform: Platform, guest: Guest
) -> None:
    before, spent = number(platform, "signature"), number(platform, "idp_authorization_code", "used_at IS NOT NULL")
    document, approving = ready_to_approve(guest)
    with (
        caught_asking(platform, "idp") as stop_provider,
        on_the_way_back(guest, stop_provider),
        pytest.raises(PageError),
    ):
        guest.visitor.step(approving)
    until(
        lambda: number(platform, "idp_authorization_code", "used_at IS NOT NULL") == spent + 1,
        "the provider did not spend the code of a caller that is gone",
    )
    assert number(platform, "signing_session", f"id = '{session_of(document)}' AND state = 'requested'") == 1
    approve_anew(guest, document)
    assert number(platform, "signature") == before + 1


@pytest.mark.requirement("SIG-1", "SIG-7", "OPS-1")
def test_a_site_killed_during_finishing_goes_on_with_the_same_signature(platform: Platform, guest: Guest) -> None:
    before = number(platform, "signature")
    document, approving = ready_to_approve(guest)
    with (
        caught_asking(platform, "tsa", lambda: number(platform, "signature") > before) as stop_time_stamps,
        on_the_way_back(guest, stop_time_stamps),
        pytest.raises(PageError),
    ):
        guest.visitor.step(approving)
    assert number(platform, "signature") == before + 1
    assert guest.visitor.browser.get(document).name == "sign.waiting"
    # The lease of the killed one runs for three minutes, which nobody waits for here.
    rows(platform, f"UPDATE signing_session SET lease_until = NULL WHERE id = '{session_of(document)}'")  # noqa: S608
    page = guest.visitor.walk(guest.visitor.browser.get(document), "sign.result")
    assert page.links("/download")
    assert number(platform, "signature") == before + 1
