"""Verifies an evidence package of one signature, offline, with nothing of the platform but two files.

    python verify-evidence.pyz evidence.json --trust root.pem [--document signed.pdf]
        [--log-key WORD] [--witness-key WORD]

Needs Python 3.11 and the package `cryptography`. It says step by step what is proven, what is only
claimed by whoever operates the platform, and what is still pending; it ends with 0 where nothing is
missing or wrong, 1 where something is, 2 where a file cannot be read. Keys of log and witnesses come
from the options; without them the package's own are taken, and that is said.

Formats: RFC 9162 (tree), C2SP signed-note, tlog-checkpoint and tlog-cosignature, RFC 5652 (CMS),
RFC 3161 (time-stamps), RFC 5280 (certificates), ISO 32000-2 (the signature in a PDF).
"""

import argparse
import base64
import binascii
import functools
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding

from tsp.audit.signed_data import (
    ID_DATA,
    UNREADABLE,
    Signed,
    Wrong,
    chain,
    check_time_stamp,
    common_name,
    first_value,
    read_signed,
    spki_of,
)

FORMAT = "enkrat-evidence-package-1"
RECORD_FORMAT = "enkrat-evidence-1"
PROVEN, CLAIMED, PENDING, FAILED = "proven", "claimed", "pending", "FAILED"
LOG_KEY, WITNESS_KEY = 1, 4
MAX_BYTES = 4 * 1024 * 1024
_KEYS, _LATER = {"format", "record", "signature", "entry"}, {"log", "time_stamp"}
_INSIDE = {"entry": {"content", "salt", "leaf"}, "log": {"key", "witnesses", "index", "proof", "checkpoint"}}
#: What the token must have said of the key when it was made (PKCS #11).
_SAFE_KEY = {
    "local": True,
    "sensitive": True,
    "always_sensitive": True,
    "never_extractable": True,
    "extractable": False,
}
_GONE = {"destroyed_call_ok": True, "checked": True, "found_after": 0}


@dataclass(frozen=True)
class Step:
    """One thing looked at: a stable code, how it stands, and a sentence."""

    code: str
    state: str
    said: str


@dataclass
class Report:
    """All steps, in order."""

    steps: list[Step] = field(default_factory=list)

    @property
    def state(self) -> str:
        """FAILED where any step failed, else pending where any is, else proven."""
        states = {step.state for step in self.steps}
        return FAILED if FAILED in states else PENDING if PENDING in states else PROVEN

    def add(self, code: str, state: str, said: str) -> None:
        self.steps.append(Step(code, state, said))

    def check(self, code: str, look: Callable[[], str], *, state: str = PROVEN) -> bool:
        """Adds the step with what `look` says, or with why it does not hold."""
        try:
            self.add(code, state, look())
        except UNREADABLE as error:
            reason = str(error) if isinstance(error, Wrong) else f"cannot be read ({type(error).__name__})"
            self.add(code, FAILED, reason)
            return False
        return True


@dataclass(frozen=True)
class Trust:
    """Whom the verifier trusts: root certificates, and keys of log and witnesses as words."""

    roots: Sequence[x509.Certificate]
    log_keys: Sequence[str] = ()
    witness_keys: Sequence[str] = ()


def verify(package: bytes, trust: Trust, document: bytes | None = None) -> Report:
    """Every step of one package. Never raises for what is in the files."""
    report = Report()
    try:
        found = read_package(package)
    except Wrong as error:
        report.add("package", FAILED, str(error))
        return report
    report.add("package", PROVEN, f"is written as {FORMAT} and complete in itself")
    record = json.loads(found["record"])
    report.check("entry", lambda: _check_entry(found, record))
    stamped_at = _check_log(report, found, trust)
    report.check("times", lambda: _check_times(record, stamped_at))
    signer: list[Signed] = []
    if report.check("signature", lambda: _check_signature(found, record, signer)):
        report.check("certificate", lambda: _check_certificate(signer[0], record, trust))
        if document is not None:
            report.check("document", lambda: _check_document(document, signer[0], record))
    report.check("key", lambda: _check_key(record), state=CLAIMED)
    report.check("destruction", lambda: _check_destruction(record), state=CLAIMED)
    report.check("approval", lambda: _say_approval(record), state=CLAIMED)
    return report


def read_package(data: bytes) -> dict[str, Any]:
    """The package as values. Raises `Wrong` for anything but the one spelling of a whole package."""
    if len(data) > MAX_BYTES:
        raise Wrong("is larger than an evidence package can be")
    try:
        found = json.loads(data)
        spelled = json.dumps(found, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        raise Wrong("is no JSON") from None
    if not isinstance(found, dict) or set(found) - _LATER != _KEYS or found["format"] != FORMAT:
        raise Wrong(f"is not an evidence package of the format {FORMAT}")
    if spelled != data.rstrip(b"\n"):
        raise Wrong("is not written in the one way that the format allows; it was changed")
    _check_form(found)
    record = _loads(found["record"])
    if not isinstance(record, dict) or record.get("format") != RECORD_FORMAT:
        raise Wrong(f"holds no record of the format {RECORD_FORMAT}")
    return found


def _check_form(found: dict[str, Any]) -> None:
    """That each part has its members, and these the types that the format gives them."""
    for name, keys in _INSIDE.items():
        inside = found.get(name)
        if name in _LATER and name not in found:
            continue
        if not isinstance(inside, dict) or set(inside) != keys:
            raise Wrong(f"has a part {name} that is not of this format")
    log = found.get("log", {"witnesses": [], "proof": [], "index": 0})
    texts = [found[name] for name in ("record", "signature", "time_stamp") if name in found]
    texts += [*found["entry"].values(), *(log[name] for name in ("key", "checkpoint") if name in log)]
    lists = (log["witnesses"], log["proof"])
    if type(log["index"]) is not int or not all(isinstance(one, list) for one in lists):
        raise Wrong("has a part that is not of this format")
    if not all(isinstance(text, str) for text in (*texts, *lists[0], *lists[1])):
        raise Wrong("has a part that is not of this format")


# --- the log ------------------------------------------------------------------------------------


def _check_entry(found: dict[str, Any], record: dict[str, Any]) -> str:
    """Record -> entry of the log -> leaf."""
    entry = found["entry"]
    content, leaf = _loads(entry["content"]), _loads(entry["leaf"])
    facts = {"evidence": record["id"], "sha256": sha256(found["record"].encode()).hexdigest()}
    if content != {"at": content["at"], "facts": facts, "kind": "signature-made"}:
        raise Wrong("the entry of the log is not about this record")
    salt = bytes.fromhex(entry["salt"])
    if entry["salt"] != salt.hex() or len(salt) != 32:
        raise Wrong("the salt has not 32 octets")
    if leaf["commitment"] != sha256(salt + entry["content"].encode()).hexdigest():
        raise Wrong("the leaf of the log does not stand for this entry")
    return "the record is what the leaf of the log stands for, octet by octet"


def _check_log(report: Report, found: dict[str, Any], trust: Trust) -> datetime | None:
    """Leaf -> tree -> checkpoint -> log, witnesses, time-stamp. The time of the stamp, where there is one."""
    log = found.get("log")
    if log is None:
        report.add("log", PENDING, "no published statement of the log covers the entry yet; download the file again")
        return None
    note: list[SignedNote] = []
    if not report.check("tree", lambda: _check_tree(found, note)):
        return None
    _check_signers(report, log, note[0], trust)
    if "time_stamp" not in found:
        report.add("time-stamp", PENDING, "no time-stamp covers the entry yet; download the file again")
        return None
    times: list[datetime] = []
    report.check("time-stamp", lambda: _check_stamp(found, note[0], trust, times))
    return times[0] if times else None


@dataclass(frozen=True)
class SignedNote:
    """A checkpoint: the text that is signed, its three lines, and the signature lines."""

    text: str
    origin: str
    size: int
    root: bytes
    signatures: tuple[tuple[str, bytes], ...]


def read_note(note: str) -> SignedNote:
    """Takes a signed note apart. Raises `Wrong`."""
    text, separator, tail = note.rpartition("\n\n")
    lines = text.split("\n")
    if not separator or len(lines) != 3 or not tail.endswith("\n") or not re.fullmatch("0|[1-9][0-9]{0,17}", lines[1]):
        raise Wrong("the statement of the log is no checkpoint")
    signatures = []
    for line in tail[:-1].split("\n"):
        dash, name, encoded = [*line.split(" "), "", ""][:3]
        if dash != "—" or line.count(" ") != 2:
            raise Wrong("a signature line of the checkpoint cannot be read")
        signatures.append((name, _b64(encoded)))
    return SignedNote(text + "\n", lines[0], int(lines[1]), _b64(lines[2]), tuple(signatures))


def _check_tree(found: dict[str, Any], keep: list[SignedNote]) -> str:
    log = found["log"]
    note = read_note(log["checkpoint"])
    index, path = log["index"], [bytes.fromhex(node) for node in log["proof"]]
    if type(index) is not int or [node.hex() for node in path] != log["proof"] or any(len(n) != 32 for n in path):
        raise Wrong("the proof is not written as it should")
    if not 0 <= index < note.size:
        raise Wrong("the place is outside of the log")
    hashed = sha256(b"\x00" + found["entry"]["leaf"].encode()).digest()
    at, last = index, note.size - 1
    for node in path:
        if last == 0:
            raise Wrong("the proof is too long")
        if at & 1 or at == last:
            hashed = sha256(b"\x01" + node + hashed).digest()
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            hashed = sha256(b"\x01" + hashed + node).digest()
        at, last = at >> 1, last >> 1
    if last or hashed != note.root:
        raise Wrong("the leaf is not in the log that the checkpoint states")
    keep.append(note)
    return f"the leaf stands at place {index} of the log {note.origin} with {note.size} entries"


def _check_signers(report: Report, log: dict[str, Any], note: SignedNote, trust: Trust) -> None:
    given = f"proven by the key that you named ({note.origin})"
    own = f"the key comes from the package itself: {log['key']}"

    def by_log() -> str:
        words = list(trust.log_keys) or [log["key"]]
        if log["key"] not in words:
            raise Wrong("the log's key is not the one that you trust")
        name, signature = _signature_of(note, log["key"], LOG_KEY)
        if name != note.origin or not _ed25519(log["key"], note.text.encode(), signature):
            raise Wrong("the checkpoint does not bear the log's signature")
        return f"the log has signed the checkpoint; {given if trust.log_keys else own}"

    report.check("log-signature", by_log, state=PROVEN if trust.log_keys else CLAIMED)
    expected = 1 + len(log["witnesses"])
    report.check("lines", lambda: _count_lines(note, expected))
    for word in trust.witness_keys:
        if word not in log["witnesses"]:
            report.add("witness", FAILED, f"the witness {word.partition('+')[0]} has not co-signed")
    for word in log["witnesses"]:
        trusted = word in trust.witness_keys
        report.check("witness", functools.partial(_by_witness, note, word), state=PROVEN if trusted else CLAIMED)
    if not log["witnesses"]:
        report.add("witness", PENDING, "no independent witness has co-signed the checkpoint")


def _count_lines(note: SignedNote, expected: int) -> str:
    if len(note.signatures) != expected:
        raise Wrong("the checkpoint bears lines of others than the named keys")
    return f"the checkpoint bears {expected} signatures, each of a named key"


def _by_witness(note: SignedNote, word: str) -> str:
    name, signature = _signature_of(note, word, WITNESS_KEY)
    seconds = int.from_bytes(signature[:8], "big")
    message = f"cosignature/v1\ntime {seconds}\n{note.text}".encode()
    if len(signature) != 72 or not _ed25519(word, message, signature[8:]):
        raise Wrong(f"the co-signature of {name} does not verify")
    return f"{name} co-signed this state of the log at {datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _signature_of(note: SignedNote, word: str, kind: int) -> tuple[str, bytes]:
    """Name and signature octets of the one line of this key."""
    name, key_id, encoded = word.split("+", 2)
    key = _b64(encoded)
    computed = sha256(name.encode() + b"\n" + key).digest()[:4]
    if len(key) != 33 or key[0] != kind or computed.hex() != key_id:
        raise Wrong("a key is not written as name+id+key")
    own = [raw[4:] for line, raw in note.signatures if line == name and raw[:4] == computed]
    if len(own) != 1:
        raise Wrong(f"{name} has not signed the checkpoint")
    return name, own[0]


def _ed25519(word: str, message: bytes, signature: bytes) -> bool:
    public = ed25519.Ed25519PublicKey.from_public_bytes(_b64(word.split("+", 2)[2])[1:])
    try:
        public.verify(signature, message)
    except InvalidSignature:
        return False
    return True


# --- time ---------------------------------------------------------------------------------------


def _check_stamp(found: dict[str, Any], note: SignedNote, trust: Trust, keep: list[datetime]) -> str:
    at, unit = check_time_stamp(_b64(found["time_stamp"]), note.text.encode(), trust.roots)
    keep.append(at)
    return f"the checkpoint existed at {at:%Y-%m-%d %H:%M:%S} UTC, says {unit}; so did everything in it"


def _check_times(record: dict[str, Any], stamped_at: datetime | None) -> str:
    names = ("received", "reserved", "generated", "certified", "signed", "verified", "destroyed", "checked", "recorded")
    moments = [_moment(record["times"][name]) for name in names]
    if moments != sorted(moments):
        raise Wrong("the moments of the record are not in order")
    if not _moment(record["certificate"]["not_before"]) <= moments[4] <= _moment(record["certificate"]["not_after"]):
        raise Wrong("it was signed outside of the certificate's life")
    if stamped_at and stamped_at + timedelta(minutes=1) < moments[-1]:
        raise Wrong("the time-stamp is older than the record")
    life = (moments[6] - moments[2]) / timedelta(milliseconds=1)
    return f"the moments are in order; by them the key existed for {life:.1f} ms"


# --- signature, certificate, document --------------------------------------------------------------


def _check_signature(found: dict[str, Any], record: dict[str, Any], keep: list[Signed]) -> str:
    cms = _b64(found["signature"])
    said = record["signature"]
    signed = read_signed(cms, ID_DATA)
    pairs = (
        (said["cms_sha256"], cms),
        (said["value_sha256"], signed.signature),
        (said["signed_attributes_sha256"], signed.attributes),
        (record["certificate"]["sha256"], signed.signer.public_bytes(Encoding.DER)),
        (record["key"]["public_key_sha256"], spki_of(signed.signer)),
    )
    if any(sha256(octets).hexdigest() != wanted for wanted, octets in pairs):
        raise Wrong("signature, certificate or key is not the one of the record")
    if signed.message_digest.hex() != record["document"]["digest_signed"]:
        raise Wrong("the signature is about another document than the record")
    keep.append(signed)
    return "the signature verifies with the key of the record, and is about the document of the record"


def _check_certificate(signed: Signed, record: dict[str, Any], trust: Trust) -> str:
    chain(signed.signer, signed.certificates, trust.roots, _moment(record["times"]["signed"]))
    if f"{signed.signer.serial_number:032x}" != record["certificate"]["serial"]:
        raise Wrong("the certificate has another serial number than the record says")
    return f"the certificate was issued for {common_name(signed.signer)} below a root that you trust"


def _check_document(pdf: bytes, signed: Signed, record: dict[str, Any]) -> str:
    """One signature of the PDF is this one, and its octets have the digest of the record."""
    for match in re.finditer(rb"/ByteRange\s*\[\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s*\]", pdf):
        first, first_length, second, second_length = (int(number) for number in match.groups())
        gap = pdf[first + first_length : second]
        if first or second + second_length > len(pdf) or not re.fullmatch(rb"<[0-9A-Fa-f]+>", gap):
            continue
        try:
            inside = read_signed(first_value(bytes.fromhex(gap[1:-1].decode())), ID_DATA)
        except UNREADABLE:
            continue
        if (inside.signature, inside.attributes) == (signed.signature, signed.attributes):
            covered = pdf[:first_length] + pdf[second : second + second_length]
            if sha256(covered).hexdigest() != record["document"]["digest_signed"]:
                raise Wrong("the document was changed: its digest is not the one of the record")
            later = len(pdf) - second - second_length
            return f"the document bears this signature over its first {second + second_length} octets" + (
                f"; {later} octets were added later" if later else ""
            )
    raise Wrong("the document does not bear this signature")


# --- what the operator says ---------------------------------------------------------------------


def _check_key(record: dict[str, Any]) -> str:
    said = record["key"]["attributes"]
    if any(said.get(name) is not value for name, value in _SAFE_KEY.items()):
        raise Wrong("the key was not made and kept inside the token")
    attested = record["key"].get("vendor_attestation", "none") != "none"
    own_word = (
        "an attestation of its maker is in the record" if attested else "the token has no attestation of its maker"
    )
    token = record["key"]["token"]
    return f"read back from the token {token['model']}: made inside, never extractable; {own_word}"


def _check_destruction(record: dict[str, Any]) -> str:
    said = record["key"]["destruction"]
    if {name: said.get(name) for name in _GONE} != _GONE:
        raise Wrong("the destruction of the key is not proven by the record")
    return "the token reported the key destroyed, and a second look from another session found none"


def _say_approval(record: dict[str, Any]) -> str:
    approval = record["approval"]
    level = approval["acr"].rpartition("/")[2]
    return f"approved at {approval['issued_at']} with level {level}, {approval['attestation']} {approval['issuer']}"


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def _loads(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Wrong("a part is no JSON") from None


def _b64(text: str) -> bytes:
    try:
        octets = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Wrong("a part is no base64") from None
    if base64.b64encode(octets).decode() != text:
        raise Wrong("a part is not the one spelling of its base64")
    return octets


# --- command line ---------------------------------------------------------------------------------


def as_text(report: Report) -> str:
    """The steps as lines."""
    lines = [f"{step.state:<8}  {step.code:<14} {step.said}" for step in report.steps]
    end = {
        PROVEN: "The evidence holds.",
        PENDING: "Nothing is wrong, but the evidence is not complete yet: download it again later.",
        FAILED: "THE EVIDENCE DOES NOT HOLD.",
    }
    return "\n".join([*lines, end[report.state]]) + "\n"


def as_json(report: Report) -> str:
    """The steps for machines."""
    steps = [{"code": step.code, "state": step.state.lower(), "said": step.said} for step in report.steps]
    return json.dumps({"state": report.state.lower(), "steps": steps}, ensure_ascii=False, indent=1) + "\n"


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--trust", type=Path, action="append", required=True, help="trusted root certificates (PEM)")
    parser.add_argument("--document", type=Path, help="the signed PDF")
    parser.add_argument("--log-key", action="append", default=[], help="the log's key, name+id+key")
    parser.add_argument("--witness-key", action="append", default=[], help="a witness's key, name+id+key")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    try:
        roots = [one for path in given.trust for one in x509.load_pem_x509_certificates(path.read_bytes())]
        document = given.document.read_bytes() if given.document else None
        report = verify(given.file.read_bytes(), Trust(roots, given.log_key, given.witness_key), document)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"a file cannot be read: {error}\n")
        return 2
    sys.stdout.write(as_json(report) if given.json else as_text(report))
    return 0 if report.state == PROVEN else 1


if __name__ == "__main__":
    sys.exit(main())
