"""Where a login stands: no step can be skipped, whatever happened in whatever order."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsp.idp.login.steps import Facts, Step, next_step

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
MOMENTS = st.integers(min_value=-10, max_value=10).map(lambda s: NOW + timedelta(seconds=s))
ANY = st.builds(
    Facts,
    now=st.just(NOW),
    deadline=MOMENTS,
    finished=st.booleans(),
    password=st.booleans(),
    code_sent=st.booleans(),
    authenticated=st.booleans(),
    level_met=st.booleans(),
    consented=st.booleans(),
    approval_asked=st.booleans(),
    approval_deadline=st.none() | MOMENTS,
)


@pytest.mark.requirement("LOG-2", "LOG-4", "OID-2", "SIG-3")
@given(ANY)
def test_a_login_is_done_only_with_everything_in_time(facts: Facts) -> None:
    if next_step(facts) is Step.DONE:
        assert facts.authenticated
        assert facts.level_met
        assert facts.consented
        assert not facts.approval_asked
        assert facts.now < facts.deadline


@pytest.mark.requirement("SIG-3")
@given(ANY)
def test_an_approval_comes_after_login_level_and_consent(facts: Facts) -> None:
    if next_step(facts) is Step.APPROVE:
        assert facts.authenticated
        assert facts.level_met
        assert facts.consented
        assert facts.now < (facts.approval_deadline or facts.deadline)


@pytest.mark.requirement("LOG-3")
@given(ANY)
def test_after_the_clock_nothing_that_proves_a_person_can_be_done(facts: Facts) -> None:
    late = replace(facts, deadline=NOW, finished=False, authenticated=False)
    assert next_step(late) is Step.EXPIRED


@given(ANY)
def test_what_is_finished_stays_finished(facts: Facts) -> None:
    assert next_step(replace(facts, finished=True)) is Step.FINISHED
    assert next_step(facts) is not Step.FINISHED or facts.finished
