"""The words of codes sent to a phone, and what the codes are bound to. Pure."""

import hashlib
import json

from tsp.idp.login.tables import LoginTransaction
from tsp.idp.oidc.clients import Client
from tsp.idp.oidc.details import SignatureDetails
from tsp.web.filters import short_digest
from tsp.web.language import Languages

#: What the kinds of signature are called (msgids).
KIND_NAMES = {
    "advanced": "Advanced electronic signature",
    "advanced-qualified": "Advanced electronic signature with a qualified certificate",
    "qualified": "Qualified electronic signature",
}
_LABEL_IN_SMS = 60


def login_text(languages: Languages, language: str, *, code: str, site: str, client: Client) -> str:
    """The SMS of a login."""
    return languages.text(
        language,
        "%(site)s: %(code)s is the one-time password for signing in to %(service)s. Tell it to nobody.",
        site=site,
        code=code,
        service=client.name(language),
    )


def approval_text(
    languages: Languages, language: str, *, code: str, site: str, client: Client, details: SignatureDetails
) -> str:
    """The SMS of an approval: kind, service, document and digest in the words of the page."""
    first = details.documents[0]
    more = len(details.documents) - 1
    document = shorten(first.label, _LABEL_IN_SMS)
    if more:
        document = languages.plural(
            language,
            "%(document)s and %(num)s more document",
            "%(document)s and %(num)s more documents",
            more,
            document=document,
        )
    return languages.text(
        language,
        "%(site)s: %(code)s approves %(kind)s for %(service)s: %(document)s, digest %(digest)s. "
        "If you did not ask for this, do not use the code.",
        site=site,
        code=code,
        kind=_inside(languages.text(language, KIND_NAMES[details.kind])),
        service=client.name(language),
        document=document,
        digest=short_digest(list_digest(details)),
    )


def list_digest(details: SignatureDetails) -> str:
    """What stands for all documents: the digest of the one, or SHA-256 over the digests in their order."""
    digests = [document.digest_shown for document in details.documents]
    return digests[0] if len(digests) == 1 else hashlib.sha256(bytes.fromhex("".join(digests))).hexdigest()


def login_context(row: LoginTransaction) -> bytes:
    """What a login code is bound to: this try at this login of this account, at this service."""
    return "\0".join((row.id, row.client_id, row.account_id or "", row.deadline.isoformat())).encode()


def approval_context(details: SignatureDetails, *, login_id: str, account_id: str, client_id: str) -> bytes:
    """SHA-256 over all that an approval approves: a code for it is good for nothing else."""
    whole = {
        "account": account_id,
        "client": client_id,
        "login": login_id,
        "signature": details.model_dump(mode="json"),
    }
    canonical = json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).digest()


def shorten(label: str, length: int) -> str:
    """The label with its middle left out where it is longer than `length`; start and ending stay."""
    if len(label) <= length:
        return label
    tail = length // 3
    return f"{label[: length - tail - 1].rstrip()}…{label[-tail:].lstrip()}"


def _inside(name: str) -> str:
    """A name as it stands inside a sentence."""
    return name[:1].lower() + name[1:]
