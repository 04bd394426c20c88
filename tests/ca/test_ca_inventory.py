"""The inventory: every question finds what it should and nothing else, a page at a time."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ca.ca_kit import NOW, PERSON, SERVICE, SoftKey, authority
from tsp.ca.inventory import Question, State, find, search, state_of, subject_text
from tsp.ca.names import PersonName, ServiceName, SubjectName
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.errors import Invalid, NotFound

OTHER = PersonName(
    "Ana", "Novak", "SI", "17", organisation="Črna, d.o.o. + sin", organisation_identifier="VATSI-10000003"
)
PSEUDONYM = PersonName(None, None, "SI", "18", pseudonym='Sova "Siva"')


class Holding:
    """Certificates issued one after the other, a minute apart."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = SettableClock(NOW)
        self._authority = authority(clock=self.clock)

    def add(
        self, profile: str = "advanced", subject: SubjectName = PERSON, ref: str | None = "ana", **facts: Any
    ) -> str:
        issuer = {"advanced": "nonqualified", "qualified": "qualified"}.get(profile, "infrastructure")
        prepared = self._authority.prepare(profile, subject, SoftKey().public_spki, now=self.clock.now(), issuer=issuer)
        row = self._authority.row(self._authority.issue(prepared), ref)
        for name, value in facts.items():
            setattr(row, name, value)
        serial = row.serial
        with self.database.write() as session:
            session.add(row)
        self.clock.advance(minutes=1)
        return serial

    def found(self, question: Question, **more: Any) -> list[str]:
        with self.database.read() as session:
            return [one.serial for one in search(session, question, self.clock.now(), **more).certificates]


@pytest.fixture
def holding(database: Database) -> Holding:
    return Holding(database)


@pytest.mark.requirement("CA-1", "CA-5")
def test_each_question_finds_what_it_asks_for(holding: Holding) -> None:
    first = holding.add()
    second = holding.add("qualified", OTHER, "eva")
    unit = holding.add("tsu", SERVICE, None, revoked_at=NOW, reason="superseded")
    last = holding.add()
    assert holding.found(Question()) == [last, unit, second, first]
    assert holding.found(Question(profile="advanced")) == [last, first]
    assert holding.found(Question(issuer="qualified")) == [second]
    assert holding.found(Question(holders=["ana"])) == [last, first]
    assert holding.found(Question(holders=[])) == []
    assert holding.found(Question(serial=unit.upper())) == [unit]
    assert holding.found(Question(state=State.REVOKED)) == [unit]
    assert holding.found(Question(since=NOW + timedelta(minutes=1), until=NOW + timedelta(minutes=2))) == [second]
    assert holding.found(Question(valid_at=NOW - timedelta(days=1))) == []
    assert holding.found(Question(state=State.VALID)) == [last, second, first]
    holding.clock.advance(minutes=60)
    assert holding.found(Question(state=State.EXPIRED)) == [last, second, first]
    assert holding.found(Question(state=State.VALID, profile="tsu")) == []


@pytest.mark.parametrize(
    "subject", [PERSON, OTHER, PSEUDONYM, SERVICE], ids=["person", "organisation", "pseudonym", "service"]
)
def test_a_subject_is_found_by_the_very_text_that_is_shown(holding: Holding, subject: SubjectName) -> None:
    profile = "tsu" if isinstance(subject, ServiceName) else "advanced"
    serial = holding.add(profile, subject)
    holding.add(subject=PersonName("Ana", "Novak", "SI", "19"))
    with holding.database.read() as session:
        text = subject_text(find(session, serial))
    assert holding.found(Question(subject=text)) == [serial]
    assert holding.found(Question(subject=text.replace("C=SI", "C=AT"))) == []


def test_pages_follow_each_other_while_more_is_issued(holding: Holding) -> None:
    serials = [holding.add() for _ in range(5)]
    seen: list[str] = []
    after = ""
    while True:
        with holding.database.read() as session:
            page = search(session, Question(profile="advanced"), holding.clock.now(), after=after, limit=2)
        seen += [one.serial for one in page.certificates]
        holding.add()
        if not (after := page.after):
            break
    assert seen == serials[::-1]


def test_certificates_of_one_moment_are_all_seen(holding: Holding) -> None:
    serials = {holding.add(issued_at=NOW) for _ in range(4)}
    seen: list[str] = []
    after = ""
    for _ in range(4):
        with holding.database.read() as session:
            page = search(session, Question(), holding.clock.now(), after=after, limit=1)
        seen += [one.serial for one in page.certificates]
        after = page.after
    assert (set(seen), len(seen), after) == (serials, 4, "")


def test_a_revoked_certificate_stays_revoked_when_it_has_expired(holding: Holding) -> None:
    serial = holding.add("tsu", SERVICE, None, revoked_at=NOW)
    with holding.database.read() as session:
        assert state_of(find(session, f"{serial[:4]}:{serial[4:]}"), NOW + timedelta(days=9999)) is State.REVOKED


@pytest.mark.parametrize(
    ("question", "more", "code"),
    [
        (Question(subject="no name"), {}, "subject-malformed"),
        (Question(subject="CN=a,X=b"), {}, "subject-malformed"),
        (Question(serial="12x"), {}, "serial-malformed"),
        (Question(serial="1" * 33), {}, "serial-malformed"),
        (Question(), {"after": "AAAA"}, "cursor-malformed"),
        (Question(), {"after": "č"}, "cursor-malformed"),
        (Question(), {"limit": 0}, "page-size-unfit"),
        (Question(), {"limit": 501}, "page-size-unfit"),
    ],
)
def test_bad_questions_are_refused(holding: Holding, question: Question, more: dict[str, Any], code: str) -> None:
    with pytest.raises(Invalid, match=code):
        holding.found(question, **more)


def test_an_unknown_certificate_is_not_found(holding: Holding) -> None:
    with pytest.raises(NotFound, match="certificate-unknown"), holding.database.read() as session:
        find(session, "00")


@given(st.text(max_size=60))
def test_any_text_is_a_subject_or_refused(text: str) -> None:
    from tsp.ca.inventory import _asked

    try:
        _asked(Question(subject=text), NOW)
    except Invalid as error:
        assert error.code == "subject-malformed"


@given(st.text(max_size=60))
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    from tsp.ca.inventory import _read_cursor

    try:
        moment, serial = _read_cursor(text)
    except Invalid as error:
        assert error.code == "cursor-malformed"
    else:
        assert moment.tzinfo is not None
        assert len(serial) == 32
