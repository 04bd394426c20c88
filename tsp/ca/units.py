"""The keys of a time-stamping unit, one after the other (EN 319 421, TIS-7.6.7-04 and -05).

A unit's key ends long before its certificate. Its successor is made while it still lives: a new key in the same
token, with a certificate and a name of its own. The files stay beside each other, the first from the ceremony
(`tsu.pem`), the others numbered (`tsu-2.pem`); the key's label is the file's name. Nothing of an old one is removed:
its time-stamps are validated for years.
"""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from asn1crypto import x509

from hsm import KeySpec, Token
from hsm.errors import KeyExists
from tsp.ca.issuance import Issuance
from tsp.ca.plan import CeremonyPlan
from tsp.ca.store import from_pem, to_pem
from tsp.ca.upkeep import publish_renewed
from tsp.core.clock import Clock
from tsp.core.errors import Unavailable
from tsp.core.files import one_at_a_time

#: How long before the end of the newest key the next one is made.
AHEAD: Final = timedelta(days=28)
UNITS: Final = ("tsu", "qtsu")
_PRIVATE_KEY_USAGE_PERIOD: Final = "2.5.29.16"


@dataclass(frozen=True, slots=True)
class Unit:
    """One key: the name of its file and its label in the token, its certificate (DER), and when it may sign."""

    name: str
    certificate: bytes
    begin: datetime
    end: datetime


def units(directory: Path, kind: str) -> list[Unit]:
    """Every key that the unit `kind` (tsu or qtsu) has had, oldest first.

    Raises `Unavailable` (ca-store-damaged) where a file is no certificate, or the ceremony's is missing.
    """
    numbers = [int(found[1]) for path in directory.glob(f"{kind}-*.pem") if (found := _NUMBER.search(path.name))]
    return [_read(directory, name) for name in (kind, *(f"{kind}-{number}" for number in sorted(numbers)))]


def present(found: list[Unit], now: datetime) -> Unit:
    """The one that signs now: the newest whose time has begun. It is refused at its end, not replaced by an older."""
    begun = [unit for unit in found if unit.begin <= now]
    return (begun or found)[-1]


def key_period(certificate: x509.Certificate) -> tuple[datetime, datetime]:
    """From when to when the private key may sign: privateKeyUsagePeriod within the certificate's validity."""
    begin, end = certificate.not_valid_before, certificate.not_valid_after
    for extension in certificate["tbs_certificate"]["extensions"]:
        if extension["extn_id"].dotted == _PRIVATE_KEY_USAGE_PERIOD:
            period = extension["extn_value"].parsed
            found = {name: period[name].native for name in ("not_before", "not_after")}
            begin = max(begin, found["not_before"] or begin)
            end = min(end, found["not_after"] or end)
    return begin.astimezone(UTC), end.astimezone(UTC)


@dataclass(frozen=True, slots=True)
class UnitRenewal:
    """Makes the next key of a unit where the newest ends within `ahead`.

    `tokens` opens a unit's token, which has its plan's name; `issuance` has the infrastructure's key. Each key has a
    name of its own (EN 319 422, 6.2): the plan's, with the key's number behind it ("TSU 1.2").
    """

    directory: Path
    plan: CeremonyPlan
    issuance: Issuance
    clock: Clock
    tokens: Callable[[str], AbstractContextManager[Token]]
    ahead: timedelta = AHEAD

    def renew(self) -> list[str]:
        """Looks at both units; the names of what was made. One process at a time does so.

        Raises `Unavailable` where database or token do not answer, `HsmError` where a token refuses. What a try that
        failed left behind is taken up by the next one: a key without certificate signs nothing.
        """
        with one_at_a_time(self.directory / "units.lock"):
            return [made for kind in UNITS if (made := self._renew(kind))]

    def _renew(self, kind: str) -> str:
        found, now = units(self.directory, kind), self.clock.now()
        if found[-1].end - now > self.ahead:
            return ""
        entry, owner, number = self.plan.entries[kind], self.plan.name(kind), len(found) + 1
        name = f"{kind}-{number}"
        subject = replace(owner, common_name=f"{entry.common_name}.{number}")
        with self.tokens(entry.token) as token:
            spki = _key(token, name, KeySpec[entry.key])
            # In the table before it is used: a unit whose certificate nobody knows would be told as never issued.
            issued = self.issuance.issue_now(entry.profile, subject, spki, issuer=entry.issuer, in_device=True)
        publish_renewed(self.directory, f"{name}.pem", to_pem(issued.der), now)
        return name


def _key(token: Token, name: str, spec: KeySpec) -> bytes:
    try:
        return token.generate_signing_key(name, spec).public_spki
    except KeyExists:
        return token.signing_key(name).public_spki


_NUMBER: Final = re.compile(r"-([2-9]|[1-9][0-9]{1,3})\.pem$")


def _read(directory: Path, name: str) -> Unit:
    try:
        der = from_pem((directory / f"{name}.pem").read_bytes())
        begin, end = key_period(x509.Certificate.load(der, strict=True))
    except (OSError, ValueError) as error:
        raise Unavailable(
            "ca-store-damaged", f"{name}.pem is missing or damaged. Restore it from its copy.", file=f"{name}.pem"
        ) from error
    return Unit(name, der, begin, end)
