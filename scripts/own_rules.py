"""Rules of this project that no general linter knows.

Each rule looks at one parsed file and yields (line, sentence). tests/test_own_rules.py holds a good
and a bad sample for each.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

Finding = tuple[int, str]
Rule = Callable[[Path, ast.Module], Iterator[Finding]]


def tests_check_something(path: Path, tree: ast.Module) -> Iterator[Finding]:
    """A test function without any assertion cannot fail."""
    if not path.name.startswith("test_"):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            text = ast.unparse(node)
            if not re.search(r"\bassert(\b|_)|raises\(|expect\(|check_|must_", text):
                yield node.lineno, f"{node.name} asserts nothing"


def tests_do_not_sleep_or_skip(path: Path, tree: ast.Module) -> Iterator[Finding]:
    """Sleeping hides races, skipping hides holes."""
    if "tests" not in path.parts:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in ("time.sleep", "sleep", "asyncio.sleep", "pytest.skip", "pytest.importorskip"):
                yield node.lineno, f"{name} in a test"
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("pytest.mark.skip", "pytest.mark.skipif"):
            yield node.lineno, f"{ast.unparse(node)} in a test"


def modules_say_what_they_are(path: Path, tree: ast.Module) -> Iterator[Finding]:
    """Every module of the product begins with a docstring."""
    if path.parts[0] in ("tsp", "hsm", "sandbox") and "versions" not in path.parts and not ast.get_docstring(tree):
        yield 1, "module without a docstring"


def modules_stay_small(path: Path, tree: ast.Module) -> Iterator[Finding]:
    """A module that is over 500 lines long holds more than one thing."""
    last = max((getattr(node, "end_lineno", 0) or 0 for node in tree.body), default=0)
    if path.parts[0] in ("tsp", "hsm", "sandbox") and "versions" not in path.parts and last > 500:
        yield last, f"{last} lines"


def nothing_left_open(path: Path, tree: ast.Module) -> Iterator[Finding]:
    """What is not done has an issue, not a remark in the code."""
    del tree
    mark = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if mark.search(line):
            yield number, "left open"


RULES: tuple[Rule, ...] = (
    tests_check_something,
    tests_do_not_sleep_or_skip,
    modules_say_what_they_are,
    modules_stay_small,
    nothing_left_open,
)


def findings(path: Path) -> Iterator[str]:
    """All findings of one file as `path:line: sentence`."""
    tree = ast.parse(path.read_text())
    for rule in RULES:
        for line, sentence in rule(path, tree):
            yield f"{path}:{line}: {sentence}"


def main() -> int:
    """Checks every Python file that git knows or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],  # noqa: S607  (git from the PATH)
        capture_output=True,
        text=True,
        check=True,
    )
    found = [f for name in sorted(set(listed.stdout.split())) if Path(name).exists() for f in findings(Path(name))]
    sys.stdout.write("".join(f"{line}\n" for line in found))
    return min(len(found), 1)


if __name__ == "__main__":
    sys.exit(main())
