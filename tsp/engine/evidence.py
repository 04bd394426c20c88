"""The evidence record of one signature (EVD-1): key, certificate, approval, digests, signature, destruction.

A record is canonical JSON (RFC 8785) that is written once, in the transaction of the signature. It
names people only by opaque references; the public log holds the salted digest of its digest alone.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from hsm import Attributes, DestructionRecord, TokenState
from tsp.audit.canonical import Json
from tsp.audit.entries import timestamp
from tsp.audit.tables import Entry, latest_published
from tsp.engine.activation import Activation, ApprovedDocument
from tsp.engine.approvals import Reservation
from tsp.engine.onetime import SignedOnce, Step
from tsp.engine.tables import Evidence

FORMAT = "enkrat-evidence-1"
#: Nobody but the identity provider says that the person approved (EVD-4). Stands in every record
#: until a person's own key signs approvals and the engine checks that signature.
ATTESTED_BY_PROVIDER = "attested-by-provider"
#: How a key ends and how that is seen: a session object, so that it dies with the process at the latest (EVD-5).
DESTROYED_BY = "C_DestroyObject on a session object, then C_FindObjects by CKA_ID from another session"
#: Stands where the token gives no statement of its maker about a key (SoftHSM has none).
NO_ATTESTATION = "none"
#: What the moment after each step is called.
_MOMENTS = {step: step.value.replace("-", "_") for step in Step}


class Records:
    """The records of one call: what they have in common is made once.

    `moments` are those of the call; each key's own are added.
    """

    def __init__(
        self, activation: Activation, reservation: Reservation, token: TokenState, moments: Mapping[str, datetime]
    ) -> None:
        self._approval = _approval(activation)
        self._attempt: Json = {"number": reservation.attempt, "worker": reservation.worker}
        self._token: Json = {"manufacturer": token.manufacturer, "model": token.model, "serial": token.serial}
        self._times = {name: timestamp(at) for name, at in moments.items()}

    def build(self, evidence_id: str, document: ApprovedDocument, made: SignedOnce) -> dict[str, Json]:
        """The record of one signature as values."""
        return {
            "format": FORMAT,
            "id": evidence_id,
            "approval": self._approval,
            "document": {
                "digest_algorithm": "sha256",
                "digest_shown": document.digest_shown,
                "digest_signed": document.digest_signed,
                "pages": document.pages,
            },
            "key": {
                "algorithm": "ECDSA P-256",
                "public_key_sha256": _sha256(made.public_spki),
                "attributes": _fields(made.attributes),
                "destruction": {**_fields(made.destruction), "mechanism": DESTROYED_BY},
                "vendor_attestation": NO_ATTESTATION,
                "token": self._token,
            },
            "certificate": {
                "serial": made.issued.serial,
                "sha256": _sha256(made.issued.der),
                "issuer": made.issued.issuer,
                "profile": made.issued.profile,
                "not_before": timestamp(made.issued.not_before),
                "not_after": timestamp(made.issued.not_after),
            },
            "signature": {
                "algorithm": "ecdsa-with-SHA256",
                "signed_attributes_sha256": _sha256(made.signed_attributes),
                "value_sha256": _sha256(made.signature),
                "cms_sha256": _sha256(made.cms),
            },
            "attempt": self._attempt,
            "times": {**self._times, **{_MOMENTS[step]: timestamp(at) for step, at in made.times.items()}},
        }


def decode_record(stored: str) -> dict[str, Any]:
    """A stored record as values."""
    found: dict[str, Any] = json.loads(stored)
    return found


def position_in_log(session: Session, evidence_id: str) -> int | None:
    """The record's place in the public log; None while no published checkpoint covers it ("pending")."""
    position = session.scalar(
        select(Entry.position).join(Evidence, Evidence.entry_id == Entry.id).where(Evidence.id == evidence_id)
    )
    head = latest_published(session)
    return position if position is not None and head is not None and position < head.size else None


def _approval(activation: Activation) -> dict[str, Json]:
    return {
        "jti": activation.jti,
        "sad_sha256": activation.sad_sha256,
        "issuer": activation.issuer,
        "client": activation.client,
        "subject": activation.subject_ref,
        "kind": activation.kind,
        "session": activation.session,
        "idv": activation.idv,
        "acr": activation.acr,
        "amr": list(activation.amr),
        "auth_time": timestamp(activation.auth_time),
        "issued_at": timestamp(activation.issued_at),
        "expires_at": timestamp(activation.expires_at),
        "attestation": ATTESTED_BY_PROVIDER,
    }


def _fields(facts: Attributes | DestructionRecord) -> dict[str, Json]:
    """Fields by name; all are plain, so nothing needs a copy to its depth."""
    return {name: getattr(facts, name) for name in facts.__slots__}


def _sha256(data: bytes) -> str:
    return sha256(data).hexdigest()
