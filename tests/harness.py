"""A whole platform with its sandbox, as real processes on free ports, for tests that come from outside."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 90.0
#: The demo's ports are 84xx; a test platform moves all of them to another hundred.
_DEMO_PORT = re.compile(r"\b84(\d\d)\b")
_SANDBOX_PORTS = {"smtp": 10, "mailbox": 11, "phone": 12, "register": 13, "branch": 14}


@dataclass
class Platform:
    """One installation in `directory`, running or not."""

    directory: Path
    hundred: int
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def var(self) -> Path:
        return self.directory / "var" / "instance"

    @property
    def urls(self) -> dict[str, str]:
        """Origins of all faces and of the sandbox's servers."""
        names = ("sign", "idp", "validate", "tsa", "ocsp", "repository", "log", "qtsa")
        faces = {name: f"http://localhost:{self.hundred}{i:02d}" for i, name in enumerate(names)}
        sandbox = {n: f"http://localhost:{self.hundred}{i}" for n, i in _SANDBOX_PORTS.items() if n != "smtp"}
        return faces | sandbox

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "TSP_CONFIG": str(self.directory / "conf" / "tsp.toml"), "PYTHONPATH": str(ROOT)}

    def tsp(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """The `tsp` command on this installation."""
        return self._python("-m", "tsp", *arguments, check=check)

    def sandbox_command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`python -m sandbox…` for this installation."""
        return self._python("-m", *arguments, check=True)

    def _python(self, *arguments: str, check: bool) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert not check or done.returncode == 0, (
            f"{arguments} ended with {done.returncode}: {done.stdout}\n{done.stderr}"
        )
        return done

    def initialise(self) -> None:
        self.tsp("init")
        self.sandbox_command("sandbox", "init", "--config", str(self.sandbox_config))

    @property
    def sandbox_config(self) -> Path:
        return self.directory / "sandbox.toml"

    def start(self) -> None:
        """Starts sandbox and every role; returns when all of them answer."""
        from tsp.core.settings import ROLES

        self.start_sandbox()
        for role in ROLES:
            self.start_role(role)
        self.wait_until_up()

    def start_sandbox(self) -> None:
        self.start_process("sandbox", "-m", "sandbox", "serve", "--config", str(self.sandbox_config))

    def start_role(self, role: str) -> None:
        self.start_process(role, "-m", "tsp", "serve", "--role", role)

    def start_process(self, name: str, *command: str) -> None:
        log = self.directory / f"{name}.log"
        with log.open("ab") as output:
            self.processes[name] = subprocess.Popen(
                [sys.executable, *command], cwd=ROOT, env=self.environment, stdout=output, stderr=output
            )

    def wait_until_up(self) -> None:
        """Bounded wait for every port and the engine's socket; a process that ended fails at once."""
        ports = [urlsplit(u).port or 0 for u in self.urls.values()] + [self.hundred * 100 + _SANDBOX_PORTS["smtp"]]
        pause = threading.Event()
        for _ in range(int(START_SECONDS / 0.1)):
            for name, process in self.processes.items():
                assert process.poll() is None, f"{name} ended: {self.log(name)}"
            ports = [p for p in ports if not listening(p)]
            if not ports and (self.var / "run" / "engine.sock").exists():
                return
            pause.wait(0.1)
        raise AssertionError(f"ports {ports} do not answer")

    def log(self, name: str) -> str:
        path = self.directory / f"{name}.log"
        return path.read_text()[-4000:] if path.exists() else ""

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        process = self.processes.pop(name)
        process.send_signal(number)
        process.wait(timeout=20)

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(timeout=30)
        self.processes.clear()


def listening(port: int) -> bool:
    """True when somebody accepts connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


#: Hundreds that platforms of this process have, also those that do not listen yet.
_TAKEN: set[int] = set()


def free_hundred() -> int:
    """A hundred of ports (203 for 20300 to 20399) in which nobody listens; other workers take other ones."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw") or 0)
    for hundred in range(203 + 20 * worker + os.getpid() % 20, 600):
        if hundred not in _TAKEN and not any(listening(hundred * 100 + i) for i in range(15)):
            _TAKEN.add(hundred)
            return hundred
    raise AssertionError("no free ports")


def make_platform(directory: Path, *, database_url: str = "") -> Platform:
    """Writes the configuration of a platform on free ports into `directory`; nothing runs yet.

    Without `database_url` its database is SQLite in the installation's directory.
    """
    platform = Platform(directory, free_hundred())
    for source in (ROOT / "conf").rglob("*.toml"):
        target = directory / "conf" / source.relative_to(ROOT / "conf")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_DEMO_PORT.sub(lambda m: f"{platform.hundred}{m[1]}", source.read_text()))
    if database_url:
        with (directory / "conf" / "tsp.toml").open("a") as config:
            config.write(f"\n[database]\nurl = {json.dumps(database_url)}\n")
    ports = "".join(f"{name} = {platform.hundred}{i}\n" for name, i in _SANDBOX_PORTS.items())
    urls = "".join(f'{name} = "{url}"\n' for name, url in platform.urls.items())
    text = f"directory = {json.dumps(str(platform.var / 'sandbox'))}\n[ports]\n{ports}[urls]\n{urls}"
    platform.sandbox_config.write_text(text)
    return platform


def read_json(path: Path) -> Any:
    """A JSON file's content."""
    return json.loads(path.read_text())
