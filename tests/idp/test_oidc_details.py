"""authorization_details of the type signature: what gets through is exactly what a person can trust to see."""

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsp.core.errors import Invalid
from tsp.idp.login.texts import approval_context, list_digest, shorten
from tsp.idp.oidc.details import KINDS, MAX_LABEL, is_plain_label, parse_details

DIGEST = "0123456789abcdef" * 4


def document(**overrule: Any) -> dict[str, Any]:
    return {"label": "Pogodba.pdf", "pages": 3, "digest_shown": DIGEST, "digest_signed": DIGEST, **overrule}


def whole(**overrule: Any) -> dict[str, Any]:
    return {"type": "signature", "kind": "qualified", "session": "abcd1234", "documents": [document()], **overrule}


def read(value: Any, **limits: Any) -> Any:
    text = value if isinstance(value, str) else json.dumps(value)
    return parse_details(text, **{"allowed_kinds": KINDS, "max_documents": 3, **limits})


@pytest.mark.requirement("OID-1", "SIG-5")
def test_what_is_right_comes_back_as_it_was_sent() -> None:
    sent = [whole(documents=[document(), document(label="Priloga š.pdf", digest_signed="f" * 64)])]
    assert read(sent).as_authorization_details() == sent


@pytest.mark.requirement("SIG-5")
@pytest.mark.parametrize(
    "value",
    [
        "",
        "nonsense",
        "[",
        "[" * 50_000,
        "{}",
        "[]",
        "null",
        "[NaN]",
        [whole(), whole()],
        ["signature"],
        [whole(type="payment")],
        [whole(extra=1)],
        [whole(kind="simple")],
        [whole(kind=["qualified"])],
        [whole(session="short")],
        [whole(session="with space")],
        [whole(session=12345678)],
        [whole(documents=[])],
        [whole(documents={})],
        [whole(documents=[None])],
        [whole(documents=[document(), document()])],
        [whole(documents=[document(digest_signed=f"{n:064x}") for n in range(4)])],
        [whole(documents=[document(extra=1)])],
        [whole(documents=[document(pages=0)])],
        [whole(documents=[document(pages="3")])],
        [whole(documents=[document(pages=True)])],
        [whole(documents=[document(pages=3.0)])],
        [whole(documents=[document(digest_shown=DIGEST.upper())])],
        [whole(documents=[document(digest_shown=DIGEST[:-1])])],
        [whole(documents=[document(digest_shown=DIGEST + "\n")])],
        [whole(documents=[document(digest_signed=None)])],
        [whole(documents=[document(label="")])],
        [whole(documents=[document(label="a" * (MAX_LABEL + 1))])],
        [whole(documents=[document(label="fdp.\u202etnirp")])],
        [whole(documents=[document(label="a\u200bb")])],
        [whole(documents=[document(label="two\nlines")])],
        [whole(documents=[document(label=" a")])],
        [whole(documents=[document(label="a\u00a0b")])],
        [whole(documents=[document(label="e" + "\u0301" * 9)])],
        '[{"type": "signature", "kind": "qualified", "kind": "advanced", "session": "abcd1234", "documents": []}]',
    ],
)
def test_anything_else_is_refused(value: Any) -> None:
    with pytest.raises(Invalid) as refused:
        read(value)
    assert refused.value.code == "invalid-authorization-details"


@pytest.mark.requirement("SIG-3")
def test_a_kind_that_the_client_may_not_ask_for_is_refused() -> None:
    with pytest.raises(Invalid, match="may not ask"):
        read([whole()], allowed_kinds={"advanced"})


@pytest.mark.requirement("SIG-5")
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
    )
)
def test_no_json_breaks_it(value: Any) -> None:
    with pytest.raises(Invalid):
        read(value)


@pytest.mark.requirement("SIG-5")
@given(st.text(max_size=MAX_LABEL + 5))
def test_a_label_that_gets_through_shows_every_one_of_its_characters(label: str) -> None:
    if is_plain_label(label):
        assert 1 <= len(label) <= MAX_LABEL
        assert all(unicodedata.category(c)[0] != "C" for c in label)
        assert all(unicodedata.category(c)[0] != "Z" or c == " " for c in label)
        assert read([whole(documents=[document(label=label)])]).documents[0].label == label
    else:
        with pytest.raises(Invalid):
            read([whole(documents=[document(label=label)])])


@pytest.mark.requirement("SIG-5", "CSC-2")
@given(
    st.sampled_from(
        ["label", "pages", "digest_shown", "digest_signed", "kind", "session", "login", "account", "client"]
    )
)
def test_the_code_is_bound_to_every_part_of_what_is_approved(part: str) -> None:
    other: dict[str, Any] = {"label": "Pogodbe.pdf", "pages": 4, "digest_shown": "f" * 64, "digest_signed": "f" * 64}
    ids = {"login_id": "login", "account_id": "account", "client_id": "client"}
    before = approval_context(read([whole()]), **ids)
    if part in other:
        after = approval_context(read([whole(documents=[document(**{part: other[part]})])]), **ids)
    elif part in ("kind", "session"):
        after = approval_context(read([whole(**{part: "advanced" if part == "kind" else "other567"})]), **ids)
    else:
        after = approval_context(read([whole()]), **{**ids, f"{part}_id": "other"})
    assert before != after


def test_one_document_stands_for_itself_and_several_for_all_in_their_order() -> None:
    two = [
        document(digest_shown="a" * 64, digest_signed="1" * 64),
        document(digest_shown="b" * 64, digest_signed="2" * 64),
    ]
    assert list_digest(read([whole()])) == DIGEST
    assert list_digest(read([whole(documents=two)])) != list_digest(read([whole(documents=two[::-1])]))


@given(st.text(min_size=1, max_size=200), st.integers(min_value=8, max_value=120))
def test_a_shortened_label_keeps_its_ending_and_its_length(label: str, length: int) -> None:
    short = shorten(label, length)
    assert len(short) <= length
    assert short == label or "…" in short
