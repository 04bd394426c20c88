"""Prints every duty of docs/requirements.md with the tests that prove it."""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """The table; exit code 1 when a duty has a failing test."""
    recorded = ROOT / "var" / "requirements.json"
    if not recorded.exists():
        sys.stdout.write("No test run has been recorded yet: run `make test` first.\n")
        return 1
    results = json.loads(recorded.read_text())
    ids = re.findall(r"^\| ([A-Z0-9]+-[0-9]+) \|", (ROOT / "docs" / "requirements.md").read_text(), re.MULTILINE)
    for duty in ids:
        result = results.get(duty)
        if result is None:
            state, count = "no test yet", ""
        else:
            state, count = ("passed" if result["passed"] else "FAILED"), str(len(result["tests"]))
        sys.stdout.write(f"{duty:<8} {state:<12} {count:>4}  {result['tests'][0] if result else ''}\n")
    proven = sum(1 for duty in ids if results.get(duty, {}).get("passed"))
    sys.stdout.write(f"\n{proven} of {len(ids)} duties are driven by at least one passing test.\n")
    return int(any(not r["passed"] for r in results.values()))


if __name__ == "__main__":
    sys.exit(main())
