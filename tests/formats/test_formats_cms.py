"""cms.py gives what asn1crypto gives, octet for octet, and what others verify."""

import hashlib
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from asn1crypto import algos, core, tsp
from asn1crypto import cms as asn1_cms
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.validate.pki import NOW, Pki
from tsp.core import der
from tsp.core.errors import Invalid
from tsp.formats import cms

KEY = ec.generate_private_key(ec.SECP256R1())
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=16)
SERIALS = st.integers(min_value=1, max_value=2**158)
DIGESTS: st.SearchStrategy[cms.Digest] = st.sampled_from(("sha256", "sha384", "sha512"))
ALGORITHMS: dict[str, cms.SignatureAlgorithm] = {
    "sha256": "ecdsa-with-SHA256",
    "sha384": "ecdsa-with-SHA384",
    "sha512": "ecdsa-with-SHA512",
}


def certificate(common_name: str, serial: int) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(KEY.public_key())
        .serial_number(serial)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(hours=1))
    )
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)


class PlainAlgorithm(core.Sequence):  # type: ignore[misc]
    """An AlgorithmIdentifier without parameters: asn1crypto would write NULL, RFC 5754, 2 wants nothing."""

    _fields = [("algorithm", algos.DigestAlgorithmId)]  # noqa: RUF012


def digest_algorithm(name: str) -> algos.DigestAlgorithm:
    return algos.DigestAlgorithm.load(PlainAlgorithm({"algorithm": name}).dump())


def expected_attributes(
    digest_value: bytes, encoded: bytes, digest: str, time: datetime | None
) -> asn1_cms.CMSAttributes:
    parsed = asn1_x509.Certificate.load(encoded)
    identifier = {
        "cert_hash": hashlib.new(digest, encoded).digest(),
        "issuer_serial": {
            "issuer": [asn1_x509.GeneralName("directory_name", parsed.issuer)],
            "serial_number": parsed.serial_number,
        },
    }
    if digest != "sha256":
        identifier["hash_algorithm"] = digest_algorithm(digest)
    attributes = [
        {"type": "content_type", "values": ["data"]},
        {"type": "message_digest", "values": [digest_value]},
        {"type": "signing_certificate_v2", "values": [tsp.SigningCertificateV2({"certs": [identifier]})]},
    ]
    if time is not None:
        attributes.append({"type": "signing_time", "values": [asn1_cms.Time("utc_time", time)]})
    return asn1_cms.CMSAttributes([asn1_cms.CMSAttribute(a) for a in attributes])


def expected_signed_data(attributes: bytes, signature: bytes, encoded: bytes, chain: list[bytes], digest: str) -> bytes:
    parsed = asn1_x509.Certificate.load(encoded)
    signer = {
        "version": "v1",
        "sid": asn1_cms.SignerIdentifier(
            "issuer_and_serial_number", {"issuer": parsed.issuer, "serial_number": parsed.serial_number}
        ),
        "digest_algorithm": digest_algorithm(digest),
        "signed_attrs": asn1_cms.CMSAttributes.load(attributes),
        "signature_algorithm": algos.SignedDigestAlgorithm({"algorithm": f"{digest}_ecdsa"}),
        "signature": signature,
    }
    content = {
        "version": "v1",
        "digest_algorithms": [digest_algorithm(digest)],
        "encap_content_info": {"content_type": "data"},
        "certificates": [asn1_x509.Certificate.load(c) for c in (encoded, *chain)],
        "signer_infos": [signer],
    }
    dumped: bytes = asn1_cms.ContentInfo({"content_type": "signed_data", "content": content}).dump()
    return dumped


@pytest.mark.requirement("FMT-1")
@settings(deadline=None)
@given(digest=DIGESTS, content=st.binary(max_size=60), name=NAMES, serial=SERIALS, time=st.none() | st.just(NOW))
def test_signed_attributes_are_those_of_asn1crypto(
    digest: cms.Digest, content: bytes, name: str, serial: int, time: datetime | None
) -> None:
    encoded = certificate(name, serial)
    value = hashlib.new(digest, content).digest()
    made = cms.signed_attributes(value, encoded, digest=digest, signing_time=time)
    assert made == expected_attributes(value, encoded, digest, time).dump()


@pytest.mark.requirement("FMT-1")
@settings(deadline=None)
@given(digest=DIGESTS, name=NAMES, serial=SERIALS, signature=st.binary(min_size=1, max_size=80))
def test_signed_data_is_that_of_asn1crypto(digest: cms.Digest, name: str, serial: int, signature: bytes) -> None:
    encoded, issuer = certificate(name, serial), certificate("Overitelj", 7)
    attributes = cms.signed_attributes(b"\0" * 32, encoded, digest=digest)
    made = cms.signed_data(attributes, signature, encoded, [issuer], signature_algorithm=ALGORITHMS[digest])
    assert made == expected_signed_data(attributes, signature, encoded, [issuer], digest)
    assert cms.signature_value(made) == signature
    assert cms.message_digest(made) == b"\0" * 32


@pytest.mark.requirement("FMT-1")
@settings(deadline=None)
@given(tokens=st.lists(st.binary(max_size=50).map(der.octet_string), min_size=1, max_size=3, unique=True))
def test_time_stamps_become_unsigned_attributes(tokens: list[bytes]) -> None:
    encoded = certificate("Ana", 5)
    signed = cms.signed_data(cms.signed_attributes(b"\1" * 32, encoded), b"\x30\x00", encoded)
    made = signed
    for token in tokens:
        made = cms.add_signature_timestamp(made, token)
    parsed = asn1_cms.ContentInfo.load(made, strict=True)["content"]["signer_infos"][0]
    attributes = [a.dump() for a in parsed["unsigned_attrs"]]
    kind = der.oid("1.2.840.113549.1.9.16.2.14")
    assert attributes == sorted(der.seq(kind, der.set_of(token)) for token in tokens)
    before = asn1_cms.ContentInfo.load(signed)["content"]["signer_infos"][0]
    assert parsed["signed_attrs"].dump() == before["signed_attrs"].dump()
    assert cms.signature_value(made) == cms.signature_value(signed)


def test_signing_time_stays_out_for_pades() -> None:
    attributes = asn1_cms.CMSAttributes.load(cms.signed_attributes(b"\0" * 32, certificate("Ana", 1)))
    assert {a["type"].native for a in attributes} == {"content_type", "message_digest", "signing_certificate_v2"}


@pytest.mark.requirement("FMT-1")
def test_openssl_verifies_the_signature(tmp_path: Path) -> None:
    pki, content = Pki(), b"vsebina pogodbe"
    signer = pki.ordinary()
    attributes = cms.signed_attributes(hashlib.sha256(content).digest(), signer.der, signing_time=NOW)
    assert isinstance(signer.key, ec.EllipticCurvePrivateKey)
    signature = signer.key.sign(attributes, ec.ECDSA(hashes.SHA256()))
    signed = cms.signed_data(attributes, signature, signer.der, [pki.issuing.der])
    stamped = cms.add_signature_timestamp(signed, pki.stamp(signature, NOW))
    (tmp_path / "signed.p7s").write_bytes(stamped)
    (tmp_path / "content").write_bytes(content)
    (tmp_path / "root.pem").write_bytes(pki.root.pem)
    command = (
        "openssl cms -verify -cades -binary -inform DER -in signed.p7s -content content -CAfile root.pem -purpose any"
    )
    at = ["-attime", str(int(NOW.timestamp()))]
    done = subprocess.run([*command.split(), *at], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == content


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"\x30\x00",
        der.seq(der.oid("1.2.840.113549.1.7.1"), der.explicit(0, der.seq())),
        der.seq(der.oid("1.2.840.113549.1.7.2"), der.explicit(0, der.seq(der.integer(1)))),
        der.seq(
            der.oid("1.2.840.113549.1.7.2"),
            der.explicit(0, der.seq(der.integer(1), der.set_of(), der.seq(), der.set_of())),
        ),
    ],
)
def test_what_is_no_signature_is_refused(broken: bytes) -> None:
    with pytest.raises(Invalid) as refusal:
        cms.signature_value(broken)
    assert refusal.value.code in ("cms-malformed", "der-malformed")


@settings(deadline=None)
@given(broken=st.binary(max_size=200))
def test_any_octets_are_read_or_refused(broken: bytes) -> None:
    for reader in (cms.signature_value, cms.message_digest, lambda b: cms.add_signature_timestamp(b, der.NULL)):
        with pytest.raises(Invalid) as refusal:
            reader(broken)
        assert refusal.value.code in ("cms-malformed", "der-malformed")


@settings(deadline=None)
@given(place=st.integers(min_value=0, max_value=10_000), value=st.integers(min_value=0, max_value=255))
def test_a_changed_octet_never_breaks_the_reader(place: int, value: int) -> None:
    encoded = certificate("Ana", 5)
    signed = bytearray(cms.signed_data(cms.signed_attributes(b"\1" * 32, encoded), b"\x30\x00", encoded))
    signed[place % len(signed)] = value
    try:
        assert isinstance(cms.message_digest(bytes(signed)), bytes)
    except Invalid as refusal:
        assert refusal.code in ("cms-malformed", "der-malformed")


def test_a_certificate_that_is_none_is_refused() -> None:
    for broken in (b"\x30\x00", der.seq(der.seq()), der.seq(der.seq(der.integer(1)))):
        with pytest.raises(Invalid) as refusal:
            cms.signed_attributes(b"\0" * 32, broken)
        assert refusal.value.code == "der-malformed"
