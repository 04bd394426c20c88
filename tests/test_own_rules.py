"""Each own rule with a sample that breaks it and one that keeps it."""

import ast
from pathlib import Path

import pytest

from scripts import own_rules
from tests.requirements_plugin import merged

SAMPLES = [
    (
        own_rules.tests_check_something,
        "tests/test_a.py",
        "def test_a():\n    run()\n",
        "def test_a():\n    assert run()\n",
    ),
    (own_rules.tests_do_not_sleep_or_skip, "tests/test_a.py", "time.sleep(1)\n", "event.wait(1)\n"),
    (own_rules.tests_do_not_sleep_or_skip, "tests/test_a.py", "@pytest.mark.skip\ndef a(): ...\n", "def a(): ...\n"),
    (own_rules.modules_say_what_they_are, "tsp/a.py", "x = 1\n", '"""A."""\nx = 1\n'),
    (own_rules.modules_stay_small, "tsp/a.py", "x = 1\n" * 501, "x = 1\n" * 500),
]


@pytest.mark.parametrize(("rule", "name", "bad", "good"), SAMPLES)
def test_rule_catches_bad_and_passes_good(rule: own_rules.Rule, name: str, bad: str, good: str) -> None:
    assert list(rule(Path(name), ast.parse(bad)))
    assert not list(rule(Path(name), ast.parse(good)))


def test_a_duty_is_proven_only_where_every_run_passed() -> None:
    first = {"A-1": {"tests": ["a", "b"], "passed": True}, "A-2": {"tests": ["c"], "passed": False}}
    second = {"A-1": {"tests": ["b"], "passed": False}, "A-2": {"tests": ["c"], "passed": True}}
    alone = {"A-3": {"tests": ["d"], "passed": True}}
    both = merged(first, {**second, **alone})
    assert both["A-1"] == {"tests": ["a", "b"], "passed": False}
    assert both["A-2"] == {"tests": ["c"], "passed": False}
    assert both["A-3"] == alone["A-3"]
    assert merged(first, first) == first


def test_what_is_left_open_is_found(tmp_path: Path) -> None:
    mark = "TO" + "DO"  # in two parts, so that the rule does not find this line
    for text, expected in ((f"# {mark} later\n", 1), ("# done\n", 0)):
        path = tmp_path / "a.py"
        path.write_text(text)
        assert len(list(own_rules.nothing_left_open(path, ast.parse(text)))) == expected
