"""The steps of a login: one public method each, one transaction each.

    /authorize -> password -> choice of means -> its answer -> (raising the level) -> consent -> answer

A step that is not due changes nothing: the caller is told which one is, so that the back button,
a second tab or a double click lead to the right page and never past one.
"""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.orm import Session

from tsp.core.errors import Refused
from tsp.core.randomness import Randomness, new_id, new_token
from tsp.idp.accounts.assurance import Means
from tsp.idp.login.book import LoginBook, Open, Outcome, finished, means_of, not_due
from tsp.idp.login.methods import LOGIN, Methods
from tsp.idp.login.steps import Step
from tsp.idp.login.tables import LoginTransaction, forget_old, remember_consent
from tsp.idp.login.texts import login_context, login_text
from tsp.idp.oidc.requests import AuthorizationRequest
from tsp.idp.session import CurrentSession, Sessions, hash_token
from tsp.web.language import Languages


@dataclass(frozen=True)
class LoggedIn:
    """A login whose second means was right: the outcome, the token of the new session, the browser's mark."""

    outcome: Outcome
    session_token: str
    known_mark: str


class Logins:
    """What people can do on the way from a service's request to its answer.

    `login_id` stands in the page, `browser` in the browser's cookie; all methods raise `Refused`
    (login-unknown) where they do not belong together.
    """

    def __init__(
        self,
        book: LoginBook,
        methods: Methods,
        sessions: Sessions,
        randomness: Randomness,
        languages: Languages,
        site: str,
    ) -> None:
        self._book = book
        self._methods = methods
        self._sessions = sessions
        self._randomness = randomness
        self._languages = languages
        self._site = site

    # --- arriving -------------------------------------------------------------------------------

    def begin(self, request_uri: str, client_id: str, browser: str, current: CurrentSession | None) -> Outcome:
        """A browser brings a pushed request (RFC 9126, 4). Its reference makes one login and no second.

        Raises `Refused` (request-unknown; request-used where another browser was first).
        """
        book = self._book
        with book.database.write() as session:
            login_id = new_id(self._randomness)
            taken = book.provider.pushed.take(session, request_uri, client_id, login_id)
            if taken.transaction_id is not None:
                return self._again(session, taken.transaction_id, browser)
            now = book.clock.now()
            forget_old(session, now)
            row = LoginTransaction(
                id=login_id,
                browser_hash=hash_token(browser),
                client_id=client_id,
                sealed=book.seal(login_id, taken.request),
                created_at=now,
                forget_at=now + timedelta(seconds=book.limits.parked),
                deadline=now,
                means=[],
                finished_at=None,
            )
            session.add(row)
            session.flush()
            return self._start(session, book.open(session, login_id, browser, lock=True), current)

    def _again(self, session: Session, login_id: str, browser: str) -> Outcome:
        """The same link a second time: the browser that was first goes on where it is, nobody else does."""
        try:
            login = self._book.open(session, login_id, browser, lock=True)
        except Refused:
            raise Refused(
                "request-used", "This sign-in link was already used. Go back to the service and start again there."
            ) from None
        return Outcome(login_id, self._book.step(session, login))

    def resume(self, login_id: str, browser: str | None, current: CurrentSession | None) -> Outcome:
        """Takes a request up again with a fresh login: after a time-out, a registration, a raised level.

        Raises `Conflict` (login-finished) where the service has its answer.
        """
        with self._book.database.write() as session:
            login = self._book.open(session, login_id, browser, lock=True)
            if login.row.finished_at is not None:
                raise finished()
            return self._start(session, login, current)

    def _start(self, session: Session, login: Open, current: CurrentSession | None) -> Outcome:
        """The clock starts, everything is forgotten but the request and the session that fits it."""
        row = login.row
        row.deadline = self._book.clock.now() + timedelta(seconds=self._book.limits.login)
        row.account_id, row.means, row.method, row.auth_time = None, [], None, None
        row.consented_at, row.approval_deadline, row.approval_method = None, None, None
        if current is not None and self._fits(session, login, current):
            row.account_id, row.means, row.auth_time = current.account_id, sorted(current.means), current.auth_time
        return self._book.proceed(session, login)

    def _fits(self, session: Session, login: Open, current: CurrentSession) -> bool:
        """Whether a session can answer this request without asking anew (OpenID Connect Core, 3.1.2.1)."""
        request, age = login.request, self._book.clock.now() - current.auth_time
        asked_anew = {"login", "select_account"} & set(request.prompts)
        limits = [limit for limit in (request.max_age, self._signature_age(request)) if limit is not None]
        return (
            not (asked_anew and current.auth_time < login.row.created_at)
            and all(age <= timedelta(seconds=limit) for limit in limits)
            and self._is_expected(login, current.account_id)
            and self._book.provider.is_active(session, current.account_id)
        )

    def _signature_age(self, request: AuthorizationRequest) -> int | None:
        return None if request.signature is None else self._book.limits.signature_max_age

    def _is_expected(self, login: Open, account_id: str) -> bool:
        expected = login.request.subject
        return expected is None or expected == self._book.provider.subject(login.client.sector, account_id)

    def go_on(self, login_id: str, browser: str | None) -> Outcome:
        """Ends a login to which nothing is missing any more (the level was raised in another tab)."""
        with self._book.database.write() as session:
            return self._book.proceed(session, self._book.open(session, login_id, browser, lock=True))

    # --- steps ----------------------------------------------------------------------------------

    def password(
        self, login_id: str, browser: str | None, email: str, password: str, source: str, known: str = ""
    ) -> Outcome:
        """First means; `known` is the browser's mark of an earlier login.

        Raises `Refused` (login-wrong) and `TooMany`: the same for every unknown and wrong thing.
        """
        book = self._book
        if (due := self._not_due(login_id, browser, Step.PASSWORD)) is not None:
            return due
        account = book.accounts.check_password(email, password, source=source, known=known)
        with book.database.write() as session:
            login = book.open(session, login_id, browser, lock=True)
            if book.step(session, login) is Step.PASSWORD:
                login.row.account_id, login.row.means = account.id, [Means.PASSWORD.value]
            return book.proceed(session, login)

    def choose(self, login_id: str, browser: str | None, choice: str) -> Outcome:
        """Asks by the chosen means; again for the same one while its cool-down is over.

        Raises `NotFound` (method-unknown), `TooMany` (code-cooldown, too-many-messages).
        """
        book = self._book
        with book.database.write() as session:
            login = book.open(session, login_id, browser, lock=True)
            if book.step(session, login) not in (Step.METHOD, Step.CODE):
                return book.proceed(session, login)
            means, offered = self._methods.chosen(session, login.account_id, choice)
            client = login.client
            means.send(
                session,
                login.account_id,
                offered.value,
                purpose=LOGIN,
                reference=login_id,
                context=login_context(login.row),
                text=lambda code, language: login_text(
                    self._languages, language, code=code, site=self._site, client=client
                ),
            )
            login.row.method = offered.value
            return book.proceed(session, login)

    def another_way(self, login_id: str, browser: str | None) -> Outcome:
        """Back from the code to the choice."""
        with self._book.database.write() as session:
            login = self._book.open(session, login_id, browser, lock=True)
            if self._book.step(session, login) is Step.CODE:
                login.row.method = None
            return self._book.proceed(session, login)

    def code(self, login_id: str, browser: str | None, answer: str) -> LoggedIn | Outcome:
        """Second means, and with it the session.

        Raises `Refused` (code-wrong, code-expired, code-used, code-spent), `TooMany`.
        """
        book = self._book
        with book.database.read() as session:
            login = book.open(session, login_id, browser)
            step, method, context = book.step(session, login), login.row.method, login_context(login.row)
        if step is not Step.CODE or method is None:
            return Outcome(login_id, step)
        means = self._methods.named(method)
        done: list[LoggedIn] = []

        def then(session: Session) -> None:
            done.append(self._logged_in(session, book.open(session, login_id, browser, lock=True), means.means))

        means.check(answer, then, purpose=LOGIN, reference=login_id, context=context)
        return done[0]

    def _logged_in(self, session: Session, login: Open, proven: Means) -> LoggedIn:
        if self._book.step(session, login) is not Step.CODE:
            raise not_due()
        row = login.row
        means = means_of(row) | {proven}
        row.means, row.auth_time = sorted(means), self._book.clock.now()
        token = self._sessions.begin(session, login.account_id, means)
        mark = self._book.accounts.known_mark(login.account_id, new_token(self._randomness))
        if not self._is_expected(login, login.account_id):
            return LoggedIn(self._book.fail(session, login, "access_denied"), token, mark)
        return LoggedIn(self._book.proceed(session, login), token, mark)

    def consent(self, login_id: str, browser: str | None) -> Outcome:
        """The person lets the service have what the page lists; it is remembered (LOG-4)."""
        book = self._book
        with book.database.write() as session:
            login = book.open(session, login_id, browser, lock=True)
            if book.step(session, login) is Step.CONSENT:
                now = book.clock.now()
                login.row.consented_at = now
                claims = login.request.released_claims
                remember_consent(session, login.account_id, login.client.client_id, claims, now)
                facts = {"account": login.account_id, "claims": list(claims), "client": login.client.client_id}
                book.record(session, "consent-given", facts)
            return book.proceed(session, login)

    def cancel(self, login_id: str, browser: str | None) -> Outcome:
        """The person does not want to: the service is told `access_denied`, or why it could not be."""
        book = self._book
        with book.database.write() as session:
            login = book.open(session, login_id, browser, lock=True)
            step = book.step(session, login)
            if step is Step.FINISHED:
                raise finished()
            return book.fail(
                session, login, "unmet_authentication_requirements" if step is Step.LEVEL else "access_denied"
            )

    def _not_due(self, login_id: str, browser: str | None, wanted: Step) -> Outcome | None:
        with self._book.database.read() as session:
            step = self._book.step(session, self._book.open(session, login_id, browser))
        return None if step is wanted else Outcome(login_id, step)
