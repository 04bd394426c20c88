"""Test certificates of every type, valid, expired and revoked (EN 319 411-1 OVR-6.9.2-01), as they lie in a directory.

`tsp certificate samples <var>/repository/samples` makes them; `samples.json` is their list. The state that a page
shows is what the list says and the clock confirms: one that was made to be valid ends as well.
"""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Literal, cast

from tsp.ca.store import from_pem, sha256_hex
from tsp.core.errors import NotFound, Unavailable

LIST_FILE: Final = "samples.json"
State = Literal["valid", "expired", "revoked"]
_STATES: Final = ("valid", "expired", "revoked")
_FILE = re.compile(r"[a-z0-9-]{1,120}\.pem")
#: A list of our own is far smaller; what is larger is not ours.
_MAX_LIST: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Sample:
    """One test certificate, and the state that it was made for."""

    file: str
    profile: str
    issuer: str
    made: State
    serial: str
    not_before: datetime
    not_after: datetime

    def state(self, now: datetime) -> State:
        """The state at `now`: a revoked one stays revoked, any other one ends."""
        if self.made == "revoked":
            return "revoked"
        return "valid" if self.not_before <= now <= self.not_after else "expired"

    @property
    def name(self) -> str:
        """The file's name without its ending, which is that of its downloads."""
        return self.file.removesuffix(".pem")


class SampleShelf:
    """The directory of test certificates, read each time anew."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def samples(self) -> list[Sample]:
        """Every test certificate of the list, by type and state; none where none were made.

        Raises `Unavailable` (samples-damaged) where the list cannot be read.
        """
        path = self._directory / LIST_FILE
        try:
            if path.stat().st_size > _MAX_LIST:
                raise ValueError("too large")
            found = [_sample(entry) for entry in json.loads(path.read_bytes())]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise _damaged() from error
        return sorted(found, key=lambda one: (one.profile, one.issuer, _STATES.index(one.made)))

    def certificate(self, name: str) -> tuple[Sample, bytes]:
        """One of the list with its certificate (DER); `NotFound` (sample-unknown) for any other name."""
        sample = next((one for one in self.samples() if one.name == name), None)
        if sample is None:
            raise NotFound("sample-unknown", "There is no such test certificate.")
        try:
            return sample, from_pem((self._directory / sample.file).read_bytes())
        except (OSError, ValueError) as error:
            raise _damaged() from error

    def etag(self, der: bytes) -> str:
        """The tag of a certificate's file."""
        return f'"{sha256_hex(der)}"'


def _sample(entry: dict[str, str]) -> Sample:
    """One entry of the list. ValueError, KeyError, TypeError or AttributeError for what is none."""
    file, state = entry["file"], entry["state"]
    if not _FILE.fullmatch(file) or state not in _STATES:
        raise ValueError("not an entry of the list")
    begin, end = (datetime.fromisoformat(entry[key]) for key in ("not_before", "not_after"))
    if begin.tzinfo is None or end.tzinfo is None:
        raise ValueError("a time without its zone")
    names = [entry[key] for key in ("profile", "issuer", "serial")]
    if not all(isinstance(name, str) and re.fullmatch(r"[a-z0-9-]{1,64}", name) for name in names):
        raise ValueError("not an entry of the list")
    return Sample(file, names[0], names[1], cast("State", state), names[2], begin, end)


def _damaged() -> Unavailable:
    return Unavailable("samples-damaged", "The test certificates cannot be read at the moment.")
