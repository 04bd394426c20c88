"""The branch office: an officer checks a person's document and hands over an identification key.

`/` is the officer's page (data in its query fill the form in); `POST /api/identification-keys` takes
the same data as JSON for the person maker and answers `{key, expires_at}` as the platform gave it.
"""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.fields import IsoDate, TaxNumber, Text
from sandbox.oauth import BranchClient
from sandbox.settings import Limits
from sandbox.web import Problem, application, invalid_fields, read_form, read_json, render

DOCUMENT_KINDS = {
    "identity-card": "Identity card",
    "passport": "Passport",
    "residence-permit": "Residence permit",
}


class Document(BaseModel):
    """The document that the officer held in hand."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    kind: Literal["identity-card", "passport", "residence-permit"]
    number: Text


class Applicant(BaseModel):
    """A person at the counter, and the officer who saw them."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    given_name: Text
    family_name: Text
    tax_number: TaxNumber
    date_of_birth: IsoDate
    document: Document
    officer: Text


@dataclass(frozen=True)
class Branch:
    """One office with its name and its way to the platform."""

    name: str
    client: BranchClient
    limits: Limits

    async def hand_out(self, applicant: Applicant) -> dict[str, Any]:
        """A fresh identification key for this person; `Problem` says why there is none."""
        return await self.client.identification_key(applicant.model_dump())


def branch_app(branch: Branch) -> Starlette:
    """The officer's page and the JSON interface."""

    async def keys(request: Request) -> Response:
        applicant = await read_json(request, Applicant, branch.limits.body_bytes)
        return JSONResponse(await branch.hand_out(applicant), 201)

    async def page(request: Request) -> Response:
        if request.method == "GET":
            return _page(request, branch, dict(request.query_params))
        fields = await read_form(request, branch.limits.body_bytes)
        try:
            applicant = _applicant(fields)
            return _page(request, branch, fields, issued=await branch.hand_out(applicant))
        except ValidationError as error:
            return _page(request, branch, fields, wrong=invalid_fields(error), status=400)
        except Problem as problem:
            return _page(request, branch, fields, error=problem.message, status=problem.status)

    return application(
        [
            Route("/", page, methods=["GET", "POST"]),
            Route("/api/identification-keys", keys, methods=["POST"]),
        ]
    )


def _applicant(fields: dict[str, str]) -> Applicant:
    if fields.get("document_checked") != "yes":
        raise Problem(400, "document-unchecked", "Confirm that you have checked the document.")
    names = ("given_name", "family_name", "tax_number", "date_of_birth", "officer")
    document = {"kind": fields.get("document_kind", ""), "number": fields.get("document_number", "")}
    return Applicant.model_validate({**{name: fields.get(name, "") for name in names}, "document": document})


def _page(
    request: Request,
    branch: Branch,
    fields: dict[str, str],
    *,
    issued: dict[str, Any] | None = None,
    error: str = "",
    wrong: set[str] | None = None,
    status: int = 200,
) -> Response:
    context = {
        "branch": branch.name,
        "fields": fields,
        "kinds": DOCUMENT_KINDS,
        "issued": issued,
        "error": error,
        "wrong": wrong or set(),
    }
    return render(request, "branch.html", context, status)
