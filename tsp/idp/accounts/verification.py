"""Verifications of identity: each is a fact with method, level and moment, kept with the evidence."""

from sqlalchemy.orm import Session

from tsp.core.clock import Clock
from tsp.core.randomness import Randomness, new_id
from tsp.idp.accounts import tables
from tsp.idp.accounts.assurance import DEFAULT, AssurancePolicy, Level, Proof
from tsp.idp.accounts.journal import Journal


class Verifications:
    """Adds verifications and says which one counts."""

    def __init__(
        self, clock: Clock, randomness: Randomness, journal: Journal, policy: AssurancePolicy = DEFAULT
    ) -> None:
        self.policy = policy
        self._clock = clock
        self._randomness = randomness
        self._journal = journal

    def add(self, session: Session, account_id: str, proof: Proof, reference: str | None = None) -> Level:
        """Writes down a verification in the caller's transaction; the level that the account has now.

        `reference` names what proved it (an identification key's row), never the person.
        """
        row = tables.IdentityVerification(
            id=new_id(self._randomness),
            account_id=account_id,
            method=proof,
            level=self.policy.proofing_level([proof]).word,
            reference=reference,
            at=self._clock.now(),
        )
        session.add(row)
        session.flush()
        payload = {"account": account_id, "verification": row.id, "method": proof.value, "level": row.level}
        self._journal(session, "identity-verified", payload | ({"reference": reference} if reference else {}))
        return self.best(session, account_id)[0]

    def best(self, session: Session, account_id: str) -> tuple[Level, str | None]:
        """The highest level that today's policy gives, and the latest verification that gives it."""
        best: tuple[Level, str | None] = (Level.LOW, None)
        for row in tables.verifications(session, account_id):
            level = self.policy.proofing_level([Proof(row.method)])
            if best[1] is None or level >= best[0]:
                best = (level, row.id)
        return best
