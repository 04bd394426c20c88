"""What the outside linter (pkilint) finds although the artefact is right: each by name, with when and why.

Nothing else may be found in anything that a test run makes. pkilint follows EN 319 412 of 2023, so it does not
know what came later; the reasons name the clause that decides.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from asn1crypto import x509

from tsp.ca import oids


def _hosts(read: Any) -> Iterator[str]:
    """The hosts that status and issuer are found at."""
    places = read.authority_information_access_value or ()
    for url in [place["access_location"].native for place in places]:
        yield urlsplit(url).hostname or ""


class FalseFinding(NamedTuple):
    """A finding that is none: its code, in which certificates, and why."""

    code: str
    where: Callable[["Facts"], bool]
    reason: str


class Facts(NamedTuple):
    """What of a certificate decides which findings are false."""

    extensions: frozenset[str]
    purposes: frozenset[str]
    key: str
    hosts: tuple[str, ...]
    policies: tuple[str, ...]

    @classmethod
    def of(cls, der: bytes) -> "Facts":
        read = x509.Certificate.load(der)
        usage = read.extended_key_usage_value
        names = read.subject_alt_name_value
        policies = read.certificate_policies_value
        return cls(
            frozenset(e["extn_id"].dotted for e in read["tbs_certificate"]["extensions"]),
            frozenset(purpose.dotted for purpose in usage) if usage is not None else frozenset(),
            read.public_key["algorithm"]["algorithm"].dotted,
            (*(name.native for name in names or ()), *_hosts(read)),
            tuple(info["policy_identifier"].dotted for info in policies) if policies is not None else (),
        )


def _without_status(facts: Facts) -> bool:
    return {oids.EXT_VALASSURED_ST_CERTS, oids.CE_NO_REV_AVAIL} <= facts.extensions


def _time_stamping(facts: Facts) -> bool:
    return oids.KP_TIME_STAMPING in facts.purposes


def _responder(facts: Facts) -> bool:
    return oids.KP_OCSP_SIGNING in facts.purposes


def _bound_to_pss(facts: Facts) -> bool:
    return facts.key == oids.RSASSA_PSS


def _reserved_host(facts: Facts) -> bool:
    return any(host.endswith((".test", "localhost")) for host in facts.hosts)


def _localhost(facts: Facts) -> bool:
    return "localhost" in facts.hosts


def _long_arc(facts: Facts) -> bool:
    return any(int(arc) >= 2**32 for policy in facts.policies for arc in policy.split("."))


_ETSI = "etsi.en_319_412_2"
FALSE_FINDINGS = (
    FalseFinding(
        f"{_ETSI}.gen-4.3.11-2.crldp_extension_missing",
        _without_status,
        "EN 319 412-2 GEN-4.3.11-2A (newer than the linter): validity-assured with noRevAvail needs no CRL",
    ),
    FalseFinding(
        f"{_ETSI}.gen-4.4.1-8.ocsp_aia_access_method_absent",
        _without_status,
        "EN 319 412-2 GEN-4.4.1-8A (newer than the linter): validity-assured with noRevAvail needs no OCSP",
    ),
    FalseFinding(
        f"{_ETSI}.gen-4.3.10-1.eku_extension_is_critical",
        _time_stamping,
        "RFC 3161, 2.3 wants the purpose of a unit critical; EN 319 422, 6.4 puts that before EN 319 412-2",
    ),
    FalseFinding(
        f"{_ETSI}.gen-4.3.11-2.crldp_extension_missing",
        _responder,
        "EN 319 412-2, 4.3.11-1A exempts OCSP responders",
    ),
    FalseFinding(
        f"{_ETSI}.authority_info_access_extension_absent",
        _responder,
        "EN 319 412-2, 4.4.1-1 exempts OCSP responders",
    ),
    FalseFinding(
        "pkix.public_key_algorithm_unsupported",
        _bound_to_pss,
        "RFC 4055, 1.2: a key may be bound to RSASSA-PSS; the linter cannot read such a key",
    ),
    FalseFinding(
        f"{_ETSI}.gen-4.2.5-1.discouraged_public_key_type",
        _bound_to_pss,
        "TS 119 312, 6.2.2 and 8.4 recommend RSASSA-PSS; the linter's list has rsaEncryption alone",
    ),
    FalseFinding(
        "etsi.internal_domain_name",
        _reserved_host,
        "RFC 6761, 6.2 and 6.3 reserve .test and localhost: for servers' test certificates, and where a demo is",
    ),
    FalseFinding(
        "pkix.invalid_uri_syntax",
        _localhost,
        "RFC 3986, 3.2.2 allows a host of one label; a demo's services are at localhost",
    ),
    FalseFinding(
        "itu.invalid_asn1_syntax",
        _long_arc,
        "X.667, 6.3: an arc under 2.25 has up to 128 bits; the linter's parser ends at 32",
    ),
)


def unexplained(codes: Iterable[str], der: bytes) -> set[str]:
    """The findings (codes of the linter) in a certificate that no entry of the list explains."""
    facts = Facts.of(der)
    return set(codes) - {known.code for known in FALSE_FINDINGS if known.where(facts)}


def explaining(codes: Iterable[str], der: bytes) -> set[Any]:
    """The entries of the list that explain a finding in this certificate."""
    facts, found = Facts.of(der), set(codes)
    return {known for known in FALSE_FINDINGS if known.code in found and known.where(facts)}
