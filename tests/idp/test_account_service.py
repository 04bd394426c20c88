"""The face for the login half: passwords behind the gate, codes to phones, stable numbers of persons."""

import json
import re
import threading
from collections.abc import Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import TokenFactory
from tests.idp.account_world import EMAIL, PASSWORD, AccountWorld
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.errors import Invalid, NotFound, Refused, TooMany, Unavailable
from tsp.core.outbound import Outbound
from tsp.core.randomness import Randomness, new_token
from tsp.idp.accounts import tables
from tsp.idp.accounts.assurance import DEFAULT, Level, Means, Proof, load_policy
from tsp.idp.accounts.contacts import (
    calling_codes,
    masked_email,
    masked_phone,
    normal_email,
    read_email,
    read_phone,
    shown_phone,
)
from tsp.idp.accounts.person import Person, read_birth_date, read_name, read_person, read_tax_number
from tsp.idp.accounts.register import Register

ROOT = Path(__file__).resolve().parents[2]
TODAY = date(2026, 11, 23)
ANA = Person("Ana", "Novak", "50223054", date(1980, 5, 31))


@pytest.fixture
def world(
    database: Database, clock: SettableClock, randomness: Randomness, token_factory: TokenFactory
) -> AccountWorld:
    made = AccountWorld(database, clock, randomness, token_factory("identity"))
    made.register_person()
    return made


# --- passwords ----------------------------------------------------------------------------------


@pytest.mark.requirement("ACC-1", "LOG-1")
def test_a_user_name_is_found_whatever_its_case(world: AccountWorld) -> None:
    assert world.wing.accounts.check_password(f" {EMAIL.upper()} ", PASSWORD).id == world.account_id()


@pytest.mark.requirement("LOG-1")
def test_unknown_address_and_wrong_password_are_one_refusal(world: AccountWorld) -> None:
    for email, password in ((EMAIL, "Druga-Skleda7"), ("nihce@primer.si", PASSWORD), ("", ""), ("x" * 999, "y")):
        with pytest.raises(Refused) as refusal:
            world.wing.accounts.check_password(email, password)
        assert refusal.value.code == "login-wrong"
        assert not refusal.value.facts


@pytest.mark.requirement("LOG-1", "SEC-2")
def test_guessing_is_slowed_down_alike_for_known_and_unknown_addresses(
    world: AccountWorld, clock: SettableClock
) -> None:
    for email in (EMAIL, "nihce@primer.si"):
        for _ in range(5):
            with pytest.raises(Refused):
                world.wing.accounts.check_password(email, "Druga-Skleda7", source="198.51.100.7")
        with pytest.raises(TooMany) as refusal:
            world.wing.accounts.check_password(email, PASSWORD, source="198.51.100.7")
        assert refusal.value.retry_after == 30
    assert world.wing.accounts.check_password(EMAIL, PASSWORD, source="203.0.113.9").active, "the owner elsewhere"
    clock.advance(seconds=30)
    assert world.wing.accounts.check_password(EMAIL, PASSWORD, source="198.51.100.7").active


@pytest.mark.requirement("SEC-2")
def test_guesses_from_many_places_meet_a_limit_too(world: AccountWorld) -> None:
    for number in range(25):
        with pytest.raises(Refused):
            world.wing.accounts.check_password(EMAIL, "Druga-Skleda7", source=f"198.51.100.{number}")
    with pytest.raises(TooMany):
        world.wing.accounts.check_password(EMAIL, PASSWORD, source="203.0.113.1")


@pytest.mark.requirement("LOG-1", "SEC-2")
def test_guesses_of_strangers_never_keep_a_known_browser_out(world: AccountWorld) -> None:
    accounts, token = world.wing.accounts, new_token(world.randomness)
    mark = accounts.known_mark(world.account_id(), token)
    for number in range(25):
        with pytest.raises(Refused):
            accounts.check_password(EMAIL, "Druga-Skleda7", source=f"198.51.100.{number}")
    assert accounts.check_password(EMAIL, PASSWORD, source="203.0.113.1", known=mark).active
    strangers = ("", "x", f"{token}.", f"{token}.{'A' * 43}", accounts.known_mark("another", token), mark + "A", "č")
    for known in strangers:
        with pytest.raises(TooMany):
            accounts.check_password(EMAIL, PASSWORD, source="203.0.113.1", known=known)
    for _ in range(5):
        with pytest.raises(Refused):
            accounts.check_password(EMAIL, "Druga-Skleda7", known=mark)
    with pytest.raises(TooMany):
        accounts.check_password(EMAIL, PASSWORD, known=mark)


@pytest.mark.requirement("SEC-2")
def test_a_mark_for_no_account_opens_nothing(world: AccountWorld) -> None:
    accounts = world.wing.accounts
    mark = accounts.known_mark("", new_token(world.randomness))
    for number in range(25):
        with pytest.raises(Refused):
            accounts.check_password("nihce@primer.si", PASSWORD, source=f"198.51.100.{number}", known=mark)
    with pytest.raises(TooMany):
        accounts.check_password("nihce@primer.si", PASSWORD, source="203.0.113.1", known=mark)


@pytest.mark.parametrize("state", [s for s in tables.AccountState if s is not tables.AccountState.ACTIVE])
def test_an_account_that_is_not_active_is_refused_like_a_wrong_password(
    world: AccountWorld, state: tables.AccountState
) -> None:
    with world.database.write() as session:
        session.get_one(tables.Account, world.account_id()).state = state
    with pytest.raises(Refused, match="login-wrong"):
        world.wing.accounts.check_password(EMAIL, PASSWORD)


# --- codes to phones ----------------------------------------------------------------------------


def _send(world: AccountWorld, reference: str = "login-1", context: bytes = b"login", **more: str) -> None:
    account_id = world.account_id()
    with world.database.write() as session:
        world.wing.accounts.send_login_code(
            session, account_id, reference, context, lambda code, language: f"{language}: {code}", **more
        )


@pytest.mark.requirement("LOG-2", "CSC-2")
def test_a_login_code_goes_to_the_phone_and_is_spent_with_the_login(world: AccountWorld) -> None:
    _send(world)
    code = world.texted_code()
    assert world.sms.letters[-1].text == f"sl: {code}"
    done: list[str] = []
    accounts = world.wing.accounts
    with pytest.raises(Refused, match="code-wrong"):
        accounts.check_login_code("login-1", b"another", code, lambda _: done.append("no"))
    with pytest.raises(Refused, match="code-expired"):
        accounts.check_login_code("login-2", b"login", code, lambda _: done.append("no"))
    with pytest.raises(Refused, match="code-expired"):
        accounts.check_login_code("login-1", b"login", code, lambda _: done.append("no"), purpose="approval")
    accounts.check_login_code("login-1", b"login", code, lambda _: done.append("yes"))
    with pytest.raises(Refused, match="code-used"):
        accounts.check_login_code("login-1", b"login", code, lambda _: done.append("no"))
    assert done == ["yes"]


def test_a_login_code_goes_to_a_number_of_the_account_only(world: AccountWorld) -> None:
    with pytest.raises(NotFound, match="phone-unknown"):
        _send(world, phone_id="somebody-elses")
    account_id = world.account_id()
    with world.database.read() as session:
        phone = world.wing.accounts.phones(session, account_id)[0]
    _send(world, phone_id=phone.id)
    assert world.texted_code()
    with world.database.write() as session:
        session.get_one(tables.AccountPhone, phone.id).login = False
    with world.database.read() as session:
        assert world.wing.accounts.phones(session, account_id) == []
    with pytest.raises(NotFound):
        _send(world, "login-2")


@pytest.mark.requirement("LOG-2")
def test_many_logins_in_a_row_are_no_flood(world: AccountWorld, clock: SettableClock) -> None:
    for number in range(15):
        _send(world, f"login-{number}")
        world.wing.accounts.check_login_code(f"login-{number}", b"login", world.texted_code(), lambda _: None)
        clock.advance(seconds=1)
    for number in range(10):
        _send(world, f"flood-{number}")
    with pytest.raises(TooMany, match="too-many-messages"):
        _send(world, "flood-10")


def test_an_account_that_is_not_there_is_not_found(world: AccountWorld) -> None:
    with world.database.read() as session:
        assert world.wing.accounts.find_by_email(session, "nihce@primer.si") is None
        assert world.wing.accounts.notification_address(session, world.account_id()) == EMAIL
        for ask in (world.wing.accounts.account, world.wing.accounts.notification_address):
            with pytest.raises(NotFound):
                ask(session, "nobody")


# --- assurance ----------------------------------------------------------------------------------


@pytest.mark.requirement("OID-2")
@pytest.mark.parametrize(
    ("proven", "level"),
    [
        ([], None),
        ([Means.PASSWORD], Level.LOW),
        ([Means.EMAIL_CODE], Level.LOW),
        ([Means.SMS_CODE], None),
        ([Means.PASSWORD, Means.PASSWORD, Means.EMAIL_CODE], Level.LOW),
        ([Means.SMS_CODE, Means.ONEPASS_CODE], None),
        ([Means.PASSWORD, Means.SMS_CODE], Level.SUBSTANTIAL),
        ([Means.PASSWORD, Means.ONEPASS_PUSH], Level.SUBSTANTIAL),
        ([Means.PASSKEY], Level.SUBSTANTIAL),
        ([Means.CERTIFICATE_CARD], Level.HIGH),
    ],
)
def test_means_reach_the_levels_of_the_table(proven: list[Means], level: Level | None) -> None:
    assert DEFAULT.means_level(proven) is level


@pytest.mark.requirement("OID-2")
@given(st.sampled_from(Level), st.lists(st.sampled_from(Means)))
def test_acr_is_the_lower_of_both(proofing: Level, proven: list[Means]) -> None:
    reached = DEFAULT.means_level(proven)
    assert DEFAULT.acr(proofing, proven) == (None if reached is None else min(proofing, reached))
    assert DEFAULT.acr(proofing, [*proven, *proven]) == DEFAULT.acr(proofing, proven), "no means counts twice"


@pytest.mark.requirement("ACC-3", "ACC-4")
def test_proofs_give_the_levels_of_the_table() -> None:
    assert DEFAULT.proofing_level([]) is Level.LOW
    assert DEFAULT.proofing_level([Proof.REGISTER]) is Level.LOW
    assert DEFAULT.proofing_level([Proof.REGISTER, Proof.IDENTIFICATION_KEY]) is Level.SUBSTANTIAL
    assert DEFAULT.proofing_level([Proof.IN_PERSON]) is Level.HIGH


@pytest.mark.requirement("OID-1")
def test_levels_have_the_names_of_the_regulation() -> None:
    assert [level.uri for level in Level] == [
        "http://eidas.europa.eu/LoA/low",
        "http://eidas.europa.eu/LoA/substantial",
        "http://eidas.europa.eu/LoA/high",
    ]
    assert all(Level.parse(level.uri) is level and Level.parse(level.word) is level for level in Level)
    with pytest.raises(Invalid):
        Level.parse("http://eidas.europa.eu/LoA/highest")


def test_the_policy_file_is_the_house_plans_table(tmp_path: Path) -> None:
    policy = load_policy(ROOT / "conf" / "policies" / "assurance.toml")
    assert policy == DEFAULT
    for text, said in (
        ("x = 1\n", "unknown key x"),
        ('means = []\n[proofing]\n"in-person" = "highest"\n', "unknown level highest"),
        ('means = []\n[proofing]\n"oath" = "low"\n', "oath"),
        ('proofing = {}\n[[means]]\nlevel = "low"\nall = []\n', "exactly the keys"),
        ('proofing = {}\n[[means]]\nlevel = "low"\nall = ["pigeon"]\n', "pigeon"),
        ("proofing = {}\n", "means"),
        ("]", "assurance.toml"),
    ):
        file = tmp_path / "assurance.toml"
        file.write_text(text)
        with pytest.raises(Invalid) as refusal:
            load_policy(file)
        assert said in refusal.value.sentence


# --- what people type ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        (" Ana.Novak@Primer.SI ", "Ana.Novak@primer.si"),
        ("žiga@pošta.si", "žiga@pošta.si"),
        ("a+b@x.co.uk", "a+b@x.co.uk"),
    ],
)
def test_addresses_are_read(typed: str, read: str) -> None:
    assert read_email(typed) == read


@pytest.mark.parametrize(
    "typed",
    ["", "ana", "ana@", "@x.si", "ana@x", "ana@@x.si", "ana@-x.si", "a..b@x.si", ".a@x.si", "a b@x.si",
     "ana@x.si\nBcc: eva@x.si", "<ana@x.si>", "ana@x.123", "a" * 65 + "@x.si", "ana@" + "x" * 260 + ".si"],
)  # fmt: skip
def test_addresses_that_are_none_are_refused(typed: str) -> None:
    with pytest.raises(Invalid, match="email-invalid"):
        read_email(typed)


@given(st.text(max_size=80))
def test_an_address_is_refused_or_can_stand_in_a_header(text: str) -> None:
    try:
        address = read_email(text)
    except Invalid:
        return
    assert address.count("@") == 1
    assert not re.search(r"[\s<>,;:\\\"]", address)
    assert normal_email(address) == normal_email(text)


@pytest.mark.requirement("REG-1")
@pytest.mark.parametrize(
    ("country", "typed", "number"),
    [
        ("+386", "041 123 456", "+38641123456"),
        ("+386", "41/123-456", "+38641123456"),
        ("SI", "00386 41 123 456", "+38641123456"),
        ("+386", "+385 91 234 5678", "+385912345678"),
        ("+43", "0664 1234567", "+436641234567"),
    ],
)
def test_mobile_numbers_are_read_with_their_country(country: str, typed: str, number: str) -> None:
    assert read_phone(country, typed) == number


@pytest.mark.requirement("REG-5")
@pytest.mark.parametrize(
    ("country", "typed"),
    [("+386", "01 234 56 78"), ("+386", "041 12"), ("+386", ""), ("??", "041123456"), ("", "x"), ("²", "041123456")],
)
def test_what_is_no_mobile_number_is_refused(country: str, typed: str) -> None:
    with pytest.raises(Invalid, match="phone-invalid"):
        read_phone(country, typed)


@given(st.text(max_size=10), st.text(max_size=60))
def test_a_number_is_refused_or_in_e164(country: str, typed: str) -> None:
    try:
        number = read_phone(country, typed)
    except Invalid:
        return
    assert re.fullmatch(r"\+[1-9][0-9]{6,14}", number)


def test_contacts_are_shown_and_masked_as_owners_know_them() -> None:
    assert shown_phone("+38641123456") == "+386 41 123 456"
    assert masked_phone("+38641123456") == "••• ••• 456"
    assert masked_email("ana.novak@primer.si") == "a•••@primer.si"
    codes = dict(calling_codes("sl"))
    assert next(iter(codes)) == "+386"
    assert codes["+386"] == "+386 Slovenija"
    assert codes["+1"] == "+1 Združene države Amerike, Kanada"
    names = [name for _, name in calling_codes("sl")][1:]
    assert names.index("+420 Češka") > names.index("+357 Ciper")
    assert len(codes) > 190


@pytest.mark.requirement("ACC-3")
@pytest.mark.parametrize("typed", ["50223054", "SI 50223054", "si50223054", "5022 3054", " 50223054 "])
def test_tax_numbers_are_read(typed: str) -> None:
    assert read_tax_number(typed) == "50223054"


@pytest.mark.requirement("ACC-3")
@pytest.mark.parametrize("typed", ["", "5022305", "502230544", "50223055", "00223054", "٥٠٢٢٣٠٥٤", "x" * 99])
def test_tax_numbers_with_a_wrong_check_digit_are_refused(typed: str) -> None:
    with pytest.raises(Invalid, match="tax_number-invalid"):
        read_tax_number(typed)


@pytest.mark.parametrize("typed", ["1980-05-31", "31. 5. 1980", "31.5.1980", " 31.05.1980. "])
def test_dates_of_birth_are_read(typed: str) -> None:
    assert read_birth_date(typed, TODAY) == date(1980, 5, 31)


@given(st.text(max_size=30))
def test_any_date_is_refused_or_lies_in_a_human_life(text: str) -> None:
    try:
        born = read_birth_date(text, TODAY)
    except Invalid:
        return
    assert date(1896, 1, 1) <= born <= TODAY


@given(st.text(max_size=100))
def test_any_name_is_refused_or_plain_letters(text: str) -> None:
    try:
        name = read_name(text, "given_name")
    except Invalid:
        return
    assert name == " ".join(name.split())
    assert any(c.isalpha() or not c.isascii() for c in name)


@given(st.sampled_from(["Ana", "ŽAN", "O’Neil", "Marie-Claire", "Đurđa Čač"]), st.dates(date(1900, 1, 1), TODAY))
def test_a_person_survives_storage(name: str, born: date) -> None:
    person = read_person(name, "Novak", "50223054", born.isoformat(), TODAY)
    assert Person.from_json(person.to_json()) == person
    assert person.same_as(read_person(f"  {name.swapcase()} ", "NOVAK", "SI50223054", born.isoformat(), TODAY)) or (
        name.swapcase().casefold() != name.casefold()
    )


@pytest.mark.requirement("CA-4")
def test_a_persons_number_is_opaque_stable_and_their_own(token_factory: TokenFactory) -> None:
    key = token_factory("identity").generate_hmac_key("index-hmac")
    again = Person("Ana Marija", "Kralj", ANA.tax_number, ANA.date_of_birth)
    other = Person("Ana", "Novak", "15012557", ANA.date_of_birth)
    number = ANA.serial_number(key)
    assert number == again.serial_number(key), "a new surname does not make a new person"
    assert number != other.serial_number(key)
    assert re.fullmatch(r"[A-Z2-7]{26}", number)
    assert ANA.tax_number not in number


# --- the register's adapter ---------------------------------------------------------------------


class PlayedHttp:
    """An HTTP server that answers what it is told and keeps what it was asked."""

    def __init__(self) -> None:
        self.status, self.body = 200, b'{"match": true}'
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        played = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                played.asked.append((self.path, self.headers["Authorization"], content))
                self.send_response(played.status)
                self.end_headers()
                self.wfile.write(played.body)

            def log_message(self, *args: object) -> None:
                return

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        port = self.server.server_port
        outbound = Outbound(internal=frozenset({f"127.0.0.1:{port}"}), timeout=5)
        self.register = Register(f"http://127.0.0.1:{port}/", "register-token", outbound)

    def stop(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def played() -> Iterator[PlayedHttp]:
    made = PlayedHttp()
    yield made
    made.stop()


@pytest.mark.requirement("ACC-3")
def test_the_register_is_asked_for_a_yes_or_no(played: PlayedHttp) -> None:
    assert played.register.agrees(ANA) is True
    assert played.asked == [
        (
            "/check",
            "Bearer register-token",
            {"given_name": "Ana", "family_name": "Novak", "tax_number": "50223054", "date_of_birth": "1980-05-31"},
        )
    ]
    played.body = b'{"match": false}'
    assert played.register.agrees(ANA) is False


@pytest.mark.requirement("ACC-3")
@pytest.mark.parametrize(
    ("status", "body"),
    [(503, b"{}"), (401, b'{"match": true}'), (200, b"yes"), (200, b'{"match": 1}'), (200, b"[]"), (200, b"\xff")],
)
def test_an_answer_that_is_none_agrees_to_nothing(played: PlayedHttp, status: int, body: bytes) -> None:
    played.status, played.body = status, body
    with pytest.raises(Unavailable, match="register-unavailable"):
        played.register.agrees(ANA)
