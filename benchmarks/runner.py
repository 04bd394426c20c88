"""Taking turns, medians, the table and the file: everything that all benchmarks share."""

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

#: One measured call. What it needs is made by its `Preparation`, whose time is not counted.
Work = Callable[[Any], object]
#: Makes the argument of one call.
Preparation = Callable[[], Any]
Unit = Literal["times", "%"]
#: Turns before the first that counts.
WARMING_UP = 2


def nothing() -> None:
    """The preparation of a call that needs none."""


@dataclass(frozen=True)
class Side:
    """One of the two that take turns. `name` stands in the table."""

    name: str
    work: Work
    prepare: Preparation = nothing


@dataclass(frozen=True)
class Result:
    """What is written down. `bound` None says that the value is for information; `met` is None then."""

    name: str
    value: float
    unit: Unit
    bound: float | None
    met: bool | None


@dataclass(frozen=True)
class Measured:
    """A result with what it was made of: median seconds a call for yardstick and ours, and how many turns."""

    result: Result
    yardstick: str
    yardstick_seconds: float
    ours: str
    ours_seconds: float
    turns: int


def compare(name: str, yardstick: Side, ours: Side, *, unit: Unit, bound: float | None, turns: int) -> Measured:
    """The median call of `yardstick` divided by the median call of `ours`, as a number or in percent.

    The two take turns (A, B, A, B …), so that a machine that slows down slows both. `WARMING_UP`
    turns come before the first that counts.
    """
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(-WARMING_UP, turns):
        for side, taken in zip((yardstick, ours), seconds, strict=True):
            argument = side.prepare()
            begin = perf_counter()
            side.work(argument)
            end = perf_counter()
            if turn >= 0:
                taken.append(end - begin)
    theirs, own = (statistics.median(taken) for taken in seconds)
    value = theirs / own * (100 if unit == "%" else 1)
    result = Result(name, round(value, 2), unit, bound, None if bound is None else value >= bound)
    return Measured(result, yardstick.name, theirs, ours.name, own, turns)


def write(measured: Sequence[Measured], path: Path) -> None:
    """The results alone as JSON, in place of those of an earlier run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = path.with_suffix(".new")
    made.write_text(json.dumps([asdict(one.result) for one in measured], indent=2) + "\n")
    made.replace(path)


def table(measured: Sequence[Measured]) -> str:
    """The results for a person, one line each."""
    head = ("name", "value", "bound", "met", "yardstick", "median", "ours", "median", "turns")
    rows = [head, *map(_row, measured)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _row(one: Measured) -> tuple[str, ...]:
    result = one.result
    return (
        result.name,
        _value(result.value, result.unit),
        "–" if result.bound is None else f"≥ {_value(result.bound, result.unit)}",
        {None: "–", True: "yes", False: "NO"}[result.met],
        one.yardstick,
        _milliseconds(one.yardstick_seconds),
        one.ours,
        _milliseconds(one.ours_seconds),
        str(one.turns),
    )


def _value(value: float, unit: Unit) -> str:
    return f"{value:.1f} %" if unit == "%" else f"{value:.1f} times"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"
