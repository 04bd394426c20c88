"""Collects which test proves which duty and writes var/requirements.json at the end of a run.

A run on SQLite writes the file anew; a run on another database adds to it, and what failed in either has failed.
"""

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "var" / "requirements.json"

#: By duty: "tests" that drive it, and whether all of them "passed".
Results = dict[str, dict[str, Any]]


class RequirementsPlugin:
    """Knows every test's duties at collection and every test's outcome at its end."""

    def __init__(self, known: set[str]) -> None:
        self._known = known
        self._duties: dict[str, tuple[str, ...]] = {}
        self._failed: set[str] = set()
        self._done: set[str] = set()

    @pytest.hookimpl
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            ids = tuple(i for mark in item.iter_markers("requirement") for i in mark.args)
            unknown = set(ids) - self._known
            if unknown:
                raise pytest.UsageError(f"{item.nodeid}: unknown requirement {', '.join(sorted(unknown))}")
            item.user_properties.append(("requirements", " ".join(ids)))

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        ids = str(dict(report.user_properties).get("requirements", "")).split()
        self._duties[report.nodeid] = tuple(ids)
        if report.failed:
            self._failed.add(report.nodeid)
        if report.when == "call":
            self._done.add(report.nodeid)

    @pytest.hookimpl
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workerinput"):
            return
        found: Results = {}
        for duty in sorted(self._known):
            tests = sorted(n for n, ids in self._duties.items() if duty in ids and n in self._done | self._failed)
            if tests:
                found[duty] = {"tests": tests, "passed": not self._failed & set(tests)}
        if session.config.getoption("--database") != "sqlite" and TARGET.exists():
            found = merged(json.loads(TARGET.read_text()), found)
        TARGET.parent.mkdir(parents=True, exist_ok=True)
        TARGET.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def merged(first: Results, second: Results) -> Results:
    """The results of two runs: every test of either; a duty has passed where no run saw it fail."""
    both: Results = {}
    for duty in sorted({*first, *second}):
        parts = [run[duty] for run in (first, second) if duty in run]
        tests = sorted({test for part in parts for test in part["tests"]})
        both[duty] = {"tests": tests, "passed": all(part["passed"] for part in parts)}
    return both


def known_requirements() -> set[str]:
    """The ids of the first columns of docs/requirements.md."""
    rows = (ROOT / "docs" / "requirements.md").read_text().splitlines()
    cells = (row.split("|")[1].strip() for row in rows if row.startswith("|"))
    return {c for c in cells if c[:1].isupper() and "-" in c}


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(RequirementsPlugin(known_requirements()), "requirements")
