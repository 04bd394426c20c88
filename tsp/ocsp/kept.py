"""Answers that may be given again, by the very octets of the request: found without reading those."""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Final

from tsp.core.asgi import Header, Reply, Request
from tsp.ocsp.responder import Answer

RESPONSE: Final = b"application/ocsp-response"
#: A request for one certificate has 60 to 200 octets, or a third more in a path.
MAX_KEY: Final = 512


@dataclass(slots=True)
class Publishable:
    """An answer that anyone may keep, with the headers that say so (RFC 9919, 6)."""

    answer: Answer
    this_update: datetime
    next_update: datetime
    etag: bytes = b""
    #: The whole second for which the replies below were made.
    _second: datetime | None = None
    _whole: Reply = field(init=False)
    _unchanged: Reply = field(init=False)

    def __post_init__(self) -> None:
        self.etag = b'"' + hashlib.sha256(self.answer.body).hexdigest().encode() + b'"'

    def reply(self, request: Request, now: datetime, second: datetime) -> Reply:
        """The reply, which is without body where a GET request says that the caller has this answer already.

        `second` is the whole second of `now`.
        """
        if second != self._second:
            self._render(now)
            self._second = second
        return self._unchanged if request.method == "GET" and self._has(request) else self._whole

    def _has(self, request: Request) -> bool:
        """RFC 9110, 13.1: If-None-Match by weak comparison; If-Modified-Since only where there is none."""
        modified_since = b""
        for name, value in request.headers:
            if name == b"if-none-match":
                tags = [tag.strip().removeprefix(b"W/") for tag in value.split(b",")]
                return self.etag in tags or tags == [b"*"]
            if name == b"if-modified-since":
                modified_since = value
        # Compared as octets, as caches send back what they were told: no date of a stranger is read.
        return modified_since != b"" and modified_since == _http_date(self.this_update)

    def _render(self, now: datetime) -> None:
        # RFC 9919, 6.2: thisUpdate < now + max-age < nextUpdate; half of what is left serves clocks that differ.
        max_age = max(0, int((self.next_update - now).total_seconds()) // 2)
        headers: tuple[Header, ...] = (
            (b"last-modified", _http_date(self.this_update)),
            (b"expires", _http_date(self.next_update)),
            (b"etag", self.etag),
            (b"cache-control", f"max-age={max_age}, public, no-transform, must-revalidate".encode()),
        )
        self._whole = Reply(200, RESPONSE, self.answer.body, headers)
        self._unchanged = Reply(304, b"", b"", headers)


def _http_date(moment: datetime) -> bytes:
    return format_datetime(moment, usegmt=True).encode()


class KeptAnswers:
    """Answers for `reuse`, as long as the number of changes is the one under which they were made.

    For the event loop's thread alone. `most` bounds the answers that are kept, and `MAX_KEY` their keys.
    """

    def __init__(self, reuse: timedelta, most: int = 4096) -> None:
        self._reuse = reuse
        self._most = most
        self._answers: OrderedDict[bytes, tuple[tuple[int, int], datetime, Publishable]] = OrderedDict()

    def find(self, key: bytes, state: tuple[int, int], now: datetime) -> Publishable | None:
        """The answer to the request `key`; `state` is the number of changes, and that of the certificates in use."""
        found = self._answers.get(key)
        if found is None:
            return None
        made_in, until, answer = found
        # A clock that was set back must not make old answers young.
        if made_in != state or not answer.this_update <= now < until:
            del self._answers[key]
            return None
        return answer

    def keep(self, key: bytes, state: tuple[int, int], answer: Publishable) -> None:
        """Remembers an answer that was asked for in `state`, which was read before the statuses were."""
        if not self._reuse or len(key) > MAX_KEY:
            return
        self._answers[key] = state, min(answer.this_update + self._reuse, answer.next_update), answer
        while len(self._answers) > self._most:
            self._answers.popitem(last=False)
