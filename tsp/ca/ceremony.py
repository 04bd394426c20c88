"""The key ceremony: makes every key of the hierarchy in its token and certifies it, once.

Keys are made first; nothing is written until everything is signed and checked; the transcript, with the
SHA-256 of every artefact, is written last and says that the ceremony is complete. A ceremony that broke
off leaves keys in the tokens and no transcript: the next one refuses, and says so.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.serialization import pkcs7

from hsm import KeySpec, SigningKey, Token
from hsm.errors import HsmError
from tsp.ca.authority import Authority, IssuedCertificate, IssuingKey
from tsp.ca.certificate import IssuerFacts, key_identifier, validity
from tsp.ca.plan import ENTRIES, ISSUERS, CeremonyPlan
from tsp.ca.profiles import Profile
from tsp.ca.publication import make_crl
from tsp.ca.store import CRL_FILE, TRANSCRIPT_FILE, sha256_hex, to_pem
from tsp.ca.urls import RepositoryUrls
from tsp.core.clock import Clock
from tsp.core.errors import Conflict, Invalid, Unavailable
from tsp.core.files import read_secret, write_atomic
from tsp.core.randomness import Randomness

SEALED_PIN_FILE = "root-pin.p7m"
TRANSCRIPT_FORM = "enkrat-ceremony-1"


@dataclass(frozen=True, slots=True)
class CeremonyRoom:
    """Everything that a ceremony needs besides its plan.

    `tokens` are open and empty, by the plan's token names. `directory` receives the artefacts. `custodians`
    are the PEM certificates that the plan names, `root_pin` the file that holds the root token's PIN.
    `plan_sha256` ties the transcript to the reviewed file.
    """

    tokens: Mapping[str, Token]
    profiles: Mapping[str, Profile]
    urls: RepositoryUrls
    directory: Path
    clock: Clock
    randomness: Randomness
    root_pin: Path
    plan_sha256: str
    custodians: tuple[bytes, ...] = ()


def run_ceremony(plan: CeremonyPlan, room: CeremonyRoom) -> dict[str, Any]:
    """Carries out the plan and returns the transcript, which also stands in `transcript.json`.

    The root's token is closed afterwards, however this ends. Raises `Conflict` (ceremony-done,
    ceremony-unfinished) where there was a ceremony before, `Invalid` where plan and room do not fit,
    `Unavailable` where a token does not answer or an artefact breaks a rule; nothing is written then.
    """
    try:
        sealed = _seal_pin(plan, room)
        _refuse_second(plan, room)
        began = room.clock.now()
        keys = _make_keys(plan, room)
        issued, root = _certify(plan, room, keys, began)
        files = {f"{name}.pem": to_pem(certificate.der) for name, certificate in issued.items()}
        files[CRL_FILE] = make_crl(root, number=1, now=began, validity=timedelta(days=plan.crl_days))
        if sealed is not None:
            files[SEALED_PIN_FILE] = sealed
        transcript = {
            "form": TRANSCRIPT_FORM,
            "mode": plan.mode,
            "plan_sha256": room.plan_sha256,
            "officers": list(plan.officers),
            "began": began.isoformat(),
            "profiles": {entry.profile: _profile_digest(room, entry.profile) for entry in plan.entries.values()},
            "keys": {name: _key_facts(plan, room, name, key) for name, key in keys.items()},
            "certificates": {name: _certificate_facts(certificate) for name, certificate in issued.items()},
            "root_pin": plan.root_pin,
            "artefacts": {file: sha256_hex(content) for file, content in files.items()},
        }
    finally:
        room.tokens["root"].close()
    _write(room, files, transcript, erase_pin=sealed is not None)
    return transcript


def _write(room: CeremonyRoom, files: Mapping[str, bytes], transcript: dict[str, Any], *, erase_pin: bool) -> None:
    """The artefacts, then the end of the PIN where it is sealed, and the transcript last."""
    for file, content in files.items():
        write_atomic(room.directory / file, content)
    if erase_pin:
        room.root_pin.unlink()
    transcript["ended"] = room.clock.now().isoformat()
    write_atomic(room.directory / TRANSCRIPT_FILE, json.dumps(transcript, indent=2, sort_keys=True).encode() + b"\n")


def _refuse_second(plan: CeremonyPlan, room: CeremonyRoom) -> None:
    if (room.directory / TRANSCRIPT_FILE).exists():
        raise Conflict("ceremony-done", "The ceremony was held already. Its transcript is in transcript.json.")
    names = [f"{name}.pem" for name in ENTRIES] + [CRL_FILE, SEALED_PIN_FILE]
    if any((room.directory / name).exists() for name in names):
        raise _unfinished()
    for entry in plan.entries.values():
        with token_errors(entry.token):
            known = {key.label for key in room.tokens[entry.token].private_keys()}
        if entry.label in known:
            raise _unfinished()


def _unfinished() -> Conflict:
    return Conflict(
        "ceremony-unfinished",
        "An earlier ceremony broke off before its transcript was written. Erase its tokens and files, then start anew.",
    )


def _make_keys(plan: CeremonyPlan, room: CeremonyRoom) -> dict[str, SigningKey]:
    """Every key, made in its token."""
    keys: dict[str, SigningKey] = {}
    for name, entry in plan.entries.items():
        with token_errors(entry.token):
            keys[name] = room.tokens[entry.token].generate_signing_key(entry.label, KeySpec[entry.key])
    return keys


@contextmanager
def token_errors(token: str) -> Iterator[None]:
    """A token's errors as `Unavailable` (token-unavailable) with the operator's advice."""
    try:
        yield
    except HsmError as error:
        raise Unavailable("token-unavailable", error.advice, token=token, cause=error.code) from error


def _certify(
    plan: CeremonyPlan, room: CeremonyRoom, keys: Mapping[str, SigningKey], now: datetime
) -> tuple[dict[str, IssuedCertificate], IssuingKey]:
    """Every certificate, each issuer's before those that it signs; and the root as an issuer."""
    spki = keys["root"].public_spki
    not_before, not_after = validity(room.profiles[plan.root.profile], now)
    facts = IssuerFacts("root", plan.name("root").der(), key_identifier(spki), spki, not_before, not_after)
    root = IssuingKey(facts, keys["root"])
    issuers = {"root": root}
    issued: dict[str, IssuedCertificate] = {}
    for name, entry in plan.entries.items():
        # An authority of its own for each: the issuers known to it grow as the hierarchy does.
        authority = Authority(room.profiles, issuers, room.urls, room.clock, room.randomness)
        prepared = authority.prepare(
            entry.profile, plan.name(name), keys[name].public_spki, now=now, issuer=entry.issuer
        )
        issued[name] = authority.issue(prepared)
        if name in ISSUERS:
            issuers[name] = IssuingKey.of(name, issued[name].der, keys[name])
    return issued, root


def _key_facts(plan: CeremonyPlan, room: CeremonyRoom, name: str, key: SigningKey) -> dict[str, Any]:
    entry = plan.entries[name]
    return {
        "token": entry.token,
        "token_serial": room.tokens[entry.token].serial,
        "label": entry.label,
        "kind": entry.key,
        "spki_sha256": sha256_hex(key.public_spki),
        "attributes": asdict(key.attributes),
    }


def _certificate_facts(certificate: IssuedCertificate) -> dict[str, Any]:
    return {
        "serial": certificate.serial,
        "issuer": certificate.issuer,
        "profile": certificate.profile,
        "not_before": certificate.not_before.isoformat(),
        "not_after": certificate.not_after.isoformat(),
        "sha256": sha256_hex(certificate.der),
    }


def _profile_digest(room: CeremonyRoom, name: str) -> str:
    if name not in room.profiles:
        raise Invalid("ceremony-plan-invalid", f"The ceremony's plan does not fit: there is no profile {name}.")
    return sha256_hex(room.profiles[name].model_dump_json().encode())


def _seal_pin(plan: CeremonyPlan, room: CeremonyRoom) -> bytes | None:
    """The root's PIN for the custodians: CMS EnvelopedData, AES-256, any one of them can open it."""
    if plan.root_pin == "keep":
        return None
    if len(room.custodians) != len(plan.custodians):
        raise Invalid("custodian-unfit", "The ceremony needs the certificate of every custodian of its plan.")
    builder = pkcs7.PKCS7EnvelopeBuilder().set_data(read_secret(room.root_pin).encode())
    builder = builder.set_content_encryption_algorithm(algorithms.AES256)
    for data in room.custodians:
        certificate = x509.load_pem_x509_certificate(data)
        key = certificate.public_key()
        if not isinstance(key, rsa.RSAPublicKey) or key.key_size < 3072:
            raise Invalid("custodian-unfit", "A custodian's certificate needs an RSA key of at least 3072 bits.")
        builder = builder.add_recipient(certificate)
    return builder.encrypt(serialization.Encoding.DER, [pkcs7.PKCS7Options.Binary])
