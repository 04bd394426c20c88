"""The addresses that certificates point to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from tsp.core.errors import Invalid
from tsp.core.settings import Settings

#: PKI disclosure statements of a demo: addresses under the reserved domain .test that nobody can own.
DEMO_PDS: Mapping[str, str] = MappingProxyType(
    {"en": "https://enkrat.test/pds/en.pdf", "sl": "https://enkrat.test/pds/sl.pdf"}
)


@dataclass(frozen=True, slots=True)
class RepositoryUrls:
    """Where relying parties find issuer certificates, CRLs, status and the disclosure statements.

    `repository` and `ocsp` are http or https URLs (EN 319 412-2 GEN-4.4.1-4 and -6; plain http avoids
    loops while a path is built). `pds` maps ISO 639-1 languages to https URLs (EN 319 412-5 QCS-4.3.4-03).
    """

    repository: str
    ocsp: str
    pds: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for url in (self.repository, self.ocsp):
            if not url.startswith(("http://", "https://")):
                raise Invalid("url-unfit", "Repository and status addresses must begin with http:// or https://.")
        for language, url in self.pds.items():
            if not url.startswith("https://") or not (len(language) == 2 and language.isascii() and language.islower()):
                raise Invalid("url-unfit", "Disclosure statements need a two-letter language and an https:// address.")

    @classmethod
    def of(cls, settings: Settings) -> "RepositoryUrls":
        """The addresses of one installation.

        Without `profiles.pds` a demo gets `DEMO_PDS`, and a repository with an https address serves them itself.
        """
        repository = settings.urls.repository
        pds = settings.profiles.pds or (dict(DEMO_PDS) if settings.demo else {})
        if not pds and repository.startswith("https://"):
            pds = {language: f"{repository}/pds/{language}.pdf" for language in ("en", "sl")}
        return cls(repository, settings.urls.ocsp, pds)

    def ca_issuers(self, issuer: str) -> str:
        """Where the certificate of `issuer` is free to fetch (eIDAS Annex I (h))."""
        return f"{self.repository}/{issuer}.cer"

    def crl(self, issuer: str) -> str:
        """Where the CRL of `issuer` is published."""
        return f"{self.repository}/{issuer}.crl"
