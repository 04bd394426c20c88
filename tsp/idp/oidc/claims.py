"""Which claims there are, which scopes ask for them, and their values for one person.

Names follow OpenID Connect Core 5.1; `tax_number` is our own. What a service gets is what it asked
for, is configured for, and the person allowed: nothing else (LOG-4).
"""

from collections.abc import Iterable, Mapping

from sqlalchemy.orm import Session

from tsp.idp.accounts.service import Accounts, Identity

#: Claim -> what the consent page calls it (msgid).
CLAIMS: Mapping[str, str] = {
    "name": "Name and surname",
    "given_name": "Name",
    "family_name": "Surname",
    "birthdate": "Date of birth",
    "tax_number": "Tax number",
    "email": "E-mail",
    "email_verified": "That the e-mail address is yours",
}
#: Scope -> the claims it asks for (OpenID Connect Core, 5.4).
SCOPES: Mapping[str, tuple[str, ...]] = {
    "openid": (),
    "profile": ("name", "given_name", "family_name", "birthdate"),
    "email": ("email", "email_verified"),
    "tax_number": ("tax_number",),
}
#: Claims that only an account with confirmed personal data can give.
FROM_IDENTITY = frozenset({"name", "given_name", "family_name", "birthdate", "tax_number"})
FROM_ADDRESS = frozenset({"email", "email_verified"})

ClaimValues = dict[str, str | bool]


def person_claims(accounts: Accounts, session: Session, account_id: str, names: Iterable[str]) -> ClaimValues:
    """The values of the named claims for this account; a claim without a value is left out."""
    wanted = set(names)
    known: ClaimValues = {}
    if wanted & FROM_IDENTITY:
        identity = accounts.identity(session, account_id)
        known |= _identity_claims(identity) if identity else {}
    if wanted & FROM_ADDRESS:
        known |= {"email": accounts.notification_address(session, account_id), "email_verified": True}
    return {name: value for name, value in known.items() if name in wanted}


def _identity_claims(identity: Identity) -> ClaimValues:
    return {
        "name": f"{identity.given_name} {identity.family_name}",
        "given_name": identity.given_name,
        "family_name": identity.family_name,
        "birthdate": identity.date_of_birth.isoformat(),
        "tax_number": identity.tax_number,
    }
