"""The addresses that certificates point to."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
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
    #: Into how many parts the revocation list of an issuer is cut; none where it is not named.
    shards: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for url in (self.repository, self.ocsp):
            if not url.startswith(("http://", "https://")):
                raise Invalid("url-unfit", "Repository and status addresses must begin with http:// or https://.")
        for language, url in self.pds.items():
            if not url.startswith("https://") or not (len(language) == 2 and language.isascii() and language.islower()):
                raise Invalid("url-unfit", "Disclosure statements need a two-letter language and an https:// address.")

    @classmethod
    def of(cls, settings: Settings) -> "RepositoryUrls":
        """The addresses of one installation; a demo without `profiles.pds` gets `DEMO_PDS`."""
        pds = settings.profiles.pds or (dict(DEMO_PDS) if settings.demo else {})
        return cls(settings.urls.repository, settings.urls.ocsp, pds, settings.crl.shards)

    def ca_issuers(self, issuer: str) -> str:
        """Where the certificate of `issuer` is free to fetch (eIDAS Annex I (h))."""
        return f"{self.repository}/{issuer}.cer"

    def shard(self, issuer: str, serial: int) -> int:
        """The part of the issuer's list that a new certificate belongs to, from 1 on; 0 where the list is whole."""
        count = self.shards.get(issuer, 0)
        return serial % count + 1 if count else 0

    def named_shard(self, issuer: str, certificate: bytes) -> int:
        """The part of the issuer's list that a certificate (DER) names; 0 where it names the whole list, or none."""
        found = _part(f"{self.repository}/{issuer}-part-").search(certificate)
        return 0 if found is None else int(found[1])

    def crl(self, issuer: str, shard: int = 0, *, delta: bool = False) -> str:
        """Where the CRL of `issuer` is published, or a part of it, or the delta list to either."""
        return f"{self.repository}/{crl_file(issuer, shard, delta=delta)}"


@lru_cache(maxsize=16)
def _part(beginning: str) -> re.Pattern[bytes]:
    return re.compile(re.escape(beginning.encode()) + rb"([1-9][0-9]{0,3})\.crl")


def crl_file(issuer: str, shard: int = 0, *, delta: bool = False) -> str:
    """The name of a list's file, in the authority's directory and in the repository.

    A number alone would look like a generation of the authority.
    """
    return f"{issuer}{f'-part-{shard}' if shard else ''}{'-delta' if delta else ''}.crl"
