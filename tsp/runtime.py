"""What a process of the platform has in its hands: settings, clock, randomness, database, its token, the way out."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import hsm
from hsm import softhsm
from hsm.errors import HsmError
from tsp.core.clock import Clock, SystemClock
from tsp.core.database import Database
from tsp.core.errors import Invalid, Unavailable
from tsp.core.files import read_secret
from tsp.core.isolated import Isolated
from tsp.core.outbound import Outbound
from tsp.core.randomness import Randomness, SystemRandomness
from tsp.core.settings import Settings

#: Which token a role opens. Roles that hold no key are not listed.
TOKEN_OF_ROLE = {
    "engine": "ca",
    "idp": "identity",
    "notify": "identity",
    "sign": "site",
    "tsa": "tsu",
    "qtsa": "qtsu",
    "ocsp": "ocsp",
    "log": "log",
}
TOKENS = ("root", "ca", "identity", "site", "tsu", "qtsu", "ocsp", "log")


@dataclass
class Runtime:
    """One process's world. Everything in it can be another in a test."""

    settings: Settings
    clock: Clock = field(default_factory=SystemClock)
    randomness: Randomness = field(default_factory=SystemRandomness)

    def database(self) -> Database:
        return Database(self.settings.database_url)

    def outbound(self) -> Outbound:
        return Outbound(internal=frozenset(self.settings.internal))

    def isolated(self) -> Isolated:
        return Isolated()

    def secret(self, relative: str) -> str:
        """A secret file of the installation; `Unavailable` (secret-missing) names the file."""
        path = self.settings.var / relative
        try:
            return read_secret(path)
        except (FileNotFoundError, PermissionError) as error:
            raise Unavailable("secret-missing", f"The secret file {relative} cannot be read: {error}") from None

    def open_token(self, name: str) -> hsm.Token:
        """The token of this name with the PIN of its file.

        Raises `Unavailable` with the HSM's own advice.
        """
        settings = self.settings
        if not settings.var.is_dir():
            raise Unavailable("not-initialised", "This installation is not complete: run `tsp init`.")
        module, pin = self.hsm_module(), self.secret(f"pins/{name}.pin")
        try:
            with self._one_login_at_a_time():
                return hsm.Token.open(module, token_label(settings, name), pin, sessions=settings.hsm.sessions)
        except HsmError as error:
            raise Unavailable(error.code, error.advice, token=name) from error

    @contextmanager
    def _one_login_at_a_time(self) -> Iterator[None]:
        """SoftHSM rewrites a token's record at each login: two at the same moment can find it half written."""
        with (self.settings.var / "login.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def hsm_module(self) -> Path:
        """The PKCS#11 module: the configured one, or SoftHSM with this installation's token store (demo only)."""
        if self.settings.hsm.module:
            return Path(self.settings.hsm.module)
        if not self.settings.demo:
            raise Invalid("hsm-not-configured", "Production needs hsm.module: SoftHSM is for demo and tests only.")
        softhsm.configure(self.settings.var / "tokens")
        return softhsm.find_module()


def token_label(settings: Settings, name: str) -> str:
    """The label under which an installation's token is known: distinct per installation name and role."""
    return f"{settings.name.lower()}-{name}"[:32]
