"""The configured facts that statements are made of, written out in both languages.

Nothing here is a second source: every value comes from the configuration, the profiles, the ceremony's plan
or the constants that the code itself works with.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from tsp.ca.plan import CeremonyPlan
from tsp.ca.profiles import Profile
from tsp.ca.publication import CrlTerms
from tsp.ca.urls import RepositoryUrls
from tsp.core.errors import Invalid
from tsp.core.settings import Settings
from tsp.web.language import Languages

Language = Literal["sl", "en"]
LANGUAGES: tuple[Language, ...] = ("sl", "en")

_ALGORITHMS = {"P256": "ECDSA P-256, SHA-256", "P384": "ECDSA P-384, SHA-384"}
#: How many people a demo needs for its ceremony: nobody's key is in danger.
_NOBODY = "none, as this is a trial installation"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Facts:
    """What a statement may quote in one language: values by name, tables by name."""

    values: Mapping[str, str]
    tables: Mapping[str, Table]


def facts_of(
    settings: Settings,
    profiles: Mapping[str, Profile],
    plan: CeremonyPlan,
    languages: Languages,
) -> dict[Language, Facts]:
    """The facts of one installation by language.

    Raises `Invalid` (provider-address-missing) where the provider has no postal address: statements must
    name one (EN 319 411-1, Annex A).
    """
    owner = settings.provider
    if not (owner.street and owner.postal_code and owner.locality):
        raise Invalid(
            "provider-address-missing",
            "Set provider.street, provider.postal_code and provider.locality: statements and the trust list name them.",
        )
    found: dict[Language, Facts] = {}
    for language in LANGUAGES:
        known = _Written(language, languages)
        values = _values(settings, plan, known, CrlTerms.of(settings))
        found[language] = Facts(values, _tables(settings, profiles, plan, known))
    return found


@dataclass(frozen=True)
class _Written:
    language: Language
    languages: Languages

    def text(self, msgid: str, **values: object) -> str:
        return self.languages.text(self.language, msgid, **values)

    def span(self, span: timedelta) -> str:
        """365 d, 48 h, 30 min: units as symbols, which need no grammar."""
        seconds = int(span.total_seconds())
        for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
            if seconds % size == 0 and (unit != "d" or seconds > 3 * size):
                return f"{seconds // size} {unit}"
        return f"{seconds} s"


def _values(settings: Settings, plan: CeremonyPlan, known: _Written, terms: CrlTerms) -> dict[str, str]:
    owner, practice, urls = settings.provider, settings.practice, settings.urls
    statements = RepositoryUrls.of(settings).pds
    return {
        "name": settings.name,
        "organisation": owner.organisation,
        "identifier": owner.organisation_identifier,
        "country": owner.country,
        "address": f"{owner.street}, {owner.postal_code} {owner.locality}, {owner.country}",
        "email": owner.support_email,
        "phone": owner.support_phone or owner.support_email,
        "approved_by": practice.approved_by or known.text("the management of the provider"),
        "oid_arc": settings.profiles.oid_arc,
        "retention": known.text("%(count)s years", count=practice.retention_years),
        "complaint": known.text("%(count)s days", count=practice.complaint_days),
        "revocation": f"{practice.revocation_hours} h",
        "liability": practice.liability or known.text("as the law says, without a limit set here"),
        "crl_validity": known.span(terms.validity),
        "crl_renewal": known.span(terms.renewal),
        "root_crl": f"{plan.crl_days} d",
        "ocsp_validity": known.span(timedelta(seconds=settings.ocsp.validity_seconds)),
        "ocsp_reuse": known.span(timedelta(seconds=settings.ocsp.reuse_seconds)),
        "keep_documents": f"{settings.sign.keep_days} d",
        "authentication": known.span(timedelta(seconds=settings.engine.authentication_seconds)),
        "officers": str(len(plan.officers)) if plan.officers else known.text(_NOBODY),
        "accuracy": f"{settings.tsa.accuracy_ms} ms",
        "qualified_accuracy": f"{settings.qtsa.accuracy_ms} ms",
        "tsa_policy": settings.tsa.policy,
        "qtsa_policy": settings.qtsa_policy,
        "time_sources": str(len(settings.time.sources)),
        "witnesses": str(settings.log.min_witnesses),
        "repository": urls.repository,
        "sign": urls.sign,
        "validate": urls.validate_,
        "log": urls.log,
        "ocsp": urls.ocsp,
        "tsa": urls.tsa,
        "qtsa": urls.qtsa,
        "pds_en": statements.get("en", f"{urls.repository}/documents/pds.en.pdf"),
        "qscd": known.text(
            "a device that is declared a qualified signature creation device"
            if settings.hsm.qscd
            else "a device that is not declared a qualified signature creation device"
        ),
        "standing": known.text(
            "This is a trial installation. Its certificates and time-stamps have no legal effect, whatever they say."
            if settings.demo
            else "The qualified status of a service is what the national trusted list says, and nothing else."
        ),
    }


def _tables(
    settings: Settings, profiles: Mapping[str, Profile], plan: CeremonyPlan, known: _Written
) -> dict[str, Table]:
    text = known.text
    kinds = [profile for name, profile in sorted(profiles.items()) if not profile.ca]
    certified = [(text(profile.title), ", ".join(profile.policies), _qualified(profile, known)) for profile in kinds]
    lifetimes = [
        (
            text(profile.title),
            ", ".join(_ALGORITHMS.get(key, key) for key in profile.keys),
            known.span(timedelta(seconds=profile.lifetime.seconds)),
            _status(profile, known),
        )
        for _, profile in sorted(profiles.items())
    ]
    authorities = [
        (plan.name(name).common_name, _ALGORITHMS.get(entry.key, entry.key), plan.entries[entry.issuer].common_name)
        for name, entry in plan.entries.items()
        if profiles[entry.profile].ca
    ]
    units = [
        (plan.name(name).common_name, policy, address, accuracy)
        for name, policy, address, accuracy in (
            ("tsu", settings.tsa.policy, settings.urls.tsa, f"{settings.tsa.accuracy_ms} ms"),
            ("qtsu", settings.qtsa_policy, settings.urls.qtsa, f"{settings.qtsa.accuracy_ms} ms"),
        )
    ]
    return {
        "certificates": Table(
            (text("Kind of certificate"), text("Policies (OID)"), text("Qualified")), tuple(certified)
        ),
        "lifetimes": Table(
            (text("Kind of certificate"), text("Key and signature"), text("Validity"), text("Status")),
            tuple(lifetimes),
        ),
        "authorities": Table((text("Authority"), text("Key and signature"), text("Certified by")), tuple(authorities)),
        "units": Table(
            (text("Time-stamping unit"), text("Policy (OID)"), text("Address"), text("Accuracy")), tuple(units)
        ),
    }


def _qualified(profile: Profile, known: _Written) -> str:
    if not profile.qualified:
        return known.text("no")
    return known.text("yes, key in a QSCD") if profile.needs_qscd else known.text("yes")


def _status(profile: Profile, known: _Written) -> str:
    if profile.status.validity_assured:
        return known.text("too short-lived to be revoked")
    ways = [name for name, offered in (("OCSP", profile.status.ocsp), ("CRL", profile.status.crl)) if offered]
    return ", ".join(ways) or known.text("none")
