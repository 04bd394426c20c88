"""The repository as a face, over the artefacts of a ceremony in real tokens."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import hsm
from hsm import softhsm
from tests.ca.ca_kit import NOW, ROOT, URLS, profiles
from tests.repository.trust_kit import World
from tsp.ca.ceremony import CeremonyRoom, run_ceremony
from tsp.ca.plan import load_plan
from tsp.ca.store import sha256_hex, to_pem
from tsp.core.clock import SettableClock
from tsp.core.files import write_atomic
from tsp.core.randomness import Randomness, SystemRandomness
from tsp.core.settings import Settings, load_settings
from tsp.repository.app import Shelves, repository_app
from tsp.repository.installation import facts
from tsp.repository.library import Library
from tsp.repository.samples import SampleShelf
from tsp.repository.trust_publication import SIGNER_FILE
from tsp.web import Pages
from tsp.web.language import Languages

LANGUAGES = Languages()
ORIGIN = "http://localhost:8405"


def make_pages(randomness: Randomness, origin: str = ORIGIN) -> Pages:
    """The frame of the repository's pages."""
    return Pages(
        name="Enkrat",
        face="repository",
        origin=origin,
        support="podpora@primer.si",
        randomness=randomness,
        languages=LANGUAGES,
    )


@pytest.fixture(scope="session")
def published_ceremony(softhsm_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artefacts of one ceremony."""
    here = tmp_path_factory.mktemp("published")
    file = ROOT / "conf" / "ceremony.toml"
    plan = load_plan(file)
    tokens = {}
    for name in sorted({entry.token for entry in plan.entries.values()}):
        softhsm.create_token(softhsm_directory, f"published-{name}", pin="123456-test", so_pin="654321-test")
        tokens[name] = hsm.Token.open(softhsm.find_module(), f"published-{name}", "123456-test")
    digest = sha256_hex(file.read_bytes())
    room = CeremonyRoom(
        tokens, profiles(), URLS, here / "ca", SettableClock(NOW), SystemRandomness(), here / "root.pin", digest
    )
    run_ceremony(plan, room)
    for token in tokens.values():
        token.close()
    return here / "ca"


@pytest.fixture
def artefacts(published_ceremony: Path, tmp_path: Path) -> Path:
    """A copy of those artefacts that a test may spoil."""
    return Path(shutil.copytree(published_ceremony, tmp_path / "artefacts"))


PLACES = {"en": "https://enkrat.test/pds/en.pdf", "sl": "https://enkrat.test/pds/sl.pdf"}


@pytest.fixture(scope="session")
def settings() -> Settings:
    """The configuration as it is shipped."""
    return load_settings(ROOT / "conf" / "tsp.toml")


@pytest.fixture(scope="session")
def built_library(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The statements of that configuration, published once."""
    directory = tmp_path_factory.mktemp("statements") / "documents"
    Library(directory, lambda: facts(settings), SettableClock(NOW)).build()
    return directory


@pytest.fixture
def library(settings: Settings, built_library: Path, clock: SettableClock, tmp_path: Path) -> Library:
    """A copy of them that a test may spoil."""
    shutil.copytree(built_library, tmp_path / "documents")
    return Library(tmp_path / "documents", lambda: facts(settings), clock)


@pytest.fixture
def trust_world(tmp_path: Path, clock: SettableClock) -> World:
    """A trust list that is published."""
    world = World(tmp_path / "trust-list", clock)
    world.publisher.publish()
    write_atomic(world.shelf.directory / SIGNER_FILE, to_pem(world.certificate))
    return world


@pytest.fixture
def shelves(library: Library, trust_world: World, tmp_path: Path) -> Shelves:
    """Everything that the pages show."""
    titles = {name: profile.title for name, profile in profiles().items()}
    return Shelves(library, PLACES, trust_world.shelf, SampleShelf(tmp_path / "samples"), titles)


@pytest.fixture
def client(artefacts: Path, clock: SettableClock, randomness: Randomness, shelves: Shelves) -> Iterator[TestClient]:
    app = repository_app(make_pages(randomness), artefacts, clock, shelves)
    with TestClient(app, base_url=ORIGIN, headers={"accept-language": "en"}) as client:
        yield client
