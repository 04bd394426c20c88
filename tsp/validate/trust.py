"""Whom a validation trusts: certificates as trust anchors, and status information known on the spot."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tsp.core.errors import Invalid, Unavailable


@dataclass(frozen=True)
class TrustAnchors:
    """Trust anchors (DER certificates: of CAs, or of single time-stamping units), and CRLs and OCSP answers (DER)
    that are used besides those in a document."""

    certificates: tuple[bytes, ...]
    crls: tuple[bytes, ...] = ()
    ocsps: tuple[bytes, ...] = ()

    @classmethod
    def from_pem(cls, texts: Iterable[bytes]) -> "TrustAnchors":
        """All certificates of PEM files. Raises `Invalid` (trust-anchors-unreadable)."""
        certificates: list[bytes] = []
        for text in texts:
            try:
                certificates += [c.public_bytes(Encoding.DER) for c in x509.load_pem_x509_certificates(text)]
            except ValueError as error:
                raise _unreadable("not PEM certificates") from error
        return cls(tuple(certificates))

    @classmethod
    def from_files(cls, paths: Iterable[Path]) -> "TrustAnchors":
        """Certificates (PEM) and CRLs (`*.crl`, DER). Raises `Invalid` (trust-anchors-unreadable)."""
        paths = list(paths)
        try:
            pem = [p.read_bytes() for p in paths if p.suffix != ".crl"]
            crls = [p.read_bytes() for p in paths if p.suffix == ".crl"]
        except OSError as error:
            raise _unreadable(error.strerror or "unreadable") from error
        return cls(cls.from_pem(pem).certificates, tuple(crls))

    @classmethod
    def of_installation(cls, ca_directory: Path, others: Path | None = None) -> "TrustAnchors":
        """The installation's own root with its CRL, and all `*.pem` and `*.crl` of the directory `others`.

        Raises `Unavailable` (not-initialised) where there is no root yet.
        """
        own = [p for p in (ca_directory / "root.pem", ca_directory / "root.crl") if p.is_file()]
        if not any(p.suffix == ".pem" for p in own):
            raise Unavailable("not-initialised", "This installation is not complete: run `tsp init`.")
        more = sorted(p for p in others.iterdir() if p.suffix in (".pem", ".crl")) if others and others.is_dir() else []
        return cls.from_files([*own, *more])


def _unreadable(reason: str) -> Invalid:
    return Invalid("trust-anchors-unreadable", "The file with the trusted certificates cannot be read.", reason=reason)
