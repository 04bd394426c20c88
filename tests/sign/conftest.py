"""A street for each test; the town's keys are made once."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

import hsm
from hsm import softhsm
from tests.engine.engine_kit import ROOT, profiles
from tests.formats.pdf_samples import classic, objects
from tests.sign.street import URLS, Street, Town, Visitor, open_street
from tsp.ca.ceremony import CeremonyRoom, run_ceremony
from tsp.ca.plan import load_plan
from tsp.ca.store import sha256_hex
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.files import write_private
from tsp.core.isolated import Isolated
from tsp.core.randomness import SystemRandomness
from tsp.sign.finishing import Finishing
from tsp.sign.requests import SigningRequests
from tsp.validate.trust import TrustAnchors


@pytest.fixture(scope="session")
def town(softhsm_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """A ceremony in real tokens, held an hour before the tests begin."""
    directory, module, plan = tmp_path_factory.mktemp("town"), softhsm.find_module(), ROOT / "conf" / "ceremony.toml"
    tokens: dict[str, hsm.Token] = {}
    for name in ("root", "ca", "tsu", "qtsu", "ocsp", "site"):
        label = f"{directory.name}-{name}"
        softhsm.create_token(softhsm_directory, label, pin="123456-test", so_pin="654321-test")
        tokens[name] = hsm.Token.open(module, label, "123456-test")
    write_private(directory / "root.pin", b"123456-test\n")
    room = CeremonyRoom(
        tokens=tokens,
        profiles=profiles(),
        urls=URLS,
        directory=directory / "ca",
        clock=SettableClock(datetime(2026, 11, 23, 9, 0, tzinfo=UTC)),
        randomness=SystemRandomness(),
        root_pin=directory / "root.pin",
        plan_sha256=sha256_hex(plan.read_bytes()),
    )
    run_ceremony(load_plan(plan), room)
    tokens["site"].generate_signing_key("site-client", hsm.KeySpec.P256)
    tokens["site"].generate_aead_key("documents")
    yield Town(tokens, directory / "ca")
    for token in tokens.values():
        token.close()


@pytest.fixture(scope="session")
def isolated() -> Iterator[Isolated]:
    made = Isolated()
    yield made
    made.close()


@pytest.fixture
def street(
    town: Town, tmp_path: Path, database: Database, clock: SettableClock, isolated: Isolated
) -> Iterator[Street]:
    with ExitStack() as stack:
        yield open_street(stack, town, directory=tmp_path, database=database, clock=clock, isolated=isolated)


@pytest.fixture
def ana(street: Street) -> Visitor:
    """Ana, logged in."""
    visitor = street.browser()
    visitor.log_in()
    return visitor


@pytest.fixture(scope="session")
def contract() -> bytes:
    """A document of three pages."""
    return classic(objects(pages=3))


@pytest.fixture
def trust(town: Town) -> TrustAnchors:
    """The root alone: what a stranger has."""
    return TrustAnchors(TrustAnchors.of_installation(town.ca).certificates)


@pytest.fixture
def requests(street: Street) -> SigningRequests:
    """The rules behind the street's site."""
    return street.site.requests


@pytest.fixture
def finishing(street: Street) -> Finishing:
    return street.site.finishing
