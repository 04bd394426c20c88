"""What reasons and kinds of certificates are called for people."""

from collections.abc import Mapping
from typing import Final


def _(msgid: str) -> str:
    """Marks a sentence of the catalogues; it is translated where it is used."""
    return msgid


#: A reason of RFC 5280, 5.3.1 in the words of a person. What a subject may choose stands in `REASONS_OF`.
REASONS: Final[Mapping[str, str]] = {
    "keyCompromise": _("Somebody else may be able to use the key"),
    "affiliationChanged": _("My data or my organisation have changed"),
    "superseded": _("I have a new certificate in its place"),
    "cessationOfOperation": _("I do not need the certificate any more"),
    "unspecified": _("I do not want to give a reason"),
}
#: The same as a message tells it, from whomever it came.
REASONS_TOLD: Final[Mapping[str, str]] = {
    "keyCompromise": _("the key may be known to others"),
    "cACompromise": _("the issuer's key may be known to others"),
    "affiliationChanged": _("data of the holder have changed"),
    "superseded": _("a new certificate takes its place"),
    "cessationOfOperation": _("it is not needed any more"),
    "privilegeWithdrawn": _("the right to it has ended"),
    "unspecified": _("no reason was given"),
}
#: Kinds by the name of their profile.
KINDS: Final[Mapping[str, str]] = {
    "advanced": _("Signature, once"),
    "advanced-qualified": _("Signature with a qualified certificate, once"),
    "qualified": _("Qualified signature, once"),
    "authentication": _("Signing in with a certificate"),
    "advanced-seal": _("Seal"),
    "advanced-qualified-seal": _("Seal with a qualified certificate"),
    "qualified-seal": _("Qualified seal"),
    "operator": _("Operator of the platform"),
}
OTHER_KIND: Final = _("Certificate")
