"""The installation as a whole: what is loaded, what the lock file holds."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_oscrypto_is_never_loaded() -> None:
    """docs/decisions/0003: it cannot load current OpenSSL, so nothing of ours may reach it."""
    modules = "tsp.app, tsp.initialise, tsp.doctor, tsp.cli"
    probe = f"import sys, {modules}; print([m for m in sys.modules if 'oscrypto' in m])"
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_lock_file_pins_everything_by_hash_and_names_no_index() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    pins = text.count("==")
    assert pins > 50
    assert text.count("--hash=sha256:") >= pins


def test_every_command_explains_itself() -> None:
    done = subprocess.run([sys.executable, "-m", "tsp", "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    for command in (
        "init",
        "serve",
        "doctor",
        "ceremony",
        "certificate",
        "verify",
        "audit",
        "migrate",
        "backup",
        "restore",
    ):
        assert command in done.stdout
    assert "Examples" in done.stdout
