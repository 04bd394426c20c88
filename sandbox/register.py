"""The population and tax register: says whether a person's data agree, and nothing else.

`POST /check {given_name, family_name, tax_number, date_of_birth}` with the bearer token answers
`{"match": bool}`. `POST /api/persons` adds a made-up person; `/` shows them all and has a form.
The persons live in a JSON file.
"""

import json
import unicodedata
from pathlib import Path
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from sandbox.clock import Clock
from sandbox.fields import IsoDate, TaxNumber, Text
from sandbox.instance import write_file
from sandbox.outage import Outage
from sandbox.people import make_person
from sandbox.randomness import Randomness
from sandbox.settings import ConfigurationError, Limits
from sandbox.web import Problem, application, invalid_fields, read_form, read_json, render, require_bearer


class Entry(BaseModel):
    """What the register holds of one person."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    given_name: Text
    family_name: Text
    tax_number: TaxNumber
    date_of_birth: IsoDate

    def agrees_with(self, other: "Entry") -> bool:
        """The same person, whatever the case, the blanks and the Unicode form of the names."""
        return (
            self.tax_number == other.tax_number
            and self.date_of_birth == other.date_of_birth
            and _comparable(self.given_name) == _comparable(other.given_name)
            and _comparable(self.family_name) == _comparable(other.family_name)
        )


class Register:
    """All entries by tax number, written to `file` at every change."""

    def __init__(self, file: Path, clock: Clock, randomness: Randomness, limits: Limits) -> None:
        self.limits = limits
        self.outage = Outage(clock)
        self._file = file
        self._clock = clock
        self._randomness = randomness
        self._entries = _read(file)

    def check(self, asked: Entry) -> bool:
        """Whether an entry agrees in all four data."""
        known = self._entries.get(asked.tax_number)
        return known is not None and known.agrees_with(asked)

    def add(self, entry: Entry) -> bool:
        """True for a new entry, False for one that is there already.

        `Problem` 409 where the tax number is another person's or the register is full.
        """
        known = self._entries.get(entry.tax_number)
        if known is not None:
            if not known.agrees_with(entry):
                raise Problem(409, "tax-number-taken", "This tax number is another person's.")
            return False
        if len(self._entries) >= self.limits.persons:
            raise Problem(409, "register-full", f"The register holds {self.limits.persons} persons already.")
        self._entries[entry.tax_number] = entry
        self._write()
        return True

    def make_up(self) -> Entry:
        """Adds a person drawn at random."""
        entry = Entry.model_validate(make_person(self._randomness, self._clock).as_json())
        return entry if self.add(entry) else self.make_up()

    def entries(self) -> list[Entry]:
        """The newest first."""
        return list(reversed(self._entries.values()))

    def _write(self) -> None:
        persons = [entry.model_dump() for entry in self._entries.values()]
        write_file(self._file, json.dumps({"persons": persons}, ensure_ascii=False, indent=1).encode(), mode=0o600)


def register_app(register: Register, token: str, branch: str = "") -> Starlette:
    """The register's interface for the platform, for the person maker and for people.

    `branch` is the origin of the branch office: the page leads there with a person's data filled in.
    """

    async def check(request: Request) -> Response:
        require_bearer(request, token)
        if register.outage.turns_away():
            raise Problem(503, "register-down", "The register is down; try again later.")
        return JSONResponse({"match": register.check(await read_json(request, Entry, register.limits.body_bytes))})

    async def persons(request: Request) -> Response:
        if request.method == "GET":
            return JSONResponse([entry.model_dump() for entry in register.entries()])
        entry = await read_json(request, Entry, register.limits.body_bytes)
        new = register.add(entry)
        return JSONResponse(entry.model_dump(), 201 if new else 200)

    async def page(request: Request) -> Response:
        return _page(request, register, branch, {})

    async def add(request: Request) -> Response:
        fields = await read_form(request, register.limits.body_bytes)
        try:
            register.add(Entry.model_validate(fields))
        except ValidationError as error:
            return _page(request, register, branch, fields, wrong=invalid_fields(error), status=400)
        except Problem as problem:
            return _page(request, register, branch, fields, error=problem.message, status=problem.status)
        return RedirectResponse("/", 303)

    async def make_up(_request: Request) -> Response:
        register.make_up()
        return RedirectResponse("/", 303)

    return application(
        [
            Route("/", page),
            Route("/persons", add, methods=["POST"]),
            Route("/persons/made-up", make_up, methods=["POST"]),
            Route("/check", check, methods=["POST"]),
            Route("/api/persons", persons, methods=["GET", "POST"]),
            register.outage.route(),
        ]
    )


def _page(
    request: Request,
    register: Register,
    branch: str,
    fields: dict[str, str],
    *,
    error: str = "",
    wrong: set[str] | None = None,
    status: int = 200,
) -> Response:
    context = {
        "entries": [(entry, urlencode(entry.model_dump())) for entry in register.entries()],
        "branch": branch,
        "fields": fields,
        "error": error,
        "wrong": wrong or set(),
        "down": register.outage.active,
    }
    return render(request, "register.html", context, status)


def _comparable(name: str) -> str:
    return " ".join(unicodedata.normalize("NFC", name).casefold().split())


def _read(file: Path) -> dict[str, Entry]:
    if not file.exists():
        return {}
    try:
        persons = json.loads(file.read_text(encoding="utf-8"))["persons"]
        entries = [Entry.model_validate(person) for person in persons]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{file} is not a register ({type(error).__name__}): mend or remove it") from None
    return {entry.tax_number: entry for entry in entries}
