"""Approvals that openssl made: m people over exactly this plan, and everything that is not that."""

import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from tests.ca.ca_kit import NOW
from tests.ca.officer_kit import Person, make_officer
from tsp.ca.approvals import MAX_OCTETS, require_approvals, sign_detached, signer_of
from tsp.core.errors import Invalid, Refused, TspError

PLAN = b'mode = "demo"\n'
ANA, BOR = make_officer("Ana", "administrator"), make_officer("Bor", "witness")
OFFICERS = [ANA.officer, BOR.officer]
STRANGER = make_officer("Eva", "witness")


def by(person: Person, content: bytes, place: Path) -> bytes:
    key, certificate = person.files(place)
    return sign_detached(content, Path(certificate).read_bytes(), Path(key).read_bytes(), None)


SIGNED = sign_detached(PLAN, ANA.text.encode(), ANA.pem_key(), None)


@pytest.mark.requirement("CA-1")
@pytest.mark.parametrize("form", ["DER", "PEM"])
@pytest.mark.parametrize(
    ("key", "options"),
    [
        (ec.generate_private_key(ec.SECP256R1()), ()),
        (ec.generate_private_key(ec.SECP384R1()), ("-md", "sha384")),
        (rsa.generate_private_key(65537, 3072), ()),
        (rsa.generate_private_key(65537, 3072), ("-keyopt", "rsa_padding_mode:pss")),
        (ec.generate_private_key(ec.SECP256R1()), ("-nocerts",)),
    ],
    ids=["P-256", "P-384", "RSA", "RSA-PSS", "no certificate inside"],
)
def test_what_openssl_signs_counts(tmp_path: Path, key: Any, options: tuple[str, ...], form: str) -> None:
    person = make_officer("Ana", "administrator", key)
    signature = person.signs(PLAN, tmp_path, *options, form=form)
    assert signer_of(signature, PLAN, [BOR.officer, person.officer], NOW) == person.officer


def test_openssl_accepts_what_is_signed_here(tmp_path: Path) -> None:
    (tmp_path / "approval.p7s").write_bytes(by(ANA, PLAN, tmp_path))
    (tmp_path / "plan").write_bytes(PLAN)
    command = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", "approval.p7s", "-content", "plan"]
    command += ["-CAfile", "Ana.pem", "-purpose", "any", "-attime", str(int(NOW.timestamp()))]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, PLAN), done.stderr


@pytest.mark.requirement("CA-1")
def test_m_people_make_an_approval(tmp_path: Path) -> None:
    files = {"a.p7s": by(ANA, PLAN, tmp_path), "b.p7s": BOR.signs(PLAN, tmp_path)}
    found = require_approvals(files, PLAN, OFFICERS, 2, NOW)
    assert [(one.file, one.officer.name) for one in found] == [("a.p7s", "Ana"), ("b.p7s", "Bor")]


@pytest.mark.parametrize("case", ["few", "twice", "other", "expired", "early", "stranger", "nobody", "garbage"])
def test_what_is_no_approval_is_told(tmp_path: Path, case: str) -> None:
    old = make_officer("Cene", "custodian", since=NOW - timedelta(days=20), days=10)
    new = make_officer("Dora", "custodian", since=NOW + timedelta(days=1))
    officers = [*OFFICERS, old.officer, new.officer]
    one = by(ANA, PLAN, tmp_path)
    second, code = {
        "few": (None, "approvals-too-few"),
        "twice": (ANA.signs(PLAN, tmp_path), "approval-twice"),
        "other": (by(BOR, PLAN + b" ", tmp_path), "approval-other-content"),
        "expired": (by(old, PLAN, tmp_path), "approver-certificate-expired"),
        "early": (by(new, PLAN, tmp_path), "approver-certificate-expired"),
        "stranger": (by(STRANGER, PLAN, tmp_path), "approver-unknown"),
        "nobody": (None, "ceremony-officers-missing"),
        "garbage": (b"\x30\x03\x02\x01\x00", "approval-malformed"),
    }[case]
    files = {"1.p7s": one} | ({} if second is None else {"2.p7s": second})
    with pytest.raises(TspError) as caught:
        require_approvals(files, PLAN, [] if case == "nobody" else officers, 2, NOW)
    assert caught.value.code == code
    assert second is None or "2.p7s" in caught.value.sentence


@pytest.mark.parametrize(
    "options", [("-noattr",), ("-nodetach",), ("-md", "sha1")], ids=["no attributes", "not detached", "SHA-1"]
)
def test_careless_forms_of_openssl_are_refused(tmp_path: Path, options: tuple[str, ...]) -> None:
    with pytest.raises(Invalid, match="approval-malformed"):
        signer_of(ANA.signs(PLAN, tmp_path, *options), PLAN, OFFICERS, NOW)


def test_two_signers_in_one_message_are_refused(tmp_path: Path) -> None:
    key, certificate = BOR.files(tmp_path)
    twice = ANA.signs(PLAN, tmp_path, "-signer", certificate, "-inkey", key)
    with pytest.raises(Invalid, match="approval-malformed"):
        signer_of(twice, PLAN, OFFICERS, NOW)


def test_a_certificate_inside_counts_for_nothing(tmp_path: Path) -> None:
    """A stranger who calls themselves as an officer does, and sends their own certificate along."""
    false = make_officer("Ana", "administrator")
    with pytest.raises(Refused, match="approver-unknown"):
        signer_of(false.signs(PLAN, tmp_path), PLAN, OFFICERS, NOW)


@pytest.mark.requirement("CA-1")
@pytest.mark.parametrize("options", [(), ("-keyid",)], ids=["by issuer and number", "by key identifier"])
def test_a_wrong_signature_in_an_officers_name_is_told_apart(tmp_path: Path, options: tuple[str, ...]) -> None:
    """One bit of a real signature is changed: everything fits but the signature value."""
    whole = bytearray(ANA.signs(PLAN, tmp_path, *options))
    assert signer_of(bytes(whole), PLAN, OFFICERS, NOW) == ANA.officer
    whole[-1] ^= 1
    with pytest.raises(Refused, match="approval-signature-wrong"):
        signer_of(bytes(whole), PLAN, OFFICERS, NOW)
    # Where nobody of that certificate is an officer, it stays a stranger's.
    with pytest.raises(Refused, match="approver-unknown"):
        signer_of(bytes(whole), PLAN, [BOR.officer], NOW)


@pytest.mark.parametrize("size", [0, MAX_OCTETS + 1])
def test_empty_and_endless_signatures_are_refused(size: int) -> None:
    with pytest.raises(Invalid, match="approval-malformed"):
        signer_of(b"\x30" * size, PLAN, OFFICERS, NOW)


@given(data=st.data())
def test_no_octets_raise_anything_else(data: st.DataObject) -> None:
    whole = bytearray(SIGNED)
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    try:
        assert signer_of(bytes(whole[:cut]), PLAN, OFFICERS, NOW) == ANA.officer
    except TspError as error:
        known = {"approval-malformed", "approval-other-content", "approval-signature-wrong", "approver-unknown"}
        assert error.code in known


@pytest.mark.parametrize("case", ["other key", "Ed25519", "not PEM", "passphrase"])
def test_keys_that_cannot_sign_are_told(tmp_path: Path, case: str) -> None:
    person = make_officer("Ana", "administrator", ed25519.Ed25519PrivateKey.generate()) if case == "Ed25519" else ANA
    key, certificate = person.files(tmp_path, b"secret" if case == "passphrase" else None)
    octets = b"" if case == "not PEM" else Path(key).read_bytes()
    signer = BOR.text if case == "other key" else Path(certificate).read_text()
    with pytest.raises(Invalid, match="officer-key-unfit"):
        sign_detached(PLAN, signer.encode(), octets, b"wrong" if case == "passphrase" else None)
