"""The record of a ceremony: the plan, the approvals and the signatures, beside the transcript that names them.

The transcript's `artefacts` hold the plan and each approval as files, so that the record proves itself: with the
directory alone anybody can check who approved what, and who was present and signed the transcript.
"""

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import hsm
import tsp
from tsp.ca.approvals import Approval, approvals_of, signer_of
from tsp.ca.officers import Officer
from tsp.ca.plan import CeremonyPlan, load_plan
from tsp.ca.store import TRANSCRIPT_FILE, read_roll_overs, roll_over_file, sha256_hex
from tsp.ca.upkeep import read_transcript, verify_ceremony
from tsp.core.errors import NotFound, TspError, Unavailable
from tsp.core.files import write_atomic

PLAN_FILE: Final = "plan.toml"
#: What the first ceremony is called where a generation names a roll-over.
CEREMONY: Final = "ceremony"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong with a record: a stable code, and a sentence for people."""

    code: str
    sentence: str


def plan_file(record: str) -> str:
    """The copy of the plan of one record: of the ceremony, or of the roll-over to a generation."""
    return PLAN_FILE if record == CEREMONY else f"roll-over-{record}.toml"


def transcript_file(record: str) -> str:
    """The transcript of one record."""
    return TRANSCRIPT_FILE if record == CEREMONY else roll_over_file(record)


def software() -> dict[str, str]:
    """Which software holds the ceremony: its version, and one hash over every source file that it consists of."""
    whole = hashlib.sha256()
    for package in (hsm, tsp):
        root = Path(package.__path__[0])
        for path in sorted(root.rglob("*.py")):
            name = f"{package.__name__}/{path.relative_to(root).as_posix()}"
            whole.update(f"{name} {sha256_hex(path.read_bytes())}\n".encode())
    project = Path(tsp.__path__[0]).parent / "pyproject.toml"
    version = tomllib.loads(project.read_text())["project"]["version"] if project.is_file() else "unknown"
    return {"version": str(version), "source_sha256": whole.hexdigest()}


def facts(officers: Sequence[Officer], needed: int, approvals: Sequence[Approval], record: str) -> dict[str, Any]:
    """What a transcript says of people and software."""
    return {
        "officers": [{"name": one.name, "role": one.role, "certificate_sha256": one.fingerprint} for one in officers],
        "approvals_needed": needed,
        "approvals": {
            approval_file(record, one): {"officer": one.officer.name, "sha256": sha256_hex(one.octets)}
            for one in approvals
        },
        "software": software(),
    }


def files(plan: bytes, approvals: Sequence[Approval], record: str) -> dict[str, bytes]:
    """The artefacts that the transcript names besides what was made."""
    return {plan_file(record): plan, **{approval_file(record, one): one.octets for one in approvals}}


def approval_file(record: str, approval: Approval) -> str:
    """Under which name an approval is kept."""
    return f"approval-{record}-{approval.officer.slug}.p7s"


def signature_file(record: str, officer: Officer) -> str:
    """Under which name an officer's signature of the transcript is kept."""
    return f"signature-{record}-{officer.slug}.p7s"


def approved_plan(directory: Path) -> CeremonyPlan:
    """The plan that the ceremony was held after, from its record: its officers answer for later ceremonies, too.

    Raises `NotFound` (ceremony-record-missing) where the ceremony kept none, `Unavailable` (ca-store-damaged) where
    it is not the one that the transcript names.
    """
    path = directory / PLAN_FILE
    if not path.is_file():
        raise NotFound("ceremony-record-missing", "The ceremony kept no plan beside its transcript.")
    if sha256_hex(path.read_bytes()) != read_transcript(directory).get("plan_sha256"):
        raise Unavailable("ca-store-damaged", "plan.toml is not the plan of the transcript. Restore it from its copy.")
    return load_plan(path)


def keep_signature(directory: Path, record: str, signature: bytes, now: datetime) -> Officer:
    """Puts an officer's signature of the transcript beside it; whose it is.

    Raises what `signer_of` raises, `NotFound` (ceremony-missing) where there is no such transcript.
    """
    path = directory / transcript_file(record)
    if not path.is_file():
        raise NotFound("ceremony-missing", f"There is no transcript of {record}.")
    officer = signer_of(signature, path.read_bytes(), approved_plan(directory).officers, now)
    write_atomic(directory / signature_file(record, officer), signature)
    return officer


def verify_record(directory: Path, now: datetime, reviewed: bytes | None = None) -> list[Finding]:
    """Everything that is wrong with artefacts, approvals and signatures in `directory`; empty where all is well.

    Needs nothing but the directory, and never raises for what stands in it, except `NotFound` and `Unavailable` where
    there is no transcript to begin with or an artefact cannot be read at all. A record proves that it is whole, not
    whose it is: whoever can write the directory can put another ceremony there, with officers of their own. Give the
    plan that was `reviewed` (its octets, kept elsewhere) to have that found: plan-other.
    """
    transcripts = {CEREMONY: read_transcript(directory), **read_roll_overs(directory)}
    strange = [record for record, transcript in transcripts.items() if not _plain(transcript)]
    if strange:
        return [_malformed(record) for record in strange]
    try:
        found = [Finding("artefact-wrong", problem) for problem in verify_ceremony(directory, now)]
    except (KeyError, TypeError, ValueError, AttributeError):
        return [_malformed("a record")]
    try:
        officers, needed = (plan := approved_plan(directory)).officers, plan.approvals
    except TspError as error:
        return [*found, Finding(error.code, error.sentence)]
    if reviewed is not None and sha256_hex(reviewed) != transcripts[CEREMONY]["plan_sha256"]:
        found.append(Finding("plan-other", "The record is of a ceremony after another plan than the reviewed one"))
    for record, transcript in transcripts.items():
        try:
            found += _approvals(directory, record, transcript, officers, needed)
            found += _signatures(directory, record, transcript, officers, needed)
        except (KeyError, TypeError, ValueError, AttributeError):
            found.append(_malformed(record))
    return found


def _plain(transcript: Mapping[str, Any]) -> bool:
    """Whether the files that a transcript names are names in its own directory, and nothing else."""
    for part in ("artefacts", "approvals"):
        named = transcript.get(part, {})
        if not isinstance(named, dict) or any(Path(name).name != name or name in ("", "..") for name in named):
            return False
    return True


def _malformed(record: str) -> Finding:
    return Finding("transcript-malformed", f"{record}: the transcript does not say what a transcript says")


def _approvals(
    directory: Path, record: str, transcript: Mapping[str, Any], officers: Sequence[Officer], needed: int
) -> list[Finding]:
    """Each approval that the transcript names is one of exactly this plan, and they are enough."""
    named = transcript.get("approvals", {})
    present = {file: (directory / file).read_bytes() for file in named if (directory / file).is_file()}
    plan = directory / plan_file(record)
    content = plan.read_bytes() if plan.is_file() else b""
    began = datetime.fromisoformat(transcript["began"])
    good, wrong = approvals_of(present, content, officers, began)
    found = [Finding(error.code, f"{file}: {error.sentence}") for file, error in wrong.items()]
    if sha256_hex(content) != transcript["plan_sha256"]:
        found.append(Finding("plan-other", f"{plan_file(record)} is not the plan of the transcript"))
    found += [
        Finding("approval-other-officer", f"{one.file} is by {one.officer.name}, the transcript says otherwise")
        for one in good
        if named[one.file]["officer"] != one.officer.name
    ]
    if len(good) < needed or needed < 1:
        found.append(Finding("approvals-too-few", f"{record}: {len(good)} of {needed} approvals are there"))
    return found


def _signatures(
    directory: Path, record: str, transcript: Mapping[str, Any], officers: Sequence[Officer], needed: int
) -> list[Finding]:
    """Everybody who approved signed the transcript, and nobody signed another one."""
    content = (directory / transcript_file(record)).read_bytes()
    known = {signature_file(record, officer): officer for officer in officers}
    present = {path.name: path.read_bytes() for path in directory.glob(f"signature-{record}-*.p7s")}
    good, wrong = approvals_of(present, content, officers, datetime.fromisoformat(transcript["ended"]))
    found = [Finding(error.code, f"{file}: {error.sentence}") for file, error in wrong.items()]
    signed = {one.officer.name for one in good if known.get(one.file) == one.officer}
    absent = {named["officer"] for named in transcript.get("approvals", {}).values()} - signed
    found += [
        Finding("signature-missing", f"{record}: {name} has not signed the transcript") for name in sorted(absent)
    ]
    if len(signed) < needed:
        found.append(Finding("signatures-too-few", f"{record}: {len(signed)} of {needed} signatures are there"))
    roles = {officer.role for officer in officers if officer.name in signed}
    if any(officer.role == "witness" for officer in officers) and "witness" not in roles:
        found.append(Finding("witness-missing", f"{record}: no witness has signed the transcript"))
    return found
