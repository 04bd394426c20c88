"""The kinds of key pair that the platform makes."""

from enum import Enum


class KeySpec(Enum):
    """ECDSA on the NIST curves (FIPS 186-5) and pure Ed25519 (RFC 8032)."""

    P256 = "P-256"
    P384 = "P-384"
    ED25519 = "Ed25519"
