"""The subject of a certificate as an operator writes it down: a small TOML file, strict like every reviewed file."""

from pathlib import Path
from typing import Self

from pydantic import model_validator

from tsp.ca.names import PersonName, ServiceName, SubjectName
from tsp.ca.tomlfile import Strict, read_toml


class PersonTable(Strict):
    """A natural person: names or a pseudonym, and the organisation that they act for, if any."""

    country: str
    serial_number: str
    given_name: str | None = None
    surname: str | None = None
    pseudonym: str | None = None
    common_name: str | None = None
    organisation: str | None = None
    organisation_identifier: str | None = None


class OrganisationTable(Strict):
    """A legal person, or a service or server of one."""

    country: str
    name: str
    identifier: str
    common_name: str


class SubjectFile(Strict):
    """Exactly one of the two; `host_names` for servers only."""

    person: PersonTable | None = None
    organisation: OrganisationTable | None = None
    host_names: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_subject(self) -> Self:
        if (self.person is None) == (self.organisation is None):
            raise ValueError("give either [person] or [organisation]")
        return self

    def subject(self) -> SubjectName:
        """The name; `Invalid` for what has no place in a certificate."""
        if self.person is not None:
            return PersonName(**self.person.model_dump())
        assert self.organisation is not None, "one of the two is there"
        own = self.organisation
        return ServiceName(own.country, own.name, own.identifier, own.common_name)


def read_subject(path: Path) -> SubjectFile:
    """Reads and checks the file; `Invalid` (subject-file-invalid) names the key."""
    return read_toml(path, SubjectFile, "subject-file-invalid")
