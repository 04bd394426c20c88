"""The PUK: letters and digits, shown once, acknowledged with a tick, kept as HMAC (REG-3).

Eight characters are about 40 bits, less than recovery codes should have; so a PUK is never enough
alone (an e-mailed code stands beside it), five wrong tries bring growing pauses, and it is replaced
after use. The length is a setting.
"""

import hmac

from sqlalchemy import delete
from sqlalchemy.orm import Session

from tsp.core.clock import Clock
from tsp.core.randomness import Randomness, new_code
from tsp.idp.credentials.codes import typed_code
from tsp.idp.credentials.gate import Attempt, Gate
from tsp.idp.credentials.keys import Mac, TokenMac, framed
from tsp.idp.credentials.tables import PukRow

_LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ"
_DIGITS = "23456789"


class Puks:
    """Makes, stores and checks PUKs."""

    def __init__(self, hmac_key: Mac, gate: Gate, clock: Clock, randomness: Randomness, length: int = 8) -> None:
        self.length = length
        self._key = TokenMac(hmac_key)
        self._gate = gate
        self._clock = clock
        self._randomness = randomness

    def new(self) -> str:
        """A PUK with at least one letter and one digit, none of which people mix up."""
        while True:
            puk = new_code(self._randomness, self.length, _LETTERS + _DIGITS)
            if any(c in _LETTERS for c in puk) and any(c in _DIGITS for c in puk):
                return puk

    def set(self, session: Session, account_id: str, puk: str) -> None:
        """Stores the acknowledged PUK in the caller's transaction; the one before it is void."""
        session.execute(delete(PukRow).where(PukRow.account_id == account_id))
        session.add(PukRow(account_id=account_id, mac=self._mac(account_id, puk), acknowledged=self._clock.now()))
        session.flush()

    def has(self, session: Session, account_id: str) -> bool:
        """Whether the account has an active PUK."""
        return session.get(PukRow, account_id) is not None

    def check(self, session: Session, attempt: Attempt, account_id: str, puk: str) -> bool:
        """Whether this is the PUK. `attempt` is the gate's, for `Factor.PUK` and the account.

        A right one stays until `set` or `forget`: the caller replaces it in the same transaction, which
        others wait for, so that a PUK is used once.
        """
        row = session.get(PukRow, account_id, with_for_update=True)
        mac = self._mac(account_id, typed_code(puk).upper())
        right = hmac.compare_digest(mac, row.mac if row else bytes(32)) and row is not None
        if right:
            self._gate.passed(session, attempt)
        return right

    def forget(self, session: Session, account_id: str) -> None:
        """Takes the PUK away: after use, or with the account."""
        session.execute(delete(PukRow).where(PukRow.account_id == account_id))

    def _mac(self, account_id: str, puk: str) -> bytes:
        return self._key.mac(framed("puk", account_id, puk))
