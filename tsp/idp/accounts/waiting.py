"""What a page says while a code is on its way: how long it lives, when another may be asked for."""

from dataclasses import dataclass
from datetime import datetime

from starlette.requests import Request

from tsp.core.errors import TooMany, TspError
from tsp.idp.credentials.codes import SentCode
from tsp.web import Pages


@dataclass(frozen=True)
class Waiting:
    """Whole seconds: until the code dies, until a resend is allowed, since it was sent."""

    left: int
    resend: int
    since: int

    @classmethod
    def of(cls, sent: SentCode | None, now: datetime) -> "Waiting":
        """All zero where no code is waited for."""
        if sent is None:
            return cls(0, 0, 0)
        return cls(
            left=max(0, int((sent.expires_at - now).total_seconds())),
            resend=max(0, int((sent.resend_at - now).total_seconds())),
            since=int((now - sent.issued_at).total_seconds()),
        )


def sentence_of(pages: Pages, request: Request, error: TspError | None) -> str | None:
    """An error as one sentence beside its field; a pause says how long it is."""
    if error is None:
        return None
    sentence = pages.text(request, error.sentence)
    if not isinstance(error, TooMany):
        return sentence
    minutes, seconds = divmod(error.retry_after, 60)
    return f"{sentence} ({minutes}:{seconds:02d})"
