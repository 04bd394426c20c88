"""Taking turns, medians, the table and the file: everything that all benchmarks share."""

import json
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

#: One measured call. What it needs is made by its `Preparation`, whose time is not counted.
Work = Callable[[Any], object]
#: Makes the argument of one call.
Preparation = Callable[[], Any]
Unit = Literal["times", "%", "s", "MB"]
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
    """A result with what it was made of: for yardstick and ours the median call, or the memory; and how many turns."""

    result: Result
    yardstick: str
    yardstick_amount: float
    ours: str
    ours_amount: float
    turns: int
    #: The bound is the most that is allowed, not the least.
    cost: bool = False
    #: What the two numbers are.
    measure: Literal["ms", "MB", "s"] = "ms"


def compare(
    name: str,
    yardstick: Side,
    ours: Side,
    *,
    unit: Unit,
    bound: float | None,
    turns: int,
    warming_up: int = WARMING_UP,
    cost: bool = False,
) -> Measured:
    """The median call of `yardstick` divided by the median call of `ours`, as a number or in percent.

    The two take turns (A, B, A, B …), so that a machine that slows down slows both. `warming_up`
    turns come before the first that counts. With `cost` ours is divided by the yardstick, and the bound
    is the most that is allowed.
    """
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(-warming_up, turns):
        for side, taken in zip((yardstick, ours), seconds, strict=True):
            argument = side.prepare()
            begin = perf_counter()
            side.work(argument)
            end = perf_counter()
            if turn >= 0:
                taken.append(end - begin)
    theirs, own = (statistics.median(taken) for taken in seconds)
    value = own / theirs if cost else theirs / own * (100 if unit == "%" else 1)
    met = None if bound is None else (value <= bound if cost else value >= bound)
    result = Result(name, round(value, 2), unit, bound, met)
    return Measured(result, yardstick.name, theirs * 1000, ours.name, own * 1000, turns, cost)


def grown(name: str, before: tuple[str, int], after: tuple[str, int], *, bound: float | None) -> Measured:
    """How many times the octets before there are after; `bound` is the most that is allowed."""
    value = after[1] / before[1]
    result = Result(name, round(value, 3), "times", bound, None if bound is None else value <= bound)
    return Measured(result, before[0], before[1] / 2**20, after[0], after[1] / 2**20, 1, cost=True, measure="MB")


def limited(name: str, ours: str, value: float, unit: Literal["s", "MB"], *, bound: float, turns: int) -> Measured:
    """A value with nothing beside it to compare: `bound` is the most that is allowed."""
    result = Result(name, round(value, 2), unit, bound, value <= bound)
    return Measured(result, "–", 0.0, ours, value, turns, cost=True, measure=unit)


def progress(text: str) -> None:
    """A word for whoever waits."""
    print(f"  {text}", file=sys.stderr, flush=True)


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
        "–" if result.bound is None else f"{'≤' if one.cost else '≥'} {_value(result.bound, result.unit)}",
        {None: "–", True: "yes", False: "NO"}[result.met],
        one.yardstick,
        f"{one.yardstick_amount:.2f} {one.measure}" if one.yardstick_amount else "–",
        one.ours,
        f"{one.ours_amount:.2f} {one.measure}",
        str(one.turns),
    )


def _value(value: float, unit: Unit) -> str:
    return f"{value:.1f} %" if unit == "%" else f"{value:.2f} {unit}"
