"""The whole platform on PostgreSQL: made, running, one story told, the log sound, no password shown."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.backup_walk import walk_backup_and_restore
from tests.e2e.conftest import tell_story
from tests.harness import Platform, make_platform
from tests.postgresql import Cluster

pytestmark = pytest.mark.xdist_group("postgresql")


@pytest.fixture(scope="module")
def platform_on_postgresql(postgresql: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A running platform with two processes of each role; its database is an empty one of the tests' server."""
    name = postgresql.create("platform")
    made = make_platform(tmp_path_factory.mktemp("platform"), database_url=postgresql.url(name), count=2)
    try:
        made.initialise()
        made.start()
        yield made
    finally:
        made.stop()
        postgresql.drop(name)


@pytest.mark.requirement("SIG-1", "SIG-6", "EVD-2", "OPS-1")
def test_a_document_is_signed_and_the_log_is_sound(platform_on_postgresql: Platform, tmp_path: Path) -> None:
    platform = platform_on_postgresql
    assert not list(platform.var.glob("*.db"))
    story = tell_story(platform, tmp_path)
    assert story.summary["passed"]
    assert story.summary["validation"]["signatures"][0]["indication"] == "TOTAL-PASSED"
    assert "the log is sound" in platform.tsp("audit", "verify").stdout
    assert "the log is sound" in platform.tsp("audit", "verify", "--url", platform.urls["log"]).stdout
    told = platform.tsp("doctor", "--json").stdout
    found = {d["subject"]: d for d in json.loads(told)}
    assert all(d["well"] for d in found.values()), told
    assert found["database"]["seen"].startswith("postgresql platform at ")
    logs = "".join(path.read_text() for path in platform.directory.glob("*.log"))
    assert "never-shown" not in told + logs


@pytest.mark.requirement("OPS-1", "OPS-2", "SIG-6", "EVD-2")
def test_a_running_platform_is_copied_and_made_again_in_another_database(
    platform_on_postgresql: Platform, postgresql: Cluster, tmp_path: Path
) -> None:
    url = postgresql.url(postgresql.create("elsewhere"))
    try:
        assert walk_backup_and_restore(platform_on_postgresql, tmp_path, url)
        kept = [path.read_bytes() for path in (tmp_path / "backup").rglob("*.toml")]
        assert kept
        assert not any(b"never-shown" in content for content in kept)
    finally:
        postgresql.drop("elsewhere")
