"""The evidence package of one signature: one file that is verified without the platform (EVD-3).

It holds the record, the signature with its certificates, the entry of the log with its salt, and the
way from there to a checkpoint that witnesses have co-signed and an authority has time-stamped. Keys
of log and witnesses are in it as claims: who verifies brings those that they trust, or is told.
`verify_evidence` reads it.
"""

import base64
from collections.abc import Callable, Mapping, Sequence

from sqlalchemy.orm import Session

from tsp.audit import public, tables
from tsp.audit.canonical import Json, canonical
from tsp.audit.checkpoint import VerifierKey, read_note
from tsp.audit.cosignature import CosignerKey, cosignatures_of
from tsp.audit.tables import CheckpointStamp, TreeHead
from tsp.core.database import Database
from tsp.core.errors import NotFound

FORMAT = "enkrat-evidence-package-1"


class EvidencePackages:
    """Makes packages from the log in `database`; the keys of log and witnesses are asked for when they are needed."""

    def __init__(
        self,
        database: Database,
        log_key: Callable[[], VerifierKey],
        witnesses: Callable[[], Sequence[CosignerKey]] = list,
    ) -> None:
        self._database = database
        self._log_key = log_key
        self._witnesses = witnesses

    def build(self, leaf: str, record: Mapping[str, Json], cms: bytes) -> bytes:
        """The package of the signature whose log entry has this leaf hash (hex).

        `log` is missing while no published checkpoint covers the entry, `time_stamp` while none of
        those that do is stamped: the evidence is pending then. Raises `NotFound` (leaf-unknown).
        """
        with self._database.read() as session:
            entry = tables.entry_with_leaf(session, bytes.fromhex(leaf))
            if entry is None:
                raise NotFound("leaf-unknown", "The log has no entry with this fingerprint.")
            found: dict[str, Json] = {
                "format": FORMAT,
                "record": canonical(record).decode(),
                "signature": _b64(cms),
                "entry": {"content": entry.content, "salt": entry.salt.hex(), "leaf": entry.leaf.decode()},
            }
            head = _head_above(session, entry.position)
            if head is not None:
                found["log"] = self._proof(session, head, entry)
                stamp = session.get(CheckpointStamp, head.size)
                if stamp is not None:
                    found["time_stamp"] = _b64(stamp.token)
            return canonical(found)

    def _proof(self, session: Session, head: TreeHead, entry: tables.Entry) -> dict[str, Json]:
        found = public.inclusion_under(session, head, entry)
        note = read_note(found.note)
        # Only keys that are configured today are named, so only their lines go in.
        keys = self._witnesses()
        seen = cosignatures_of(note, keys)
        names = {one.witness for one in seen}
        return {
            "key": self._log_key().encode(),
            "witnesses": [key.encode() for key in keys if key.name in names],
            "index": found.index,
            "proof": [node.hex() for node in found.proof],
            "checkpoint": (head.note or "") + "".join(one.line for one in seen),
        }


def _head_above(session: Session, position: int | None) -> TreeHead | None:
    """The first stamped head that covers the position, else the newest published one that does."""
    if position is None:
        return None
    newest = tables.latest_published(session)
    return tables.anchored_above(session, position) or (newest if newest and newest.size > position else None)


def _b64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()
