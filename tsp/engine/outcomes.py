"""What becomes of signatures that were made: certificate, signature, evidence and log entries, all or none.

Works in the caller's transaction. The statements are as many for a thousand signatures as for one:
rows that are only added go to the database in lists, past the session's bookkeeping (decision 0020).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, insert, select
from sqlalchemy.orm import Session

from hsm import TokenState
from tsp.audit.canonical import Json, canonical
from tsp.audit.entries import Writer, record_all
from tsp.audit.tables import Entry
from tsp.ca.authority import Authority
from tsp.ca.tables import Certificate
from tsp.core.database import table_of
from tsp.core.randomness import Randomness, new_id
from tsp.core.statements import Prepared
from tsp.engine import evidence
from tsp.engine.activation import Activation
from tsp.engine.approvals import Reservation
from tsp.engine.onetime import SignedOnce, Step
from tsp.engine.protocol import SignatureResult
from tsp.engine.tables import Evidence, Signature

_CERTIFICATES, _SIGNATURES, _EVIDENCE = (
    Prepared(insert(table), *(column.name for column in table.columns))
    for table in map(table_of, (Certificate, Signature, Evidence))
)
#: What may be told of a certificate later.
_EMPTY: dict[str, Any] = {column.name: None for column in table_of(Certificate).columns if column.nullable}


class Outcomes:
    """Writes outcomes down, in the name of one writer of the log."""

    def __init__(self, authority: Authority, writer: Writer, randomness: Randomness) -> None:
        self._authority = authority
        self._writer = writer
        self._randomness = randomness

    def store(
        self,
        connection: Connection,
        activation: Activation,
        held: Reservation,
        made: Sequence[SignedOnce],
        token: TokenState,
        moments: Mapping[str, datetime],
    ) -> list[SignatureResult]:
        """Stores one signature for each document of the approval, and answers with them in that order."""
        building = evidence.Records(activation, held, token, moments)
        records = []
        for document, one in zip(activation.documents, made, strict=True):
            values = building.build(new_id(self._randomness), document, one)
            octets = canonical(values)
            records.append((values, octets.decode(), sha256(octets).hexdigest()))
        facts: list[tuple[str, Mapping[str, Json]]] = []
        for one, (values, _, digest) in zip(made, records, strict=True):
            certificate: Any = values["certificate"]
            issued = {"certificate": one.issued.serial, "sha256": certificate["sha256"]}
            facts.append(("certificate-issued", issued))
            facts.append(("signature-made", {"evidence": values["id"], "sha256": digest}))
        entries = record_all(connection, writer=self._writer, facts=facts)[1::2]
        self._insert(connection, activation, made, records, [entry.id for entry in entries])
        return [
            SignatureResult(
                digest=document.digest_signed,
                cms=one.cms,
                certificate=one.issued.der,
                evidence_id=str(values["id"]),
                evidence=values,
                leaf=entry.leaf_hash.hex(),
            )
            for document, one, (values, _, _), entry in zip(activation.documents, made, records, entries, strict=True)
        ]

    def _insert(
        self,
        connection: Connection,
        activation: Activation,
        made: Sequence[SignedOnce],
        records: Sequence[tuple[dict[str, Json], str, str]],
        entry_ids: Sequence[int],
    ) -> None:
        signatures: list[dict[str, Any]] = [
            {
                "id": new_id(self._randomness),
                "jti": activation.jti,
                "ordinal": ordinal,
                "digest": document.digest_signed,
                "serial": one.issued.serial,
                "cms": one.cms,
                "signed_at": one.times[Step.SIGNED],
            }
            for ordinal, (document, one) in enumerate(zip(activation.documents, made, strict=True))
        ]
        certificates = (_EMPTY | self._authority.values(one.issued, activation.subject_ref) for one in made)
        _CERTIFICATES.execute(connection, *certificates)
        _SIGNATURES.execute(connection, *signatures)
        evidences = (
            {
                "id": values["id"],
                "signature_id": signature["id"],
                "record": text,
                "sha256": digest,
                "entry_id": entry_id,
            }
            for signature, (values, text, digest), entry_id in zip(signatures, records, entry_ids, strict=True)
        )
        _EVIDENCE.execute(connection, *evidences)


def stored(session: Session, jti: str) -> list[SignatureResult]:
    """The signatures that an approval was used up for."""
    found = session.execute(
        select(Signature, Certificate.der, Evidence, Entry.leaf_hash)
        .join(Certificate, Certificate.serial == Signature.serial)
        .join(Evidence, Evidence.signature_id == Signature.id)
        .join(Entry, Entry.id == Evidence.entry_id)
        .where(Signature.jti == jti)
        .order_by(Signature.ordinal)
    )
    return [
        SignatureResult(
            digest=signature.digest,
            cms=signature.cms,
            certificate=der,
            evidence_id=kept.id,
            evidence=evidence.decode_record(kept.record),
            leaf=leaf_hash.hex(),
        )
        for signature, der, kept, leaf_hash in found
    ]
