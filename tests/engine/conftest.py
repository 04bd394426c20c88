"""A room with a token, and a provider whose key the engine trusts."""

from pathlib import Path

import pytest

from tests.conftest import TokenFactory
from tests.engine.engine_kit import Provider, Room, certify_issuer
from tsp.core.clock import SettableClock
from tsp.core.database import Database


@pytest.fixture
def provider(clock: SettableClock) -> Provider:
    return Provider(clock)


@pytest.fixture
def room(
    tmp_path: Path, database: Database, clock: SettableClock, token_factory: TokenFactory, provider: Provider
) -> Room:
    token = token_factory("ca")
    issuer = certify_issuer(token, clock)
    return Room(tmp_path, database, token, issuer, clock, provider.key)
