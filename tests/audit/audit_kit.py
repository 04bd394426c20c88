"""A log to work with: writers and a sequencer with a soft key."""

from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tsp.audit.entries import Writer, record
from tsp.audit.sequencer import Sequencer
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.randomness import Randomness


class SoftSigner:
    """An Ed25519 key outside of a token: what the tests look at is not where it lies."""

    def __init__(self, seed: str = "log") -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(sha256(seed.encode()).digest())
        self.public_spki = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.signed = 0

    def sign(self, message: bytes) -> bytes:
        self.signed += 1
        return self._key.sign(message)


class Log:
    """One log in a test database."""

    def __init__(self, database: Database, clock: SettableClock, randomness: Randomness) -> None:
        self.database = database
        self.clock = clock
        self.randomness = randomness
        self.signer = SoftSigner()
        self.sequencer = self.another("log.1")
        self.key = self.sequencer.key

    def another(self, holder: str, signer: object | None = None, **parts: Any) -> Sequencer:
        """A sequencer on the same log; `parts` are what else it is made of."""
        return Sequencer(
            self.database,
            signer or self.signer,  # type: ignore[arg-type]
            origin="log.example/TEST",
            holder=holder,
            clock=self.clock,
            **parts,
        )

    def witnessed(self, needed: int = 1) -> None:
        """From now on nothing is published before so many witnesses have co-signed."""
        self.sequencer = self.another("log.1", min_witnesses=needed)

    def writer(self, name: str = "engine") -> Writer:
        return Writer(name, self.randomness, self.clock)

    def write(self, count: int, *, writer: str = "engine") -> list[bytes]:
        """Writes entries, each in a transaction of its own as in life; returns their leaf hashes."""
        hashes: list[bytes] = []
        for number in range(count):
            with self.database.write() as session:
                payload = {"number": number}
                hashes.append(record(session, writer=self.writer(writer), kind="tested", payload=payload).leaf_hash)
        return hashes

    def fill(self, count: int) -> list[bytes]:
        """Writes many entries in one transaction and gives them their places."""
        with self.database.write() as session:
            writer = self.writer()
            hashes = [record(session, writer=writer, kind="tested", payload={"n": n}).leaf_hash for n in range(count)]
        self.sequencer.step()
        return hashes
