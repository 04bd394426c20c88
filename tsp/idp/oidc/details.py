"""authorization_details of the type `signature` (RFC 9396): what a person is asked to approve.

    [{"type": "signature", "kind": "qualified", "session": "…",
      "documents": [{"label": "…", "pages": 3, "digest_shown": "<hex>", "digest_signed": "<hex>"}]}]

Validation is strict: an unknown field, a repeated member, a character that hides or reorders text
in a label is an error, because a person must be able to trust what the page and the SMS show.
"""

import json
import re
import unicodedata
from collections.abc import Collection
from typing import Any

from pydantic import BaseModel, ConfigDict

from tsp.core.errors import Invalid
from tsp.idp.oidc.errors import invalid_details

SIGNATURE = "signature"
KINDS = ("advanced", "advanced-qualified", "qualified")
MAX_LABEL = 120
#: Against a label made of combining marks that paint over its neighbours.
MAX_MARKS_IN_A_ROW = 2
MAX_PAGES = 100_000
#: The whole parameter, in characters; checked before it is parsed.
MAX_LENGTH = 60_000

_DIGEST = re.compile(r"[0-9a-f]{64}")
_SESSION = re.compile(r"[A-Za-z0-9_-]{8,64}")


class _Value(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Document(_Value):
    """One document: the name people see, and SHA-256 in hex of the file shown and of the bytes to be signed."""

    label: str
    pages: int
    digest_shown: str
    digest_signed: str


class SignatureDetails(_Value):
    """What one approval approves."""

    kind: str
    session: str
    documents: tuple[Document, ...]

    def as_authorization_details(self) -> list[dict[str, Any]]:
        """The same as the client sent it, for the token response (RFC 9396, 7)."""
        return [{"type": SIGNATURE, **self.model_dump(mode="json")}]


def parse_details(text: str, *, allowed_kinds: Collection[str], max_documents: int) -> SignatureDetails:
    """Reads the parameter `authorization_details`.

    Raises `Invalid` (invalid-authorization-details) that names what is wrong, never quoting the value.
    """
    if len(text) > MAX_LENGTH:
        raise invalid_details("authorization_details is too long.")
    listed = load_json(text, invalid_details("authorization_details is not JSON, or a member stands twice."))
    if not isinstance(listed, list) or len(listed) != 1 or not isinstance(listed[0], dict):
        raise invalid_details("authorization_details must be an array of exactly one object.")
    detail = listed[0]
    if detail.get("type") != SIGNATURE:
        raise invalid_details("The only known type of authorization_details is signature.")
    _members(detail, {"type", "kind", "session", "documents"})
    if detail["kind"] not in KINDS:
        raise invalid_details("kind must be advanced, advanced-qualified or qualified.")
    if detail["kind"] not in allowed_kinds:
        raise invalid_details("This client may not ask for this kind of signature.")
    if not isinstance(detail["session"], str) or not _SESSION.fullmatch(detail["session"]):
        raise invalid_details("session must be 8 to 64 letters, digits, hyphens and underscores.")
    documents = detail["documents"]
    if not isinstance(documents, list) or not 1 <= len(documents) <= max_documents:
        raise invalid_details(f"documents must be an array of 1 to {max_documents} objects.")
    read = tuple(_document(d) for d in documents)
    if len({d.digest_signed for d in read}) != len(read):
        raise invalid_details("Two documents have the same digest_signed.")
    return SignatureDetails(kind=detail["kind"], session=detail["session"], documents=read)


def _document(value: Any) -> Document:
    if not isinstance(value, dict):
        raise invalid_details("documents must be an array of objects.")
    _members(value, {"label", "pages", "digest_shown", "digest_signed"})
    if not isinstance(value["label"], str) or not is_plain_label(value["label"]):
        raise invalid_details(
            f"label must be 1 to {MAX_LABEL} visible characters on one line, without control or formatting characters."
        )
    if type(value["pages"]) is not int or not 1 <= value["pages"] <= MAX_PAGES:
        raise invalid_details(f"pages must be a number from 1 to {MAX_PAGES}.")
    for name in ("digest_shown", "digest_signed"):
        if not isinstance(value[name], str) or not _DIGEST.fullmatch(value[name]):
            raise invalid_details(f"{name} must be 64 lower-case hexadecimal digits (SHA-256).")
    return Document(**value)


def is_plain_label(label: str) -> bool:
    """Whether a label shows itself as it is: no control, format (bidi, zero width), private or unassigned characters,

    no line or paragraph separators, no spaces but the ordinary one inside, no pile of combining marks.
    """
    if not 1 <= len(label) <= MAX_LABEL or label != label.strip() or not unicodedata.is_normalized("NFC", label):
        return False
    marks = 0
    for character in label:
        category = unicodedata.category(character)
        if category[0] == "C" or (category[0] == "Z" and character != " "):
            return False
        marks = marks + 1 if category[0] == "M" else 0
        if marks > MAX_MARKS_IN_A_ROW:
            return False
    return True


def _members(value: dict[str, Any], names: set[str]) -> None:
    if unknown := set(value) - names:
        raise invalid_details(f"authorization_details has {len(unknown)} member(s) that its type does not know.")
    if missing := sorted(names - set(value)):
        raise invalid_details(f"authorization_details lacks {missing[0]}.")


def load_json(text: str, error: Invalid) -> Any:
    """JSON without repeated members, without NaN and Infinity; `error` is raised for anything else."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            raise ValueError("repeated member")
        return made

    def no_constant(_name: str) -> Any:
        raise ValueError("not JSON")

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=no_constant)
    except (ValueError, RecursionError):
        raise error from None
