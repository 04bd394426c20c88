"""The yardsticks of the key's life: the same calls of token and disk, with nothing of ours around them."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag
from sqlalchemy import event

from benchmarks.kit import PIN, digest
from hsm import KeySpec, loader, softhsm
from hsm.encoding import CURVE
from tsp.core.database import Database

#: One statement with its values; the statements of one transaction; the transactions of one signature.
Statement = tuple[str, Sequence[Any]]
Transaction = list[Statement]

_PROTECTED = {Attribute.EXTRACTABLE: False, Attribute.MODIFIABLE: False, Attribute.COPYABLE: False}
_USE = MechanismFlag.SIGN | MechanismFlag.VERIFY


class BareCycle:
    """generate + signature of the authority + signature + destroy, by python-pkcs11 alone, in one session.

    Keys have the protection that the platform demands, so the token has the same work; nothing is read
    back, nothing is encoded, nothing is checked.
    """

    def __init__(self, session: Any) -> None:
        self._curve = session.create_domain_parameters(
            KeyType.EC, {Attribute.EC_PARAMS: CURVE[KeySpec.P256]}, local=True
        )
        self._authority = self._pair(store=True)[1]
        self._digest = digest("what is signed")

    def run(self) -> None:
        """One key's life."""
        public, private = self._pair(store=False)
        self._authority.sign(self._digest, mechanism=Mechanism.ECDSA)
        private.sign(self._digest, mechanism=Mechanism.ECDSA)
        private.destroy()
        public.destroy()

    def _pair(self, *, store: bool) -> tuple[Any, Any]:
        public, private = self._curve.generate_keypair(
            store=store, capabilities=_USE, mechanism=Mechanism.EC_KEY_PAIR_GEN, private_template=_PROTECTED
        )
        return public, private


@contextmanager
def bare_cycle(label: str) -> Iterator[BareCycle]:
    """The bare cycle in the token of this label, logged in for the block."""
    module = loader.load(softhsm.find_module())
    (token,) = [found for found in module.tokens() if found.label == label]
    with token.open(rw=True, user_pin=PIN) as session:
        yield BareCycle(session)


class Recorder:
    """Writes down what a database is made to write, transaction by transaction."""

    def __init__(self) -> None:
        self.transactions: list[Transaction] = []
        self._open: Transaction = []

    def watch(self, database: Database) -> None:
        """Listens to this database from now on; one connection at a time."""

        @event.listens_for(database.engine, "before_cursor_execute")
        def _execute(_connection: Any, _cursor: Any, statement: str, values: Any, _context: Any, many: bool) -> None:
            if statement.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE")):
                self._open += [(statement, row) for row in (values if many else [values])]

        @event.listens_for(database.engine, "commit")
        def _commit(_connection: Any) -> None:
            if self._open:
                self.transactions.append(self._open)
            self._open = []

        @event.listens_for(database.engine, "rollback")
        def _rollback(_connection: Any) -> None:
            self._open = []

    def take(self) -> list[Transaction]:
        """The transactions since the last time."""
        taken, self.transactions = self.transactions, []
        return taken


class BareCommits:
    """Writes recorded rows by the driver alone, with the same promises to the disk, commit for commit."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            self._connection.execute(f"PRAGMA {pragma}")

    def run(self, transactions: Sequence[Transaction]) -> None:
        """All transactions of one signature; everything is on the disk when this returns."""
        for transaction in transactions:
            self._connection.execute("BEGIN IMMEDIATE")
            for statement, values in transaction:
                self._connection.execute(statement, values).fetchall()
            self._connection.execute("COMMIT")

    def close(self) -> None:
        """Lets the file go."""
        self._connection.close()
