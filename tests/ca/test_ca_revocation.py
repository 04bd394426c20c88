"""Who may revoke what, for which reason, and what is written of it."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from tests.ca.ca_kit import PERSON, SoftKey
from tests.ca.list_kit import ISSUER, Lists
from tsp.ca.crl import REASONS
from tsp.ca.crl_reading import CrlReading
from tsp.ca.revocation import REASONS_OF, By, Requester, Revocation, Revocations, revocable, typed_serial
from tsp.ca.tables import status
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.errors import Conflict, Invalid, NotFound, Refused, TspError

OPERATOR = Requester("provider", "operator-7", evidence="ticket-12")


@dataclass
class Office:
    """Revocations whose journal and messages are lists."""

    lists: Lists
    written: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    told: list[Revocation] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.revocations = Revocations(self.lists.clock, self._journal, lambda _, done: self.told.append(done))

    def _journal(self, _session: Session, kind: str, payload: Mapping[str, str]) -> None:
        self.written.append((kind, dict(payload)))

    def revoke(self, serial: str, reason: str = "superseded", requester: Requester = OPERATOR) -> Revocation:
        with self.lists.database.write() as session:
            return self.revocations.revoke(session, serial, reason, requester)


@pytest.fixture
def office(database: Database, clock: SettableClock, tmp_path: Path) -> Office:
    return Office(Lists(database, clock, tmp_path))


@pytest.mark.requirement("CA-1", "OCSP-1")
def test_a_revocation_is_written_told_and_counts_at_once(office: Office) -> None:
    ((serial, _),) = office.lists.issue()
    requester = Requester("officer", "officer-3", "test-bank", "file-2026/118")
    done = office.revoke(serial, "keyCompromise", requester)
    assert (done.already, done.revoked_at, done.reason) == (False, office.lists.clock.now(), "keyCompromise")
    facts = {
        "serial": serial,
        "issuer": ISSUER,
        "profile": "revocable",
        "reason": "keyCompromise",
        "by": "officer",
        "requester": "officer-3",
        "organisation": "test-bank",
        "evidence": "file-2026/118",
    }
    assert office.written == [("certificate-revoked", facts)]
    assert office.told == [done]
    with office.lists.database.read() as session:
        known = status(session, ISSUER, serial)
    assert known is not None
    assert known.revoked
    office.lists.publisher().publish()
    assert CrlReading.of((office.lists.directory / f"{ISSUER}.crl").read_bytes()).count() == 1


@pytest.mark.requirement("CA-1", "OCSP-1")
def test_a_second_request_changes_nothing_and_says_so(office: Office) -> None:
    ((serial, _),) = office.lists.issue()
    first = office.revoke(serial, "superseded")
    office.lists.clock.advance(minutes=5)
    again = office.revoke(serial, "keyCompromise")
    assert (again.already, again.revoked_at, again.reason) == (True, first.revoked_at, "superseded")
    assert len(office.written) == len(office.told) == 1


@pytest.mark.requirement("CA-1")
def test_of_five_who_revoke_the_same_one_writes(office: Office) -> None:
    ((serial, _),) = office.lists.issue()
    with ThreadPoolExecutor(5) as pool:
        done = list(pool.map(lambda _: office.revoke(serial), range(5)))
    assert sorted(one.already for one in done) == [False, True, True, True, True]
    assert len(office.written) == 1


@pytest.mark.requirement("CA-1")
def test_each_may_give_their_reasons_and_no_other(office: Office) -> None:
    held = {"certificateHold": "certificate-suspension-refused", "removeFromCRL": "certificate-suspension-refused"}
    every: tuple[By, ...] = ("subject", "officer", "provider")
    for by in every:
        for reason in (*REASONS, *held, "because", ""):
            ((serial, _),) = office.lists.issue()
            if reason in REASONS_OF[by]:
                assert office.revoke(serial, reason, Requester(by, "someone")).reason == reason
                continue
            before = len(office.written)
            with pytest.raises(TspError) as refused:
                office.revoke(serial, reason, Requester(by, "someone"))
            unknown = held.get(reason, "revocation-reason-unknown")
            assert refused.value.code == ("revocation-reason-refused" if reason in REASONS else unknown)
            assert len(office.written) == before


@pytest.mark.requirement("CA-1", "CA-5")
def test_what_cannot_be_revoked_is_refused_by_name(office: Office) -> None:
    lists = office.lists
    prepared = lists.authority.prepare("revocable", PERSON, SoftKey().public_spki, now=lists.clock.now())
    issued = lists.authority.issue(prepared)
    with pytest.raises(NotFound, match="certificate-unknown"):
        office.revoke(issued.serial)
    ((serial, _),) = lists.issue()
    with pytest.raises(NotFound, match="certificate-unknown"), lists.database.write() as session:
        office.revocations.revoke(session, serial, "superseded", OPERATOR, subjects={"account-2"})
    ((own, _),) = lists.issue(subject=None)
    with pytest.raises(NotFound, match="certificate-unknown"), lists.database.write() as session:
        office.revocations.revoke(session, own, "superseded", OPERATOR, persons_only=True)
    lists.clock.advance(minutes=60 * 49)
    with pytest.raises(Conflict, match="certificate-expired"):
        office.revoke(serial)


@pytest.mark.requirement("CA-1")
def test_all_of_an_issuer_in_steps_that_may_be_broken_off(office: Office) -> None:
    lists = office.lists
    serials = sorted(serial for serial, _ in lists.issue(5))
    office.revoke(serials[1])
    seen, after = [], ""
    while True:
        with lists.database.write() as session:
            done, on = office.revocations.revoke_some(session, ISSUER, "cACompromise", OPERATOR, after=after, most=2)
        seen += [one.serial for one in done]
        if on is None:
            break
        after = on
    assert seen == [serials[0], *serials[2:]]
    with lists.database.write() as session:
        assert office.revocations.revoke_some(session, ISSUER, "cACompromise", OPERATOR) == ([], None)
        with pytest.raises(Refused, match="certificate-suspension-refused"):
            office.revocations.revoke_some(session, ISSUER, "certificateHold", OPERATOR)
    with lists.database.read() as session:
        assert revocable(session, {"account-1"}, lists.clock.now()) == []
    assert len(office.told) == 5


@pytest.mark.requirement("CA-1")
def test_who_revokes_one_and_who_revokes_all_do_not_wait_in_a_ring(
    database: Database, clock: SettableClock, tmp_path: Path
) -> None:
    office = Office(Lists(database, clock, tmp_path, shards=3))
    serials = sorted(serial for serial, _ in office.lists.issue(8))

    def all_of_them(_: object) -> list[Revocation]:
        with database.write() as session:
            return office.revocations.revoke_some(session, ISSUER, "superseded", OPERATOR)[0]

    def one_by_one(order: list[str]) -> list[Revocation]:
        return [office.revoke(serial) for serial in order]

    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(all_of_them, None) for _ in range(2)]
        waiting += [pool.submit(one_by_one, order) for order in (serials, serials[::-1])]
        done = [one for future in waiting for one in future.result()]
    assert sorted(one.serial for one in done if not one.already) == serials
    lists = office.lists.publisher()
    lists.publish()
    assert sum(CrlReading.of(file.read_bytes()).count() for file in office.lists.lists()) == 8
    assert lists.publish() == []


def test_serial_numbers_are_taken_as_people_copy_them() -> None:
    assert typed_serial(" 0x0A:bc ") == f"{0xABC:032x}"
    for wrong in ("", "xyz", "1" * 41, "-1", "1_2"):
        with pytest.raises(Invalid, match="serial-malformed"):
            typed_serial(wrong)
