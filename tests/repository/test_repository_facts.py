"""Facts: where each comes from, and how it is written."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.ca.ca_kit import ROOT, profiles
from tsp.ca.plan import load_plan
from tsp.core.settings import Settings
from tsp.repository.facts import LANGUAGES, Facts, facts_of
from tsp.web.language import Languages

CATALOGUES = Languages()


def made(settings: Settings, **plan: Any) -> dict[str, Facts]:
    """The facts by language."""
    read = load_plan(ROOT / "conf" / "ceremony.toml").model_copy(update=plan)
    found = facts_of(settings, profiles(), read, CATALOGUES)
    return {str(language): found[language] for language in LANGUAGES}


Change = Callable[[Settings], Settings]


def within(section: str, **values: Any) -> Change:
    """A change of one section of the configuration."""

    def change(settings: Settings) -> Settings:
        return settings.model_copy(update={section: getattr(settings, section).model_copy(update=values)})

    return change


@pytest.mark.requirement("CA-1", "TSA-1")
@pytest.mark.parametrize(
    ("change", "name", "en", "sl"),
    [
        (within("provider", organisation="Novi TEST d.d."), "organisation", "Novi TEST d.d.", "Novi TEST d.d."),
        (within("provider", locality="Maribor"), "address", "Testna ulica 1, 1000 Maribor, SI", None),
        (within("provider", support_phone=""), "phone", "podpora@enkrat.test", None),
        (within("practice", retention_years=15), "retention", "15 years", "15 let"),
        (within("practice", revocation_hours=6), "revocation", "6 h", "6 h"),
        (within("practice", complaint_days=8), "complaint", "8 days", "8 dneh"),
        (within("practice", approved_by="Ana Novak"), "approved_by", "Ana Novak", "Ana Novak"),
        (within("practice", liability="up to EUR 1"), "liability", "up to EUR 1", None),
        (within("ocsp", validity_seconds=7200), "ocsp_validity", "2 h", "2 h"),
        (within("ocsp", validity_seconds=90), "ocsp_validity", "90 s", "90 s"),
        (within("ocsp", reuse_seconds=300), "ocsp_reuse", "5 min", "5 min"),
        (within("sign", keep_days=60), "keep_documents", "60 d", "60 d"),
        (within("qtsa", accuracy_ms=250), "qualified_accuracy", "250 ms", "250 ms"),
        (within("tsa", policy="1.2.3"), "tsa_policy", "1.2.3", "1.2.3"),
        (within("time", sources=["a", "b", "c"]), "time_sources", "3", "3"),
        (within("urls", ocsp="http://ocsp.example.si"), "ocsp", "http://ocsp.example.si", None),
        (within("profiles", oid_arc="1.2.3.4"), "oid_arc", "1.2.3.4", "1.2.3.4"),
        (within("hsm", qscd=True), "qscd", "a device that is declared a qualified signature creation device", None),
    ],
)
def test_a_setting_becomes_its_fact(settings: Settings, change: Change, name: str, en: str, sl: str | None) -> None:
    before, after = made(settings), made(change(settings))
    assert before["en"].values[name] != after["en"].values[name] == en
    assert sl is None or after["sl"].values[name] == sl


@pytest.mark.requirement("CA-1")
def test_the_ceremony_becomes_facts(settings: Settings) -> None:
    assert made(settings)["sl"].values["officers"] == "nobena, ker je to preskusna namestitev"
    held = made(settings, officers=("a.pem", "b.pem", "c.pem"), crl_days=180)
    assert (held["sl"].values["officers"], held["en"].values["root_crl"]) == ("3", "180 d")


def test_every_fact_is_there_in_both_languages(settings: Settings) -> None:
    found = made(settings)
    assert set(found["sl"].values) == set(found["en"].values)
    assert set(found["sl"].tables) == set(found["en"].tables)
    assert all(found["sl"].values.values())
    for name, table in found["en"].tables.items():
        assert len(table.rows) == len(found["sl"].tables[name].rows) > 0
        assert all(len(row) == len(table.headings) for row in table.rows)
