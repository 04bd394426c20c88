"""DER building blocks against asn1crypto, and the strict reader against everything else."""

from datetime import UTC, datetime

import pytest
from asn1crypto import core, x509
from hypothesis import given
from hypothesis import strategies as st

from tsp.core import der
from tsp.core.errors import Invalid

moments = st.datetimes(min_value=datetime(1950, 1, 1), max_value=datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
arcs = st.tuples(st.integers(0, 1), st.integers(0, 39), st.lists(st.integers(0, 2**128), max_size=8))


@given(st.integers(-(2**200), 2**200))
def test_integer_is_asn1crypto(value: int) -> None:
    assert der.integer(value) == core.Integer(value).dump()


@given(st.binary(max_size=70_000))
def test_octets_and_bits_are_asn1crypto(value: bytes) -> None:
    assert der.octet_string(value) == core.OctetString(value).dump()
    assert der.bit_string(value) == core.OctetBitString(value).dump()


@given(arcs)
def test_oid_is_asn1crypto(parts: tuple[int, int, list[int]]) -> None:
    dotted = ".".join(str(p) for p in (parts[0], parts[1], *parts[2]))
    assert der.oid(dotted) == core.ObjectIdentifier(dotted).dump()


@given(moments)
def test_times_are_asn1crypto(moment: datetime) -> None:
    assert der.generalized_time(moment) == core.GeneralizedTime(moment).dump()
    whole = moment.replace(microsecond=0)
    kind = "utc_time" if whole.year < 2050 else "general_time"
    assert der.x509_time(moment) == x509.Time(name=kind, value=whole).dump()


@given(st.sets(st.integers(0, 15)))
def test_named_bits_drop_trailing_zeros(bits: set[int]) -> None:
    class Bits(core.BitString):  # type: ignore[misc]  # asn1crypto has no types
        _map = {i: f"bit{i}" for i in range(16)}  # noqa: RUF012

    assert der.named_bits(*bits) == Bits({f"bit{i}" for i in bits}).dump()


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_set_of_is_sorted(values: list[bytes]) -> None:
    class Octets(core.SetOf):  # type: ignore[misc]  # asn1crypto has no types
        _child_spec = core.OctetString

    assert der.set_of(*(der.octet_string(v) for v in values)) == Octets(values).dump()


@given(st.binary(max_size=300))
def test_tagging_is_asn1crypto(value: bytes) -> None:
    plain = der.octet_string(value)
    assert der.explicit(3, plain) == core.OctetString(value, explicit=3).dump()
    assert der.implicit(3, plain) == core.OctetString(value, implicit=3).dump()


@given(st.lists(st.binary(max_size=200), max_size=6))
def test_reader_takes_apart_what_was_built(values: list[bytes]) -> None:
    whole = der.read_one(der.seq(*(der.octet_string(v) for v in values)))
    assert [c.content for c in der.children(whole.content)] == values


@given(st.binary(max_size=200))
def test_reader_gives_a_value_or_the_named_error(data: bytes) -> None:
    try:
        value = der.read_one(data)
    except Invalid as error:
        assert error.code == "der-malformed"
    else:
        assert value.encoded == data


@pytest.mark.parametrize(
    "data",
    [b"", b"\x30", b"\x30\x80\x00\x00", b"\x04\x81\x01a", b"\x04\x82\x00\x01a", b"\x1f\x81\x01\x00", b"\x04\x02a"],
)
def test_reader_refuses_what_is_not_der(data: bytes) -> None:
    with pytest.raises(Invalid, match="der-malformed"):
        der.read_one(data)
