"""An installation that holds something and does not run, and a backup of it."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.backup_walk import elsewhere, write_passphrase
from tests.harness import Platform, make_platform
from tsp.core.settings import Settings, load_settings
from tsp.runtime import Runtime


@dataclass
class Kept:
    """The installation, its backup, and the file with the passphrase of it."""

    platform: Platform
    backup: Path
    passphrase: Path

    @property
    def settings(self) -> Settings:
        return load_settings(self.platform.directory / "conf" / "tsp.toml")

    @property
    def runtime(self) -> Runtime:
        return Runtime(self.settings)

    def copy(self, directory: Path) -> Path:
        """The backup once more, to be damaged."""
        return Path(shutil.copytree(self.backup, directory / "copy"))

    def elsewhere(self, directory: Path) -> Platform:
        """Where it can be restored: the same configuration, nothing there yet."""
        return elsewhere(self.platform, directory / "elsewhere")


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    directory = tmp_path_factory.mktemp("kept")
    made = make_platform(directory)
    made.initialise()
    made.sandbox_command("tests.backup.furnish", "furnish")
    made.tsp("documents", "build")
    passphrase, backup = write_passphrase(directory), directory / "backup"
    made.tsp("backup", "--to", str(backup), "--passphrase-file", str(passphrase))
    return Kept(made, backup, passphrase)
