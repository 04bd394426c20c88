"""What the doctor says of statements and trust list."""

from pathlib import Path

import pytest

from tests.repository.trust_kit import World
from tsp.core.clock import SettableClock
from tsp.core.settings import Settings
from tsp.doctor.publications import statements, trust_list
from tsp.repository.installation import library
from tsp.runtime import Runtime


@pytest.fixture
def runtime(settings: Settings, clock: SettableClock, tmp_path: Path) -> Runtime:
    return Runtime(settings.model_copy(update={"var": tmp_path}), clock=clock)


@pytest.mark.requirement("OPS-1")
def test_statements_that_are_not_what_is_configured_are_told(runtime: Runtime, clock: SettableClock) -> None:
    (before,) = statements(runtime)
    assert (before.well, before.seen) == (False, "not what is configured: cps, pds, tsa")
    library(runtime.settings, clock).build()
    (after,) = statements(runtime)
    assert after.well
    provider = runtime.settings.provider.model_copy(update={"support_email": "help@enkrat.test"})
    runtime.settings = runtime.settings.model_copy(update={"provider": provider})
    (changed,) = statements(runtime)
    assert not changed.well
    assert "tsp documents build" in changed.advice


@pytest.mark.requirement("OPS-1", "TLS-1")
def test_a_trust_list_that_ends_is_told(runtime: Runtime, clock: SettableClock, tmp_path: Path) -> None:
    (missing,) = trust_list(runtime)
    assert (missing.well, missing.seen) == (False, "not there")
    World(tmp_path / "repository" / "trust-list", clock).publisher.publish()
    (fresh,) = trust_list(runtime)
    assert fresh.well
    clock.advance(days=77)
    (old,) = trust_list(runtime)
    assert (old.well, old.seen) == (False, "issue 1, next update 2027-02-21 10:00")
