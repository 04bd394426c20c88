"""Roll-over: a new generation of an issuing authority, certified by the root, from one reviewed file.

Key, certificate and name are new, and so are those of its status responder, so that no path and no CRL of two
generations can be taken for each other. Everything is published at once and certifies from `use_from` on: repository,
responder and trust lists have it before the first certificate refers to it. The old generation stays; it signs its
CRLs and its responder's certificates until its own end.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from asn1crypto import x509
from pydantic import Field

from hsm import KeySpec, SigningKey
from tsp.ca.authority import Authority, IssuedCertificate, IssuingKey
from tsp.ca.ceremony import (
    CeremonyRoom,
    certificate_facts,
    key_facts,
    profile_digest,
    token_errors,
    transcript_octets,
)
from tsp.ca.generations import LAST, generation_name, responder_name, role_of
from tsp.ca.names import ServiceName
from tsp.ca.plan import CeremonyPlan, Entry, plan_octets
from tsp.ca.profiles import IssuerRole, KeyName, Profile
from tsp.ca.store import CaStore, roll_over_file, sha256_hex, to_pem
from tsp.ca.tomlfile import Strict, parse_toml
from tsp.core.errors import Conflict, Invalid
from tsp.core.files import write_atomic

ROLL_OVER_FORM = "enkrat-roll-over-1"


class RollOverPlan(Strict):
    """What a roll-over will make: the next generation of one role."""

    mode: Literal["demo", "production"]
    role: IssuerRole
    generation: int = Field(ge=2, le=LAST)
    key: KeyName
    common_name: str
    responder_common_name: str
    #: From the ceremony's end to the first certificate: every process looks for new generations far more often.
    lead_minutes: int = Field(ge=5, le=525_600)

    @property
    def name(self) -> str:
        """The name of the new generation."""
        return generation_name(self.role, self.generation)

    def entries(self, plan: CeremonyPlan) -> dict[str, Entry]:
        """What is made, as entries of the ceremony's plan: the authority, then its responder."""
        above, responder = plan.entries[self.role], plan.entries[responder_name(self.role)]
        return {
            self.name: above.model_copy(
                update={"label": f"{self.name}-ca", "key": self.key, "common_name": self.common_name}
            ),
            responder_name(self.name): responder.model_copy(
                update={"label": responder_name(self.name), "common_name": self.responder_common_name}
            ),
        }


def load_roll_over(path: Path) -> tuple[RollOverPlan, bytes]:
    """A plan, checked, and its octets as officers approve them.

    `Invalid` (ceremony-plan-invalid) names file and key.
    """
    octets = plan_octets(path)
    return parse_toml(octets, path.name, RollOverPlan, "ceremony-plan-invalid"), octets


def check_roll_over(plan: CeremonyPlan, roll_over: RollOverPlan, store: CaStore) -> None:
    """Holds a roll-over against the hierarchy that stands; `Invalid` (ceremony-plan-invalid) where they differ."""
    if roll_over.role == "root":
        raise _differs("the root does not roll over; a new root needs a new ceremony")
    if roll_over.mode != plan.mode:
        raise _differs("mode is not the installation's mode")
    if roll_over.name in store.names:
        raise Conflict("ceremony-done", f"Generation {roll_over.generation} of {roll_over.role} is there already.")
    names = [roll_over.common_name, roll_over.responder_common_name]
    test = ["TEST" in name for name in names]
    if not all(test) if plan.mode == "demo" else any(test):
        raise _differs("in a demo every name says TEST, in production none")
    if len(set(names)) != len(names) or {_common_name(store.certificate(name)) for name in store.names} & set(names):
        raise _differs("every common name is there once (EN 319 422, 6.2)")
    if roll_over.name != next_generation(store, roll_over.role):
        raise _differs(f"the next generation of {roll_over.role} is {next_generation(store, roll_over.role)}")


def next_generation(store: CaStore, role: str) -> str:
    """The name that the next generation of a role gets."""
    return generation_name(role, sum(role_of(name) == role for name in store.issuers) + 1)


def last_start(store: CaStore, role: str, profiles: Mapping[str, Profile]) -> tuple[str, datetime]:
    """The newest generation of a role, and the last moment at which it can certify for the longest life it gives."""
    name = store.newest(role)
    longest = max((p.lifetime.seconds for p in profiles.values() if role in p.issuers), default=0)
    return name, store.facts(name).not_after - timedelta(seconds=longest)


def run_roll_over(plan: CeremonyPlan, roll_over: RollOverPlan, room: CeremonyRoom) -> dict[str, Any]:
    """Makes the new generation and returns the transcript, which also stands beside the artefacts.

    `room` has the tokens `root`, and those of the authority and its responder. The root's token is closed afterwards,
    however this ends. Raises `Conflict` (ceremony-done, ceremony-unfinished) where this generation was made or begun
    before, `Invalid` where plan and hierarchy do not fit, `Unavailable` where a token does not answer or a
    certificate breaks a rule. Nothing counts before the transcript is written, which comes last.
    """
    try:
        store = CaStore(room.directory)
        check_roll_over(plan, roll_over, store)
        entries, began = roll_over.entries(plan), room.clock.now()
        _refuse_second(entries, room)
        root = _root(plan, store, room)
        keys = {name: _made_key(entry, room) for name, entry in entries.items()}
        issued = _certify(plan, roll_over, room, root, keys)
        files = {f"{name}.pem": to_pem(certificate.der) for name, certificate in issued.items()}
        transcript: dict[str, Any] = {
            "form": ROLL_OVER_FORM,
            "mode": roll_over.mode,
            "role": roll_over.role,
            "generation": roll_over.generation,
            "plan_sha256": room.plan_sha256,
            **room.facts,
            "began": began.isoformat(),
            "profiles": {entry.profile: profile_digest(room, entry.profile) for entry in entries.values()},
            "keys": {name: key_facts(room, entries[name], key) for name, key in keys.items()},
            "certificates": {name: certificate_facts(certificate) for name, certificate in issued.items()},
        }
    finally:
        room.tokens["root"].close()
    files = {**files, **room.files}
    for file, content in files.items():
        write_atomic(room.directory / file, content)
    ended = room.clock.now()
    transcript["artefacts"] = {file: sha256_hex(content) for file, content in files.items()}
    transcript["ended"] = ended.isoformat()
    transcript["use_from"] = (ended + timedelta(minutes=roll_over.lead_minutes)).isoformat()
    write_atomic(room.directory / roll_over_file(roll_over.name), transcript_octets(transcript))
    return transcript


def _refuse_second(entries: Mapping[str, Entry], room: CeremonyRoom) -> None:
    """A roll-over that broke off leaves keys or files, and no transcript."""
    for name, entry in entries.items():
        with token_errors(entry.token):
            known = {key.label for key in room.tokens[entry.token].private_keys()}
        if entry.label in known or (room.directory / f"{name}.pem").exists():
            raise Conflict(
                "ceremony-unfinished",
                f"An earlier roll-over broke off before its transcript was written. Erase key '{entry.label}' in token "
                f"{entry.token} and {name}.pem, then start anew.",
            )


def _root(plan: CeremonyPlan, store: CaStore, room: CeremonyRoom) -> IssuingKey:
    with token_errors("root"):
        return IssuingKey.of("root", store.root, room.tokens["root"].signing_key(plan.root.label))


def _made_key(entry: Entry, room: CeremonyRoom) -> SigningKey:
    with token_errors(entry.token):
        return room.tokens[entry.token].generate_signing_key(entry.label, KeySpec[entry.key])


def _certify(
    plan: CeremonyPlan, roll_over: RollOverPlan, room: CeremonyRoom, root: IssuingKey, keys: Mapping[str, SigningKey]
) -> dict[str, IssuedCertificate]:
    """The root certifies the authority, and that its responder."""
    issued: dict[str, IssuedCertificate] = {}
    issuers, above = {"root": root}, "root"
    for name, entry in roll_over.entries(plan).items():
        authority = Authority(room.profiles, issuers, room.urls, room.clock, room.randomness)
        owner = plan.organisation
        subject = ServiceName(owner.country, owner.name, owner.identifier, entry.common_name)
        spki = keys[name].public_spki
        prepared = authority.prepare(entry.profile, subject, spki, now=room.clock.now(), issuer=above)
        issued[name] = authority.issue(prepared)
        if above == "root":
            issuers, above = {name: IssuingKey.of(name, issued[name].der, keys[name])}, name
    return issued


def _common_name(certificate: bytes) -> str:
    return str(x509.Certificate.load(certificate).subject.native["common_name"])


def _differs(why: str) -> Invalid:
    return Invalid("ceremony-plan-invalid", f"The roll-over's plan does not fit: {why}.")
