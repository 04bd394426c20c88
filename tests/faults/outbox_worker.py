"""Outbox runners in processes of their own, for the tests that kill them (work of `tests.zygote`)."""

import os
from collections import Counter
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.zygote import Begin, Job, fatal
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.randomness import SystemRandomness
from tsp.core.sealing import Sealer
from tsp.notify.runner import Runner, RunnerRules
from tsp.notify.sending import Letter, SendFailed

RULES = RunnerRules(lease=60, pauses=(5, 15, 60))


class SoftAead:
    """The outbox's key outside of a token: what these tests look at is not where it lies."""

    _key = AESGCM(sha256(b"outbox").digest())

    def encrypt(self, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
        return self._key.encrypt(nonce, plaintext, aad)

    def decrypt(self, nonce: bytes, ciphertext: bytes, aad: bytes) -> bytes:
        return self._key.decrypt(nonce, ciphertext, aad)


class Gateway:
    """The other side: what it took outlives whoever sent it. While it is `busy` it refuses texts that say so."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "taken"
        self.busy = directory / "busy"

    def send(self, letter: Letter) -> None:
        if letter.text == "busy" and self.busy.exists():
            raise SendFailed("gateway-503", permanent=False)
        taken = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(taken, f"{letter.id}\n".encode())
        finally:
            os.close(taken)

    def taken(self) -> Counter[str]:
        """The ids of the letters that it took, and how often each."""
        return Counter(self._file.read_text().split() if self._file.exists() else ())


def sealer() -> Sealer:
    return Sealer(SoftAead(), SystemRandomness(), "outbox")


def outbox_job(database: Database, directory: Path, clock: SettableClock, step: str = "") -> Job:
    """A runner that empties the outbox, erases what is old and ends; it kills itself after `step`."""
    return {
        "work": "tests.faults.outbox_worker:empty",
        "database": database.url,
        "directory": str(directory),
        "now": clock.now().isoformat(),
        "step": step,
    }


def empty(job: Job, begin: Begin) -> str:
    database, clock = Database(job["database"]), SettableClock(datetime.fromisoformat(job["now"]))
    gateway = Gateway(Path(job["directory"]))
    senders = {"mail": gateway, "sms": gateway}
    runner = Runner(database, sealer(), clock, SystemRandomness(), senders, RULES, on_step=fatal(job))
    begin()
    while runner.run_once():
        pass
    runner.sweep()
    return "emptied"
