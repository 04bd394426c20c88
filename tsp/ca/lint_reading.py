"""A certificate as an independent parser reads it, for the rules to look at."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from asn1crypto import core, x509

from tsp.ca import oids
from tsp.ca.certificate import IssuerFacts
from tsp.ca.profiles import Profile


class Finding(NamedTuple):
    """One thing that is wrong."""

    rule: str
    clause: str
    detail: str


class Statement(core.Sequence):  # type: ignore[misc]  # asn1crypto has no types
    """QCStatement (RFC 3739, 3.2.6)."""

    _fields = [("id", core.ObjectIdentifier), ("info", core.Any, {"optional": True})]  # noqa: RUF012


class Statements(core.SequenceOf):  # type: ignore[misc]
    """QCStatements (RFC 3739, 3.2.6)."""

    _child_spec = Statement


class PdsLocation(core.Sequence):  # type: ignore[misc]
    """PdsLocation (EN 319 412-5, 4.3.4)."""

    _fields = [("url", core.IA5String), ("language", core.PrintableString)]  # noqa: RUF012


class PdsLocations(core.SequenceOf):  # type: ignore[misc]
    """QcEuPDS (EN 319 412-5, 4.3.4)."""

    _child_spec = PdsLocation


class Oids(core.SequenceOf):  # type: ignore[misc]
    """SEQUENCE OF OBJECT IDENTIFIER."""

    _child_spec = core.ObjectIdentifier


class PrivateKeyUsagePeriod(core.Sequence):  # type: ignore[misc]
    """PrivateKeyUsagePeriod (RFC 3280, 4.2.1.4)."""

    _fields = [  # noqa: RUF012
        ("not_before", core.GeneralizedTime, {"implicit": 0, "optional": True}),
        ("not_after", core.GeneralizedTime, {"implicit": 1, "optional": True}),
    ]


@dataclass(frozen=True, slots=True)
class Reading:
    """A certificate under examination."""

    certificate: x509.Certificate
    profile: Profile
    issuer: IssuerFacts
    tbs: Any
    #: OID -> (critical, DER of the value); of a repeated extension the first.
    extensions: dict[str, tuple[bool, bytes]]
    extension_count: int
    #: Statement OID -> DER of its information, empty where there is none.
    statements: list[tuple[str, bytes]]

    @classmethod
    def of(cls, certificate: x509.Certificate, profile: Profile, issuer: IssuerFacts) -> "Reading":
        """Reads the parts that several rules want."""
        tbs = certificate["tbs_certificate"]
        found = [(e["extn_id"].dotted, e["critical"].native, bytes(e["extn_value"])) for e in tbs["extensions"]]
        extensions: dict[str, tuple[bool, bytes]] = {}
        for dotted, critical, value in found:
            extensions.setdefault(dotted, (critical, value))
        statements: list[tuple[str, bytes]] = []
        if oids.PE_QC_STATEMENTS in extensions:
            for statement in Statements.load(extensions[oids.PE_QC_STATEMENTS][1], strict=True):
                statements.append((statement["id"].dotted, statement["info"].dump()))
        return cls(certificate, profile, issuer, tbs, extensions, len(found), statements)

    def value(self, dotted: str) -> bytes | None:
        """The DER value of an extension, if it is there."""
        return self.extensions[dotted][1] if dotted in self.extensions else None

    @property
    def self_issued(self) -> bool:
        """Subject and issuer are the same: a root."""
        return bool(self.tbs["subject"].dump() == self.tbs["issuer"].dump())
