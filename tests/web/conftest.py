"""A visitor of the small face."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from tests.web.small_face import make_client, make_pages


@pytest.fixture
def browser() -> Iterator[TestClient]:
    """A visitor with a cookie jar of their own."""
    with make_client(make_pages()) as client:
        yield client
