"""Nothing is half done: whatever goes down, the session waits and goes on; whoever races, one wins."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.sign.street import BOR, IDP, OCSP, QTSA, REPOSITORY, Street, Visitor
from tsp.core.errors import Conflict, TspError, Unavailable
from tsp.engine.tables import Signature
from tsp.sign.finishing import LEASE, Finishing
from tsp.sign.requests import SigningRequests
from tsp.sign.tables import SigningSession, State

pytestmark = pytest.mark.requirement("SIG-7")

DOWN = Unavailable("engine-unavailable", "Signing is briefly unavailable.")


def state_of(street: Street, path: str) -> SigningSession:
    with street.database.read() as session:
        row = session.get_one(SigningSession, path.rpartition("/")[2])
        session.expunge(row)
    return row


def set_row(street: Street, path: str, **values: Any) -> None:
    with street.database.write() as session:
        row_id = path.rpartition("/")[2]
        session.execute(update(SigningSession).where(SigningSession.id == row_id).values(**values))


def signatures(street: Street) -> int:
    with street.database.read() as session:
        return len(session.scalars(select(Signature.id)).all())


def finished(visitor: Visitor, path: str) -> bool:
    return 'data-page="sign.result"' in visitor.get(path).text


def test_engine_down_then_up(street: Street, ana: Visitor, contract: bytes) -> None:
    path = ana.bring(contract)
    street.engine.failure = DOWN
    assert ana.approve(path).headers["location"] == path
    page = ana.get(path).text
    assert 'data-page="sign.waiting"' in page
    assert "Poskusi znova" in page
    assert state_of(street, path).state == State.APPROVED
    street.engine.failure = None
    ana.press(path, "continue")
    assert finished(ana, path)


@pytest.mark.requirement("SIG-1")
def test_answer_of_the_engine_that_was_lost_is_asked_for_again(street: Street, ana: Visitor, contract: bytes) -> None:
    path = ana.bring(contract)
    street.engine.lost = True
    ana.approve(path)
    assert signatures(street) == 1
    assert not finished(ana, path)
    street.engine.lost = False
    ana.press(path, "continue")
    assert finished(ana, path)
    assert (street.engine.calls, signatures(street)) == (2, 1)


@pytest.mark.parametrize("house", [QTSA, OCSP, REPOSITORY])
def test_service_down_after_the_signature(street: Street, ana: Visitor, contract: bytes, house: str) -> None:
    path = ana.bring(contract)
    street.door.down.add(house)
    ana.approve(path)
    assert 'data-page="sign.waiting"' in ana.get(path).text
    assert state_of(street, path).state == State.SIGNED
    assert ana.get(f"{path}/download").status_code == 404
    ana.press(path, "continue")
    assert not finished(ana, path)
    street.door.down.clear()
    ana.press(path, "continue")
    assert finished(ana, path)
    assert (street.engine.calls, signatures(street)) == (1, 1)


def test_time_stamp_is_asked_for_once(street: Street, ana: Visitor, contract: bytes) -> None:
    path = ana.bring(contract)
    street.door.down.add(OCSP)
    ana.approve(path)
    ana.press(path, "continue")
    street.door.down.clear()
    ana.press(path, "continue")
    assert finished(ana, path)
    assert street.door.asked.count(f"POST {QTSA}") == 1


def test_signed_session_goes_on_without_its_person(
    street: Street, ana: Visitor, contract: bytes, finishing: Finishing
) -> None:
    path = ana.bring(contract)
    street.door.down.add(QTSA)
    ana.approve(path)
    assert finishing.resume() == 0
    street.door.down.clear()
    assert finishing.resume() == 1
    assert finished(ana, path)
    assert finishing.resume() == 0


@pytest.mark.requirement("TSA-1")
def test_time_stamp_after_the_end_of_the_certificate_is_worth_nothing(
    street: Street, ana: Visitor, contract: bytes
) -> None:
    path = ana.bring(contract)
    street.door.down.add(QTSA)
    ana.approve(path)
    street.door.down.clear()
    street.clock.advance(minutes=61)
    ana.log_in()
    ana.press(path, "continue")
    assert state_of(street, path).state == State.FAILED
    assert "Časovni žig je za ta podpis prišel prepozno" in ana.get(path).text
    ana.approve(path)
    assert finished(ana, path)


def test_approval_that_expired_can_be_given_again(street: Street, ana: Visitor, contract: bytes) -> None:
    path = ana.bring(contract)
    street.engine.failure = DOWN
    ana.approve(path)
    street.engine.failure = None
    street.clock.advance(minutes=6)
    ana.press(path, "continue")
    page = ana.get(path).text
    assert 'data-page="sign.document"' in page
    assert "Potrditev je potekla, preden je podpis nastal." in page
    assert signatures(street) == 0
    ana.approve(path)
    assert finished(ana, path)


@pytest.mark.requirement("SIG-3")
def test_approval_that_the_engine_refuses_signs_nothing(street: Street, ana: Visitor, contract: bytes) -> None:
    path = ana.bring(contract)
    street.provider.sad_changes = {"acr": "http://eidas.europa.eu/LoA/low"}
    ana.approve(path)
    assert "Podpis je bil za to potrditev zavrnjen." in ana.get(path).text
    assert (state_of(street, path).state, signatures(street)) == (State.FAILED, 0)
    street.provider.sad_changes = {}
    ana.approve(path)
    assert finished(ana, path)


@pytest.mark.requirement("SIG-5")
def test_approval_of_another_person_is_refused(street: Street, ana: Visitor, contract: bytes) -> None:
    path = ana.bring(contract)
    answer = ana.approve(path, BOR)
    assert answer.status_code == 403
    assert "other-person" in answer.text
    assert street.engine.calls == 0


@pytest.mark.requirement("SIG-5")
def test_approval_of_something_else_is_refused(street: Street, ana: Visitor, contract: bytes) -> None:
    path = ana.bring(contract)
    for changes in ({"token_type": "Bearer"}, {"authorization_details": []}):
        street.provider.token_changes = changes
        answer = ana.approve(path)
        assert answer.status_code == 403
        assert "login-refused" in answer.text
    assert street.engine.calls == 0


@pytest.mark.requirement("SIG-5")
def test_approval_of_an_older_attempt_is_refused(street: Street, ana: Visitor, contract: bytes) -> None:
    path = ana.bring(contract)
    older = ana.press(path, "approve", kind="advanced").headers["location"]
    street.clock.advance(seconds=2)
    newer = ana.press(path, "approve", kind="qualified").headers["location"]
    assert ana.get(street.provider.answer(older)).status_code in (403, 409)
    assert street.engine.calls == 0
    assert ana.get(street.provider.answer(newer)).status_code == 303
    assert finished(ana, path)


def test_declining_an_older_attempt_leaves_the_newer_one_alone(street: Street, ana: Visitor, contract: bytes) -> None:
    path = ana.bring(contract)
    older = ana.press(path, "approve", kind="advanced").headers["location"]
    newer = ana.press(path, "approve", kind="qualified").headers["location"]
    ana.get(street.provider.answer(older, error="access_denied"))
    ana.get(street.provider.answer(newer))
    assert finished(ana, path)


def test_approval_after_the_end_of_the_login_is_a_login(street: Street, ana: Visitor, contract: bytes) -> None:
    path = ana.bring(contract)
    away = ana.press(path, "approve", kind="qualified").headers["location"]
    street.clock.advance(minutes=31)
    assert ana.get("/upload").status_code == 303
    ana.get(street.provider.answer(away))
    assert finished(ana, path)


def test_provider_down_when_approving(street: Street, ana: Visitor, contract: bytes) -> None:
    path = ana.bring(contract)
    street.door.down.add(IDP)
    answer = ana.press(path, "approve", kind="qualified")
    assert answer.status_code == 503
    assert f'href="{path}"' in answer.text
    street.door.down.clear()
    ana.approve(path)
    assert finished(ana, path)


def test_result_that_does_not_pass_is_given_to_nobody(
    street: Street, ana: Visitor, contract: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tsp.sign.ports import Verdict
    from tsp.sign.validation import OwnValidator

    path = ana.bring(contract)
    for verdict in (Verdict("INDETERMINATE", "TRY_LATER", "B-LT"), Verdict("TOTAL-PASSED", "", "B-T")):
        monkeypatch.setattr(OwnValidator, "judge", lambda *_arguments, verdict=verdict: verdict)
        ana.approve(path) if state_of(street, path).state == State.UPLOADED else ana.press(path, "continue")
        assert "ni prestal našega preverjanja" in ana.get(path).text
        assert ana.get(f"{path}/download").status_code == 404
    monkeypatch.undo()
    ana.press(path, "continue")
    assert finished(ana, path)


def test_session_of_a_worker_that_died_can_be_taken_up(street: Street, ana: Visitor, contract: bytes) -> None:
    path = ana.bring(contract)
    street.engine.failure = DOWN
    ana.approve(path)
    street.engine.failure = None
    set_row(street, path, lease_until=street.clock.now() + LEASE, problem=None)
    assert "Podpis nastaja" in ana.get(path).text
    assert ana.get(f"{path}/status").json() == {}
    ana.press(path, "continue")
    ana.press(path, "delete")
    assert street.engine.calls == 1
    street.clock.advance(seconds=LEASE.total_seconds())
    ana.press(path, "continue")
    assert finished(ana, path)


def test_unexpected_failure_lets_the_session_go(street: Street, ana: Visitor, contract: bytes) -> None:
    path = ana.bring(contract)
    street.engine.failure = RuntimeError("Ana")
    assert ana.approve(path).status_code == 500
    assert "Vaša potrditev je shranjena" in ana.get(path).text
    street.engine.failure = None
    ana.press(path, "continue")
    assert finished(ana, path)


def race(times: int, call: Callable[[], object]) -> list[Any]:
    """Calls at the same moment from several threads; results and errors in no order."""
    gate, outcomes = threading.Barrier(times), []

    def run() -> None:
        gate.wait()
        try:
            outcomes.append(call())
        except TspError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=run) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


@pytest.mark.requirement("SIG-1")
def test_five_workers_make_one_signature(street: Street, ana: Visitor, contract: bytes, finishing: Finishing) -> None:
    path = ana.bring(contract)
    street.engine.failure = DOWN
    ana.approve(path)
    street.engine.failure = None
    row = state_of(street, path)
    outcomes = race(5, lambda: finishing.advance(row.owner, row.id))
    assert outcomes.count(None) >= 1
    assert all(o is None or isinstance(o, Conflict) for o in outcomes)
    assert signatures(street) == 1
    assert finished(ana, path)


def test_five_answers_are_one_login(street: Street) -> None:
    visitor = street.browser()
    back = street.provider.answer(visitor.get("/login").headers["location"])
    outcomes = race(5, lambda: visitor.get(back).status_code)
    assert sorted(outcomes) == [303, 403, 403, 403, 403]


@pytest.mark.requirement("SIG-5")
def test_five_attempts_leave_one_that_can_be_approved(
    street: Street, ana: Visitor, contract: bytes, requests: SigningRequests
) -> None:
    path = ana.bring(contract)
    row = state_of(street, path)
    outcomes = race(5, lambda: requests.freeze(row.owner, row.id, "qualified", "Ana Žnidaršič"))
    last = state_of(street, path)
    made = [o for o in outcomes if not isinstance(o, TspError)]
    assert all(isinstance(o, Conflict) for o in outcomes if isinstance(o, TspError))
    assert sum(o.attempt == last.attempt and o.digest_signed == last.digest_signed for o in made) <= 1
    ana.approve(path)
    assert finished(ana, path)


@pytest.mark.parametrize("state", [State.APPROVED, State.SIGNED, State.FINISHED])
def test_step_back_is_not_possible(street: Street, ana: Visitor, contract: bytes, state: State) -> None:
    path = ana.bring(contract)
    if state == State.SIGNED:
        street.door.down.add(QTSA)
    street.engine.failure = DOWN if state == State.APPROVED else None
    ana.approve(path)
    before = state_of(street, path)
    assert before.state == state
    assert ana.press(path, "approve", kind="advanced").headers["location"] == path
    after = state_of(street, path)
    assert (after.state, after.attempt, after.kind) == (state, before.attempt, "qualified")


def test_advance_of_what_is_not_approved_is_refused(
    street: Street, ana: Visitor, contract: bytes, finishing: Finishing
) -> None:
    row = state_of(street, ana.bring(contract))
    with pytest.raises(Conflict):
        finishing.advance(row.owner, row.id)
    assert street.engine.calls == 0


def test_engine_that_signs_something_else_is_not_believed(street: Street, ana: Visitor, contract: bytes) -> None:
    first, second = ana.bring(contract, "Ena.pdf"), ana.bring(contract, "Dve.pdf")
    ana.approve(first)
    real = street.engine.engine.sign
    other: list[Any] = []

    def swapped(request: Any) -> Any:
        other.extend(real(request))
        return [type(r)(**{**vars(r), "digest": "0" * 64}) for r in other]

    street.engine.engine.sign = swapped  # type: ignore[method-assign]
    ana.approve(second)
    assert state_of(street, second).state == State.FAILED
    assert not finished(ana, second)
