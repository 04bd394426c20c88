"""Requests, tokens and replies as DER, against asn1crypto."""

from datetime import UTC, datetime
from typing import Any

import pytest
from asn1crypto import core, tsp
from hypothesis import given
from hypothesis import strategies as st

from tests.tsa.conftest import POLICY, TimeStampResp, query
from tsp.core import der
from tsp.core.errors import Invalid, TooMany, Unavailable
from tsp.tsa import token

HASHES = {"sha256": 32, "sha384": 48, "sha512": 64, "sha3_256": 32, "sha3_384": 48, "sha3_512": 64}
moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, dict[str, Any]]:
    name = draw(st.sampled_from(sorted(HASHES)))
    digest = draw(st.binary(min_size=HASHES[name], max_size=HASHES[name]))
    fields: dict[str, Any] = {}
    if draw(st.booleans()):
        fields["req_policy"] = POLICY
    if draw(st.booleans()):
        fields["nonce"] = draw(st.integers(-(2**500), 2**500))
    if draw(st.booleans()):
        fields["cert_req"] = draw(st.booleans())
    return query(digest, name, **fields), {"hash_name": name, "digest": digest, **fields}


@given(requests())
def test_requests_are_read_as_they_were_meant(made: tuple[bytes, dict[str, Any]]) -> None:
    encoded, meant = made
    read = token.parse_request(encoded)
    assert (read.hash_name, read.digest) == (meant["hash_name"], meant["digest"])
    assert read.nonce == meant.get("nonce")
    assert read.certificate_wanted == meant.get("cert_req", False)
    assert read.policy == (der.oid(POLICY) if "req_policy" in meant else None)
    assert read.imprint in encoded


@given(requests(), st.data())
def test_damaged_requests_are_read_or_refused_by_name(made: tuple[bytes, dict[str, Any]], data: st.DataObject) -> None:
    damaged = bytearray(made[0])
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    check_parser(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]))
    check_parser(bytes(damaged))


@given(st.binary(max_size=400))
def test_anything_is_read_or_refused_by_name(data: bytes) -> None:
    check_parser(data)
    check_parser(der.seq(der.integer(1), data))


def check_parser(data: bytes) -> None:
    try:
        read = token.parse_request(data)
    except Invalid as error:
        assert error.code in token.FAILURES
    else:
        assert len(read.digest) == HASHES[read.hash_name]


IMPRINT = der.seq(der.seq(der.oid("2.16.840.1.101.3.4.2.1")), der.octet_string(bytes(32)))
SHA1 = der.seq(der.seq(der.oid("1.3.14.3.2.26"), der.NULL), der.octet_string(bytes(20)))
MD5 = der.seq(der.seq(der.oid("1.2.840.113549.2.5"), der.NULL), der.octet_string(bytes(16)))
SHA224 = der.seq(der.seq(der.oid("2.16.840.1.101.3.4.2.4")), der.octet_string(bytes(28)))
SHORT = der.seq(der.seq(der.oid("2.16.840.1.101.3.4.2.1")), der.octet_string(bytes(20)))
ODD_PARAMETERS = der.seq(der.seq(der.oid("2.16.840.1.101.3.4.2.1"), der.integer(1)), der.octet_string(bytes(32)))
QC_STATEMENTS = der.oid("1.3.6.1.5.5.7.1.3")
QUALIFIED = der.seq(QC_STATEMENTS, der.octet_string(der.seq(der.seq(der.oid("0.4.0.19422.1.1")))))
V1 = der.integer(1)


def extensions(*members: bytes) -> bytes:
    return der.seq(V1, IMPRINT, der.implicit(0, der.seq(*members)))


UNKNOWN = der.seq(der.oid("1.2.3.4"), der.octet_string(b""))
CRITICAL = der.seq(der.oid("1.2.3.4"), der.TRUE, der.octet_string(b""))
OTHER_STATEMENT = der.seq(QC_STATEMENTS, der.octet_string(der.seq(der.seq(der.oid("0.4.0.1862.1.1")))))


@pytest.mark.parametrize(
    ("data", "failure"),
    [
        (b"", token.Failure.BAD_DATA_FORMAT),
        (b"not DER", token.Failure.BAD_DATA_FORMAT),
        (der.seq(), token.Failure.BAD_DATA_FORMAT),
        (der.integer(1), token.Failure.BAD_DATA_FORMAT),
        (der.seq(V1, IMPRINT) + b"\x00", token.Failure.BAD_DATA_FORMAT),
        (der.seq(der.integer(2), IMPRINT), token.Failure.BAD_REQUEST),
        (der.seq(V1, SHA1), token.Failure.BAD_ALG),
        (der.seq(V1, MD5), token.Failure.BAD_ALG),
        (der.seq(V1, SHA224), token.Failure.BAD_ALG),
        (der.seq(V1, SHORT), token.Failure.BAD_DATA_FORMAT),
        (der.seq(V1, ODD_PARAMETERS), token.Failure.BAD_DATA_FORMAT),
        (extensions(UNKNOWN), token.Failure.UNACCEPTED_EXTENSION),
        (extensions(CRITICAL), token.Failure.UNACCEPTED_EXTENSION),
        (extensions(QUALIFIED, CRITICAL), token.Failure.UNACCEPTED_EXTENSION),
        (extensions(OTHER_STATEMENT), token.Failure.ADD_INFO_NOT_AVAILABLE),
        (extensions(), token.Failure.BAD_DATA_FORMAT),
        (extensions(der.integer(1)), token.Failure.BAD_DATA_FORMAT),
        (extensions(QUALIFIED, QUALIFIED), token.Failure.BAD_DATA_FORMAT),
        (extensions(der.seq(QC_STATEMENTS, b"\x01\x01\x07", der.octet_string(b""))), token.Failure.BAD_DATA_FORMAT),
        (extensions(der.seq(QC_STATEMENTS, der.utf8(""))), token.Failure.BAD_DATA_FORMAT),
        (der.seq(V1, IMPRINT, b"\x02\x00"), token.Failure.BAD_DATA_FORMAT),
        (der.seq(V1, IMPRINT, b"\x02\x02\x00\x01"), token.Failure.BAD_DATA_FORMAT),
        (der.seq(V1, IMPRINT, b"\x02\x02\xff\xff"), token.Failure.BAD_DATA_FORMAT),
        (der.seq(V1, IMPRINT, der.integer(1), der.oid("1.2.3")), token.Failure.BAD_DATA_FORMAT),
        (der.seq(V1, IMPRINT, der.integer(1), der.integer(1)), token.Failure.BAD_DATA_FORMAT),
        (der.seq(V1, IMPRINT, der.integer(1 << 512)), token.Failure.BAD_DATA_FORMAT),
        (der.seq(V1, IMPRINT, b"\x01\x01\x05"), token.Failure.BAD_DATA_FORMAT),
        (der.seq(V1, IMPRINT, der.utf8("more")), token.Failure.BAD_DATA_FORMAT),
    ],
)
@pytest.mark.requirement("TSA-1")
def test_each_wrong_request_gets_its_failure(data: bytes, failure: token.Failure) -> None:
    with pytest.raises(Invalid) as caught:
        token.parse_request(data)
    response = TimeStampResp.load(token.rejection_of(caught.value), strict=True)
    assert response["status"]["status"].native == "rejection"
    assert response["status"]["fail_info"].dump() == der.named_bits(failure)
    assert token.FAILURES[caught.value.code] is failure
    assert response["status"]["status_string"].native == [caught.value.sentence]


def test_null_parameters_come_back_as_they_were_sent() -> None:
    imprint = der.seq(der.seq(der.oid("2.16.840.1.101.3.4.2.1"), der.NULL), der.octet_string(bytes(32)))
    assert token.parse_request(der.seq(V1, imprint)).imprint == imprint
    assert token.parse_request(der.seq(V1, IMPRINT)).imprint == IMPRINT


@pytest.mark.requirement("TSA-1")
@pytest.mark.parametrize("critical", [b"", der.TRUE])
def test_a_request_may_insist_on_a_qualified_time_stamp(critical: bytes) -> None:
    value = der.octet_string(der.seq(der.seq(der.oid("0.4.0.19422.1.1"))))
    assert token.parse_request(extensions(der.seq(QC_STATEMENTS, critical, value))).qualified_wanted
    assert not token.parse_request(der.seq(V1, IMPRINT)).qualified_wanted


@pytest.mark.parametrize("nonce", [0, 1, -1, 127, 128, -128, -129, 2**511 - 1, -(2**511)])
def test_any_nonce_that_is_a_number_is_read(nonce: int) -> None:
    assert token.parse_request(der.seq(V1, IMPRINT, der.integer(nonce))).nonce == nonce


def test_an_explicit_false_is_no_wish_for_certificates() -> None:
    assert not token.parse_request(der.seq(V1, IMPRINT, der.boolean(False))).certificate_wanted


@given(requests(), st.integers(0, 2**127 - 1), moments, st.integers(1, 1000), st.booleans())
def test_tst_info_is_asn1crypto(
    made: tuple[bytes, dict[str, Any]], serial: int, moment: datetime, milliseconds: int, qualified: bool
) -> None:
    request = token.parse_request(made[0])
    built = token.tst_info(
        request,
        policy=der.oid(POLICY),
        serial=serial,
        moment=moment,
        encoded_accuracy=token.accuracy(milliseconds),
        extensions=token.QUALIFIED_CLAIM if qualified else b"",
    )
    told = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    read = tsp.TSTInfo.load(built, strict=True)
    assert read["message_imprint"].dump() == request.imprint
    assert (read["policy"].dotted, read["serial_number"].native) == (POLICY, serial)
    assert read["gen_time"].native == told
    assert read["accuracy"].native in (
        {"seconds": None, "millis": milliseconds, "micros": None},
        {"seconds": 1, "millis": None, "micros": None},
    )
    assert read["nonce"].native == made[1].get("nonce")
    assert read["ordering"].native is False
    assert (read["extensions"].native is not None) is qualified
    expected = {
        "version": 1,
        "policy": POLICY,
        "message_imprint": tsp.MessageImprint.load(request.imprint),
        "serial_number": serial,
        "gen_time": core.GeneralizedTime(told),
        "accuracy": {"seconds": 1} if milliseconds == 1000 else {"millis": milliseconds},
    }
    if request.nonce is not None:
        expected["nonce"] = request.nonce
    if not qualified:
        assert tsp.TSTInfo(expected).dump() == built


def test_the_qualified_claim_is_a_statement_that_is_not_critical() -> None:
    request = token.parse_request(query())
    built = token.tst_info(
        request,
        policy=der.oid(POLICY),
        serial=1,
        moment=datetime(2026, 1, 1, tzinfo=UTC),
        encoded_accuracy=token.accuracy(1),
        extensions=token.QUALIFIED_CLAIM,
    )
    (extension,) = tsp.TSTInfo.load(built, strict=True)["extensions"]
    assert (extension["extn_id"].dotted, extension["critical"].native) == ("1.3.6.1.5.5.7.1.3", False)
    assert extension["extn_value"].native == der.seq(der.seq(der.oid("0.4.0.19422.1.1")))


@pytest.mark.parametrize("milliseconds", [0, 1001, -1])
def test_accuracy_is_one_second_or_better(milliseconds: int) -> None:
    with pytest.raises(ValueError, match="1 to 1000"):
        token.accuracy(milliseconds)


def test_other_errors_are_system_failures() -> None:
    for error in (Unavailable("database-unavailable", "Later."), TooMany("busy", "Later.", retry_after=1)):
        response = TimeStampResp.load(token.rejection_of(error), strict=True)
        assert response["status"]["fail_info"].native == {"system_failure"}


def test_the_bits_are_those_of_the_standard() -> None:
    known = {name.removesuffix("s"): bit for bit, name in tsp.PKIFailureInfo._map.items()}
    for failure in token.Failure:
        assert known[failure.name.lower()] == failure.value
