"""What one check of the doctor says."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tsp.runtime import Runtime


@dataclass(frozen=True)
class Diagnosis:
    """One thing looked at: whether it is well, what was seen, and what to do where it is not."""

    subject: str
    well: bool
    seen: str
    advice: str = ""


Check = Callable[[Runtime], Iterator[Diagnosis]]
