"""The public log as anybody sees it: where a record stands, by its leaf hash."""

import json
import re
from dataclasses import dataclass

from tsp.core.errors import TspError
from tsp.core.outbound import Outbound

#: The result page does not wait longer than this for the log, in seconds.
TIMEOUT = 2.0
_LEAF = re.compile(r"[0-9a-f]{64}")
#: A signature line of a signed note (C2SP signed-note).
_SIGNATURE = re.compile(r"^\u2014 ", re.MULTILINE)


@dataclass(frozen=True)
class LogPlace:
    """Where a record stands, whether somebody besides the log has signed the checkpoint, and the page that shows it."""

    index: int
    witnessed: bool
    url: str


class PublicLog:
    """The log at `origin`."""

    def __init__(self, origin: str, outbound: Outbound) -> None:
        self._origin = origin
        self._outbound = outbound

    def place(self, leaf: str) -> LogPlace | None:
        """Where the record with this leaf hash (hex) stands; None while it waits or the log does not answer."""
        if not _LEAF.fullmatch(leaf):
            return None
        url = f"{self._origin}/proof/inclusion?leaf={leaf}"
        try:
            answer = self._outbound.request("GET", url, timeout=TIMEOUT, max_bytes=256 * 1024)
            if answer.status != 200:
                return None
            found = json.loads(answer.body)
            index, note = int(found["index"]), str(found["checkpoint"])
        except (TspError, ValueError, TypeError, KeyError, RecursionError):
            return None
        return LogPlace(index, len(_SIGNATURE.findall(note)) > 1, f"{self._origin}/?leaf={leaf}")
