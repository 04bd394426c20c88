"""What a way of sending has to offer, and how it says that it could not."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Letter:
    """One opened message. `id` is stable over retries, so that a gateway can drop a repetition."""

    id: str
    to: str
    text: str
    subject: str = ""


class SendFailed(Exception):
    """The message did not go. `permanent`: trying again cannot help. `cause` has no personal data."""

    def __init__(self, cause: str, *, permanent: bool) -> None:
        super().__init__(cause)
        self.cause = cause
        self.permanent = permanent


class Sender(Protocol):
    """A way to a person: e-mail, text message."""

    def send(self, letter: Letter) -> None:
        """Hands the message over, or raises `SendFailed`."""
        ...
