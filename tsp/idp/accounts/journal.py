"""Where accounts write down what happened: the audit log, behind a port."""

from collections.abc import Mapping
from typing import Protocol

from sqlalchemy.orm import Session


class Journal(Protocol):
    """Takes an event in the caller's transaction. Payloads hold references, never personal data."""

    def __call__(self, session: Session, kind: str, payload: Mapping[str, str]) -> None: ...
