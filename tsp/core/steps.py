"""Steps of a use case, named in code, so that a fault can be tried after each of them.

Who writes in several transactions, or leaves the database in between, lists what happens as a
`StrEnum` and tells a hook of each step. In service the hook is `unwatched`; the fault tests hand in
one that ends the process, and walk every step that is listed.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import TypeVar

Named = TypeVar("Named", bound=StrEnum)

#: What is told of each step, right after it. `OnStep[SequencerStep]` is told of the sequencer's.
OnStep = Callable[[Named], None]


def unwatched(_step: StrEnum) -> None:
    """Nobody watches the steps."""
