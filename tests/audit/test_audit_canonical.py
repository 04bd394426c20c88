"""Canonical JSON: one encoding for one value, and nothing that has two."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsp.audit.canonical import _encode, canonical

VALUES = st.recursive(
    st.text(st.characters(exclude_categories=["Cs"])) | st.integers(-(2**53) + 1, 2**53 - 1) | st.booleans(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(VALUES)
def test_canonical_json_says_the_same_and_is_stable(value: object) -> None:
    encoded = canonical(value)  # type: ignore[arg-type]
    assert json.loads(encoded) == value
    assert canonical(json.loads(encoded)) == encoded


@given(VALUES)
def test_the_quick_way_gives_the_octets_of_the_slow_one(value: object) -> None:
    assert canonical(value) == _encode(value, 32).encode()  # type: ignore[arg-type]


def test_canonical_members_are_in_the_order_of_rfc_8785() -> None:
    # The sorting example of RFC 8785, 3.2.3: by UTF-16 code units, not by code points.
    value = {
        "\u20ac": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\U0001f600": "Emoji: Grinning Face",
        "\u0080": "Control",
        "\u00f6": "Latin Small Letter O With Diaeresis",
    }
    assert list(json.loads(canonical(value))) == ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]


def test_canonical_strings_are_escaped_as_rfc_8785_says() -> None:
    assert canonical('\u20ac$\x0f\nA\'B"\\"/') == b'"\xe2\x82\xac$\\u000f\\nA\'B\\"\\\\\\"/"'


@pytest.mark.parametrize(
    "value",
    [1.5, None, {"a": None}, {1: "a"}, 2**53, "\ud800", b"octets", {"a": {"b": float("nan")}}],
    ids=["float", "null", "inner null", "number as key", "large integer", "surrogate", "octets", "nan"],
)
def test_canonical_refuses_what_has_no_single_form(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        canonical(value)  # type: ignore[arg-type]


def test_canonical_refuses_bottomless_nesting() -> None:
    value: object = "x"
    for _ in range(40):
        value = [value]
    with pytest.raises(ValueError, match="deep"):
        canonical(value)  # type: ignore[arg-type]
