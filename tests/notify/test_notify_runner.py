"""The outbox: in the caller's transaction, sealed, sent once, retried, given up, never late."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.conftest import TokenFactory
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.errors import Invalid, Unavailable
from tsp.core.randomness import Randomness
from tsp.core.sealing import Sealer
from tsp.notify.outbox import MAX_SMS, Outbox
from tsp.notify.runner import Runner, RunnerRules, backlog
from tsp.notify.sending import Letter, Sender, SendFailed
from tsp.notify.tables import Message, MessageState

RULES = RunnerRules(lease=60, pauses=(5, 15, 60))


class Postbox:
    """Takes letters; fails as told."""

    def __init__(self, *failures: SendFailed) -> None:
        self.letters: list[Letter] = []
        self.failures = list(failures)

    def send(self, letter: Letter) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.letters.append(letter)


class Killed(BaseException):
    """Stands for the end of a process."""


class Deadly:
    def send(self, letter: Letter) -> None:
        raise Killed


@pytest.fixture
def sealer(token_factory: TokenFactory, randomness: Randomness) -> Sealer:
    return Sealer(token_factory("identity").generate_aead_key("outbox"), randomness, "outbox")


@pytest.fixture
def outbox(sealer: Sealer, randomness: Randomness, clock: SettableClock) -> Outbox:
    return Outbox(sealer, randomness, clock)


class Office:
    """Makes runners over one database."""

    def __init__(self, database: Database, sealer: Sealer, clock: SettableClock, randomness: Randomness) -> None:
        self.database, self.sealer, self.clock, self.randomness = database, sealer, clock, randomness

    def runner(self, sender: Sender, only: str | None = None) -> Runner:
        senders = {"mail": sender, "sms": sender}
        return Runner(self.database, self.sealer, self.clock, self.randomness, senders, RULES, only=only)

    def states(self) -> dict[str, int]:
        with self.database.read() as session:
            return backlog(session)

    def only(self) -> Message:
        with self.database.read() as session:
            message = session.scalars(select(Message)).one()
            session.expunge(message)
            return message


@pytest.fixture
def office(database: Database, sealer: Sealer, clock: SettableClock, randomness: Randomness) -> Office:
    return Office(database, sealer, clock, randomness)


def _put(office: Office, outbox: Outbox, *, expires_at: datetime | None = None, text: str = "Koda: 123456") -> str:
    with office.database.write() as session:
        return outbox.sms(session, "+38641123456", text, purpose="login-code", expires_at=expires_at)


def test_nothing_is_sent_of_a_transaction_that_failed(office: Office, outbox: Outbox) -> None:
    with pytest.raises(ZeroDivisionError), office.database.write() as session:
        outbox.mail(session, "ana@primer.si", "Koda", "123456", purpose="code")
        _ = 1 // 0
    assert office.runner(Postbox()).run_once() is False


@pytest.mark.requirement("OPS-1")
def test_a_relay_that_does_not_answer_holds_up_its_own_channel_alone(office: Office, outbox: Outbox) -> None:
    with office.database.write() as session:
        outbox.mail(session, "ana@primer.si", "Koda", "123456", purpose="code")
        outbox.mail(session, "eva@primer.si", "Koda", "123457", purpose="code")
    office.clock.advance(seconds=1)
    _put(office, outbox)
    asked, answered = threading.Event(), threading.Event()

    class Slow(Postbox):
        def send(self, letter: Letter) -> None:
            asked.set()
            assert answered.wait(20)
            super().send(letter)

    relay, gateway = Slow(), Postbox()
    mails, texts = office.runner(relay, "mail"), office.runner(gateway, "sms")
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(mails.run_once)
        assert asked.wait(20)
        assert texts.run_once()
        assert not texts.run_once()
        answered.set()
        assert waiting.result()
    assert [letter.to for letter in gateway.letters] == ["+38641123456"]
    assert [letter.to for letter in relay.letters] == ["ana@primer.si"]


@pytest.mark.requirement("SEC-1")
def test_a_waiting_message_is_sealed_and_a_sent_one_is_emptied(office: Office, outbox: Outbox, tmp_path: Path) -> None:
    _put(office, outbox, text="Vaše enkratno geslo je 271828")
    stored = b"".join(p.read_bytes() for p in tmp_path.glob("test.db*"))
    assert b"271828" not in stored
    assert b"38641123456" not in stored
    postbox = Postbox()
    assert office.runner(postbox).run_once()
    assert [(x.to, x.text) for x in postbox.letters] == [("+38641123456", "Vaše enkratno geslo je 271828")]
    assert office.only().state == MessageState.SENT
    assert office.only().sealed == b""


def test_a_sealed_message_moved_to_another_row_is_not_sent(office: Office, outbox: Outbox) -> None:
    first, second = _put(office, outbox, text="one"), _put(office, outbox, text="two")
    with office.database.write() as session:
        session.get_one(Message, first).sealed = session.get_one(Message, second).sealed
    postbox = Postbox()
    runner = office.runner(postbox)
    while runner.run_once():
        pass
    assert [letter.text for letter in postbox.letters] == ["two"]
    assert office.states() == {"sent": 1, "failed": 1}


def test_five_runners_send_each_message_once(office: Office, outbox: Outbox) -> None:
    for number in range(30):
        _put(office, outbox, text=f"message {number}")
    postbox, stop = Postbox(), threading.Event()
    runners = [
        threading.Thread(target=office.runner(postbox).run, args=(stop,), kwargs={"idle": 0.01}) for _ in "abcde"
    ]
    for thread in runners:
        thread.start()
    while office.states().get("waiting"):
        stop.wait(0.01)
    stop.set()
    for thread in runners:
        thread.join()
    assert sorted(letter.text for letter in postbox.letters) == sorted(f"message {n}" for n in range(30))
    assert office.states() == {"sent": 30}


def test_pauses_grow_and_then_the_message_has_failed(office: Office, outbox: Outbox, clock: SettableClock) -> None:
    _put(office, outbox)
    runner = office.runner(Postbox(*[SendFailed("gateway-503", permanent=False)] * 4))
    for pause in RULES.pauses:
        assert runner.run_once()
        clock.advance(seconds=pause - 1)
        assert runner.run_once() is False
        clock.advance(seconds=1)
    assert runner.run_once()
    message = office.only()
    assert (message.state, message.cause, message.attempts, message.sealed) == ("failed", "gateway-503", 4, b"")
    clock.advance(days=1)
    assert runner.run_once() is False


def test_a_message_goes_once_the_gateway_is_back(office: Office, outbox: Outbox, clock: SettableClock) -> None:
    _put(office, outbox)
    postbox = Postbox(SendFailed("peer-unavailable", permanent=False))
    runner = office.runner(postbox)
    assert runner.run_once()
    clock.advance(seconds=RULES.pauses[0])
    assert runner.run_once()
    assert len(postbox.letters) == 1


def test_a_permanent_refusal_ends_the_message_at_once(office: Office, outbox: Outbox) -> None:
    _put(office, outbox)
    runner = office.runner(Postbox(SendFailed("smtp-recipient-550", permanent=True)))
    assert runner.run_once()
    assert office.only().state == MessageState.FAILED


def test_a_code_that_has_died_is_not_sent(office: Office, outbox: Outbox, clock: SettableClock) -> None:
    _put(office, outbox, expires_at=clock.now() + timedelta(minutes=5))
    clock.advance(minutes=5)
    postbox = Postbox()
    assert office.runner(postbox).run_once() is False
    assert not postbox.letters
    assert (office.only().state, office.only().sealed) == (MessageState.EXPIRED, b"")


def test_another_runner_takes_over_when_the_lease_of_a_dead_one_ends(
    office: Office, outbox: Outbox, clock: SettableClock
) -> None:
    _put(office, outbox)
    with pytest.raises(Killed):
        office.runner(Deadly()).run_once()
    postbox = Postbox()
    assert office.runner(postbox).run_once() is False
    clock.advance(seconds=RULES.lease)
    assert office.runner(postbox).run_once()
    assert len(postbox.letters) == 1


def test_a_message_that_kills_every_runner_comes_to_an_end(
    office: Office, outbox: Outbox, clock: SettableClock
) -> None:
    _put(office, outbox)
    for _ in range(len(RULES.pauses) + 1):
        with pytest.raises(Killed):
            office.runner(Deadly()).run_once()
        clock.advance(seconds=RULES.lease)
    assert office.runner(Postbox()).run_once() is False
    assert (office.only().state, office.only().cause) == (MessageState.FAILED, "runner-died")


def test_a_runner_that_lost_its_lease_changes_nothing(office: Office, outbox: Outbox, clock: SettableClock) -> None:
    _put(office, outbox)
    winner = Postbox()

    class Slow:
        def send(self, letter: Letter) -> None:
            clock.advance(seconds=RULES.lease)
            assert office.runner(winner).run_once()
            raise SendFailed("gateway-503", permanent=False)

    assert office.runner(Slow()).run_once()
    assert len(winner.letters) == 1
    assert office.only().state == MessageState.SENT


def test_a_runner_waits_out_a_database_that_is_away(
    office: Office, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    _put(office, outbox)
    postbox, stop = Postbox(), threading.Event()
    runner = office.runner(postbox)
    answers = [Unavailable("database-unavailable", "The service is briefly unavailable.")]
    once = runner.run_once

    def moody() -> bool:
        if answers:
            raise answers.pop()
        once()
        stop.set()
        return False

    waited: list[float] = []
    monkeypatch.setattr(runner, "run_once", moody)
    monkeypatch.setattr(stop, "wait", lambda seconds=None: waited.append(seconds or 0))
    runner.run(stop)
    assert len(postbox.letters) == 1
    assert waited[0] >= 1


def test_a_text_message_over_the_limit_is_refused(office: Office, outbox: Outbox) -> None:
    with pytest.raises(Invalid) as refusal:
        _put(office, outbox, text="x" * (MAX_SMS + 1))
    assert refusal.value.code == "message-too-long"


def test_an_unknown_channel_fails_and_does_not_block_the_others(office: Office, outbox: Outbox) -> None:
    first = _put(office, outbox)
    with office.database.write() as session:
        session.get_one(Message, first).channel = "pigeon"
    _put(office, outbox, text="second")
    postbox = Postbox()
    runner = office.runner(postbox)
    assert runner.run_once()
    assert runner.run_once()
    assert [letter.text for letter in postbox.letters] == ["second"]


def test_ended_messages_are_erased_after_a_while(office: Office, outbox: Outbox, clock: SettableClock) -> None:
    _put(office, outbox)
    runner = office.runner(Postbox())
    runner.run_once()
    assert runner.sweep() == 0
    clock.advance(days=RULES.keep, seconds=1)
    assert runner.sweep() == 1


def test_a_running_runner_erases_old_messages_by_itself(office: Office, outbox: Outbox, clock: SettableClock) -> None:
    _put(office, outbox)
    office.runner(Postbox()).run_once()
    clock.advance(days=RULES.keep, seconds=1)
    stop = threading.Event()
    thread = threading.Thread(target=office.runner(Postbox()).run, args=(stop,), kwargs={"idle": 0.01})
    thread.start()
    while office.states():
        stop.wait(0.01)
    stop.set()
    thread.join()
    assert office.states() == {}
