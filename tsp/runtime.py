"""What a process of the platform has in its hands: settings, clock, randomness, database, its token, the way out."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import hsm
from hsm import softhsm
from hsm.errors import HsmError, PinWrong
from tsp.ca.upkeep import read_transcript
from tsp.core.clock import Clock, SystemClock
from tsp.core.database import Database
from tsp.core.errors import Invalid, Refused, Unavailable
from tsp.core.files import one_at_a_time, read_secret, write_private
from tsp.core.isolated import Isolated, IsolationLimits
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
    #: Which of its role's processes this is, from 1.
    number: int = 1
    #: Each tells a code while something is wrong in this process, else "": what /health answers.
    troubles: list[Callable[[], str]] = field(default_factory=list)

    def database(self) -> Database:
        """The installation's database, which must be there: none is made where one was lost."""
        return Database(self.settings.database_url, existing=True)

    def outbound(self) -> Outbound:
        return Outbound(internal=frozenset(self.settings.internal))

    def isolated(self) -> Isolated:
        worker = self.settings.worker
        limits = IsolationLimits(
            seconds=worker.seconds,
            processor_seconds=worker.processor_seconds,
            memory=worker.memory_bytes,
            jobs=worker.at_once,
        )
        return Isolated(limits, clock=self.clock)

    def secret(self, relative: str) -> str:
        """A secret file of the installation; `Unavailable` (secret-missing) names the file."""
        path = self.settings.var / relative
        try:
            return read_secret(path)
        except (FileNotFoundError, PermissionError) as error:
            raise Unavailable("secret-missing", f"The secret file {relative} cannot be read: {error}") from None

    def open_token(self, name: str) -> hsm.Token:
        """The token of this name with the PIN of its file.

        Raises `Unavailable` with the HSM's own advice. A PIN that was refused once is not tried again before its
        file was written anew, however often a supervisor starts the role: wrong PINs lock a token.
        """
        settings = self.settings
        if not settings.var.is_dir():
            raise Unavailable("not-initialised", "This installation is not complete: run `tsp init`.")
        module, pin = self.hsm_module(), self.secret(f"pins/{name}.pin")
        try:
            with self.one_login_at_a_time(), self._refused_once(name):
                return hsm.Token.open(module, token_label(settings, name), pin, sessions=settings.hsm.sessions)
        except HsmError as error:
            raise Unavailable(error.code, error.advice, token=name) from error

    def one_login_at_a_time(self) -> AbstractContextManager[None]:
        """SoftHSM rewrites a token's record at each login: two at the same moment can find it half written."""
        return one_at_a_time(self.settings.var / "login.lock")

    @contextmanager
    def _refused_once(self, name: str) -> Iterator[None]:
        """Remembers which state of the PIN file the token refused (its time and size, nothing of the PIN)."""
        mark, file = self.settings.var / "run" / f"{name}.pin-refused", self.settings.var / "pins" / f"{name}.pin"
        seen = file.stat()
        state = f"{seen.st_ino} {seen.st_mtime_ns} {seen.st_size}"
        if mark.is_file() and mark.read_text() == state:
            raise PinWrong(
                f"Token '{token_label(self.settings, name)}' refused the PIN in pins/{name}.pin, and it is not tried "
                "again: wrong PINs lock a token. Write the right PIN into the file (or touch it, where the token was "
                "mended instead); the role takes it up by itself."
            )
        try:
            yield
        except PinWrong:
            write_private(mark, state.encode())
            raise
        mark.unlink(missing_ok=True)

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


def require_same_mode(settings: Settings) -> None:
    """`Refused` (mode-mismatch) where authorities of a demo would serve in production, or the other way round."""
    made_for = read_transcript(settings.var / "ca")["mode"]
    if made_for != settings.mode:
        raise Refused(
            "mode-mismatch",
            f"The key ceremony of this installation was held for mode {made_for}, but the configuration says "
            f"{settings.mode}. Make an installation of its own for each.",
        )
