"""Bad input and bad days, from outside: a clear sentence each, nothing half done, and the way on."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.writer import PageObject, PdfFileWriter

from sandbox.browser import Browser
from sandbox.clock import SystemClock
from sandbox.contract import make_contract
from sandbox.inbox import Inbox
from sandbox.page import Page, Upload
from sandbox.person import World, begin_login, new_visitor
from sandbox.visitor import Visitor
from tests.formats.hostile_samples import REFUSED
from tests.harness import Platform
from tsp.formats.time_stamp import time_stamp_request


@dataclass
class Guest:
    """Somebody who is signed in at the signing site with a substantial account."""

    visitor: Visitor
    urls: dict[str, str]

    def upload(self, content: bytes, name: str = "Pogodba.pdf") -> Page:
        page = self.visitor.browser.get(f"{self.urls['sign']}/upload").expect("sign.upload")
        form = page.form("document").fill(document=Upload(name, content, "application/pdf"))
        return self.visitor.browser.submit(form)

    def contract(self) -> bytes:
        return make_contract(self.visitor.account.person, SystemClock())

    def ask_for_approval(self, page: Page, kind: str = "advanced") -> Page:
        page.expect("sign.document")
        form = page.form("kind").fill(kind=kind)
        return self.visitor.browser.submit(form, "action", "approve")


@pytest.fixture(scope="module")
def guest(platform: Platform) -> Iterator[Guest]:
    world = World()
    urls = platform.urls
    visitor = new_visitor(urls, world, lambda _step: None)
    visitor.walk(begin_login(visitor, urls), "sign.upload", "sign.home")
    yield Guest(visitor, urls)
    world.client.close()


def encrypted_pdf() -> bytes:
    """A small document encrypted with a password, as other people's tools write it."""
    writer = PdfFileWriter()
    stream = generic.StreamObject(stream_data=b"BT ET")
    page = PageObject(contents=writer.add_object(stream), media_box=(0, 0, 200, 200))
    writer.insert_page(page)
    writer.encrypt(owner_pass="owner-password", user_pass="user-password")
    target = BytesIO()
    writer.write(target)
    return target.getvalue()


@pytest.mark.requirement("SIG-5", "SIG-7")
@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("word", "document-not-pdf"),
        ("empty", "document-missing"),
        ("truncated", "document-damaged"),
        ("encrypted", "document-encrypted"),
        ("large", "document-too-large"),
        ("script", "document-javascript"),
        ("attached file", "document-embedded-files"),
    ],
)
def test_a_document_that_cannot_be_signed_gets_one_clear_sentence(guest: Guest, kind: str, code: str) -> None:
    good = guest.contract()
    content = {
        "word": b"PK\x03\x04 this is an office file",
        "empty": b"",
        "truncated": good[: len(good) // 2],
        "encrypted": encrypted_pdf(),
        "large": good + b"%" + b"x" * 50_000_000,
        "script": REFUSED["script at opening"][0](),
        "attached file": REFUSED["file at a note"][0](),
    }[kind]
    page = guest.upload(content)
    assert page.name == "sign.upload"
    assert 400 <= page.status < 500
    assert page.errors
    [field] = page.elements("//*[@data-code-of-error]")
    assert field.get("data-code-of-error") == code
    assert guest.upload(good).name == "sign.document"


@pytest.mark.requirement("NOT-1", "REG-6")
def test_mail_that_is_down_comes_later(platform: Platform) -> None:
    urls = platform.urls
    world = World()
    visitor = new_visitor(urls, world, lambda _step: None)
    world.client.post(f"{urls['mailbox']}/api/down", json={"down": True}).raise_for_status()
    try:
        page = visitor.walk(visitor.browser.get(f"{urls['idp']}/register"), "idp.register-email")
        assert page.status == 200
        tries = [world.client.get(f"{urls['mailbox']}/api/down").json()["refused"]]
        while tries[-1] == tries[0] == 0 and len(tries) < 100:
            tries.append(world.client.get(f"{urls['mailbox']}/api/down").json()["refused"])
            world.pause(0.1)
        assert tries[-1] >= 1
    finally:
        world.client.post(f"{urls['mailbox']}/api/down", json={"down": False}).raise_for_status()
    reached = visitor.walk(page, "idp.register-puk")
    assert reached.name == "idp.register-puk"
    world.client.close()


def token_directory(platform: Platform, label: str) -> Path:
    """Where SoftHSM keeps the token with this label."""
    found = [p.parent for p in (platform.var / "tokens").rglob("token.object") if label.encode() in p.read_bytes()]
    assert len(found) == 1
    return found[0]


@pytest.mark.requirement("SIG-1", "OPS-1")
def test_a_lost_token_stops_signing_and_its_return_finishes_it(platform: Platform, guest: Guest) -> None:
    document = guest.upload(guest.contract())
    approval = guest.ask_for_approval(document)
    tokens = token_directory(platform, "enkrat-ca")
    hidden = platform.var / "tokens" / "away"
    approving = guest.visitor.walk(approval, "idp.approve")
    if not approving.has_form("code"):
        approving = guest.visitor.step(approving)
    platform.kill("engine")
    tokens.rename(hidden)
    try:
        page = guest.visitor.step(approving)
        for _ in range(20):
            if page.name == "sign.waiting" and page.has_form("action"):
                break
            guest.visitor.pause(0.5)
            page = guest.visitor.browser.get(page.url)
        assert page.name == "sign.waiting"
        assert page.words()
    finally:
        hidden.rename(tokens)
        platform.start_role("engine")
        platform.wait_until_up()
    result = guest.visitor.walk(page, "sign.result")
    assert result.links("/download")


@pytest.mark.requirement("SIG-7")
def test_documents_of_others_are_not_there(platform: Platform, guest: Guest) -> None:
    mine = guest.upload(guest.contract())
    with httpx2.Client() as client:
        stranger = Browser(client)
        page = stranger.get(mine.url)
        assert page.name == "idp.login"
    other = World()
    visitor = new_visitor(platform.urls, other, lambda _step: None)
    visitor.walk(begin_login(visitor, platform.urls), "sign.upload", "sign.home")
    page = visitor.browser.get(mine.url)
    assert page.status == 404
    other.client.close()


@pytest.mark.requirement("LOG-3", "SEC-1")
def test_wrong_codes_end_the_login_without_saying_why(platform: Platform, guest: Guest) -> None:
    page = guest.ask_for_approval(guest.upload(guest.contract()))
    page = guest.visitor.walk(page, "idp.approve")
    if not page.has_form("code"):
        page = guest.visitor.step(page)
    good = Inbox(guest.visitor.client, guest.urls["mailbox"], guest.urls["phone"])
    wrong = f"{(int(good.texted_code(guest.visitor.account.person.phone)) + 1) % 1_000_000:06d}"
    for _ in range(6):
        if not page.has_form("code"):
            break
        page = guest.visitor.browser.submit(page.form("code").fill(code=wrong))
        assert page.errors
        assert page.status >= 400
    assert not page.has_form("code") or page.errors
    documents = guest.visitor.browser.get(f"{guest.urls['sign']}/signatures")
    assert documents.status == 200


@pytest.mark.requirement("EVD-2", "EVD-5", "OPS-1")
def test_a_witness_that_died_is_named_and_caught_up_with(platform: Platform) -> None:
    """Something new comes into the log while the witness is dead: told by page and doctor, mended by itself."""

    def status() -> dict[str, Any]:
        told: dict[str, Any] = httpx2.get(f"{platform.urls['log']}/status", trust_env=False).json()
        return told

    def until(holds: Callable[[dict[str, Any]], bool]) -> None:
        pause = threading.Event()
        for _ in range(600):
            if holds(status()):
                return
            pause.wait(0.1)
        raise AssertionError(status())

    platform.kill("witness")
    try:
        query = time_stamp_request(bytes(32), 1)
        headers = {"content-type": "application/timestamp-query"}
        assert httpx2.post(platform.urls["tsa"], content=query, headers=headers, trust_env=False).status_code == 200
        until(lambda told: told["witnesses"][0]["problem"] == "witness-down" and told["waiting"] > 0)
        found = json.loads(platform.tsp("doctor", "--json", check=False).stdout)
        [named] = [d for d in found if d["subject"].startswith("witness ")]
        assert (named["well"], named["seen"]) == (False, "witness-down")
    finally:
        platform.start_witness()
    until(lambda told: told["witnesses"][0]["problem"] is None and told["waiting"] == 0)
