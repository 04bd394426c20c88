"""The one error family.

    TspError
      Invalid       the request can never succeed as it is
      Refused       well formed, but not allowed (policy, assurance, wrong code)
      NotFound      nothing there, or nothing that the caller may see
      Conflict      somebody was first, or the state has moved on
      TooMany       a limit is reached; `retry_after` seconds say when to come back
      Unavailable   a service below does not answer; nothing was done, come back later

Each error carries a stable `code`, a `sentence` for the person (English, the key of the
catalogues) and `facts` for the log. Facts are references and numbers, never personal data or
secrets. Each edge maps the family once to its protocol's own words.
"""

from typing import ClassVar

Fact = str | int | float | bool | None


class TspError(Exception):
    """What went wrong, in a form that every edge can tell its caller."""

    kind: ClassVar[str] = "error"

    def __init__(self, code: str, sentence: str, **facts: Fact) -> None:
        super().__init__(f"{code}: {sentence}")
        self.code = code
        self.sentence = sentence
        self.facts = facts


class Invalid(TspError):
    kind = "invalid"


class Refused(TspError):
    kind = "refused"


class NotFound(TspError):
    kind = "not-found"


class Conflict(TspError):
    kind = "conflict"


class TooMany(TspError):
    kind = "too-many"

    def __init__(self, code: str, sentence: str, *, retry_after: int, **facts: Fact) -> None:
        super().__init__(code, sentence, retry_after=retry_after, **facts)
        self.retry_after = retry_after


class Unavailable(TspError):
    kind = "unavailable"


#: The HTTP status of each kind, for the edges that speak plain HTTP.
HTTP_STATUS: dict[type[TspError], int] = {
    Invalid: 400,
    Refused: 403,
    NotFound: 404,
    Conflict: 409,
    TooMany: 429,
    Unavailable: 503,
}


def http_status(error: TspError) -> int:
    """The HTTP status that fits the error's kind."""
    return next((s for kind, s in HTTP_STATUS.items() if isinstance(error, kind)), 500)
