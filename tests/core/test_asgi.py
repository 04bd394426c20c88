"""The small ASGI base of the machine protocols."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from tsp.core.asgi import Reply, Request, Service
from tsp.core.errors import Invalid, NotFound, TooMany, Unavailable
from tsp.core.workers import Workers

Message = dict[str, Any]


def nothing() -> None:
    """A shutdown with nothing to do."""


def client_for(handler: Callable[[Request], Awaitable[Reply]]) -> TestClient:
    return TestClient(Service(handler, nothing))


async def echo(request: Request) -> Reply:
    return Reply(200, b"application/octet-stream", await request.body(10, 5), [(b"x-path", request.raw_path)])


def test_a_body_comes_back_with_its_headers() -> None:
    reply = client_for(echo).post("/a%2Fb?c=d", content=b"0123456789")
    assert (reply.status_code, reply.content) == (200, b"0123456789")
    assert reply.headers["x-path"] == "/a%2Fb"
    assert reply.headers["content-length"] == "10"
    assert reply.headers["x-content-type-options"] == "nosniff"


def test_a_body_over_the_limit_is_refused_announced_or_not() -> None:
    client = client_for(echo)
    assert client.post("/", content=b"x" * 11).status_code == 413
    assert client.post("/", content=iter([b"x" * 6, b"x" * 5])).status_code == 413


def run(service: Service, messages: list[Message], *, hang: bool = False) -> list[Message]:
    """Plays one request into the application; `hang` lets it wait for ever for the rest."""
    sent: list[Message] = []

    async def receive() -> Message:
        if not messages and hang:
            await asyncio.Event().wait()
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "raw_path": b"/", "headers": []}
    asyncio.run(service(scope, receive, send))
    return sent


def test_a_body_that_never_ends_is_given_up() -> None:
    async def impatient(request: Request) -> Reply:
        return Reply(200, b"text/plain", await request.body(10, 0.01))

    sent = run(Service(impatient, nothing), [{"type": "http.request", "body": b"x", "more_body": True}], hang=True)
    assert sent[0]["status"] == 408


def test_a_caller_that_goes_away_harms_nobody() -> None:
    sent = run(
        Service(echo, nothing), [{"type": "http.request", "body": b"", "more_body": True}, {"type": "http.disconnect"}]
    )
    assert sent[0]["status"] == 400


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Invalid("path-unknown", "Nothing here."), 404),
        (Invalid("other", "Wrong."), 400),
        (NotFound("other", "Nothing."), 404),
        (TooMany("busy", "Later.", retry_after=1), 429),
        (Unavailable("down", "Later."), 503),
    ],
)
def test_errors_of_the_family_are_told_in_plain_text(error: Exception, status: int) -> None:
    async def failing(request: Request) -> Reply:
        raise error

    reply = client_for(failing).get("/")
    assert reply.status_code == status
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert reply.headers["cache-control"] == "no-store"


def test_an_unforeseen_error_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def failing(request: Request) -> Reply:
        raise ZeroDivisionError("secret words")

    reply = client_for(failing).get("/")
    assert reply.status_code == 500
    assert "secret words" not in reply.text
    assert "unexpected error" in caplog.text


def test_the_shutdown_is_run_once() -> None:
    stopped: list[bool] = []
    with TestClient(Service(echo, lambda: stopped.append(True))) as client:
        assert client.post("/", content=b"x").status_code == 200
        assert not stopped
    assert stopped == [True]


def test_a_websocket_is_closed() -> None:
    sent: list[Message] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    asyncio.run(Service(echo, nothing)({"type": "websocket"}, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1000}]


def test_the_queue_before_the_workers_is_bounded() -> None:
    workers = Workers(threads=1, waiting=1)
    go_on = threading.Event()

    async def crowd() -> list[object]:
        waiting = [asyncio.ensure_future(workers.run(go_on.wait)), asyncio.ensure_future(workers.run(int, "2"))]
        refused = await asyncio.gather(workers.run(int, "3"), return_exceptions=True)
        go_on.set()
        return [*refused, *await asyncio.gather(*waiting), await workers.run(int, "4")]

    refused, *done = asyncio.run(crowd())
    assert isinstance(refused, TooMany)
    assert done == [True, 2, 4]
    workers.close()
