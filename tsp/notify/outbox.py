"""Puts a message into the caller's transaction: it is sent if, and only if, the rest is durable too."""

import json
from datetime import datetime

from sqlalchemy.orm import Session

from tsp.core.clock import Clock
from tsp.core.errors import Invalid
from tsp.core.randomness import Randomness, new_id
from tsp.core.sealing import Sealer
from tsp.notify.tables import Message, MessageState

MAX_TEXT = 20_000
MAX_SMS = 600


class Outbox:
    """Takes messages. Address and words are sealed: the database alone tells nobody who was told what."""

    def __init__(self, sealer: Sealer, randomness: Randomness, clock: Clock) -> None:
        self._sealer = sealer
        self._randomness = randomness
        self._clock = clock

    def mail(
        self,
        session: Session,
        to: str,
        subject: str,
        text: str,
        *,
        purpose: str,
        expires_at: datetime | None = None,
    ) -> str:
        """An e-mail in plain text; returns the message's id.

        After `expires_at` it is not sent any more (a code that has died helps nobody).
        `purpose` is a short name for logs, without personal data. `Invalid` (message-too-long).
        """
        return self._put(session, "mail", {"to": to, "subject": subject, "text": text}, MAX_TEXT, purpose, expires_at)

    def sms(self, session: Session, to: str, text: str, *, purpose: str, expires_at: datetime | None = None) -> str:
        """A text message to a number in E.164; returns the message's id. `Invalid` (message-too-long)."""
        return self._put(session, "sms", {"to": to, "text": text}, MAX_SMS, purpose, expires_at)

    def _put(
        self,
        session: Session,
        channel: str,
        content: dict[str, str],
        limit: int,
        purpose: str,
        expires_at: datetime | None,
    ) -> str:
        if len(content["text"]) > limit:
            raise Invalid("message-too-long", "This message is too long to be sent.", limit=limit)
        message_id = new_id(self._randomness)
        now = self._clock.now()
        session.add(
            Message(
                id=message_id,
                channel=channel,
                purpose=purpose,
                sealed=self._sealer.seal(json.dumps(content, ensure_ascii=False).encode(), context(message_id)),
                state=MessageState.WAITING,
                created=now,
                due=now,
                expires=expires_at,
                attempts=0,
                worker=None,
                lease_until=None,
                ended=None,
                cause=None,
            )
        )
        session.flush()
        return message_id


def context(message_id: str) -> str:
    """The context under which a message's content is sealed."""
    return f"outbox_message.sealed/{message_id}"
