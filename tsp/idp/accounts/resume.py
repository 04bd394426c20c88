"""The way back to a service: the reference of a parked request travels along and is taken up at the end."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request

_REFERENCE = re.compile(r"[A-Za-z0-9_.~-]{1,128}")


@dataclass(frozen=True)
class Way:
    """Where pages lead when they are done.

    `path` takes a parked request up again (`?request=<reference>`), `home` is for people who came
    by themselves. `service` names the service behind a reference for the line above the heading:
    (request, reference) -> name, "" where there is none.
    """

    path: str = "/authorize/resume"
    home: str = "/"
    service: Callable[[Request, str], str] = lambda _request, _reference: ""

    def on(self, reference: str) -> str:
        """The address behind "to the service"."""
        return f"{self.path}?request={reference}" if reference else self.home

    def with_reference(self, path: str, reference: str) -> str:
        """A page of ours that keeps the reference."""
        return f"{path}?request={reference}" if reference else path


def reference_of(text: str | None) -> str:
    """An opaque reference from an address or a form; "" for anything that cannot be one."""
    return text if text is not None and _REFERENCE.fullmatch(text) else ""
