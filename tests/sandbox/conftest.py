"""Clients of the sandbox's servers, as if they came from this machine."""

from collections.abc import Callable

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from sandbox.settings import Limits

ClientFor = Callable[[Starlette], TestClient]


@pytest.fixture
def client_for() -> ClientFor:
    """Makes a client that calls the application under a name that it answers to."""
    return lambda app: TestClient(app, base_url="http://localhost:8499", follow_redirects=False)


@pytest.fixture
def limits() -> Limits:
    return Limits()
