"""An application on a real port, and a real browser in front of it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

WIDTHS = (390, 1280)
SCHEMES = ("light", "dark")
_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


def listener() -> tuple[socket.socket, str]:
    """A bound socket, and the origin that it will serve."""
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    return bound, f"http://localhost:{bound.getsockname()[1]}"


@contextmanager
def serving(app: Any, bound: socket.socket) -> Iterator[None]:
    """Serves the application until the block ends."""
    config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()
        bound.close()


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=_FLAGS)
        yield browser
        browser.close()


@contextmanager
def page_of(browser: Browser, **options: Any) -> Iterator[tuple[Page, list[str]]]:
    """A page in a context of its own, and everything that its console complains of."""
    context = browser.new_context(**{"locale": "sl-SI", **options})
    complaints: list[str] = []
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page, complaints
    context.close()


def barriers(page: Page) -> list[str]:
    """What axe finds against WCAG 2.2 AA on this page; an empty list is good."""
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found = Axe().run(page, options={"runOnly": {"type": "tag", "values": tags}}).response["violations"]
    return [f"{v['id']}: {v['nodes'][0]['html'][:200]}" for v in found]


def sticks_out(page: Page) -> bool:
    """Whether the page is wider than its window."""
    return bool(page.evaluate("document.documentElement.scrollWidth > innerWidth"))


def small_targets(page: Page) -> list[str]:
    """Controls that are lower than 24 CSS pixels (WCAG 2.2, 2.5.8), links inside sentences apart."""
    script = """() => [...document.querySelectorAll('button, select, input:not([type=hidden]), .button, footer a')]
        .filter(e => e.checkVisibility() && e.getBoundingClientRect().height < 20)
        .map(e => e.outerHTML.slice(0, 120))"""
    found: list[str] = page.evaluate(script)
    return found
