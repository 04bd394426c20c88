"""A directory of test certificates, as `tsp certificate samples` leaves one."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.ca.ca_kit import NOW, SERVICE, SoftKey, authority
from tsp.ca.store import to_pem
from tsp.repository.samples import LIST_FILE


def entry(state: str, days: int, **changes: Any) -> dict[str, Any]:
    """One entry of the list."""
    name = f"tsu-infrastructure-{state}"
    begin = NOW - timedelta(days=2)
    made = {
        "file": f"{name}.pem",
        "profile": "tsu",
        "issuer": "infrastructure",
        "state": state,
        "serial": "0f" * 16,
        "not_before": begin.isoformat(),
        "not_after": (begin + timedelta(days=days)).isoformat(),
    }
    return made | changes


def make_samples(directory: Path) -> None:
    """One certificate in each state, their list, and a file that is not on it."""
    directory.mkdir(exist_ok=True)
    made = authority()
    entries = [entry("revoked", 9), entry("valid", 9), entry("expired", 1)]
    for one in entries:
        issued = made.issue(made.prepare("tsu", SERVICE, SoftKey().public_spki, now=NOW))
        (directory / one["file"]).write_bytes(to_pem(issued.der))
    (directory / LIST_FILE).write_text(json.dumps(entries))
    (directory / "secret.pem").write_bytes(b"not listed")
