"""Ceremonies in real tokens: held anew for a test, or a copy of one that was held before."""

import shutil
from pathlib import Path

import pytest

import hsm
from hsm import softhsm
from tests.ca.ca_kit import NOW, ROOT, URLS, profiles
from tests.conftest import TokenFactory
from tsp.ca.ceremony import CeremonyRoom, run_ceremony
from tsp.ca.plan import CeremonyPlan, load_plan
from tsp.ca.store import sha256_hex
from tsp.core.clock import SettableClock
from tsp.core.files import write_private
from tsp.core.randomness import Randomness, SystemRandomness

PLAN = ROOT / "conf" / "ceremony.toml"


@pytest.fixture
def plan() -> CeremonyPlan:
    """The plan as it is shipped."""
    return load_plan(PLAN)


@pytest.fixture
def room(token_factory: TokenFactory, tmp_path: Path, clock: SettableClock, randomness: Randomness) -> CeremonyRoom:
    """Four empty tokens and everything else that a ceremony needs."""
    pin = tmp_path / "pins" / "root.pin"
    write_private(pin, b"123456-test\n")
    return CeremonyRoom(
        tokens={name: token_factory(name) for name in ("root", "ca", "tsu", "qtsu", "ocsp")},
        profiles=profiles(),
        urls=URLS,
        directory=tmp_path / "ca",
        clock=clock,
        randomness=randomness,
        root_pin=pin,
        plan_sha256=sha256_hex(PLAN.read_bytes()),
    )


@pytest.fixture(scope="session")
def held_ceremony(softhsm_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artefacts of one ceremony, for tests that only read them."""
    here = tmp_path_factory.mktemp("held")
    tokens = {}
    for name in ("root", "ca", "tsu", "qtsu", "ocsp"):
        softhsm.create_token(softhsm_directory, f"held-{name}", pin="123456-test", so_pin="654321-test")
        tokens[name] = hsm.Token.open(softhsm.find_module(), f"held-{name}", "123456-test")
    pin, clock = here / "root.pin", SettableClock(NOW)
    digest = sha256_hex(PLAN.read_bytes())
    run_ceremony(
        load_plan(PLAN),
        CeremonyRoom(tokens, profiles(), URLS, here / "ca", clock, SystemRandomness(), pin, digest),
    )
    for token in tokens.values():
        token.close()
    return here / "ca"


@pytest.fixture
def artefacts(held_ceremony: Path, tmp_path: Path) -> Path:
    """A copy of those artefacts that a test may spoil."""
    return Path(shutil.copytree(held_ceremony, tmp_path / "artefacts"))
