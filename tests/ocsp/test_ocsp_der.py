"""The strict request reader, and the response builder against asn1crypto."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asn1crypto import ocsp
from hypothesis import given
from hypothesis import strategies as st

from tests.small_pki import Ca
from tsp.core import der
from tsp.core.errors import Invalid, TooMany, Unavailable
from tsp.ocsp import request, response

CA = Ca("TEST Issuing")
CERTIFICATE = CA.ocsp(CA.spki)
TEMPLATE = response.ResponderTemplate(CERTIFICATE)
SIZES = {"sha1": 20, "sha256": 32, "sha384": 48, "sha512": 64}
moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@st.composite
def cert_ids(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(st.sampled_from(sorted(SIZES)))
    size = SIZES[name]
    return {
        "hash_algorithm": {"algorithm": name},
        "issuer_name_hash": draw(st.binary(min_size=size, max_size=size)),
        "issuer_key_hash": draw(st.binary(min_size=size, max_size=size)),
        "serial_number": draw(st.integers(-(2**130), 2**170)),
    }


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, list[dict[str, Any]], bytes | None]:
    asked = draw(st.lists(cert_ids(), min_size=1, max_size=16))
    tbs: dict[str, Any] = {"request_list": [{"req_cert": one} for one in asked]}
    nonce = draw(st.none() | st.binary(min_size=1, max_size=128))
    if nonce is not None:
        tbs["request_extensions"] = [{"extn_id": "nonce", "critical": draw(st.booleans()), "extn_value": nonce}]
    if draw(st.booleans()):
        tbs["requestor_name"] = ocsp.GeneralName("dns_name", "client.example")
    return bytes(ocsp.OCSPRequest({"tbs_request": tbs}).dump()), asked, nonce


@given(requests())
def test_requests_are_read_as_they_were_meant(made: tuple[bytes, list[dict[str, Any]], bytes | None]) -> None:
    encoded, asked, nonce = made
    read = request.parse_request(encoded)
    assert [c.serial for c in read.certificates] == [one["serial_number"] for one in asked]
    for found, meant in zip(read.certificates, asked, strict=True):
        assert found.issuer == (
            meant["hash_algorithm"]["algorithm"],
            meant["issuer_name_hash"],
            meant["issuer_key_hash"],
        )
        assert found.encoded in encoded
    if nonce is None:
        assert read.nonce is None
    else:
        assert read.nonce is not None
        assert read.nonce in encoded
        assert read.nonce.endswith(der.octet_string(der.octet_string(nonce)))


@given(requests(), st.data())
def test_damaged_requests_are_read_or_refused_by_name(
    made: tuple[bytes, list[dict[str, Any]], bytes | None], data: st.DataObject
) -> None:
    damaged = bytearray(made[0])
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    check_parser(bytes(damaged))
    check_parser(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]))


@given(st.binary(max_size=300))
def test_anything_is_read_or_refused_by_name(data: bytes) -> None:
    check_parser(data)
    check_parser(der.seq(der.seq(data)))
    check_parser(der.seq(der.seq(der.seq(der.seq(der.seq(data))))))


def check_parser(data: bytes) -> None:
    try:
        read = request.parse_request(data)
    except Invalid as error:
        assert error.code in response.STATUSES
    else:
        assert read.certificates


SHA256 = der.seq(der.oid("2.16.840.1.101.3.4.2.1"))
CERT_ID = der.seq(SHA256, der.octet_string(bytes(32)), der.octet_string(bytes(32)), der.integer(5))
LIST = der.seq(der.seq(CERT_ID))


def extension(oid: str, value: bytes, critical: bytes = b"") -> bytes:
    return der.seq(der.oid(oid), critical, der.octet_string(value))


def with_extensions(*extensions: bytes) -> bytes:
    return der.seq(der.seq(LIST, der.explicit(2, der.seq(*extensions))))


NONCE = extension("1.3.6.1.5.5.7.48.1.2", der.octet_string(bytes(16)))


@pytest.mark.requirement("OCSP-1")
@pytest.mark.parametrize(
    "data",
    [
        b"",
        der.seq(),
        der.seq(der.seq()),
        der.seq(der.seq(der.seq())),
        der.seq(der.seq(LIST)) + b"\x00",
        der.seq(der.seq(LIST), der.explicit(0, der.seq()), der.seq()),
        der.seq(der.seq(LIST, LIST)),
        der.seq(der.seq(LIST, der.explicit(1, der.seq()))),
        der.seq(der.seq(der.explicit(0, der.integer(1)), LIST)),
        der.seq(der.seq(der.explicit(3, der.integer(1)), LIST)),
        der.seq(der.seq(der.seq(der.seq(der.seq(SHA256, der.octet_string(b""), der.integer(1)))))),
        with_extensions(NONCE, NONCE),
        with_extensions(extension("1.3.6.1.5.5.7.48.1.2", b"bare octets")),
        with_extensions(extension("1.2.3.4", b"", der.TRUE)),
        with_extensions(der.seq(der.oid("1.2.3"))),
        der.seq(der.seq(der.seq(der.seq(CERT_ID, der.explicit(0, der.seq(extension("1.2.3", b"", der.TRUE))))))),
    ],
)
def test_what_is_no_request_is_malformed(data: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        request.parse_request(data)
    assert response.error_response_of(caught.value) == der.seq(der.enumerated(1))


@pytest.mark.parametrize(
    "data",
    [
        der.seq(der.seq(der.explicit(0, der.integer(0)), LIST)),
        with_extensions(extension("1.2.3.4", b"whatever")),
        with_extensions(extension("1.3.6.1.5.5.7.48.1.4", der.seq(der.oid("1.3.6.1.5.5.7.48.1.1")), der.TRUE)),
        der.seq(der.seq(LIST), der.explicit(0, der.seq(SHA256, der.bit_string(b"a signature")))),
        der.seq(der.seq(der.seq(der.seq(CERT_ID, der.explicit(0, der.seq(extension("1.2.3", b""))))))),
    ],
)
def test_what_need_not_be_looked_at_is_not(data: bytes) -> None:
    assert request.parse_request(data).certificates[0].serial == 5


def test_an_unknown_hash_names_nobody() -> None:
    odd = der.seq(der.seq(der.oid("1.2.3")), der.octet_string(b"a"), der.octet_string(b"b"), der.integer(5))
    (found,) = request.parse_request(der.seq(der.seq(der.seq(der.seq(odd))))).certificates
    assert found.issuer == ("", b"a", b"b")


@given(
    cert_ids(),
    st.sampled_from(["good", "revoked", "unknown"]),
    st.sampled_from([0, 1, 4, 9]),
    moments,
    st.integers(1, 10**7),
    st.booleans(),
)
def test_single_responses_are_asn1crypto(
    cert_id: dict[str, Any], status: str, reason: int, moment: datetime, seconds: int, cutoff: bool
) -> None:
    encoded = ocsp.CertId(cert_id).dump()
    whole = moment.replace(microsecond=0)
    told = {
        "good": response.GOOD,
        "unknown": response.UNKNOWN,
        "revoked": response.revoked(moment, reason),
    }[status]
    built = response.single_response(
        encoded, told, moment, moment + timedelta(seconds=seconds), response.archive_cutoff(moment) if cutoff else b""
    )
    read = ocsp.SingleResponse.load(built, strict=True)
    assert read["cert_id"].dump() == encoded
    assert read["cert_status"].name == status
    assert read["this_update"].native == whole
    assert read["next_update"].native == whole + timedelta(seconds=seconds)
    if status == "revoked":
        info = read["cert_status"].chosen
        assert info["revocation_time"].native == whole
        assert (info["revocation_reason"].native is None) is (reason == 0)
    if cutoff:
        assert read.archive_cutoff_value.native == whole
    assert read.copy().dump(force=True) == built


@given(moments, st.none() | st.binary(min_size=1, max_size=128), st.binary(max_size=80))
def test_responses_are_asn1crypto(moment: datetime, nonce: bytes | None, signature: bytes) -> None:
    echoed = None if nonce is None else extension("1.3.6.1.5.5.7.48.1.2", der.octet_string(nonce))
    single = response.single_response(CERT_ID, response.GOOD, moment, moment + timedelta(hours=1))
    data = TEMPLATE.response_data(moment, [single], echoed)
    built = TEMPLATE.response(data, signature)
    read = ocsp.OCSPResponse.load(built, strict=True)
    assert read["response_status"].native == "successful"
    basic = read.basic_ocsp_response
    assert basic["tbs_response_data"].dump(force=True) == data
    assert basic["tbs_response_data"]["responder_id"].name == "by_key"
    assert basic["signature"].native == signature
    assert basic["certs"][0].dump() == CERTIFICATE
    assert (read.nonce_value.native if nonce else read.nonce_value) == nonce


def test_errors_have_no_body() -> None:
    later = [Unavailable("database-unavailable", "Later."), TooMany("busy", "Later.", retry_after=1)]
    for error, status in [*((e, "try_later") for e in later), (Invalid("other", "Odd."), "internal_error")]:
        read = ocsp.OCSPResponse.load(response.error_response_of(error), strict=True)
        assert read["response_status"].native == status
        assert read["response_bytes"].native is None
