"""The account half of the identity provider in processes of their own, one for each form that is sent."""

import base64
import fcntl
import json
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

import hsm
from hsm import softhsm
from sandbox.browser import Browser
from tests.idp.account_world import ORIGIN, AccountWorld
from tests.zygote import Begin, Job, Zygote, fatal
from tsp.audit.entries import Writer, record
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.randomness import SystemRandomness
from tsp.idp.accounts.branch import Document, KeyRequest
from tsp.idp.accounts.contacts import calling_codes, read_phone
from tsp.idp.accounts.person import Person
from tsp.idp.credentials.password import judge

ANA = Person("Ana", "Novak Žerjav", "50223054", date(1980, 5, 31))
PIN = "123456-test"

# What is read from files at the first use is read here, before anything is forked.
for _language in ("sl", "en"):
    calling_codes(_language)
read_phone("+386", "041 123 456")
judge("a password", ())


class LoggedWorld(AccountWorld):
    """A world whose log is the real one, in the database: what a process wrote outlives it."""

    def __init__(self, database: Database, clock: SettableClock, token: hsm.Token, **parts: Any) -> None:
        self.token = token
        super().__init__(database, clock, SystemRandomness(), token, **parts)
        self.register.known.append(ANA)

    def branch_key(self) -> str:
        """An identification key that a branch gives to Ana."""
        document = Document(kind="identity-card", number="IE1234567")
        request = KeyRequest(**json.loads(ANA.to_json()), document=document, officer="Referentka 7")
        return self.wing.branch.issue("banka", request).key

    def write_down(self, session: Session, kind: str, payload: Mapping[str, str]) -> None:
        record(session, writer=Writer("idp", self.randomness, self.clock), kind=kind, payload=dict(payload))


class MortalFace(httpx2.BaseTransport):
    """Answers a browser: each form by a process of its own, until one is killed at `step`; then by the test's own."""

    def __init__(self, world: LoggedWorld, zygote: Zygote, directory: Path, step: str) -> None:
        self.killed = 0
        self._world, self._zygote = world, zygote
        self._job = {
            "work": "tests.faults.account_worker:answer",
            "token": world.token.label,
            "database": world.database.url,
            "directory": str(directory),
            "step": step,
        }

    def browser(self) -> Browser:
        return Browser(httpx2.Client(transport=self, base_url=ORIGIN))

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET" or self.killed:
            return _response(_ask(self._world, _as_job(request)))
        session = {"now": self._world.clock.now().isoformat(), "logged_in": self._world.session is not None}
        [end] = self._zygote.run(self._job | _as_job(request) | session)
        if end == "killed":
            self.killed += 1
            raise httpx2.ReadError("the connection was closed", request=request)
        return _response(json.loads(end))


def answer(job: Job, begin: Begin) -> str:
    """One request, answered by a provider of its own."""
    with (Path(job["directory"]) / "opening").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        token = hsm.Token.open(softhsm.find_module(), job["token"], PIN)
    clock = SettableClock(datetime.fromisoformat(job["now"]))
    world = LoggedWorld(Database(job["database"]), clock, token, again=True, on_step=fatal(job))
    if job["logged_in"]:
        world.log_in()
    begin()
    return json.dumps(_ask(world, job))


def _as_job(request: httpx2.Request) -> Job:
    headers = [(k, v) for k, v in request.headers.items() if k not in ("accept-encoding", "content-length")]
    content = base64.b64encode(request.read()).decode()
    return {"method": request.method, "url": str(request.url), "headers": headers, "content": content}


def _ask(world: AccountWorld, job: Job) -> dict[str, Any]:
    client = TestClient(world.app, base_url=ORIGIN)
    client.headers.pop("accept-encoding", None)
    content = base64.b64decode(job["content"])
    said = client.request(
        job["method"], job["url"], headers=dict(job["headers"]), content=content, follow_redirects=False
    )
    headers = [(k, v) for k, v in said.headers.multi_items() if k not in ("content-encoding", "content-length")]
    return {"status": said.status_code, "headers": headers, "content": base64.b64encode(said.content).decode()}


def _response(said: dict[str, Any]) -> httpx2.Response:
    return httpx2.Response(said["status"], headers=said["headers"], content=base64.b64decode(said["content"]))
