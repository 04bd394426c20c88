"""The CRLs of authorities that certify others every day: signed while their token is open, published as files.

The root's list comes from the ceremony (`upkeep`). The process that holds an issuing key runs a
`CrlPublisher`, which signs a new list at once after a revocation and otherwise well before the old one
ends (EN 319 411-1 CSS-6.3.9-05: at least every 24 hours).
"""

import contextlib
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy.orm import Session

from tsp.ca.authority import IssuingKey
from tsp.ca.certificate import assemble
from tsp.ca.crl import NEVER, CrlForm, RevokedCertificate, build_tbs_crl
from tsp.ca.crl_reading import open_crl
from tsp.ca.crl_writing import write_crl
from tsp.ca.lint import unsound
from tsp.ca.lint_crl import lint_crl
from tsp.ca.lists import ListState, Scope, all_settled, entries, next_number, published, scopes, state
from tsp.ca.urls import RepositoryUrls, crl_file
from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.core.errors import Conflict, Refused, TspError
from tsp.core.files import one_at_a_time, sync_directory
from tsp.core.settings import Settings

log = logging.getLogger("tsp.ca")
#: A revocation that was under way while a list was made has an earlier time than the list: a delta looks back further.
_LOOK_BACK = timedelta(hours=1)


def make_crl(
    issuer: IssuingKey, *, number: int, now: datetime, validity: timedelta, revoked: Sequence[RevokedCertificate] = ()
) -> bytes:
    """A short complete list (DER) that is good for `validity` from `now`, checked before it is returned.

    Raises `Unavailable` where the token does not answer or the list breaks a rule.
    """
    this_update = now.replace(microsecond=0)
    form = CrlForm(number, this_update, this_update + validity, expired_since=issuer.facts.not_before)
    tbs = build_tbs_crl(issuer.facts, form, revoked)
    crl = assemble(tbs, issuer.sign(tbs), issuer.algorithm)
    findings = lint_crl(crl, issuer.facts, issuer.public)
    if findings:
        raise unsound(findings[0].rule)
    return crl


@dataclass(frozen=True, slots=True)
class CrlTerms:
    """How long a list is good for, after what time the next one is signed, and how often that is looked at.

    `shards` cuts the list of an issuer into parts, `delta` puts a delta list beside each; both need `urls`.
    """

    validity: timedelta = timedelta(hours=48)
    renewal: timedelta = timedelta(hours=12)
    look: timedelta = timedelta(seconds=5)
    delta: bool = False
    urls: RepositoryUrls = field(default_factory=lambda: RepositoryUrls("http://localhost", "http://localhost"))

    @classmethod
    def of(cls, settings: Settings) -> "CrlTerms":
        """The terms of an installation."""
        terms = settings.crl
        return cls(
            timedelta(hours=terms.validity_hours),
            timedelta(hours=terms.renewal_hours),
            timedelta(seconds=terms.look_seconds),
            terms.delta,
            RepositoryUrls.of(settings),
        )


class CrlPublisher:
    """Keeps the lists in `directory` right, for every issuer whose key is at hand.

    Several processes may do so: a file lock lets one at a time work in one directory, and the database gives every
    number out once and lets no list come after a newer one, wherever the processes run.
    """

    def __init__(
        self,
        directory: Path,
        issuers: Mapping[str, IssuingKey],
        database: Database,
        clock: Clock,
        terms: CrlTerms | None = None,
    ) -> None:
        self._directory = directory
        self._lock = directory / "crl.lock"
        self._issuers = issuers
        self._database = database
        self._clock = clock
        self._terms = terms or CrlTerms()

    def publish(self) -> list[str]:
        """Signs and publishes the lists that are due; the names of their files without ending.

        Raises `Unavailable` where database or token do not answer; the lists that stand stay as they are.
        """
        done: list[Scope] = []
        failed: list[TspError | OSError] = []
        with one_at_a_time(self._lock):
            for scope in [scope for name in self._issuers for scope in self._scopes(name)]:
                try:
                    # Twice: the first complete list has no delta list yet, which goes on from it.
                    done += [scope for _ in range(2) if self._due(scope) and self._published(scope)]
                except (TspError, OSError) as error:
                    failed.append(error)  # what is wrong with one list must not keep the others back
        if failed:
            raise failed[0]
        return [crl_file(*scope).removesuffix(".crl") for scope in dict.fromkeys(done)]

    def end(self, issuer: str) -> list[str]:
        """Publishes the last lists of an issuer, which never need another (EN 319 411-1 CSS-6.3.9-06).

        Raises `Refused` (authority-not-settled) while one of its certificates is neither expired nor revoked,
        `Conflict` (crl-ended) the second time.
        """
        with self._database.read() as session:
            if not all_settled(session, issuer, self._clock.now()):
                raise Refused(
                    "authority-not-settled",
                    "Not all certificates of this authority are expired or revoked. Revoke them first, or wait.",
                    issuer=issuer,
                )
        with one_at_a_time(self._lock):
            found = self._scopes(issuer)
            with self._database.read() as session:
                if all((known := state(session, scope)) is not None and known.ended for scope in found):
                    raise Conflict("crl-ended", "The last list of this authority was published.", issuer=issuer)
            return [crl_file(*scope) for scope in found if self._published(scope, last=True)]

    def run(self, stop: threading.Event) -> None:
        """Publishes until `stop`. What fails is told in the log and tried again at the next look."""
        while not stop.is_set():
            try:
                for name in self.publish():
                    log.info("published the CRL of %s", name)
            except TspError as error:
                log.error("CRL: %s %s", error.code, error.facts)
            except OSError as error:
                log.error("CRL: %s", type(error).__name__)
            stop.wait(self._terms.look.total_seconds())

    def _scopes(self, issuer: str) -> list[Scope]:
        with self._database.read() as session:
            return scopes(session, issuer, self._terms.urls.shards.get(issuer, 0))

    def _due(self, scope: Scope) -> bool:
        with self._database.read() as session:
            known = state(session, scope)
        if known is None or known.published is None or known.this_update is None:
            return True
        if known.ended:
            return False
        if known.listed != known.revocations or self._clock.now() - known.this_update >= self._terms.renewal:
            return True
        delta = self._terms.delta and not self._path(scope, delta=True).exists()
        return delta or _number(self._path(scope)) != known.published

    def _published(self, scope: Scope, *, last: bool = False) -> bool:
        """Signs a list and puts it in its place; False where another process was faster with a newer one."""
        standing = _number(self._path(scope)) or 0
        with self._database.write() as session:
            now = self._clock.now()
            # Seconds since 1970 rise by themselves: where the database was lost too, no number comes twice.
            floor = max(standing + 1, int(now.timestamp()))
            number, before = next_number(session, scope, floor)
        this_update = now.replace(microsecond=0)
        next_update = NEVER if last else this_update + self._terms.validity
        form = self._form(scope, number, this_update, next_update, last=last)
        with contextlib.ExitStack() as left:
            with self._database.read() as session:
                # The count first: what is revoked after it may stand on the list, and makes the next one due.
                known = state(session, scope)
                listed = known.revocations if known else 0
                made = {self._path(scope): self._made(session, scope, form, None, left)}
                if self._terms.delta and before.base is not None and before.base_update is not None and not last:
                    since = before.base_update - _LOOK_BACK
                    delta = self._form(scope, number, this_update, next_update, base=before.base)
                    made[self._path(scope, delta=True)] = self._made(session, scope, delta, since, left)
            with self._database.write() as session:
                base = self._new_base(before, now)
                if not published(session, scope, number, listed, (this_update, next_update), base=base, last=last):
                    return False
                for path, new in made.items():
                    os.replace(new, path)
                if last:
                    self._path(scope, delta=True).unlink(missing_ok=True)
            sync_directory(self._directory)
        return True

    def _new_base(self, before: ListState, now: datetime) -> bool:
        """Delta lists go on from the last list that came by schedule."""
        return before.base_update is None or now - before.base_update >= self._terms.renewal

    def _form(
        self,
        scope: Scope,
        number: int,
        this_update: datetime,
        next_update: datetime,
        *,
        base: int | None = None,
        last: bool = False,
    ) -> CrlForm:
        urls = self._terms.urls
        return CrlForm(
            number,
            this_update,
            next_update,
            point=urls.crl(*scope) if scope.shard else None,
            only_users=bool(scope.shard),
            base=base,
            freshest=urls.crl(*scope, delta=True) if self._terms.delta and not last else None,
            expired_since=self._issuers[scope.issuer].facts.not_before,
        )

    def _made(
        self, session: Session, scope: Scope, form: CrlForm, since: datetime | None, left: contextlib.ExitStack
    ) -> Path:
        listed = entries(session, scope, since)
        made = write_crl(self._issuers[scope.issuer], form, listed, self._directory, crl_file(*scope))
        left.callback(made.unlink, missing_ok=True)
        return made

    def _path(self, scope: Scope, *, delta: bool = False) -> Path:
        return self._directory / crl_file(*scope, delta=delta)


def _number(path: Path) -> int | None:
    """The number of the list in a file; None where there is none that can be read."""
    try:
        with open_crl(path) as reading:
            return reading.number
    except (OSError, TspError):
        return None
