"""The plan of the ceremony: the shipped one fits the shipped configuration, and careless ones are refused."""

from pathlib import Path

import pytest

from tests.ca.ca_kit import ROOT, profiles
from tsp.ca.plan import CeremonyPlan, check_plan, load_plan
from tsp.core.errors import Invalid
from tsp.core.settings import load_settings

TEXT = (ROOT / "conf" / "ceremony.toml").read_text()
SETTINGS = load_settings(ROOT / "conf" / "tsp.toml")


def changed(tmp_path: Path, *changes: tuple[str, str]) -> CeremonyPlan:
    text = TEXT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "ceremony.toml"
    path.write_text(text)
    return load_plan(path)


PRODUCTION = (
    ('mode = "demo"', 'mode = "production"'),
    (" TEST", ""),
    ("officers = []", 'officers = ["A", "B"]'),
    ('root_pin = "keep"', 'root_pin = "seal"'),
    ("custodians = []", 'custodians = ["a.pem"]'),
)


def test_shipped_plan_fits_the_shipped_configuration(plan: CeremonyPlan) -> None:
    assert check_plan(plan, profiles(), SETTINGS) is None
    assert all("TEST" in plan.name(name).common_name for name in plan.entries)


def test_production_plan_can_be_written(tmp_path: Path) -> None:
    plan = changed(tmp_path, *PRODUCTION)
    assert plan.mode == "production"
    with pytest.raises(Invalid, match="mode is not the installation's mode"):
        check_plan(plan, profiles(), SETTINGS)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ([("Enkrat TEST TSU 1", "Enkrat TSU 1")], "every name says TEST"),
        ([PRODUCTION[0]], "no name says TEST"),
        ([*PRODUCTION[:2], *PRODUCTION[3:]], "two officers"),
        ([*PRODUCTION[:2], ("officers = []", 'officers = ["A", "A"]'), *PRODUCTION[3:]], "two officers"),
        (PRODUCTION[:3], "seals the root's PIN"),
        ([PRODUCTION[3]], "custodians"),
        ([PRODUCTION[4]], "custodians"),
        ([('token = "root"', 'token = "ca"')], "a token of its own"),
        ([('token = "tsu"', 'token = "root"')], "a token of its own"),
        (
            [('key = "P384"', 'key = "P256"'), ('label = "tsu"\nkey = "P256"', 'label = "tsu"\nkey = "P384"')],
            "stronger",
        ),
        ([("Enkrat TEST TSU 1", "Enkrat TEST Root CA")], "common name"),
        ([('label = "ocsp-infrastructure"', 'label = "ocsp-qualified"')], "label of its own"),
        ([('profile = "tsu"\nissuer = "infrastructure"', 'profile = "tsu"\nissuer = "qualified"')], "tsu is issued by"),
        ([('token = "qtsu"', 'token = "tsu"')], "token of their own (EN 319 421"),
        ([("crl_days = 365", "crl_days = 367")], "crl_days"),
        ([("crl_days = 365", "crl_dais = 365")], "did you mean crl_days?"),
        ([('label = "tsu"', 'lable = "tsu"')], "tsu.lable: unknown key, did you mean label?"),
        ([('key = "P384"', 'key = "RSA"')], "root.key"),
    ],
)
def test_careless_plan_is_refused(tmp_path: Path, changes: list[tuple[str, str]], why: str) -> None:
    with pytest.raises(Invalid, match="ceremony-plan-invalid") as caught:
        changed(tmp_path, *changes)
    assert why in caught.value.sentence


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (('name = "Enkrat TEST d.o.o."', 'name = "Other TEST d.o.o."'), "organisation is not the provider"),
        (('identifier = "VATSI-10000003"', 'identifier = "VATSI-1"'), "organisation is not the provider"),
        (('profile = "tsu"', 'profile = "tsa"'), "there is no profile tsa"),
        (('profile = "tsu"', 'profile = "advanced"'), "does not allow this issuer or key"),
    ],
)
def test_plan_that_does_not_fit_is_refused(tmp_path: Path, change: tuple[str, str], why: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_plan(changed(tmp_path, change), profiles(), SETTINGS)
    assert why in caught.value.sentence
