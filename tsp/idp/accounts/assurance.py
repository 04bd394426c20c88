"""Levels of assurance: acr is the lower of identity proofing and login means (OID-2).

The table is policy, read from `conf/policies/assurance.toml`; `DEFAULT` is the table of the house
plan. Levels are those of Regulation (EU) No 910/2014, Article 8.
"""

import enum
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tsp.core.errors import Invalid


class Level(enum.IntEnum):
    """Low, substantial, high: in Slovene nizka, srednja, visoka raven zanesljivosti."""

    LOW = 1
    SUBSTANTIAL = 2
    HIGH = 3

    @property
    def word(self) -> str:
        return self.name.lower()

    @property
    def uri(self) -> str:
        """The value of the acr claim."""
        return f"http://eidas.europa.eu/LoA/{self.word}"

    @classmethod
    def parse(cls, text: str) -> "Level":
        """A level from its word or its URI; `Invalid` (level-unknown) for anything else."""
        for level in cls:
            if text in (level.word, level.uri):
                return level
        raise Invalid("level-unknown", "There is no such level of assurance.", level=text[:60])


class Proof(enum.StrEnum):
    """How it was found out who the holder of an account is."""

    REGISTER = "register-agreement"
    IDENTIFICATION_KEY = "identification-key"
    BANK_CARD = "bank-card"
    CERTIFICATE = "certificate"
    CERTIFICATE_CARD = "certificate-card"
    IN_PERSON = "in-person"


class Means(enum.StrEnum):
    """What a person proved at login. The value names it in policies."""

    PASSWORD = "password"  # noqa: S105  (the name of a means, not a secret)
    EMAIL_CODE = "email-code"
    SMS_CODE = "sms-code"
    ONEPASS_CODE = "onepass-code"
    ONEPASS_PUSH = "onepass-push"
    PASSKEY = "passkey"
    PASSKEY_ATTESTED = "passkey-attested"
    CERTIFICATE = "certificate"
    CERTIFICATE_CARD = "certificate-card"


@dataclass(frozen=True)
class MeansRule:
    """All of `means` proven together reach `level`."""

    level: Level
    means: frozenset[Means]


def _rule(level: Level, *means: Means) -> MeansRule:
    return MeansRule(level, frozenset(means))


_DEFAULT_MEANS = (
    _rule(Level.LOW, Means.PASSWORD),
    _rule(Level.LOW, Means.EMAIL_CODE),
    _rule(Level.SUBSTANTIAL, Means.PASSWORD, Means.SMS_CODE),
    _rule(Level.SUBSTANTIAL, Means.PASSWORD, Means.ONEPASS_CODE),
    _rule(Level.SUBSTANTIAL, Means.PASSWORD, Means.ONEPASS_PUSH),
    _rule(Level.SUBSTANTIAL, Means.PASSKEY),
    _rule(Level.SUBSTANTIAL, Means.CERTIFICATE),
    _rule(Level.HIGH, Means.CERTIFICATE_CARD),
    _rule(Level.HIGH, Means.PASSKEY_ATTESTED),
)
_DEFAULT_PROOFING = {
    Proof.REGISTER: Level.LOW,
    Proof.IDENTIFICATION_KEY: Level.SUBSTANTIAL,
    Proof.BANK_CARD: Level.SUBSTANTIAL,
    Proof.CERTIFICATE: Level.SUBSTANTIAL,
    Proof.CERTIFICATE_CARD: Level.HIGH,
    Proof.IN_PERSON: Level.HIGH,
}


@dataclass(frozen=True)
class AssurancePolicy:
    """Which proof and which means reach which level."""

    proofing: Mapping[Proof, Level] = field(default_factory=lambda: dict(_DEFAULT_PROOFING))
    means: tuple[MeansRule, ...] = _DEFAULT_MEANS

    def proofing_level(self, proofs: Iterable[Proof]) -> Level:
        """The highest level that any of the proofs gives; low for none."""
        return max((self.proofing.get(proof, Level.LOW) for proof in proofs), default=Level.LOW)

    def means_level(self, proven: Iterable[Means]) -> Level | None:
        """The highest level whose means were all proven; None where nothing was proven.

        A set: the same means proven twice count once.
        """
        have = frozenset(proven)
        return max((rule.level for rule in self.means if rule.means <= have), default=None)

    def acr(self, proofing: Level, proven: Iterable[Means]) -> Level | None:
        """The lower of both; None where no known means was proven."""
        reached = self.means_level(proven)
        return None if reached is None else min(proofing, reached)


DEFAULT = AssurancePolicy()


def load_policy(path: Path) -> AssurancePolicy:
    """Reads the table of a TOML file.

    Raises `Invalid` (policy-invalid) whose sentence names the file and what is wrong in it.
    """
    try:
        raw = tomllib.loads(path.read_text())
        if unknown := set(raw) - {"proofing", "means"}:
            raise ValueError(f"unknown key {min(unknown)}")
        proofing = {Proof(name): _level(word) for name, word in raw["proofing"].items()}
        rules = tuple(_read_rule(entry) for entry in raw["means"])
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise Invalid("policy-invalid", f"{path.name}: {error}", file=path.name) from None
    return AssurancePolicy(proofing, rules)


def _level(word: Any) -> Level:
    try:
        return Level[str(word).upper()]
    except KeyError:
        raise ValueError(f"unknown level {word}") from None


def _read_rule(entry: Any) -> MeansRule:
    if set(entry) != {"level", "all"} or not entry["all"]:
        raise ValueError("each means has exactly the keys level and all")
    return MeansRule(_level(entry["level"]), frozenset(Means(name) for name in entry["all"]))
