"""Documents at rest: sealed files under random names, each readable only as what it was stored as."""

import json
import re
import unicodedata
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hsm.errors import DecryptionFailed, HsmError
from tsp.core.errors import Invalid, NotFound, Unavailable
from tsp.core.files import named_storage, write_private
from tsp.core.sealing import Sealer

_ID = re.compile(r"[A-Za-z0-9_-]{22}")
_PART = re.compile(r"[a-z]{4,12}(-[A-Za-z0-9_-]{22})?")
_SPACES = re.compile(r"\s")
#: What the identity provider shows of a document's name, in characters.
MAX_LABEL = 120

ORIGINAL = "original"
REMARKS = "remarks"
FINAL = "final"


def prepared(attempt: str) -> str:
    """The name of the part that one attempt at a signature froze."""
    return f"prepared-{attempt}"


class Documents:
    """The store under `<var>/documents`: `<first two letters>/<id>.<part>`, sealed, mode 0600."""

    def __init__(self, directory: Path, sealer: Sealer) -> None:
        self._directory = directory
        self._sealer = sealer

    def put(self, document_id: str, part: str, content: bytes) -> None:
        """Writes a part, whole or not at all. Raises `Unavailable` (storage-unavailable) where the disk is full."""
        with _token_errors():
            sealed = self._sealer.seal(content, _context(document_id, part))
        with named_storage():
            write_private(self._path(document_id, part), sealed)

    def get(self, document_id: str, part: str) -> bytes:
        """A part's octets. Raises `NotFound` (document-erased) where there is none any more,

        `Invalid` (sealed-damaged) where it is not what was stored under this name.
        """
        try:
            with named_storage():
                sealed = self._path(document_id, part).read_bytes()
        except FileNotFoundError:
            raise NotFound("document-erased", "This document was erased.") from None
        with _token_errors():
            return self._sealer.open(sealed, _context(document_id, part))

    def erase(self, document_id: str, *, keep: Collection[str] = ()) -> None:
        """Removes every part of a document but those named."""
        for path in self._path(document_id, ORIGINAL).parent.glob(f"{document_id}.*"):
            if path.suffix.removeprefix(".") not in keep:
                path.unlink(missing_ok=True)

    def erase_orphans(self, older_than: float, known: Callable[[list[str]], set[str]]) -> int:
        """Removes files that a crash left without a row; `older_than` is a POSIX time, `known` asks the table."""
        removed = 0
        for directory in sorted(p for p in self._directory.glob("??") if p.is_dir()):
            old = [p for p in directory.iterdir() if p.stat().st_mtime < older_than]
            there = known(sorted({p.name.partition(".")[0] for p in old}))
            for path in old:
                if path.name.partition(".")[0] not in there:
                    path.unlink(missing_ok=True)
                    removed += 1
        return removed

    def seal_text(self, text: str, context: str) -> bytes:
        """Seals a value that stands in a table row; `context` names table, column and row."""
        with _token_errors():
            return self._sealer.seal(text.encode(), context)

    def open_text(self, sealed: bytes, context: str) -> str:
        with _token_errors():
            return self._sealer.open(sealed, context).decode()

    def seal_json(self, value: Any, context: str) -> bytes:
        return self.seal_text(json.dumps(value), context)

    def open_json(self, sealed: bytes, context: str) -> Any:
        return json.loads(self.open_text(sealed, context))

    def _path(self, document_id: str, part: str) -> Path:
        if not _ID.fullmatch(document_id) or not _PART.fullmatch(part):
            raise NotFound("document-unknown", "There is no such document.")
        return self._directory / document_id[:2] / f"{document_id}.{part}"


@contextmanager
def _token_errors() -> Iterator[None]:
    """The token's errors in the words of the family."""
    try:
        yield
    except DecryptionFailed as error:
        raise Invalid("sealed-damaged", "A stored record cannot be read.", cause=error.code) from error
    except HsmError as error:
        raise Unavailable(
            "site-key-unavailable",
            "The service is briefly unavailable. Nothing was lost; please try again in a moment.",
            cause=error.code,
        ) from error


def _context(document_id: str, part: str) -> str:
    return f"document/{document_id}/{part}"


def one_line(text: str) -> str:
    """Somebody's text as it can be shown everywhere: one line, nothing hidden.

    Characters that hide or turn text (controls, bidirectional marks, zero widths) are dropped, piles
    of combining marks are cut, so that nobody is shown another text than the next reader.
    """
    kept: list[str] = []
    marks = 0
    for character in _SPACES.sub(" ", unicodedata.normalize("NFC", text)):
        category = unicodedata.category(character)
        marks = marks + 1 if category[0] == "M" else 0
        if category[0] != "C" and marks <= 2:
            kept.append(character)
    return unicodedata.normalize("NFC", " ".join("".join(kept).split()))


def clean_label(filename: str) -> str:
    """A file name as it can be shown everywhere: `one_line`, no path, at most `MAX_LABEL` characters."""
    label = one_line(unicodedata.normalize("NFC", filename).replace("\\", "/").rpartition("/")[2])
    stem, dot, extension = label.rpartition(".")
    if len(label) > MAX_LABEL:
        tail = f"….{extension}" if dot and len(extension) <= 5 else "…"
        label = (stem if tail != "…" else label)[: MAX_LABEL - len(tail)].rstrip() + tail
    return label or "dokument.pdf"
