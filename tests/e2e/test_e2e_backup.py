"""Backup and restore of a whole platform on SQLite; `test_e2e_postgresql.py` walks the same on PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.backup_walk import walk_backup_and_restore
from tests.harness import Platform, make_platform

pytestmark = pytest.mark.xdist_group("backup")


@pytest.fixture
def own_platform(tmp_path: Path) -> Iterator[Platform]:
    """A running platform that this test may stop."""
    (tmp_path / "platform").mkdir()
    made = make_platform(tmp_path / "platform")
    try:
        made.initialise()
        made.start()
        yield made
    finally:
        made.stop()


@pytest.mark.requirement("OPS-1", "SIG-6", "EVD-2", "SIG-1")
def test_a_running_platform_is_copied_and_made_again_elsewhere(own_platform: Platform, tmp_path: Path) -> None:
    assert walk_backup_and_restore(own_platform, tmp_path)
