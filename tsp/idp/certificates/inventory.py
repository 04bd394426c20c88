"""The inventory of certificates for machines of auditors and operators.

    GET /inventory/certificates?state=revoked&since=2026-11-01      Authorization: Bearer <access token>
    200 {"certificates": [{"serial", "subject", "profile", "issuer", "state", "not_before", "not_after", "issued_at",
                           "revoked_at", "reason", "holder"}], "after": "cursor of the next page, or empty"}
    GET /inventory/certificates/<serial>
    200 the same of one certificate, with "pem"

Parameters are those of `tsp certificate list`: subject, serial, profile, issuer, holder, state, since, until,
valid_at, after, limit. The token needs the scope `inventory`. Every look is an entry of the log: who asked, by what,
and how many were found. Errors are those of the branch's interface.
"""

from collections.abc import Mapping
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tsp.ca.inventory import Question, State, described, find, read_moment, search
from tsp.ca.store import to_pem
from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.core.errors import Invalid, Refused, TspError, http_status
from tsp.idp.accounts.http import Authenticate, error_answer, refusal
from tsp.idp.accounts.journal import Journal

PATH: Final = "/inventory/certificates"
_KNOWN: Final = frozenset(
    {"subject", "serial", "profile", "issuer", "holder", "state", "since", "until", "valid_at", "after", "limit"}
)


class Inventory:
    """Answers questions for an organisation, and writes down that it asked."""

    def __init__(self, database: Database, clock: Clock, journal: Journal) -> None:
        self._database = database
        self._clock = clock
        self._journal = journal

    def search(self, organisation: str, asked: Mapping[str, str]) -> dict[str, Any]:
        """One page. Raises `Invalid` for a question that is not understood, as `inventory.search` does."""
        question, now = read_question(asked), self._clock.now()
        with self._database.write() as session:
            page = search(session, question, now, after=asked.get("after", ""), limit=_limit(asked.get("limit", "50")))
            told = [described(one, now) for one in page.certificates]
            facts = {"organisation": organisation, "by": " ".join(sorted(asked)), "found": str(len(told))}
            self._journal(session, "inventory-searched", facts)
        return {"certificates": told, "after": page.after}

    def show(self, organisation: str, serial: str) -> dict[str, Any]:
        """One certificate. Raises `Invalid` (serial-malformed), `NotFound` (certificate-unknown)."""
        with self._database.write() as session:
            row = find(session, serial)
            self._journal(session, "inventory-read", {"organisation": organisation, "certificate": row.serial})
            return {**described(row, self._clock.now()), "pem": to_pem(row.der).decode()}


def read_question(asked: Mapping[str, str]) -> Question:
    """Parameters as a question; `Invalid` (parameter-unknown, state-unknown, moment-malformed)."""
    unknown = sorted(set(asked) - _KNOWN)
    if unknown:
        raise Invalid("parameter-unknown", f"There is no such parameter; known are {', '.join(sorted(_KNOWN))}.")
    states = {state.value: state for state in State}
    if asked.get("state", "valid") not in states:
        raise Invalid("state-unknown", f"A state is one of {', '.join(states)}.")
    holder = asked.get("holder")
    return Question(
        subject=asked.get("subject"),
        serial=asked.get("serial"),
        profile=asked.get("profile"),
        issuer=asked.get("issuer"),
        since=read_moment(asked.get("since")),
        until=read_moment(asked.get("until")),
        valid_at=read_moment(asked.get("valid_at")),
        holders=None if holder is None else [holder],
        state=states.get(asked.get("state", "")),
    )


def inventory_routes(inventory: Inventory, authenticate: Authenticate) -> list[Route]:
    """The routes of the inventory."""

    def answered(request: Request) -> Response:
        try:
            organisation = authenticate(request)
        except Refused as error:
            return refusal(error)
        try:
            serial = request.path_params.get("serial")
            if serial is not None:
                told = inventory.show(organisation, serial)
            else:
                told = inventory.search(organisation, _once(request))
        except TspError as error:
            return error_answer(error, http_status(error), {})
        return JSONResponse(told, headers={"Cache-Control": "no-store"})

    async def answer(request: Request) -> Response:
        return await run_in_threadpool(answered, request)

    return [Route(PATH, answer), Route(f"{PATH}/{{serial}}", answer)]


def _once(request: Request) -> dict[str, str]:
    pairs = request.query_params.multi_items()
    asked = dict(pairs)
    if len(asked) != len(pairs):
        raise Invalid("parameter-twice", "Give each parameter once.")
    return asked


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 6:
        raise Invalid("page-size-unfit", "The limit is a number.")
    return int(text)
