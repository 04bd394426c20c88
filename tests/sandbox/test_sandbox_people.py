"""Made-up people are as the platform's own checks want real ones."""

import re
from datetime import date

import phonenumbers
import pytest
import stdnum.si.ddv
from hypothesis import given
from hypothesis import strategies as st

from sandbox.people import check_digit, make_password, make_person, make_tax_number, plain
from sandbox.randomness import SystemRandomness, below, letters
from tsp.core.clock import SettableClock

RANDOM = SystemRandomness()


def test_people_are_grown_up_with_valid_data(clock: SettableClock) -> None:
    people = [make_person(RANDOM, clock) for _ in range(200)]
    for person in people:
        assert stdnum.si.ddv.is_valid(person.tax_number)
        number = phonenumbers.parse(person.phone)
        assert phonenumbers.number_type(number) == phonenumbers.PhoneNumberType.MOBILE
        assert number == phonenumbers.parse(person.phone_national, "SI")
        assert 18 <= (clock.now().date() - date.fromisoformat(person.date_of_birth)).days / 365.25 < 82
        assert re.fullmatch(r"[a-z]+\.[a-z]+\.[a-z0-9]{6}@posta\.example", person.email)
    assert len({person.email for person in people}) == 200
    assert {"č", "š", "ž"} <= set("".join(person.name for person in people).lower())


def test_passwords_keep_the_rules() -> None:
    password = make_password(RANDOM)
    assert len(password) == 16
    for group in ("[a-z]", "[A-Z]", "[0-9]", "[^a-zA-Z0-9]"):
        assert re.search(group, password)


@given(st.integers(1_000_000, 9_999_999))
def test_check_digits_are_those_of_the_field(body: int) -> None:
    digit = check_digit(str(body))
    valid = [last for last in "0123456789" if stdnum.si.ddv.is_valid(f"{body}{last}")]
    assert valid == ([] if digit is None else [digit])


def test_tax_numbers_are_drawn_again_where_there_is_none() -> None:
    assert all(stdnum.si.ddv.is_valid(make_tax_number(RANDOM)) for _ in range(100))


def test_plain_names() -> None:
    assert plain("Žnidaršič") == "znidarsic"


@pytest.mark.parametrize("limit", [1, 2, 7, 1000])
def test_draws_stay_below_their_limit(limit: int) -> None:
    drawn = {below(RANDOM, limit) for _ in range(200)}
    assert max(drawn) < limit
    assert len(drawn) > min(limit, 100) // 2
    assert set(letters(RANDOM, 50, "ab")) == {"a", "b"}
