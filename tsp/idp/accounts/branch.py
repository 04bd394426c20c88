"""What a branch of a service may do: give an identification key to a person whose document was checked."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.core.randomness import Randomness, new_code, new_id
from tsp.core.sealing import Sealer
from tsp.idp.accounts import tables
from tsp.idp.accounts.journal import Journal
from tsp.idp.accounts.person import Person, read_person
from tsp.idp.credentials.codes import typed_code
from tsp.idp.credentials.keys import Index

#: 12 of 31 characters: 59 bits, three groups of four.
KEY_LENGTH = 12


class Document(BaseModel):
    """The identity document that the officer held in hand."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    kind: Literal["identity-card", "passport", "residence-permit"]
    number: str = Field(min_length=3, max_length=40)


class KeyRequest(BaseModel):
    """What the branch says about the person in front of the officer. `date_of_birth` is an ISO date."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    given_name: str = Field(max_length=200)
    family_name: str = Field(max_length=200)
    tax_number: str = Field(max_length=40)
    date_of_birth: str = Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")
    document: Document
    officer: str = Field(min_length=1, max_length=100)


@dataclass(frozen=True)
class IssuedKey:
    """A key in the form in which it is handed over, XXXX-XXXX-XXXX: the only time that anyone sees it."""

    key: str
    expires_at: datetime


class Branch:
    """Gives identification keys; each is good for one use within `days`."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        randomness: Randomness,
        index: Index,
        sealer: Sealer,
        journal: Journal,
        days: int = 30,
    ) -> None:
        self._database = database
        self._clock = clock
        self._randomness = randomness
        self._index = index
        self._sealer = sealer
        self._journal = journal
        self._valid_for = timedelta(days=days)

    def issue(self, organisation_id: str, wanted: KeyRequest) -> IssuedKey:
        """A fresh key for this person, on the word of the organisation's officer.

        Raises `Invalid` with the field in its code (given_name-invalid, tax_number-invalid, …).
        """
        now = self._clock.now()
        person = read_person(wanted.given_name, wanted.family_name, wanted.tax_number, wanted.date_of_birth, now.date())
        key = new_code(self._randomness, KEY_LENGTH)
        with self._database.write() as session:
            expires = self._store(session, organisation_id, person, wanted, key, now)
        return IssuedKey("-".join(key[i : i + 4] for i in range(0, KEY_LENGTH, 4)), expires)

    def _store(
        self, session: Session, organisation_id: str, person: Person, wanted: KeyRequest, key: str, now: datetime
    ) -> datetime:
        key_id = new_id(self._randomness)
        content = {"person": json.loads(person.to_json()), "document": wanted.document.model_dump()}
        expires = now + self._valid_for
        session.add(
            tables.IdentificationKey(
                id=key_id,
                mac=key_index(self._index, key),
                sealed=self._sealer.seal(json.dumps(content, ensure_ascii=False).encode(), _context(key_id)),
                organisation=organisation_id,
                officer=wanted.officer,
                issued=now,
                expires=expires,
                used=None,
            )
        )
        session.flush()
        self._journal(session, "identification-key-issued", {"key": key_id, "organisation": organisation_id})
        return expires


def key_index(index: Index, typed: str) -> str:
    """The HMAC under which a key is kept; case, spaces and hyphens are forgiven."""
    return index.of("identification-key", typed_code(typed).upper()[:64])


def key_person(sealer: Sealer, row: tables.IdentificationKey) -> Person:
    """The person whom the branch confirmed."""
    content = json.loads(sealer.open(row.sealed, _context(row.id)))
    return Person.from_json(json.dumps(content["person"]).encode())


def _context(key_id: str) -> str:
    return f"identification_key.sealed/{key_id}"
