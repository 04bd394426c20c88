"""After the ceremony: checking its artefacts, registering them, renewing what is short-lived."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key
from sqlalchemy.orm import Session

from tsp.audit.canonical import Json
from tsp.audit.entries import Writer, record_all
from tsp.ca.authority import IssuedCertificate, IssuingKey
from tsp.ca.ceremony import TRANSCRIPT_FORM
from tsp.ca.crl import RevokedCertificate
from tsp.ca.crl_reading import crl_facts
from tsp.ca.generations import responder_name, role_of
from tsp.ca.issuance import Issuance
from tsp.ca.lint_crl import lint_crl
from tsp.ca.names import ServiceName
from tsp.ca.plan import CeremonyPlan
from tsp.ca.publication import make_crl
from tsp.ca.store import (
    CRL_FILE,
    RENEWALS_FILE,
    TRANSCRIPT_FILE,
    CaStore,
    read_roll_overs,
    sha256_hex,
    to_pem,
)
from tsp.ca.tables import Certificate, serial_text
from tsp.core.clock import Clock
from tsp.core.errors import Unavailable
from tsp.core.files import write_atomic


def read_transcript(directory: Path) -> dict[str, Any]:
    """The transcript of the ceremony; `Unavailable` (ca-store-damaged) where it cannot be read."""
    try:
        transcript = json.loads((directory / TRANSCRIPT_FILE).read_bytes())
    except (OSError, ValueError) as error:
        raise Unavailable(
            "ca-store-damaged", "The ceremony's transcript is missing or damaged. Restore it from its copy."
        ) from error
    if not isinstance(transcript, dict) or transcript.get("form") != TRANSCRIPT_FORM:
        raise Unavailable("ca-store-damaged", "The ceremony's transcript is not of a form that is known here.")
    return transcript


def read_whole(directory: Path) -> dict[str, Any]:
    """The transcript of the ceremony with the keys, certificates and artefacts of all roll-overs since.

    Raises `Unavailable` (ca-store-damaged) where one of them cannot be read.
    """
    whole = read_transcript(directory)
    for transcript in read_roll_overs(directory).values():
        for part in ("keys", "certificates", "artefacts"):
            whole[part] = {**whole[part], **transcript[part]}
    return whole


def read_renewals(directory: Path) -> list[dict[str, str]]:
    """What was renewed since the ceremony, oldest first: file, at, sha256."""
    path = directory / RENEWALS_FILE
    return list(json.loads(path.read_bytes())) if path.exists() else []


def verify_ceremony(directory: Path, now: datetime) -> list[str]:
    """Everything that is wrong with the artefacts in `directory`, in sentences; empty where all is well.

    Compares each file with the digest in the transcript (or of its last renewal), each certificate with
    its issuer's key and with the key that the transcript names, and the CRL with the root.
    """
    transcript, store = read_whole(directory), CaStore(directory)
    digests = dict(transcript["artefacts"]) | {r["file"]: r["sha256"] for r in read_renewals(directory)}
    problems = [
        f"{file} is not what the transcript says"
        for file, digest in sorted(digests.items())
        if not (directory / file).is_file() or sha256_hex((directory / file).read_bytes()) != digest
    ]
    for name in store.names:
        problems += _certificate_problems(store, name, transcript)
    root = store.facts("root")
    public = load_der_public_key(root.spki)
    if not isinstance(public, ec.EllipticCurvePublicKey):
        return [*problems, "the root's key is not on an elliptic curve"]
    problems += [f"root.crl: {finding.rule} ({finding.clause})" for finding in lint_crl(store.root_crl, root, public)]
    if crl_facts(store.root_crl)[2] <= now:
        problems.append("root.crl has expired; renew it with the root's token")
    return problems


def _certificate_problems(store: CaStore, name: str, transcript: Mapping[str, Any]) -> list[str]:
    issuer = transcript["certificates"][name]["issuer"]
    certificate = x509.load_der_x509_certificate(store.certificate(name))
    problems = []
    try:
        certificate.verify_directly_issued_by(x509.load_der_x509_certificate(store.certificate(issuer)))
    except (InvalidSignature, ValueError, TypeError):
        problems.append(f"{name}.pem is not signed by {issuer}")
    spki = asn1_x509.Certificate.load(store.certificate(name)).public_key.dump()
    if sha256_hex(spki) != transcript["keys"][name]["spki_sha256"]:
        problems.append(f"{name}.pem has another key than the ceremony made")
    return problems


def register(session: Session, directory: Path, now: datetime, writer: Writer) -> int:
    """Puts the ceremony's certificates into the table, so that their status can be told; returns how many were new.

    Each that is new gets its entry in the log, in the same transaction (EVD-2). May be called again at any time:
    those that are known stay as they are.
    """
    transcript, store = read_whole(directory), CaStore(directory)
    entries: list[tuple[str, Mapping[str, Json]]] = []
    for name in store.names:
        facts = transcript["certificates"][name]
        row = _row(store.certificate(name), facts["issuer"], facts["profile"], now)
        if session.get(Certificate, row.serial) is None:
            session.add(row)
            entries.append(("certificate-issued", {"certificate": row.serial, "sha256": sha256_hex(row.der)}))
    record_all(session, writer=writer, facts=entries)
    return len(entries)


def _row(der: bytes, issuer: str, profile: str, now: datetime) -> Certificate:
    parsed = asn1_x509.Certificate.load(der)
    return Certificate(
        serial=serial_text(parsed.serial_number),
        issuer=issuer,
        profile=profile,
        subject_ref=None,
        not_before=parsed.not_valid_before,
        not_after=parsed.not_valid_after,
        der=der,
        issued_at=now,
        revoked_at=None,
        reason=None,
    )


def renew_root_crl(
    directory: Path, root: IssuingKey, clock: Clock, *, number: int, days: int, revoked: Sequence[RevokedCertificate]
) -> bytes:
    """Signs the next CRL of the root, publishes it in `directory`, and returns it (DER)."""
    now = clock.now()
    crl = make_crl(root, number=number, now=now, validity=timedelta(days=days), revoked=revoked)
    publish_renewed(directory, CRL_FILE, crl, now)
    return crl


def renew_responders(directory: Path, plan: CeremonyPlan, issuance: Issuance, clock: Clock) -> list[IssuedCertificate]:
    """Certifies the responders' keys anew, publishes the certificates in `directory`, and returns them.

    The responders' token is not needed: keys and names stay. `issuance` has the keys of all issuers, by the names
    of their generations; each certificate is in the table and in the log before its file is replaced. An authority
    that ends before the new certificate would is left as it is.
    """
    store, renewed = CaStore(directory), []
    owner = plan.organisation
    for issuer in renewable(store, clock.now()):
        name = responder_name(issuer)
        present = asn1_x509.Certificate.load(store.certificate(name))
        subject = ServiceName(owner.country, owner.name, owner.identifier, present.subject.native["common_name"])
        profile = plan.entries[responder_name(role_of(issuer))].profile
        spki = present.public_key.dump()
        issued = issuance.issue_now(profile, subject, spki, issuer=issuer, in_device=True)
        publish_renewed(directory, f"{name}.pem", to_pem(issued.der), clock.now())
        renewed.append(issued)
    return renewed


def renewable(store: CaStore, now: datetime) -> list[str]:
    """The authorities whose responders can be certified anew: those that outlive what the responder has now."""
    found = []
    for issuer, der in store.ocsp.items():
        responder = asn1_x509.Certificate.load(der)
        life = responder.not_valid_after - responder.not_valid_before
        if now + life < asn1_x509.Certificate.load(store.certificate(issuer)).not_valid_after:
            found.append(issuer)
    return found


def publish_renewed(directory: Path, file: str, content: bytes, now: datetime) -> None:
    """Writes an artefact that came after the ceremony, then its digest: a crash between the two shows in
    `verify_ceremony`."""
    write_atomic(directory / file, content)
    renewals = [*read_renewals(directory), {"file": file, "at": now.isoformat(), "sha256": sha256_hex(content)}]
    write_atomic(directory / RENEWALS_FILE, json.dumps(renewals, indent=2).encode() + b"\n")
