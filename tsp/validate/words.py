"""The sentences of a report, in English; they are the keys of the catalogues."""

#: By sub-indication; the empty one is that of TOTAL-PASSED.
EXPLANATIONS = {
    "": "The signature is valid.",
    "FORMAT_FAILURE": "The signature or the document around it does not have the form that the standard asks for.",
    "HASH_FAILURE": "The document was changed after it was signed.",
    "SIG_CRYPTO_FAILURE": "The signature value does not belong to the signing certificate.",
    "REVOKED": "The signature was made after the certificate had been revoked.",
    "EXPIRED": "The signature was made after the certificate had expired.",
    "NOT_YET_VALID": "The signature was made before the certificate became valid.",
    "SIG_CONSTRAINTS_FAILURE": "The signature lacks something that is required here.",
    "CHAIN_CONSTRAINTS_FAILURE": "The certificate was not issued for signing documents.",
    "CERTIFICATE_CHAIN_GENERAL_FAILURE": "The chain of certificates of the signer is not valid.",
    "CRYPTO_CONSTRAINTS_FAILURE": "The signature uses an algorithm or a key length that is no longer secure.",
    "POLICY_PROCESSING_ERROR": "The rules for this validation could not be applied.",
    "SIGNATURE_POLICY_NOT_AVAILABLE": "The signature names a signature policy that is not known here.",
    "TIMESTAMP_ORDER_FAILURE": "The time-stamps of the signature contradict each other.",
    "NO_SIGNING_CERTIFICATE_FOUND": "The signature does not name the certificate that it was made with.",
    "NO_CERTIFICATE_CHAIN_FOUND": "The issuer of the certificate is not among those that are trusted here.",
    "NO_CERTIFICATE_CHAIN_FOUND_NO_POE": "The issuer of the certificate is no longer trusted here.",
    "REVOKED_NO_POE": "The certificate is revoked, and nothing proves that the signature was made before.",
    "REVOKED_CA_NO_POE": "The issuer's certificate is revoked, and nothing proves that the signature was made before.",
    "OUT_OF_BOUNDS_NOT_REVOKED": "The certificate is not valid at this time, and it was not revoked.",
    "OUT_OF_BOUNDS_NO_POE": (
        "The certificate is not valid at this time, and no time-stamp proves that the signature was made while it was."
    ),
    "REVOCATION_OUT_OF_BOUNDS_NO_POE": "The status information of the certificate can no longer be checked.",
    "CRYPTO_CONSTRAINTS_FAILURE_NO_POE": (
        "The signature uses an algorithm that is no longer secure, and nothing proves that it was made in time."
    ),
    "NO_POE": "Nothing proves when the signature was made.",
    "TRY_LATER": "The document does not say of every certificate whether it is revoked, so this stays open.",
    "SIGNED_DATA_NOT_FOUND": "What was signed is not in the document.",
}

INDICATIONS = {
    "TOTAL-PASSED": "Valid",
    "TOTAL-FAILED": "Not valid",
    "INDETERMINATE": "Cannot be decided",
}

LEVELS = {
    "not-baseline": "not a PAdES baseline signature",
    "B-B": "PAdES B-B (without a time-stamp)",
    "B-T": "PAdES B-T (with a time-stamp)",
    "B-LT": "PAdES B-LT (with everything for long-term validation)",
    "B-LTA": "PAdES B-LTA (with an archive time-stamp)",
}

CHANGES = {
    "none": "The signature covers the whole file.",
    "validation-data": "Only validation data or time-stamps were added afterwards.",
    "form-and-signatures": "Form fields were filled in or further signatures were added afterwards, which is allowed.",
    "annotations": "Comments were added afterwards, which is allowed.",
    "unclear": "The document was changed afterwards, and whether that is allowed cannot be judged here.",
    "not-allowed": "The document was changed afterwards in a way that is not allowed.",
}

STATUSES = {
    "good": "not revoked",
    "revoked": "revoked",
    "unknown": "status unknown",
    "not-needed": "short-term certificate, cannot be revoked",
    "trust-anchor": "trusted here",
}

CERTIFICATES = {
    "plain": "The certificate does not say that it is qualified.",
    "qualified": "The certificate says that it is a qualified certificate for electronic signature.",
    "qualified-qscd": (
        "The certificate says that it is a qualified certificate for electronic signature "
        "and that its key was in a qualified device (QSCD)."
    ),
    "seal": "The certificate says that it is a qualified certificate for electronic seal.",
    "seal-qscd": (
        "The certificate says that it is a qualified certificate for electronic seal "
        "and that its key was in a qualified device (QSCD)."
    ),
}
