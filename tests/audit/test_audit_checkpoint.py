"""Checkpoints as signed notes: written once, read strictly, believed only with the right key."""

import base64
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from tsp.audit.checkpoint import Checkpoint, VerifierKey, open_checkpoint, parse_text, sign_checkpoint
from tsp.core.errors import Invalid

PRIVATE = Ed25519PrivateKey.from_private_bytes(sha256(b"log").digest())
KEY = VerifierKey("log.example/TEST", PRIVATE.public_key().public_bytes_raw())
CHECKPOINT = Checkpoint("log.example/TEST", 42, sha256(b"root").digest())


def note() -> str:
    return sign_checkpoint(CHECKPOINT, KEY, PRIVATE.sign)


@pytest.mark.requirement("EVD-2")
def test_a_signed_checkpoint_opens_with_its_key() -> None:
    assert open_checkpoint(note(), KEY) == CHECKPOINT
    assert note().startswith("log.example/TEST\n42\n")
    assert "\n\n\u2014 log.example/TEST " in note()


def test_a_verifier_key_of_the_specification_is_read_and_used() -> None:
    # The example of golang.org/x/mod/sumdb/note: its key, its note.
    key = VerifierKey.parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    signature = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    raw = base64.b64decode(signature)
    assert raw[:4] == key.key_id
    assert key.accepts(text.encode(), raw[4:])


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(1, 255))
def test_a_changed_note_is_never_believed(place: int, change: int) -> None:
    octets = bytearray(note().encode())
    octets[place % len(octets)] ^= change
    try:
        changed = octets.decode()
    except UnicodeDecodeError:
        return
    with pytest.raises(Invalid, match="checkpoint-"):
        open_checkpoint(changed, KEY)


def test_signatures_of_others_are_passed_over_but_do_not_count() -> None:
    witness = Ed25519PrivateKey.from_private_bytes(sha256(b"witness").digest())
    other = VerifierKey("witness.example", witness.public_key().public_bytes_raw())
    cosigned = note() + sign_checkpoint(CHECKPOINT, other, witness.sign).rpartition("\n\n")[2]
    assert open_checkpoint(cosigned, KEY) == CHECKPOINT
    assert open_checkpoint(cosigned, other) == CHECKPOINT
    with pytest.raises(Invalid, match="checkpoint-signature"):
        open_checkpoint(note(), other)


def test_a_key_of_the_same_name_does_not_pass_for_the_pinned_one() -> None:
    thief = Ed25519PrivateKey.from_private_bytes(sha256(b"thief").digest())
    forged = sign_checkpoint(CHECKPOINT, VerifierKey(KEY.name, thief.public_key().public_bytes_raw()), thief.sign)
    with pytest.raises(Invalid, match="checkpoint-signature"):
        open_checkpoint(forged, KEY)


def test_a_signature_that_does_not_verify_is_not_published() -> None:
    with pytest.raises(ValueError, match="verify"):
        sign_checkpoint(CHECKPOINT, KEY, lambda _message: bytes(64))


@pytest.mark.parametrize(
    "text",
    ["", "a\n1\n", "a\n01\nAAAA\n", "a\n-1\nAAAA\n", f"\n1\n{'A' * 43}=\n", f"a\n1\n{'A' * 42}B=\n", "a\n1\nQUJD\n"],
)
def test_other_texts_are_no_checkpoints(text: str) -> None:
    with pytest.raises(Invalid, match="checkpoint-malformed"):
        parse_text(text)


def test_extension_lines_are_passed_over() -> None:
    assert parse_text(CHECKPOINT.text() + "an extension\n") == CHECKPOINT


@settings(deadline=None)
@given(st.text(max_size=80))
def test_other_words_are_no_keys(word: str) -> None:
    with pytest.raises(Invalid, match="log-key"):
        VerifierKey.parse(word)


def test_a_key_says_itself() -> None:
    assert VerifierKey.parse(KEY.encode()) == KEY
    with pytest.raises(Invalid, match="log-key"):
        VerifierKey.parse(KEY.encode().replace("log.example", "log.elsewhere"))
