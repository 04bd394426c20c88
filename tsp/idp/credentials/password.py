"""Passwords: the manuals' rules, a list of common ones refused, Argon2id, then HMAC in the token.

Rules of REG-2 (a named deviation from ASVS 5.0, 6.2.5): at least 8 characters with lower case,
upper case, digit and special. Beside them: up to 128 characters, no password that everybody knows,
none made of the person's own data, and the strength is shown.
"""

import hmac
import threading
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from argon2.low_level import Type, hash_secret_raw
from sqlalchemy.orm import Session
from zxcvbn import zxcvbn
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from tsp.core.clock import Clock
from tsp.core.errors import Invalid
from tsp.core.randomness import Randomness
from tsp.idp.credentials.keys import Mac, TokenMac, framed
from tsp.idp.credentials.tables import PasswordRow

MIN_LENGTH = 8
MAX_LENGTH = 128
#: No password is longer as it is typed: characters may be written with combining marks.
_LONGEST_TYPED = 4 * MAX_LENGTH
#: zxcvbn reads no more than this.
_ESTIMATED = 72
_COMMON = frozenset(FREQUENCY_LISTS["passwords"])
#: What people add to a common password to satisfy rules: it does not make it another one.
_SIGNS = "!?.,*#$%&+-_=@/ "
_ORNAMENT = "0123456789" + _SIGNS
_LEET = str.maketrans("4@310$57!", "aaelossti")


class Breached(Protocol):
    """A list of passwords known from breaches."""

    def __contains__(self, password: str, /) -> bool: ...


@dataclass(frozen=True)
class PasswordRules:
    """Which rules a password keeps, for the list that ticks off, and how strong it is (0 to 4)."""

    length: bool
    lower: bool
    upper: bool
    digit: bool
    special: bool
    not_too_long: bool
    uncommon: bool
    strength: int

    @property
    def kept(self) -> bool:
        return all((self.length, self.lower, self.upper, self.digit, self.special, self.not_too_long, self.uncommon))


@dataclass(frozen=True)
class Cost:
    """Argon2id: passes, memory in KiB, lanes. The default is RFC 9106, section 4, second choice."""

    passes: int = 3
    memory: int = 64 * 1024
    lanes: int = 4

    def __str__(self) -> str:
        return f"argon2id,v=19,m={self.memory},t={self.passes},p={self.lanes}"

    @classmethod
    def parse(cls, text: str) -> "Cost":
        fields = dict(part.split("=") for part in text.split(",")[1:])
        return cls(int(fields["t"]), int(fields["m"]), int(fields["p"]))


@dataclass(frozen=True)
class PasswordRecord:
    """A password in the form that is kept, bound to one account."""

    parameters: str
    salt: bytes
    mac: bytes


def judge(password: str, own_words: Sequence[str] = ()) -> PasswordRules:
    """Looks at a password; `own_words` (the person's address, name) count as known to everybody."""
    text = unicodedata.normalize("NFC", password)
    kinds = {unicodedata.category(c) for c in text}
    return PasswordRules(
        length=len(text) >= MIN_LENGTH,
        lower="Ll" in kinds,
        upper="Lu" in kinds,
        digit="Nd" in kinds,
        special=any(unicodedata.category(c)[0] not in "LN" and not c.isspace() for c in text),
        not_too_long=len(text) <= MAX_LENGTH,
        uncommon=not _is_common(text, own_words),
        strength=_strength(text, own_words),
    )


def require_good(password: str, own_words: Sequence[str] = ()) -> None:
    """Raises `Invalid` (password-rules, password-too-long, password-common) for what is not accepted."""
    rules = judge(password, own_words)
    if not rules.not_too_long:
        raise Invalid("password-too-long", "The password may have at most 128 characters.")
    if not (rules.length and rules.lower and rules.upper and rules.digit and rules.special):
        raise Invalid(
            "password-rules",
            "The password needs at least 8 characters, with a lower case letter, an upper case letter, "
            "a digit and a special character.",
        )
    if not rules.uncommon:
        raise Invalid("password-common", "This password is easy to guess. Choose another one.")


def _is_common(text: str, own_words: Sequence[str]) -> bool:
    plain = text.casefold()
    bare = plain.strip(_ORNAMENT)
    forms = {plain, plain.strip(_SIGNS), bare, bare.translate(_LEET), plain.translate(_LEET).strip(_ORNAMENT)}
    own = {word.casefold() for word in own_words if len(word) >= 4}
    return bool(forms & _COMMON) or bool(forms & own)


def _strength(text: str, own_words: Sequence[str]) -> int:
    if not text:
        return 0
    return int(zxcvbn(text[:_ESTIMATED], user_inputs=[w[:_ESTIMATED] for w in own_words])["score"])


class Passwords:
    """Keeps and checks passwords.

    At most `parallel` hashes are made at a time in a process, since each needs the memory of `cost`.
    """

    def __init__(
        self,
        hmac_key: Mac,
        clock: Clock,
        randomness: Randomness,
        *,
        cost: Cost | None = None,
        parallel: int = 4,
        breached: Breached | None = None,
    ) -> None:
        self.cost = cost or Cost()
        self._key = TokenMac(hmac_key)
        self._clock = clock
        self._randomness = randomness
        self._slots = threading.BoundedSemaphore(parallel)
        self._breached = breached

    def require_good(self, password: str, own_words: Sequence[str] = ()) -> None:
        """`require_good` below, and `Invalid` (password-breached) for one from the operator's list."""
        require_good(password, own_words)
        if self._breached is not None and unicodedata.normalize("NFC", password) in self._breached:
            raise Invalid(
                "password-breached", "This password is known from a data breach elsewhere. Choose another one."
            )

    def derive(self, account_id: str, password: str) -> PasswordRecord:
        """The form in which this account's password is kept. Takes about 0.1 s; no transaction needed."""
        salt = self._randomness.bytes(16)
        return PasswordRecord(str(self.cost), salt, self._mac(account_id, password, salt, self.cost))

    def store(self, session: Session, account_id: str, record: PasswordRecord) -> None:
        """Puts a derived password in place of the one before it, in the caller's transaction."""
        row = session.get(PasswordRow, account_id)
        if row is None:
            row = PasswordRow(account_id=account_id)
            session.add(row)
        row.parameters, row.salt, row.mac = record.parameters, record.salt, record.mac
        row.changed = self._clock.now()
        session.flush()

    def set(self, session: Session, account_id: str, password: str, own_words: Sequence[str] = ()) -> None:
        """Sets a new password. Raises what `require_good` raises."""
        self.require_good(password, own_words)
        self.store(session, account_id, self.derive(account_id, password))

    def check(self, session: Session, account_id: str | None, password: str) -> bool:
        """Whether this is the account's password; an unknown account takes the same time.

        The caller has counted the attempt at the gate. A read session is enough.
        """
        row = None if account_id is None else session.get(PasswordRow, account_id)
        typed = password[: _LONGEST_TYPED + 1]
        if row is None or account_id is None:
            self._mac("", typed, bytes(16), self.cost)
            return False
        right = hmac.compare_digest(self._mac(account_id, typed, row.salt, Cost.parse(row.parameters)), row.mac)
        return right and len(password) <= _LONGEST_TYPED

    def renew(self, session: Session, account_id: str, password: str) -> bool:
        """Keeps a password that was just found right under today's cost; whether that was needed."""
        row = session.get(PasswordRow, account_id)
        if row is None or row.parameters == str(self.cost):
            return False
        self.store(session, account_id, self.derive(account_id, password))
        return True

    def forget(self, session: Session, account_id: str) -> None:
        """Takes the password away, with the account."""
        row = session.get(PasswordRow, account_id)
        if row is not None:
            session.delete(row)
            session.flush()

    def _mac(self, account_id: str, password: str, salt: bytes, cost: Cost) -> bytes:
        text = unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
        with self._slots:
            raw = hash_secret_raw(
                text, salt, cost.passes, cost.memory, cost.lanes, hash_len=32, type=Type.ID, version=19
            )
        return self._key.mac(framed("password", account_id, str(cost), salt, raw))
