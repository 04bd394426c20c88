"""The registration officer's interface for machines: revocation on the word of an organisation's officer.

    POST /branch/revocations      Authorization: Bearer <access token>
    {"serial", "reason", "officer", "evidence"}
    200 {"serial", "status": "revoked" | "revoked-already", "revoked_at": "2026-11-23T10:00:00Z", "reason"}

`officer` and `evidence` are references: who it was, and where the proof of the request is kept. Both stand in the
log. A second request changes nothing and says so. Errors are those of the branch's interface.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tsp.ca.revocation import Requester, Revocation, Revocations, reference, typed_serial
from tsp.core.database import Database
from tsp.core.errors import Refused, TspError, http_status
from tsp.idp.accounts.http import Authenticate, error_answer, read_body, read_model, refusal

PATH = "/branch/revocations"


class RevocationRequest(BaseModel):
    """What an officer says. `serial` in hexadecimal digits, as people copy it."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    serial: str = Field(min_length=1, max_length=80)
    reason: str = Field(min_length=1, max_length=40)
    officer: str = Field(min_length=1, max_length=100)
    evidence: str = Field(min_length=1, max_length=100)


class OfficersRevocation:
    """Revokes certificates of people on the word of an organisation that may identify them."""

    def __init__(self, database: Database, revocations: Revocations) -> None:
        self._database = database
        self._revocations = revocations

    def revoke(self, organisation: str, asked: RevocationRequest) -> Revocation:
        """Revokes a person's certificate, or says that it is revoked already.

        Raises `Invalid` (serial-malformed, officer-invalid, evidence-invalid, revocation-reason-unknown), `Refused`
        (revocation-reason-refused, certificate-suspension-refused, certificate-not-revocable), `NotFound`
        (certificate-unknown, also for the provider's own), `Conflict` (certificate-expired).
        """
        requester = Requester(
            "officer", reference(asked.officer, "officer"), organisation, reference(asked.evidence, "evidence")
        )
        with self._database.write() as session:
            return self._revocations.revoke(
                session, typed_serial(asked.serial), asked.reason, requester, persons_only=True
            )


def officer_routes(officers: OfficersRevocation, authenticate: Authenticate) -> list[Route]:
    """The routes of the officer's interface."""

    async def revoke(request: Request) -> Response:
        try:
            organisation = await run_in_threadpool(authenticate, request)
        except Refused as error:
            return refusal(error)
        try:
            asked = read_model(await read_body(request), RevocationRequest)
            done = await run_in_threadpool(officers.revoke, organisation, asked)
        except TspError as error:
            return error_answer(error, http_status(error), {})
        return JSONResponse(_told(done), 200, headers={"Cache-Control": "no-store"})

    return [Route(PATH, revoke, methods=["POST"])]


def _told(done: Revocation) -> dict[str, str]:
    status: Literal["revoked", "revoked-already"] = "revoked-already" if done.already else "revoked"
    return {
        "serial": done.serial,
        "status": status,
        "revoked_at": done.revoked_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "reason": done.reason,
    }
