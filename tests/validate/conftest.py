"""One test PKI and one isolated process for all validation tests."""

from collections.abc import Iterator

import pytest

from tests.validate.pki import Pki
from tsp.core.isolated import Isolated


@pytest.fixture(scope="session")
def pki() -> Pki:
    return Pki()


@pytest.fixture(scope="session")
def isolated() -> Iterator[Isolated]:
    made = Isolated()
    yield made
    made.close()
