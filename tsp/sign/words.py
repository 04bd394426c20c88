"""What the pages say of kinds and of sessions that stopped; every value is a key of the catalogues."""

from typing import NamedTuple


class KindWords(NamedTuple):
    """A kind of signature: its name, and its legal effect in plain words."""

    name: str
    effect: str


KINDS = {
    "qualified": KindWords(
        "Qualified electronic signature",
        "Has the legal effect of a handwritten signature everywhere in the European Union.",
    ),
    "advanced-qualified": KindWords(
        "Advanced electronic signature with a qualified certificate",
        "Strong evidence of who signed, accepted by most public services. Not equal to a handwritten signature.",
    ),
    "advanced": KindWords(
        "Advanced electronic signature",
        "Evidence of who signed and that nothing was changed. Good for everyday agreements.",
    ),
}

PROBLEMS = {
    "approval-declined": "You did not approve the signature. Nothing was signed.",
    "approval-failed": "The approval did not succeed. Nothing was signed; please approve again.",
    "approval-expired": "The approval expired before the signature was made. Nothing was signed; please approve again.",
    "signing-refused": "The signature was refused for this approval. Nothing was signed; you can approve again.",
    "stamped-too-late": "The time-stamp came too late for this signature, so it cannot be used. Please approve again.",
    "result-not-valid": "The signature was made, but the finished file did not pass our own check, so it stays here. "
    "Please try again in a moment.",
    "unexpected": "Something went wrong on our side. Your approval is kept; please try again.",
}
#: For every other reason why a session waits: a service that is down.
WAITING = "A service that is needed here does not answer. Nothing was lost; please try again in a moment."
