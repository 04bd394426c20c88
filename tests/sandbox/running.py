"""`python -m sandbox serve` as a process on free ports, as somebody would start it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FREE_PORTS = "[ports]\nsmtp = 0\nmailbox = 0\nphone = 0\nregister = 0\nbranch = 0\n"


class Running:
    """A sandbox in `directory`, ready to answer; `urls` are its addresses, `token` the gateway's."""

    def __init__(self, directory: Path) -> None:
        config = directory / "sandbox.toml"
        config.write_text(f"directory = {json.dumps(str(directory / 'sandbox'))}\n{FREE_PORTS}")
        command = [sys.executable, "-W", "error", "-m", "sandbox"]
        subprocess.run([*command, "init", "--config", str(config)], cwd=ROOT, check=True, capture_output=True)
        self.process = subprocess.Popen(
            [*command, "serve", "--config", str(config)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        assert self.process.stdout is not None
        word, _, addresses = self.process.stdout.readline().partition(" ")
        assert word == "ready", self.process.communicate()[1]
        self.urls: dict[str, str] = json.loads(addresses)
        self.token = (directory / "sandbox" / "gateway.token").read_text().strip()

    def end(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGTERM)
        _, errors = self.process.communicate(timeout=20)
        return self.process.returncode, errors
