"""`make demo`: an installation from nothing, platform and sandbox running, one whole signature of a new person.

Leaves var/demo/signed.pdf and var/demo/summary.json, prints the story and the addresses to try, and
keeps serving until Ctrl-C (with --once it ends with the story's exit code).
"""

import argparse
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tsp.core.files import write_private  # noqa: E402  (the project is not installed as a package)
from tsp.core.settings import Settings, load_settings  # noqa: E402  (the project is not installed as a package)

START_SECONDS = 60.0
#: Keys of log and witness, as a verifier gets them over a way of their own.
KEYS = ("log-checkpoint.vkey", "sandbox-witness.vkey")


class DemoFailed(Exception):
    """Why the demo could not go on, in a sentence for the person who started it."""


def say(text: str = "") -> None:
    """One line at once, also into a pipe."""
    print(text, flush=True)


def run(*command: str) -> None:
    """A command of ours that must succeed."""
    done = subprocess.run([sys.executable, *command], cwd=ROOT, check=False)
    if done.returncode:
        raise DemoFailed(f"{' '.join(command)} ended with code {done.returncode}")


def prepare(settings: Settings) -> None:
    """Makes the installation and the sandbox's own keys unless they are there."""
    if settings.var.exists():
        say(f"Using the installation in {settings.var.relative_to(ROOT)} (make clean-demo removes it)")
        run("-m", "tsp", "migrate")
    else:
        run("-m", "tsp", "init")
    run("-m", "sandbox", "init", "--dir", str(settings.var / "sandbox"))


def ports(settings: Settings) -> list[int]:
    """Every port that platform and sandbox will listen on."""
    origins = settings.urls.model_dump().values()
    return [urlsplit(o).port or 80 for o in origins] + [8410, 8411, 8412, 8413, 8414, 8415]


def free(port: int) -> bool:
    """True when nobody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def start(*command: str, log: Path) -> subprocess.Popen[bytes]:
    """A server of ours in the background, its log in a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, stdout=output, stderr=output, start_new_session=True
        )


def wait_until_up(wanted: list[int], servers: dict[str, subprocess.Popen[bytes]], engine: Path) -> None:
    """Returns when every port answers and the engine's socket is there."""
    deadline = time.monotonic() + START_SECONDS
    waiting = list(wanted)
    while waiting or not engine.exists():
        for name, server in servers.items():
            if server.poll() is not None:
                raise DemoFailed(f"{name} ended with code {server.returncode}; see var/demo/{name}.log")
        if time.monotonic() > deadline:
            raise DemoFailed(f"nothing answers on port {waiting or engine.name}; see the logs in var/demo/")
        waiting = [port for port in waiting if free(port)]
        time.sleep(0.1)


def story(arguments: argparse.Namespace, settings: Settings, directory: Path) -> dict[str, Any]:
    """Drives the signature through the public pages, then verifies the file with `tsp verify`."""
    from sandbox.story import StoryFailed, run_story

    out = Path(arguments.out).resolve() if arguments.out else directory / "signed.pdf"
    urls = settings.urls.model_dump(by_alias=True)
    try:
        summary = run_story(
            urls=urls, file=Path(arguments.file).resolve() if arguments.file else None, out=out, say=say
        )
    except StoryFailed as failure:
        raise DemoFailed(f"{failure}; the logs are in {directory.relative_to(ROOT)}") from failure
    anchors = [str(settings.var / "ca" / "root.pem")]
    verify = [sys.executable, "-m", "tsp", "verify", str(out), "--trust", anchors[0], "--json"]
    checked = subprocess.run(verify, cwd=ROOT, capture_output=True, text=True, check=False)
    validation = json.loads(checked.stdout) if checked.stdout.strip() else {"error": checked.stderr.strip()}
    evidence = [sys.executable, "-m", "tsp", "evidence", "verify", summary["package"], "--document", str(out)]
    log_key, witness_key = ((settings.var / "public" / name).read_text().strip() for name in KEYS)
    evidence += ["--trust", anchors[0], "--log-key", log_key, "--witness-key", witness_key]
    proof = subprocess.run(evidence, cwd=ROOT, capture_output=True, text=True, check=False)
    passed = checked.returncode == 0 and proof.returncode == 0
    return {
        **summary,
        "signed": str(out),
        "trust_anchors": anchors,
        "urls": urls,
        "validation": validation,
        "evidence_steps": proof.stdout.splitlines(),
        "passed": passed,
    }


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--once", action="store_true", help="end after the story")
    parser.add_argument("--file", help="the PDF to sign (default: a made-up contract)")
    parser.add_argument("--out", help="where the signed PDF goes (default: var/demo/signed.pdf)")
    return parser.parse_args()


def main() -> int:
    """The demo from beginning to end."""
    chosen = arguments()
    settings = load_settings()
    directory = ROOT / "var" / "demo"
    directory.mkdir(parents=True, exist_ok=True)
    if chosen.file and not Path(chosen.file).is_file():
        raise DemoFailed(f"there is no file {chosen.file}")
    busy = [port for port in ports(settings) if not free(port)]
    if busy:
        raise DemoFailed(f"port {', '.join(map(str, busy))} is in use: end the other demo first")
    prepare(settings)
    servers: dict[str, subprocess.Popen[bytes]] = {}
    try:
        servers["sandbox"] = start(
            "-m", "sandbox", "serve", "--dir", str(settings.var / "sandbox"), log=directory / "sandbox.log"
        )
        servers["witness"] = start(
            "-m", "sandbox", "witness", "--dir", str(settings.var / "sandbox"), log=directory / "witness.log"
        )
        servers["platform"] = start("-m", "tsp", "serve", log=directory / "platform.log")
        wait_until_up(ports(settings), servers, settings.var / "run" / "engine.sock")
        summary = story(chosen, settings, directory)
        write_private(directory / "summary.json", json.dumps(summary, indent=1, ensure_ascii=False).encode() + b"\n")
        tell(summary)
        if not chosen.once:
            say("\nServing until Ctrl-C.")
            signal.pause()
        return 0 if summary["passed"] else 1
    finally:
        for server in reversed(servers.values()):
            server.terminate()
        for server in servers.values():
            server.wait()


def tell(summary: dict[str, Any]) -> None:
    """The result, where it lies, and what to try next."""
    say("")
    say(f"Signed document   {summary['signed']}")
    say(f"Evidence package  {summary['package']}")
    say(f"Trust anchor      {summary['trust_anchors'][0]}")
    say(f"Verification      {'passed' if summary['passed'] else 'FAILED'}")
    say("")
    for line in summary["evidence_steps"]:
        say(f"  {line}")
    say("")
    for name, url in summary["urls"].items():
        say(f"  {name:<12} {url}")
    for name, port in (("mailbox", 8411), ("phone", 8412), ("register", 8413), ("branch", 8414), ("witness", 8415)):
        say(f"  {name:<12} http://localhost:{port}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DemoFailed as failure:
        print(f"demo: {failure}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
