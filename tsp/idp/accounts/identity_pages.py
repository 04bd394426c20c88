"""The pages of personal data (ACC-3) and of the identification key (ACC-4), for a logged-in account.

/personal-data/pin      the PIN by e-mail                  idp.personal-data-pin
/personal-data          the form, or what is confirmed     idp.personal-data, idp.personal-data-done
/identification-key     the key from the branch            idp.identification-key, idp.identification-key-done
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from tsp.core.clock import Clock
from tsp.core.errors import Conflict, Invalid, Refused, TooMany, TspError, Unavailable, http_status
from tsp.idp.accounts.assurance import Level
from tsp.idp.accounts.contacts import masked_email
from tsp.idp.accounts.identification import Identification
from tsp.idp.accounts.person import Person, read_birth_date, read_name, read_tax_number
from tsp.idp.accounts.personal_data import PersonalDataEntry
from tsp.idp.accounts.resume import Way, reference_of
from tsp.idp.accounts.service import AccountSession
from tsp.idp.accounts.waiting import Waiting, sentence_of
from tsp.web import Pages

DATA, PIN, KEY = "/personal-data", "/personal-data/pin", "/identification-key"
LEVEL_NAMES = {Level.LOW: "low", Level.SUBSTANTIAL: "substantial", Level.HIGH: "high"}
_FIELDS = ("given_name", "family_name", "tax_number", "date_of_birth")

#: Who is logged in at this browser; None for nobody.
CurrentAccount = Callable[[Request], AccountSession | None]
#: The answer for somebody who is not logged in: the login, or a page that says where to begin.
LogIn = Callable[[Request], Response]


@dataclass(frozen=True)
class IdentityPages:
    """Parses, calls, shows; no rules."""

    pages: Pages
    entry: PersonalDataEntry
    identification: Identification
    clock: Clock
    current_account: CurrentAccount
    log_in: LogIn
    way: Way

    # --- the PIN --------------------------------------------------------------------------------

    def show_pin(self, request: Request) -> Response:
        """GET /personal-data/pin"""
        account = self.current_account(request)
        if account is None:
            return self.log_in(request)
        if self.entry.confirmed(account) is not None or self.entry.form_open(account):
            return self._to(DATA, _reference(request))
        return self._pin(request, account, _reference(request))

    def submit_pin(self, request: Request, form: dict[str, str]) -> Response:
        """POST /personal-data/pin"""
        account = self.current_account(request)
        if account is None:
            return self.log_in(request)
        reference = reference_of(form.get("request"))
        if "cancel" in form:
            return RedirectResponse(self.way.on(reference), 303)
        try:
            if "send" in form or "resend" in form:
                # A first request that is sent again, because its answer was lost, finds the PIN on its way.
                if "resend" in form or self.entry.pin_state(account) is None:
                    self.entry.send_pin(account)
                return self._to(PIN, reference)
            self.entry.open_form(account, form.get("code", ""))
        except (Refused, TooMany) as error:
            if self.entry.form_open(account):
                return self._to(DATA, reference)  # the answer to the right PIN was lost; it is sent again
            return self._pin(request, account, reference, error)
        return self._to(DATA, reference)

    def _pin(
        self, request: Request, account: AccountSession, reference: str, error: TspError | None = None
    ) -> Response:
        sent = self.entry.pin_state(account)
        waiting = Waiting.of(sent, self.clock.now())
        return self._render(
            request,
            "idp/personal_data_pin.html",
            "idp.personal-data-pin",
            reference,
            error,
            back=PIN,
            sent=sent is not None,
            email=masked_email(self.entry.address(account)),
            waiting=waiting,
            help_open=waiting.since >= 180,
        )

    # --- personal data --------------------------------------------------------------------------

    def show_data(self, request: Request) -> Response:
        """GET /personal-data"""
        account = self.current_account(request)
        if account is None:
            return self.log_in(request)
        reference = _reference(request)
        person = self.entry.confirmed(account)
        if person is not None:
            return self._confirmed(request, account, person, reference)
        if not self.entry.form_open(account):
            return self._to(PIN, reference)
        return self._data(request, reference, {})

    def submit_data(self, request: Request, form: dict[str, str]) -> Response:
        """POST /personal-data"""
        account = self.current_account(request)
        if account is None:
            return self.log_in(request)
        reference = reference_of(form.get("request"))
        if "cancel" in form:
            return RedirectResponse(self.way.on(reference), 303)
        person, errors = self._read(form)
        if person is None:
            return self._data(request, reference, form, errors)
        try:
            self.entry.enter(account, person)
        except Refused as error:
            if error.code == "form-closed":
                return self._to(PIN, reference)
            return self._data(request, reference, form, {}, error)
        except Conflict as error:
            if error.code == "personal-data-confirmed":
                return self._to(DATA, reference)
            return self._data(request, reference, form, {}, error)
        except (TooMany, Unavailable) as error:
            return self._data(request, reference, form, {}, error)
        return RedirectResponse(self.way.on(reference) if reference else DATA, 303)

    def _read(self, form: dict[str, str]) -> tuple[Person | None, dict[str, str]]:
        """The person that was typed, or what is wrong with each field."""
        today = self.clock.now().date()
        errors: dict[str, str] = {}
        values: dict[str, object] = {}
        readers: dict[str, Callable[[str], object]] = {
            "given_name": lambda t: read_name(t, "given_name"),
            "family_name": lambda t: read_name(t, "family_name"),
            "tax_number": read_tax_number,
            "date_of_birth": lambda t: read_birth_date(t, today),
        }
        for field, read in readers.items():
            try:
                values[field] = read(form.get(field, ""))
            except Invalid as error:
                errors[field] = error.sentence
        return (None, errors) if errors else (Person(**values), {})  # type: ignore[arg-type]  # each reader's own type

    def _data(
        self,
        request: Request,
        reference: str,
        form: dict[str, str],
        errors: dict[str, str] | None = None,
        error: TspError | None = None,
    ) -> Response:
        return self._render(
            request,
            "idp/personal_data_form.html",
            "idp.personal-data",
            reference,
            error,
            status=400 if errors else None,
            back=DATA,
            values={field: form.get(field, "")[:100] for field in _FIELDS},
            errors={field: self.pages.text(request, sentence) for field, sentence in (errors or {}).items()},
        )

    def _confirmed(self, request: Request, account: AccountSession, person: Person, reference: str) -> Response:
        level = self.identification.level(account)
        return self._render(
            request,
            "idp/personal_data_done.html",
            "idp.personal-data-done",
            reference,
            None,
            back=DATA,
            person=person,
            level=LEVEL_NAMES[level],
            can_raise=level < Level.SUBSTANTIAL,
            key_page=self.way.with_reference(KEY, reference),
        )

    # --- the identification key -----------------------------------------------------------------

    def show_key(self, request: Request) -> Response:
        """GET /identification-key"""
        account = self.current_account(request)
        if account is None:
            return self.log_in(request)
        reference = _reference(request)
        if self.entry.confirmed(account) is None:
            return self._to(DATA, reference)
        level = self.identification.level(account)
        if level >= Level.SUBSTANTIAL:
            return self._raised(request, level, reference)
        return self._key(request, reference, "")

    def submit_key(self, request: Request, form: dict[str, str]) -> Response:
        """POST /identification-key"""
        account = self.current_account(request)
        if account is None:
            return self.log_in(request)
        reference = reference_of(form.get("request"))
        if "cancel" in form:
            return RedirectResponse(self.way.on(reference), 303)
        typed = form.get("identification_key", "")[:60]
        try:
            # A key whose answer was lost and that is sent again has done its work already.
            if self.identification.level(account) < Level.SUBSTANTIAL:
                self.identification.redeem(account, typed)
        except Refused as error:
            if error.code == "personal-data-missing":
                return self._to(DATA, reference)
            return self._key(request, reference, typed, error)
        except TooMany as error:
            return self._key(request, reference, typed, error)
        return RedirectResponse(self.way.on(reference) if reference else KEY, 303)

    def _key(self, request: Request, reference: str, typed: str, error: TspError | None = None) -> Response:
        return self._render(
            request,
            "idp/identification_key.html",
            "idp.identification-key",
            reference,
            error,
            back=KEY,
            typed=typed,
        )

    def _raised(self, request: Request, level: Level, reference: str) -> Response:
        return self._render(
            request,
            "idp/identification_key_done.html",
            "idp.identification-key-done",
            reference,
            None,
            back=KEY,
            level=LEVEL_NAMES[level],
        )

    # --- common ---------------------------------------------------------------------------------

    def _render(
        self,
        request: Request,
        template: str,
        page: str,
        reference: str,
        error: TspError | None,
        *,
        back: str,
        status: int | None = None,
        **context: Any,
    ) -> Response:
        return self.pages.render(
            request,
            template,
            status or (http_status(error) if error else 200),
            headers={"retry-after": str(error.retry_after)} if isinstance(error, TooMany) else None,
            back=self.way.with_reference(back, reference),
            page=page,
            service_name=self.way.service(request, reference),
            reference=reference,
            onwards=self.way.on(reference),
            error=sentence_of(self.pages, request, error),
            **context,
        )

    def _to(self, path: str, reference: str) -> Response:
        return RedirectResponse(self.way.with_reference(path, reference), 303)


def identity_routes(
    pages: Pages,
    entry: PersonalDataEntry,
    identification: Identification,
    clock: Clock,
    *,
    current_account: CurrentAccount,
    log_in: LogIn,
    way: Way | None = None,
) -> list[Route]:
    """The routes of the identity pages."""
    shown = IdentityPages(pages, entry, identification, clock, current_account, log_in, way or Way())
    table = {
        PIN: (shown.show_pin, shown.submit_pin),
        DATA: (shown.show_data, shown.submit_data),
        KEY: (shown.show_key, shown.submit_key),
    }
    routes: list[Route] = []
    for path, (show, submit) in table.items():
        routes.append(Route(path, pages.view(show), methods=["GET"]))
        routes.append(Route(path, pages.action(submit), methods=["POST"]))
    return routes


def _reference(request: Request) -> str:
    return reference_of(request.query_params.get("request"))
