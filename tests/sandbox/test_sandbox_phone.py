"""The SMS gateway: idempotent by id, strict about its token, and everybody's phone as a page."""

import pytest

from sandbox.phone import Phone, TextMessage, phone_app
from sandbox.settings import Limits
from tests.sandbox.conftest import ClientFor
from tsp.core.clock import SettableClock

TOKEN = "gateway-secret"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
MESSAGE = {"id": "m-1", "to": "+38641123456", "text": "Vaše enkratno geslo je 4821."}


@pytest.fixture
def phone(clock: SettableClock, limits: Limits) -> Phone:
    return Phone(clock, limits)


def test_a_message_is_accepted_once(phone: Phone, client_for: ClientFor) -> None:
    client = client_for(phone_app(phone, TOKEN))
    assert client.post("/messages", json=MESSAGE, headers=AUTHORIZED).status_code == 202
    again = client.post("/messages", json=MESSAGE, headers=AUTHORIZED)
    assert (again.status_code, again.json()) == (202, {"id": "m-1", "status": "known"})
    other = client.post("/messages", json=MESSAGE | {"text": "anders"}, headers=AUTHORIZED)
    assert (other.status_code, other.json()["error"]) == (409, "id-taken")
    [kept] = client.get("/api/messages", params={"to": "+386 41 123-456"}).json()
    assert (kept["text"], kept["reference"]) == (MESSAGE["text"], "m-1")
    assert client.get("/api/messages?to=+38641999999").json() == []


def test_repeated_messages_are_kept_once(phone: Phone) -> None:
    message = TextMessage.model_validate(MESSAGE)
    assert [phone.accept(message) for _ in range(5)] == [True, False, False, False, False]
    assert len(phone.store.find()) == 1


def test_ids_are_forgotten_with_their_messages(clock: SettableClock, client_for: ClientFor) -> None:
    phone = Phone(clock, Limits(messages=2))
    client = client_for(phone_app(phone, TOKEN))
    for number in (1, 2, 3, 1):
        answer = client.post("/messages", json=MESSAGE | {"id": f"m-{number}"}, headers=AUTHORIZED)
        assert answer.json()["status"] == "accepted"
    assert [m.reference for m in phone.store.find()] == ["m-1", "m-3"]


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}])
def test_without_the_token_nothing_is_sent(phone: Phone, client_for: ClientFor, header: dict[str, str]) -> None:
    answer = client_for(phone_app(phone, TOKEN)).post("/messages", json=MESSAGE, headers=header)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert phone.store.find() == []


@pytest.mark.parametrize(
    ("member", "value"),
    [("to", "041123456"), ("to", "+0412345678"), ("to", 38641123456), ("text", ""), ("id", ""), ("text", "x" * 1601)],
)
def test_wrong_messages_are_told(phone: Phone, client_for: ClientFor, member: str, value: object) -> None:
    answer = client_for(phone_app(phone, TOKEN)).post("/messages", json=MESSAGE | {member: value}, headers=AUTHORIZED)
    assert answer.status_code == 400
    assert phone.store.find() == []


def test_while_down_the_gateway_answers_503(phone: Phone, client_for: ClientFor, clock: SettableClock) -> None:
    client = client_for(phone_app(phone, TOKEN))
    client.post("/api/down", json={"seconds": 10})
    assert client.post("/messages", json=MESSAGE, headers=AUTHORIZED).status_code == 503
    clock.advance(seconds=10)
    assert client.post("/messages", json=MESSAGE, headers=AUTHORIZED).status_code == 202


def test_the_page_lists_phones_and_shows_one(phone: Phone, client_for: ClientFor) -> None:
    client = client_for(phone_app(phone, TOKEN))
    assert 'data-newest="0"' in client.get("/").text
    client.post("/messages", json=MESSAGE, headers=AUTHORIZED)
    client.post("/messages", json=MESSAGE | {"id": "m-2", "to": "+38640111222"}, headers=AUTHORIZED)
    overview = client.get("/").text
    assert "/?to=%2B38641123456" in overview
    assert 'data-newest="2"' in overview
    one = client.get("/?to=%2B38641123456").text
    assert MESSAGE["text"] in one
    assert "+38640111222" not in one
