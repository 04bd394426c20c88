"""The population and tax register: asks whether a person's data agree (ACC-3).

POST <url>/check   Authorization: Bearer <token>
{"given_name", "family_name", "tax_number", "date_of_birth"}   ->   {"match": bool}
"""

import json

from tsp.core.errors import Unavailable
from tsp.core.outbound import Outbound
from tsp.idp.accounts.person import Person


class Register:
    """The adapter; the register says yes or no and nothing about anybody."""

    def __init__(self, url: str, token: str, outbound: Outbound, *, timeout: float = 10.0) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._outbound = outbound
        self._timeout = timeout

    def agrees(self, person: Person) -> bool:
        """Whether all four data are one person's. `Unavailable` where the register does not say."""
        answer = self._outbound.request(
            "POST",
            f"{self._url}/check",
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
            content=person.to_json(),
            timeout=self._timeout,
            max_bytes=64 * 1024,
        )
        if answer.status != 200:
            raise _unavailable(answer.status)
        try:
            match = json.loads(answer.body)["match"]
        except (ValueError, KeyError, TypeError):
            match = None
        if not isinstance(match, bool):
            raise _unavailable(answer.status)
        return match


def _unavailable(status: int) -> Unavailable:
    return Unavailable(
        "register-unavailable",
        "The register does not answer just now. Nothing was lost; please try again in a moment.",
        status=status,
    )
