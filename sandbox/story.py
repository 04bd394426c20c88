"""One whole signature of a new person, over public pages and interfaces only, told step by step.

    python -m sandbox.story [--file contract.pdf] [--out signed.pdf] [--summary summary.json]

Registration with codes from mailbox and phone, PUK, personal data, identification key from the
branch, login with SMS code, upload, pages looked at, approval, download, verification.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypedDict

import httpx2
import typer

from sandbox.browser import Browser
from sandbox.clock import iso
from sandbox.contract import make_contract
from sandbox.instance import write_file
from sandbox.page import Page, PageError, Upload
from sandbox.person import JOURNEY_ERRORS, World, begin_login, credentials, new_visitor, urls_from
from sandbox.settings import ConfigurationError
from sandbox.visitor import Ids, Refusal, Step, Visitor

KINDS = ("advanced", "advanced-qualified", "qualified")
#: How often the result is loaded again until the public log names the signature's place, and the pause in seconds.
_LOG_LOOKS, _LOG_PAUSE = 40, 0.25

Say = Callable[[str], object]


class StepSummary(TypedDict):
    """One step in `summary.json`."""

    name: str
    seconds: float
    ids: Ids


class Summary(TypedDict):
    """What `summary.json` holds. Paths are absolute."""

    passed: bool
    signed: str
    evidence: str
    package: str
    proof: dict[str, Any]
    trust_anchors: list[str]
    urls: dict[str, str]
    begun: str
    seconds: float
    person: dict[str, Any]
    ids: Ids
    steps: list[StepSummary]
    validation: dict[str, Any]


class StoryFailed(Exception):
    """Where the story ended before its end, and why; `steps` holds what went well."""

    def __init__(self, steps: list[StepSummary], reason: Exception) -> None:
        after = f"after “{steps[-1]['name']}”" if steps else "at its beginning"
        super().__init__(f"the story ended {after}: {reason}")
        self.steps = steps


@dataclass
class _Told:
    """Tells each step as a line while it ends, and keeps it for the summary."""

    say: Say
    steps: list[StepSummary] = field(default_factory=list)

    def __call__(self, step: Step) -> None:
        self.steps.append({"name": step.name, "seconds": round(step.seconds, 3), "ids": step.ids})
        ids = "  ".join(f"{name} {value}" for name, value in step.ids.items())
        self.say(f"{len(self.steps):>3}  {step.seconds:7.2f} s  {step.name:<48}  {ids}".rstrip())

    def ids(self) -> Ids:
        """The last value of each id that came up."""
        return {name: value for step in self.steps for name, value in step["ids"].items()}


def run_story(
    urls: Mapping[str, str],
    file: Path | None,
    out: Path,
    *,
    kind: str = "qualified",
    say: Say = print,
    world: World | None = None,
) -> Summary:
    """Signs `file` (a made-up contract without one) as a new person and writes the result to `out`.

    `urls` names the origins that differ from the demo's by service (sign, idp, …, mailbox, phone,
    register, branch). Beside `out` come the evidence (`.evidence.json`), the package that proves it
    (`.package.json`) and the trust anchor that the repository offers (`root.pem`). Raises `StoryFailed`.
    """
    world = world or World()
    addresses = {**urls_from(None, None), **urls}
    told = _Told(say)
    begun, started = world.clock.now(), world.clock.monotonic()
    try:
        visitor = new_visitor(addresses, world, told)
        content = file.read_bytes() if file else make_contract(visitor.account.person, world.clock)
        name = file.name if file else "Najemna pogodba.pdf"
        result = _sign(visitor, addresses, Upload(name, content, "application/pdf"), kind)
        evidence = out.with_suffix(".evidence.json")
        _save(visitor, result, out, evidence)
        package = out.with_suffix(".package.json")
        _keep_package(visitor, result, package)
        anchor = _trust_anchor(visitor, addresses, out.with_name("root.pem"))
        proof = _prove(visitor, addresses, package, anchor, out)
        validation = _validate(visitor, addresses, out)
    except (*JOURNEY_ERRORS, OSError) as error:
        raise StoryFailed(told.steps, error) from error
    seconds = world.clock.monotonic() - started
    passed = validation.get("indication") == "TOTAL-PASSED" and proof.get("state") == "proven"
    say(f"{'':>3}  {seconds:7.2f} s  {'in all; the validator says ' + str(validation.get('indication'))}")
    return {
        "passed": passed,
        "signed": str(out.resolve()),
        "evidence": str(evidence.resolve()),
        "package": str(package.resolve()),
        "proof": proof,
        "trust_anchors": [str(anchor.resolve())],
        "urls": addresses,
        "begun": iso(begun),
        "seconds": round(seconds, 3),
        "person": credentials(visitor.account, "substantial"),
        "ids": told.ids(),
        "steps": told.steps,
        "validation": validation,
    }


def _sign(visitor: Visitor, urls: Mapping[str, str], document: Upload, kind: str) -> Page:
    """From the front page to the page with the result."""
    page = visitor.walk(begin_login(visitor, urls), "sign.upload", "sign.home")
    form = page.form("document").fill(document=document)
    page = visitor.timed(f"upload of {document.name}", lambda: visitor.browser.submit(form))
    page.expect("sign.document")
    page = visitor.timed("all pages looked at", lambda: _look_at_pages(visitor.browser, page), page)
    choice = page.form("kind").fill(kind=kind)
    page = visitor.timed(f"kind chosen: {kind}", lambda: visitor.browser.submit(choice, "action", "approve"), page)
    result = visitor.walk(page, "sign.result")
    return visitor.timed("place in the public log", lambda: _logged(visitor, result), result)


def _look_at_pages(browser: Browser, page: Page) -> Page:
    """Fetches the picture of every page, also of those that the site shows further on."""
    shown: Page | None = page
    while shown is not None:
        for address in shown.images():
            picture = browser.download(address)
            if not picture.content.startswith(b"\x89PNG"):
                raise PageError(page.describe(f"{address} is no PNG picture"))
        onwards = shown.elements("//a[@rel='next']")
        shown = browser.get(shown.absolute(onwards[0].get("href", ""))) if onwards else None
    if not page.images():
        raise PageError(page.describe("the document's pages are not shown"))
    return page


def _logged(visitor: Visitor, page: Page) -> Page:
    """Loads the result again until the log has the signature: it needs a moment for that."""
    for _ in range(_LOG_LOOKS):
        if not page.elements("//*[contains(concat(' ', @class, ' '), ' pending ')]"):
            return page
        visitor.pause(_LOG_PAUSE)
        page = visitor.browser.get(page.url).expect("sign.result")
    raise PageError(page.describe("the signature has not come into the public log"))


def _save(visitor: Visitor, result: Page, out: Path, evidence: Path) -> None:
    """Downloads the signed document and the evidence."""

    def save(address_part: str, path: Path) -> Page:
        [address, *_] = result.links(address_part) or [""]
        if not address:
            raise PageError(result.describe(f"no link to {address_part}"))
        write_file(path, visitor.browser.download(address).content, mode=0o644)
        return result

    visitor.timed("signed document downloaded", lambda: save("/download", out))
    begun = visitor.clock.monotonic()
    save("/evidence", evidence)
    record = json.loads(evidence.read_bytes())
    visitor.report(Step("evidence downloaded", visitor.clock.monotonic() - begun, evidence_ids(record)))


def _keep_package(visitor: Visitor, result: Page, path: Path) -> None:
    """Downloads the evidence package, again until witness and time-stamp are in it."""
    begun = visitor.clock.monotonic()
    [address, *_] = result.links("/package") or [""]
    if not address:
        raise PageError(result.describe("no link to the evidence package"))
    for _ in range(_LOG_LOOKS):
        content = visitor.browser.download(address).content
        if {"log", "time_stamp"} <= set(json.loads(content)):
            write_file(path, content, mode=0o644)
            visitor.report(Step("evidence package downloaded, with time-stamp", visitor.clock.monotonic() - begun))
            return
        visitor.pause(_LOG_PAUSE)
    raise PageError(result.describe("the evidence package is still pending"))


def _prove(visitor: Visitor, urls: Mapping[str, str], package: Path, anchor: Path, signed: Path) -> dict[str, Any]:
    """What the log's public verifier says of the package, run apart from everything, with the witness's own key."""
    begun = visitor.clock.monotonic()
    tool = package.with_name("verify-evidence.pyz")
    write_file(tool, visitor.browser.download(f"{urls['log']}/verify-evidence.pyz").content, mode=0o644)
    keys = [visitor.browser.download(f"{urls[name]}/key").content.decode().strip() for name in ("log", "witness")]
    command = [sys.executable, "-I", str(tool), str(package), "--trust", str(anchor), "--document", str(signed)]
    command += ["--log-key", keys[0], "--witness-key", keys[1], "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    try:
        said: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise Refusal(f"the public verifier ended with {done.returncode}: {done.stderr.strip()[-200:]}") from None
    visitor.report(Step(f"evidence package verified offline: {said['state']}", visitor.clock.monotonic() - begun))
    return said


def evidence_ids(record: Mapping[str, Any]) -> Ids:
    """The ids that an evidence record is found by later."""
    certificate = record.get("certificate")
    serial = certificate.get("serial") if isinstance(certificate, dict) else None
    found = {"evidence": record.get("id"), "certificate": serial}
    return {name: str(value) for name, value in found.items() if value}


def _trust_anchor(visitor: Visitor, urls: Mapping[str, str], path: Path) -> Path:
    """The root certificate that the repository offers. A verifier gets it over a way that they trust."""
    begun = visitor.clock.monotonic()
    got = visitor.browser.download(f"{urls['repository']}/root.pem")
    write_file(path, got.content, mode=0o644)
    visitor.report(Step("root certificate fetched", visitor.clock.monotonic() - begun))
    return path


def _validate(visitor: Visitor, urls: Mapping[str, str], signed: Path) -> dict[str, Any]:
    """The platform's public validator on the downloaded file."""
    begun = visitor.clock.monotonic()
    url = f"{urls['validate']}/api/validate"
    try:
        answer = visitor.client.post(
            url, content=signed.read_bytes(), headers={"Content-Type": "application/pdf", "Accept": "application/json"}
        )
        report = answer.json()
    except (httpx2.TransportError, ValueError) as error:
        raise Refusal(f"{url} does not answer as it should ({type(error).__name__})") from error
    if answer.status_code != 200 or not isinstance(report, dict):
        raise Refusal(f"{url} answered {answer.status_code}: {report}")
    visitor.report(Step("validated by the public validator", visitor.clock.monotonic() - begun))
    return report


app = typer.Typer(add_completion=False)


@app.command()
def story(
    file: Annotated[Path | None, typer.Option(help="The PDF to sign [a made-up contract].", exists=True)] = None,
    out: Annotated[Path, typer.Option(help="Where the signed PDF goes.")] = Path("var/demo/signed.pdf"),
    summary: Annotated[Path | None, typer.Option(help="Where the summary (JSON) goes.")] = None,
    kind: Annotated[str, typer.Option(help="advanced, advanced-qualified or qualified")] = "qualified",
    config: Annotated[Path | None, typer.Option(help="The sandbox's TOML file (for its addresses).")] = None,
    base: Annotated[str | None, typer.Option(help="Origin of the signing site [http://localhost:8400].")] = None,
) -> None:
    """Sign a document as a new person and tell each step."""
    if kind not in KINDS:
        raise ConfigurationError(f"there is no kind {kind}: choose {', '.join(KINDS)}")
    told = run_story(urls_from(config, base), file, out, kind=kind)
    target = summary or out.with_name("summary.json")
    write_file(target, json.dumps(told, indent=1, ensure_ascii=False).encode() + b"\n", mode=0o600)
    typer.echo(f"signed document  {told['signed']}\nsummary          {target.resolve()}")
    raise typer.Exit(0 if told["passed"] else 1)


def main() -> None:
    """The command line; what goes wrong ends with one sentence and status 1."""
    try:
        app()
    except (ConfigurationError, StoryFailed) as error:
        raise SystemExit(f"sandbox.story: {error}") from None


if __name__ == "__main__":
    main()
