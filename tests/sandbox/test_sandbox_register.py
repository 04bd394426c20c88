"""The register: compares four data, tells nothing else, keeps its persons in a file."""

from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from sandbox.page import Page
from sandbox.randomness import SystemRandomness
from sandbox.register import Register, register_app
from sandbox.settings import ConfigurationError, Limits
from tests.sandbox.conftest import ClientFor
from tsp.core.clock import SettableClock

TOKEN = "register-secret"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
PERSON = {
    "given_name": "Špela",
    "family_name": "Žnidaršič Černe",
    "tax_number": "50223054",
    "date_of_birth": "1985-06-15",
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "register" / "persons.json"


@pytest.fixture
def register(file: Path, clock: SettableClock, limits: Limits) -> Register:
    return Register(file, clock, SystemRandomness(), limits)


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({}, True),
        ({"given_name": "špela", "family_name": "ŽNIDARŠIČ  ČERNE"}, True),
        ({"given_name": "S\u030cpela"}, True),
        ({"tax_number": "SI 50223054"}, True),
        ({"given_name": "Spela"}, False),
        ({"date_of_birth": "1985-06-16"}, False),
        ({"tax_number": "35985054"}, False),
        ({"family_name": "Černe"}, False),
    ],
)
def test_all_four_data_must_agree(
    register: Register, client_for: ClientFor, changed: dict[str, str], match: bool
) -> None:
    client = client_for(register_app(register, TOKEN))
    assert client.post("/api/persons", json=PERSON).status_code == 201
    answer = client.post("/check", json=PERSON | changed, headers=AUTHORIZED)
    assert (answer.status_code, answer.json()) == (200, {"match": match})


def test_the_check_wants_the_token_and_whole_data(register: Register, client_for: ClientFor) -> None:
    client = client_for(register_app(register, TOKEN))
    assert client.post("/check", json=PERSON).status_code == 401
    wrong = client.post("/check", json=PERSON | {"tax_number": "50223055"}, headers=AUTHORIZED)
    assert (wrong.status_code, wrong.json()["error"]) == (400, "member-invalid")
    assert "50223055" not in wrong.text
    less = {name: PERSON[name] for name in ("given_name", "family_name")}
    assert client.post("/check", json=less, headers=AUTHORIZED).status_code == 400


def test_persons_outlive_the_process(register: Register, file: Path, clock: SettableClock, limits: Limits) -> None:
    made_up = register.make_up()
    assert file.stat().st_mode & 0o077 == 0
    assert Register(file, clock, SystemRandomness(), limits).check(made_up)


def test_a_damaged_file_is_told_and_left_alone(file: Path, clock: SettableClock, limits: Limits) -> None:
    file.parent.mkdir()
    file.write_text('{"persons": [{}]}')
    with pytest.raises(ConfigurationError, match=r"persons\.json is not a register"):
        Register(file, clock, SystemRandomness(), limits)
    assert file.read_text() == '{"persons": [{}]}'


def test_one_tax_number_one_person(register: Register, client_for: ClientFor) -> None:
    client = client_for(register_app(register, TOKEN))
    client.post("/api/persons", json=PERSON)
    assert client.post("/api/persons", json=PERSON).status_code == 200
    other = client.post("/api/persons", json=PERSON | {"given_name": "Živa"})
    assert (other.status_code, other.json()["error"]) == (409, "tax-number-taken")
    assert [person["given_name"] for person in client.get("/api/persons").json()] == ["Špela"]


def test_a_full_register_takes_nobody(file: Path, clock: SettableClock, client_for: ClientFor) -> None:
    register = Register(file, clock, SystemRandomness(), Limits(persons=1))
    client = client_for(register_app(register, TOKEN))
    client.post("/persons/made-up")
    assert client.post("/api/persons", json=PERSON).json()["error"] == "register-full"


def test_people_add_persons_on_the_page(register: Register, client_for: ClientFor) -> None:
    client = client_for(register_app(register, TOKEN))
    wrong = client.post("/persons", data=PERSON | {"tax_number": "1", "given_name": "  "})
    assert wrong.status_code == 400
    assert wrong.text.count('aria-invalid="true"') == 2
    assert 'value="Žnidaršič Černe"' in wrong.text
    assert client.post("/persons", data=PERSON).status_code == 303
    assert client.post("/persons", data=PERSON | {"given_name": "Živa"}).status_code == 409
    assert client.post("/persons/made-up").status_code == 303
    page = client.get("/").text
    assert "50223054" in page
    assert page.count("<tr>") == 3


def test_the_page_leads_to_the_branch_with_the_data_filled_in(register: Register, client_for: ClientFor) -> None:
    client = client_for(register_app(register, TOKEN, "http://localhost:8414"))
    client.post("/api/persons", json=PERSON)
    [way] = Page("http://localhost:8413/", 200, client.get("/").content).links("8414")
    assert dict(parse_qsl(urlsplit(way).query)) == PERSON


def test_while_down_it_answers_503(register: Register, client_for: ClientFor) -> None:
    client = client_for(register_app(register, TOKEN))
    client.post("/api/down", json={"down": True})
    assert client.post("/check", json=PERSON, headers=AUTHORIZED).status_code == 503
