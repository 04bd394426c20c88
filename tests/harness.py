"""A whole platform with its sandbox, as real processes on free ports, for tests that come from outside."""

import contextlib
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlsplit

import httpx2

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 180.0
#: The demo's ports are 84xx; a test platform moves all of them to another hundred.
_DEMO_PORT = re.compile(r"\b84(\d\d)\b")
_SANDBOX_PORTS = {"smtp": 10, "mailbox": 11, "phone": 12, "register": 13, "branch": 14, "witness": 15}


@dataclass
class Platform:
    """One installation in `directory`, running or not, with `count` processes of each role."""

    directory: Path
    hundred: int
    count: int = 1
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
        self.start_witness()

    def start_witness(self) -> None:
        self.start_process("witness", "-m", "sandbox", "witness", "--config", str(self.sandbox_config))

    def start_role(self, role: str) -> None:
        """Starts all processes of a role: `idp`, `idp.2`."""
        for number in range(1, self.count + 1):
            name = role if number == 1 else f"{role}.{number}"
            self.start_process(name, "-m", "tsp", "serve", "--role", role, "--number", str(number))

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
            if not ports and all(path.exists() for path in self.engine_sockets):
                return
            pause.wait(0.1)
        raise AssertionError(f"ports {ports} do not answer")

    def log(self, name: str) -> str:
        path = self.directory / f"{name}.log"
        return path.read_text()[-4000:] if path.exists() else ""

    def wait_for_checkpoint(self) -> None:
        """Bounded wait until the log has published something: a witness has to co-sign it first."""
        pause = threading.Event()
        for _ in range(int(START_SECONDS / 0.1)):
            if httpx2.get(f"{self.urls['log']}/checkpoint", trust_env=False).status_code == 200:
                return
            pause.wait(0.1)
        raise AssertionError("the log publishes nothing")

    def wait_for_faces(self, faces: Iterable[str]) -> None:
        """Bounded wait until these faces answer and the engines listen, for a platform without its sandbox."""
        pause = threading.Event()
        wanted = [f"{self.urls[face]}/health" for face in faces]
        with httpx2.Client(timeout=START_SECONDS) as client:
            for url in wanted:
                for _ in range(int(START_SECONDS / 0.1)):
                    with contextlib.suppress(httpx2.HTTPError):
                        if client.get(url).status_code == 200:
                            break
                    pause.wait(0.1)
        for _ in range(int(START_SECONDS / 0.1)):
            if all(path.exists() for path in self.engine_sockets):
                return
            pause.wait(0.1)
        raise AssertionError("the engines do not listen")

    @property
    def engine_sockets(self) -> list[Path]:
        """Where the engines listen once they are up."""
        more = [f"engine.{number}.sock" for number in range(2, self.count + 1)]
        return [self.var / "run" / name for name in ("engine.sock", *more)]

    def of_role(self, name: str) -> list[subprocess.Popen[bytes]]:
        """All processes of a role, or the one process that is named (`idp.2`, `sandbox`)."""
        return [process for n, process in self.processes.items() if name in (n, n.rpartition(".")[0])]

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Ends all processes of a role, or the one process that is named."""
        ended = self.of_role(name)
        assert ended
        self.processes = {n: process for n, process in self.processes.items() if process not in ended}
        for process in ended:
            process.send_signal(number)
        for process in ended:
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


#: Hundreds that platforms of this process have, by their open lock files: a platform that was stopped keeps its own.
_TAKEN: dict[int, TextIO] = {}


def free_hundred() -> int:
    """A hundred of ports (203 for 20300 to 20399) in which nobody listens, for this process alone until it ends."""
    locks = Path(tempfile.gettempdir()) / f"enkrat-test-ports-{os.getuid()}"
    locks.mkdir(mode=0o700, exist_ok=True)
    for hundred in range(203, 320):
        if hundred in _TAKEN:
            continue
        lock = (locks / str(hundred)).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        if not any(listening(hundred * 100 + i) for i in range(20)):
            _TAKEN[hundred] = lock
            return hundred
        lock.close()
    raise AssertionError("no free ports")


def make_platform(directory: Path, *, database_url: str = "", count: int = 1) -> Platform:
    """Writes the configuration of a platform on free ports into `directory`; nothing runs yet.

    Without `database_url` its database is SQLite in the installation's directory. `count` processes
    run of each role.
    """
    platform = Platform(directory, free_hundred(), count)
    for source in (ROOT / "conf").rglob("*.toml"):
        target = directory / "conf" / source.relative_to(ROOT / "conf")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_DEMO_PORT.sub(lambda m: f"{platform.hundred}{m[1]}", source.read_text()))
    if database_url:
        with (directory / "conf" / "tsp.toml").open("a") as config:
            config.write(f"\n[database]\nurl = {json.dumps(database_url)}\n")
    if count > 1:
        from tsp.core.settings import ROLES

        with (directory / "conf" / "tsp.toml").open("a") as config:
            config.write("\n[processes]\n" + "".join(f"{role} = {count}\n" for role in ROLES))
    ports = "".join(f"{name} = {platform.hundred}{i}\n" for name, i in _SANDBOX_PORTS.items())
    urls = "".join(f'{name} = "{url}"\n' for name, url in platform.urls.items())
    text = f"directory = {json.dumps(str(platform.var / 'sandbox'))}\n[ports]\n{ports}[urls]\n{urls}"
    platform.sandbox_config.write_text(text)
    return platform


def read_json(path: Path) -> Any:
    """A JSON file's content."""
    return json.loads(path.read_text())
