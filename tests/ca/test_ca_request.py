"""Certificate requests: what other people's tools make is read, and nothing else is."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import core, csr
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from tests.ca.ca_kit import rsa_key
from tsp.ca.request import MAX_OCTETS, read_request
from tsp.core.der import NULL, bit_string, integer, octet_string, oid, seq, set_of, tlv
from tsp.core.errors import Invalid

NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody else's name")])
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ECDSA_SHA256 = seq(oid("1.2.840.10045.4.3.2"))
CODES = {
    "request-too-large",
    "request-malformed",
    "key-unfit",
    "key-weak",
    "request-algorithm-unfit",
    "request-proof-wrong",
    "request-for-authority",
    "request-extension-unsupported",
}


def built(key: Any = EC_KEY, *extensions: tuple[x509.ExtensionType, bool], **signing: Any) -> bytes:
    """A request by cryptography."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(NAME)
    for value, critical in extensions:
        builder = builder.add_extension(value, critical)
    algorithm = signing.pop("algorithm", hashes.SHA256())
    return builder.sign(key, algorithm, **signing).public_bytes(Encoding.DER)


def by_hand(*attributes: bytes, version: int = 0, spki: bytes | None = None, more: bytes = b"") -> bytes:
    """A request in our own octets, signed by the key of `EC_KEY`."""
    own = EC_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    info = seq(integer(version), seq(), spki or own, tlv(0xA0, b"".join(attributes)), more)
    return seq(info, ECDSA_SHA256, bit_string(EC_KEY.sign(info, ec.ECDSA(hashes.SHA256()))))


def extension_request(*extensions: bytes) -> bytes:
    return seq(oid("1.2.840.113549.1.9.14"), set_of(seq(*extensions)))


def code_of(data: bytes) -> str:
    with pytest.raises(Invalid) as caught:
        read_request(data)
    return caught.value.code


@pytest.mark.requirement("CA-3")
@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], "P256"),
        (["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"], "P384"),
        (["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"], "RSA3072"),
        (
            [
                *("-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:3072"),
                *("-pkeyopt", "rsa_pss_keygen_md:sha256", "-pkeyopt", "rsa_pss_keygen_mgf1_md:sha256"),
                *("-pkeyopt", "rsa_pss_keygen_saltlen:32"),
            ],
            "RSA3072-PSS",
        ),
    ],
)
def test_requests_of_openssl_are_read(arguments: list[str], name: str, tmp_path: Path) -> None:
    key, request = tmp_path / "key.pem", tmp_path / "request.pem"
    subprocess.run(["openssl", "genpkey", *arguments, "-out", key], capture_output=True, check=True)
    make = ["openssl", "req", "-new", "-key", key, "-subj", "/CN=Ana", "-addext", "keyUsage=critical,digitalSignature"]
    subprocess.run([*make, "-out", request], capture_output=True, check=True)
    public = subprocess.run(
        ["openssl", "pkey", "-in", key, "-pubout", "-outform", "DER"], capture_output=True, check=True
    ).stdout
    read = read_request(request.read_bytes())
    assert (read.key, read.spki, read.ignored) == (name, public, ("2.5.29.15",))


def test_request_of_certtool_is_read(tmp_path: Path) -> None:
    (tmp_path / "template").write_text('cn = "Ana"\nsigning_key\n')
    key, request = tmp_path / "key.pem", tmp_path / "request.pem"
    make = ["certtool", "--generate-privkey", "--key-type", "ecdsa", "--curve", "secp256r1", "--outfile", key]
    subprocess.run(make, capture_output=True, check=True)
    make = ["certtool", "--generate-request", "--load-privkey", key, "--template", tmp_path / "template"]
    made = subprocess.run([*make, "--outfile", request], capture_output=True, check=True)
    assert made.returncode == 0
    assert read_request(request.read_bytes()).key == "P256"


@pytest.mark.requirement("CA-3")
@pytest.mark.parametrize(
    ("request_", "name"),
    [
        (built, "P256"),
        (lambda: built(algorithm=hashes.SHA512()), "P256"),
        (lambda: built(rsa_key(3072)), "RSA3072"),
        (lambda: built(rsa_key(3072), rsa_padding=padding.PSS(padding.MGF1(hashes.SHA256()), 32)), "RSA3072"),
        (by_hand, "P256"),
        (lambda: by_hand(seq(oid("1.2.840.113549.1.9.7"), set_of(tlv(0x0C, b"a password")))), "P256"),
    ],
)
def test_other_requests_are_read(request_: Callable[[], bytes], name: str) -> None:
    assert read_request(request_()).key == name


def test_pem_and_der_are_the_same_request() -> None:
    der = built()
    pem = x509.load_der_x509_csr(der).public_bytes(Encoding.PEM)
    old = pem.replace(b"CERTIFICATE REQUEST", b"NEW CERTIFICATE REQUEST")
    assert read_request(der) == read_request(pem) == read_request(old) == read_request(b"\n" + pem + b"\n\n")
    assert code_of(pem + pem) == "request-malformed"
    assert read_request(b"text before\n" + pem) == read_request(der)
    assert code_of(pem + b"text behind") == "request-malformed"
    assert code_of(pem.replace(b"END CERT", b"END NEW CERT")) == "request-malformed"
    assert code_of(pem.replace(b"-----\nM", b"-----\n=M", 1)) == "request-malformed"


def test_what_the_profile_decides_is_ignored_and_told() -> None:
    wishes = (
        (x509.KeyUsage(True, True, False, False, False, False, False, False, False), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False),
        (x509.SubjectAlternativeName([x509.DNSName("example.si")]), False),
        (x509.BasicConstraints(False, None), True),
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.5.5.7.1.3"), b"0\x00"), False),
    )
    read = read_request(built(EC_KEY, *wishes))
    assert read.ignored == ("2.5.29.15", "2.5.29.37", "2.5.29.17", "2.5.29.19", "1.3.6.1.5.5.7.1.3")
    assert "somebody" not in repr(read)


def other_signature() -> bytes:
    """A request with a good signature of another key."""
    mine = csr.CertificationRequest.load(built())
    theirs = csr.CertificationRequest.load(built(ec.generate_private_key(ec.SECP256R1())))
    mine["signature"] = core.OctetBitString(theirs["signature"].native)
    return bytes(mine.dump(force=True))


OFF_CURVE = b"\x04" + bytes(31) + b"\x01" + bytes(31) + b"\x01"
KEY_USAGE = seq(oid("2.5.29.15"), octet_string(b"\x03\x02\x02\x04"))
CONSTRAINTS = seq(oid("2.5.29.19"), octet_string(seq(b"\x01\x01\xff")))
UNKNOWN = seq(oid("1.2.3.4"), b"\x01\x01\xff", octet_string(NULL))


@pytest.mark.requirement("CA-3")
@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: b"", "request-malformed"),
        (lambda: b"\x30\x00", "request-malformed"),
        (lambda: built() + b"\x00", "request-malformed"),
        (lambda: built()[:-1], "request-malformed"),
        (lambda: bytes(MAX_OCTETS + 1), "request-too-large"),
        (lambda: by_hand(version=1), "request-malformed"),
        (lambda: by_hand(more=NULL), "request-malformed"),
        (lambda: by_hand(extension_request(KEY_USAGE)), "request-for-authority"),
        (lambda: by_hand(extension_request(CONSTRAINTS)), "request-for-authority"),
        (lambda: by_hand(extension_request(UNKNOWN)), "request-extension-unsupported"),
        (lambda: by_hand(extension_request(), extension_request()), "request-malformed"),
        (lambda: by_hand(extension_request(UNKNOWN, UNKNOWN)), "request-malformed"),
        (
            lambda: by_hand(extension_request(seq(oid("1.2.3"), b"\x01\x01\x00", octet_string(b"")))),
            "request-malformed",
        ),
        (
            lambda: by_hand(extension_request(*(seq(oid(f"1.2.3.{i}"), octet_string(b"")) for i in range(33)))),
            "request-malformed",
        ),
        (lambda: by_hand(seq(oid("1.2.840.113549.1.9.14"), set_of())), "request-malformed"),
        (lambda: by_hand(seq(tlv(0x06, b"\x80\x01"), set_of())), "request-malformed"),
        (lambda: by_hand(seq(tlv(0x06, b""), set_of())), "request-malformed"),
        (lambda: by_hand(extension_request(seq(oid("2.5.29.15"), octet_string(b"\x03")))), "request-malformed"),
        (
            lambda: by_hand(spki=seq(seq(oid("1.2.840.10045.2.1"), oid("1.2.840.10045.3.1.7")), bit_string(OFF_CURVE))),
            "key-unfit",
        ),
        (lambda: built(ec.generate_private_key(ec.SECP256K1())), "key-unfit"),
        (lambda: built(ec.generate_private_key(ec.SECP521R1())), "key-unfit"),
        (lambda: built(ed25519.Ed25519PrivateKey.generate(), algorithm=None), "key-unfit"),
        (lambda: built(rsa.generate_private_key(65537, 2048)), "key-unfit"),
        (lambda: by_hand(spki=rsa_spki_of(rsa_key(3072).public_key().public_numbers().n, 3)), "key-weak"),
        (lambda: by_hand(spki=rsa_spki_of(3**1938, 65537)), "key-weak"),
        (lambda: built(algorithm=hashes.SHA224()), "request-algorithm-unfit"),
        (
            lambda: built(rsa_key(3072), rsa_padding=padding.PSS(padding.MGF1(hashes.SHA256()), 20)),
            "request-algorithm-unfit",
        ),
        (other_signature, "request-proof-wrong"),
    ],
)
def test_other_data_are_refused_by_name(make: Callable[[], bytes], code: str) -> None:
    assert code_of(make()) == code


def rsa_spki_of(modulus: int, exponent: int) -> bytes:
    key = seq(integer(modulus), integer(exponent))
    return seq(seq(oid("1.2.840.113549.1.1.1"), NULL), bit_string(key))


GOOD = built(EC_KEY, (x509.KeyUsage(True, False, False, False, False, False, False, False, False), True))


@pytest.mark.requirement("CA-3")
@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_no_octet_can_be_changed(place: int, change: int) -> None:
    changed = bytearray(GOOD)
    changed[place] ^= change
    assert code_of(bytes(changed)) in CODES


@pytest.mark.requirement("CA-3")
@given(st.data())
def test_whatever_comes_is_read_or_refused_by_name(data: st.DataObject) -> None:
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(GOOD))] * 2)))
    mangled = GOOD[:start] + data.draw(st.binary(max_size=80)) + GOOD[end:]
    try:
        read = read_request(mangled)
    except Invalid as error:
        assert error.code in CODES
    else:
        assert mangled == GOOD
        assert read.key == "P256"


@given(st.binary(max_size=400))
def test_random_octets_are_refused_by_name(data: bytes) -> None:
    assert code_of(data) in CODES
    assert code_of(b"-----BEGIN CERTIFICATE REQUEST-----\n" + data) in CODES
