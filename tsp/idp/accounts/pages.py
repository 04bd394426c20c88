"""The pages of the registration wizard (REG-1, REG-3, REG-4, REG-6).

    /register         e-mail, password twice, mobile number, terms      idp.register
    /register/email   code by e-mail                                    idp.register-email
    /register/sms     one-time password by SMS                          idp.register-sms
    /register/puk     the PUK, shown once                               idp.register-puk
    /register/done    to the service                                    idp.register-done

The browser holds one random token in a cookie; everything else stays on the server. Each page
leads to the step that the registration is at.
"""

from collections.abc import Callable, Mapping

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from tsp.core.clock import Clock
from tsp.core.errors import Conflict, NotFound, Refused, TooMany, TspError, http_status
from tsp.idp.accounts.contacts import calling_codes, shown_phone
from tsp.idp.accounts.registering import Parked, Step
from tsp.idp.accounts.registration import Registrations, Typed, View
from tsp.idp.accounts.resume import Way, reference_of
from tsp.idp.accounts.waiting import Waiting, sentence_of
from tsp.web import Pages

COOKIE = "registration"
PATHS: Mapping[Step, str] = {
    Step.FORM: "/register",
    Step.EMAIL: "/register/email",
    Step.SMS: "/register/sms",
    Step.PUK: "/register/puk",
    Step.DONE: "/register/done",
}
#: After how many seconds without the code the help of REG-6 opens by itself.
_HELP_AFTER = {Step.EMAIL: 180, Step.SMS: 300}
#: What is said of a password by its strength, 0 to 4.
_STRENGTH = (
    "Your password is weak. A longer one is safer; you can go back and change it.",
    "Your password is weak. A longer one is safer; you can go back and change it.",
    "Your password is fair. A longer one is safer; you can go back and change it.",
    "Your password is strong.",
    "Your password is very strong.",
)
_CODE_PAGES = {
    Step.EMAIL: ("idp/register_email.html", "idp.register-email"),
    Step.SMS: ("idp/register_sms.html", "idp.register-sms"),
}


class RegistrationPages:
    """Parses, calls the registration, shows; no rules."""

    def __init__(self, pages: Pages, registrations: Registrations, clock: Clock, way: Way) -> None:
        self._pages = pages
        self._registrations = registrations
        self._clock = clock
        self._way = way
        self._countries = {language: calling_codes(language) for language in ("sl", "en")}

    # --- the first page -------------------------------------------------------------------------

    def show_form(self, request: Request) -> Response:
        """GET /register"""
        view = self._view(request)
        if view is not None and view.step is Step.PUK:
            return _to(Step.PUK)
        parked = view.parked if view is not None and view.step is not Step.DONE else Parked(account_id="")
        reference = reference_of(request.query_params.get("request")) or parked.resume
        return self._form(request, parked, reference)

    def submit_form(self, request: Request, form: dict[str, str]) -> Response:
        """POST /register"""
        if "cancel" in form:
            return self._cancel(request)
        reference = reference_of(form.get("request"))
        typed = Typed(
            email=form.get("email", ""),
            password=form.get("password", ""),
            password_again=form.get("password_again", ""),
            phone_country=form.get("phone_country", ""),
            phone=form.get("phone", ""),
            terms=bool(form.get("terms")),
        )
        done = self._registrations.submit(
            self._pages.cookie(request, COOKIE),
            typed,
            language=self._pages.language(request),
            resume=reference,
            source=request.client.host if request.client else "",
        )
        view = self._registrations.view(done.token)
        if done.errors and view is not None:
            response: Response = self._form(request, view.parked, reference, done.errors)
        else:
            response = _to(done.step)
        self._pages.set_cookie(response, COOKIE, done.token, max_age=self._registrations.parking.keep)
        return response

    def _form(
        self, request: Request, parked: Parked, reference: str, errors: Mapping[str, str] | None = None
    ) -> Response:
        return self._pages.render(
            request,
            "idp/register_form.html",
            400 if errors else 200,
            page="idp.register",
            service_name=self._way.service(request, reference),
            reference=reference,
            parked=parked,
            ended="ended" in request.query_params and not errors,
            countries=self._countries[self._pages.language(request)],
            errors={field: self._pages.text(request, sentence) for field, sentence in (errors or {}).items()},
        )

    # --- the codes ------------------------------------------------------------------------------

    def show_email(self, request: Request) -> Response:
        """GET /register/email"""
        return self._at(request, Step.EMAIL, lambda view: self._code(request, view))

    def submit_email(self, request: Request, form: dict[str, str]) -> Response:
        """POST /register/email"""
        return self._submit_code(request, form, Step.EMAIL, self._registrations.confirm_email)

    def show_sms(self, request: Request) -> Response:
        """GET /register/sms"""
        return self._at(request, Step.SMS, lambda view: self._code(request, view))

    def submit_sms(self, request: Request, form: dict[str, str]) -> Response:
        """POST /register/sms"""
        return self._submit_code(request, form, Step.SMS, self._registrations.confirm_phone)

    def _submit_code(
        self, request: Request, form: dict[str, str], step: Step, confirm: Callable[[str | None, str], None]
    ) -> Response:
        if "cancel" in form:
            return self._cancel(request)
        token = self._pages.cookie(request, COOKIE)
        try:
            if "resend" in form:
                self._registrations.resend(token)
                return RedirectResponse(f"{PATHS[step]}?again=yes", 303)
            confirm(token, form.get("code", ""))
        except (Refused, TooMany) as error:
            view = self._view(request)
            if view is None or view.step is not step:
                return _to(view.step if view else Step.FORM)
            return self._code(request, view, error)
        except (NotFound, Conflict):
            view = self._view(request)
            return _to(view.step) if view else self._ended()
        view = self._view(request)
        return _to(view.step) if view else self._ended()

    def _code(self, request: Request, view: View, error: TspError | None = None) -> Response:
        template, page = _CODE_PAGES[view.step]
        waiting = Waiting.of(view.sent, self._clock.now())
        return self._pages.render(
            request,
            template,
            http_status(error) if error else 200,
            headers={"retry-after": str(error.retry_after)} if isinstance(error, TooMany) else None,
            back=PATHS[view.step],
            page=page,
            service_name=self._way.service(request, view.parked.resume),
            email=view.parked.email,
            phone=shown_phone(view.parked.phone),
            strength=self._pages.text(request, _STRENGTH[view.parked.strength]),
            waiting=waiting,
            help_open=waiting.since >= _HELP_AFTER[view.step],
            again="again" in request.query_params and error is None,
            error=sentence_of(self._pages, request, error),
        )

    # --- the PUK and the end --------------------------------------------------------------------

    def show_puk(self, request: Request) -> Response:
        """GET /register/puk"""
        return self._at(request, Step.PUK, lambda view: self._puk(request, view))

    def submit_puk(self, request: Request, form: dict[str, str]) -> Response:
        """POST /register/puk"""
        if "cancel" in form:
            return self._cancel(request)
        view = self._view(request)
        if view is None:
            return self._ended()
        if view.step is not Step.PUK:
            return _to(view.step)
        if not form.get("acknowledged"):
            sentence = "Write the PUK down and put it in a safe place, then tick the box."
            return self._puk(request, view, self._pages.text(request, sentence))
        self._registrations.acknowledge(self._pages.cookie(request, COOKIE))
        return _to(Step.DONE)

    def _puk(self, request: Request, view: View, error: str | None = None) -> Response:
        return self._pages.render(
            request,
            "idp/register_puk.html",
            400 if error else 200,
            page="idp.register-puk",
            back=PATHS[Step.PUK],
            service_name=self._way.service(request, view.parked.resume),
            puk=view.parked.puk,
            error=error,
        )

    def show_done(self, request: Request) -> Response:
        """GET /register/done"""
        return self._at(request, Step.DONE, lambda view: self._done(request, view))

    def _done(self, request: Request, view: View) -> Response:
        return self._pages.render(
            request,
            "idp/register_done.html",
            page="idp.register-done",
            service_name=self._way.service(request, view.parked.resume),
            onwards=self._way.on(view.parked.resume),
        )

    # --- common ---------------------------------------------------------------------------------

    def _view(self, request: Request) -> View | None:
        return self._registrations.view(self._pages.cookie(request, COOKIE))

    def _at(self, request: Request, step: Step, show: Callable[[View], Response]) -> Response:
        """Shows the page of the step that the registration is at; other steps lead there."""
        view = self._view(request)
        if view is None:
            return self._ended()
        return show(view) if view.step is step else _to(view.step)

    def _cancel(self, request: Request) -> Response:
        resume = self._registrations.cancel(self._pages.cookie(request, COOKIE))
        response = RedirectResponse(self._way.on(resume), 303)
        self._pages.clear_cookie(response, COOKIE)
        return response

    def _ended(self) -> Response:
        """The registration took too long, or never was: it begins again."""
        response = RedirectResponse("/register?ended=yes", 303)
        self._pages.clear_cookie(response, COOKIE)
        return response


def registration_routes(
    pages: Pages, registrations: Registrations, clock: Clock, way: Way | None = None
) -> list[Route]:
    """The wizard's routes."""
    wizard = RegistrationPages(pages, registrations, clock, way or Way())
    shown = {
        Step.FORM: (wizard.show_form, wizard.submit_form),
        Step.EMAIL: (wizard.show_email, wizard.submit_email),
        Step.SMS: (wizard.show_sms, wizard.submit_sms),
        Step.PUK: (wizard.show_puk, wizard.submit_puk),
    }
    routes = [Route(PATHS[Step.DONE], pages.view(wizard.show_done), methods=["GET"])]
    for step, (show, submit) in shown.items():
        routes.append(Route(PATHS[step], pages.view(show), methods=["GET"]))
        routes.append(Route(PATHS[step], pages.action(submit), methods=["POST"]))
    return routes


def _to(step: Step) -> Response:
    return RedirectResponse(PATHS[step], 303)
