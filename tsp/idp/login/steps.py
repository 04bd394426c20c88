"""Where a login stands, as a pure function of what happened: no step can be skipped or done twice."""

import enum
from dataclasses import dataclass
from datetime import datetime


class Step(enum.StrEnum):
    """What comes next."""

    PASSWORD = "password"  # noqa: S105  (the name of a step)
    METHOD = "method"
    CODE = "code"
    LEVEL = "level"
    CONSENT = "consent"
    APPROVE = "approve"
    DONE = "done"
    EXPIRED = "expired"
    FINISHED = "finished"


@dataclass(frozen=True)
class Facts:
    """What is known about a login at one moment. An approval finishes it, so that it leaves no fact of its own.

    `deadline` ends the login (LOG-3), `approval_deadline` the approval, which has a time of its own
    from the moment the person first sees it. Raising the level of assurance has no clock: it takes
    up the request afterwards with a fresh login.
    """

    now: datetime
    deadline: datetime
    finished: bool
    password: bool
    code_sent: bool
    authenticated: bool
    level_met: bool
    consented: bool
    approval_asked: bool
    approval_deadline: datetime | None


def next_step(facts: Facts) -> Step:
    """The one step that is due."""
    if facts.finished:
        return Step.FINISHED
    in_time = facts.now < facts.deadline
    if not facts.authenticated:
        return _authentication(facts) if in_time else Step.EXPIRED
    if not facts.level_met:
        return Step.LEVEL
    if not facts.consented:
        return Step.CONSENT if in_time else Step.EXPIRED
    if facts.approval_asked:
        shown_until = facts.approval_deadline
        return Step.APPROVE if (in_time if shown_until is None else facts.now < shown_until) else Step.EXPIRED
    return Step.DONE if in_time else Step.EXPIRED


def _authentication(facts: Facts) -> Step:
    if not facts.password:
        return Step.PASSWORD
    return Step.CODE if facts.code_sent else Step.METHOD
