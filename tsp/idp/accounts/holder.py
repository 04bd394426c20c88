"""Whose name a certificate for logins may bear: the proven person behind an account (EN 319 411-1 REG-6.2.2).

For the operator's command alone, which opens the token of the identity provider for it; no role calls this.
"""

from sqlalchemy.orm import Session

from tsp.core.errors import NotFound, Refused
from tsp.core.sealing import Sealer
from tsp.idp.accounts import tables
from tsp.idp.accounts.assurance import AssurancePolicy, Level, Proof
from tsp.idp.accounts.person import stored_person
from tsp.idp.accounts.service import COUNTRY, Identity
from tsp.idp.credentials.keys import Mac, TokenMac


def certifiable(
    session: Session, sealer: Sealer, serial_key: Mac, policy: AssurancePolicy, account_id: str
) -> Identity:
    """The person of an active account whose identity is proven at level substantial or better.

    Raises `NotFound` (account-unknown), `Refused` (account-not-active, identity-not-proven). Sees the token.
    """
    account = session.get(tables.Account, account_id)
    if account is None:
        raise NotFound("account-unknown", "There is no such account.")
    if account.state != tables.AccountState.ACTIVE:
        raise Refused("account-not-active", "The account is blocked or ended; it gets no certificates.")
    proofs = [Proof(row.method) for row in tables.verifications(session, account_id)]
    person = stored_person(session, sealer, account_id)
    if person is None or policy.proofing_level(proofs) < Level.SUBSTANTIAL:
        raise Refused("identity-not-proven", "The holder of the account has to prove their identity first.")
    return Identity(
        given_name=person.given_name,
        family_name=person.family_name,
        country=COUNTRY,
        serial_number=person.serial_number(TokenMac(serial_key)),
        tax_number=person.tax_number,
        date_of_birth=person.date_of_birth,
    )
