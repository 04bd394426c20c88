"""Messages that came in, kept in memory, with a wait for the next one instead of polling."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.clock import Clock, iso
from sandbox.web import Problem


@dataclass(frozen=True)
class Message:
    """One delivered message. `id` counts up from 1; `reference` is the sender's own id, if any."""

    id: int
    to: str
    subject: str
    text: str
    received: datetime
    sender: str = ""
    reference: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "to": self.to,
            "from": self.sender,
            "subject": self.subject,
            "text": self.text,
            "received": iso(self.received),
            "reference": self.reference,
        }


class MessageStore:
    """The newest `limit` messages of all addresses; `key` makes spellings of one address equal."""

    def __init__(self, clock: Clock, key: Callable[[str], str], limit: int) -> None:
        self._clock = clock
        self._key = key
        self._messages: deque[Message] = deque(maxlen=limit)
        self._count = 0
        self._news = asyncio.Event()
        self._closed = False

    def add(self, to: str, text: str, *, subject: str = "", sender: str = "", reference: str = "") -> Message:
        """Keeps a message and wakes whoever waits for it."""
        self._count += 1
        message = Message(self._count, to, subject, text, self._clock.now(), sender, reference)
        self._messages.append(message)
        self._wake()
        return message

    def close(self) -> None:
        """Ends every wait at once, with an empty list: the server is about to stop."""
        self._closed = True
        self._wake()

    def find(self, to: str = "", after: int = 0) -> list[Message]:
        """Messages to `to` (to anyone when empty) with a higher id than `after`, newest first."""
        key = self._key(to)
        return [m for m in reversed(self._messages) if m.id > after and (not key or self._key(m.to) == key)]

    async def wait(self, to: str, after: int, seconds: float) -> list[Message]:
        """As `find`, but waits up to `seconds` for the first message that fits."""
        try:
            async with asyncio.timeout(seconds):
                while not (found := self.find(to, after)) and not self._closed:
                    await self._news.wait()
        except TimeoutError:
            return []
        return found

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def conversations(self) -> dict[str, Message]:
        """The newest message of each address, newest first."""
        newest: dict[str, Message] = {}
        for message in reversed(self._messages):
            newest.setdefault(self._key(message.to), message)
        return {message.to: message for message in newest.values()}


async def answer_messages(request: Request, store: MessageStore, max_wait: float) -> Response:
    """`GET /api/messages?to=&after=&wait=`: a JSON list, newest first.

    `after` asks for messages with a higher id, `wait` (seconds) to wait for the first of them;
    without one in time the list is empty.
    """
    after = _number(request, "after", 2**53)
    seconds = _number(request, "wait", max_wait)
    to = request.query_params.get("to", "")
    found = await store.wait(to, int(after), seconds) if seconds else store.find(to, int(after))
    return JSONResponse([message.as_json() for message in found])


def _number(request: Request, name: str, highest: float) -> float:
    try:
        value = float(request.query_params.get(name) or 0)
    except ValueError:
        value = -1
    if not 0 <= value <= highest:
        raise Problem(400, "parameter-invalid", f"{name} is a number from 0 to {highest:g}.")
    return value
