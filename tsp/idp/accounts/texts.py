"""The words of the messages that accounts send, by the language of the account or registration."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tsp.idp.accounts.assurance import Level
from tsp.web.language import Languages


@dataclass(frozen=True)
class MailText:
    """Subject and plain text of an e-mail."""

    subject: str
    text: str


def _(msgid: str) -> str:
    """Marks a sentence of the catalogues; it is translated where it is used."""
    return msgid


_LEVELS = {Level.LOW: _("low"), Level.SUBSTANTIAL: _("substantial"), Level.HIGH: _("high")}


class Texts:
    """Renders messages. `name` is the platform's name, `support` the support's address."""

    def __init__(self, languages: Languages, *, name: str, support: str) -> None:
        self._languages = languages
        self._name = name
        self._support = support

    def registration_code(self, language: str, code: str, minutes: int) -> MailText:
        """The e-mailed confirmation code of a registration."""
        return self._mail(
            language,
            _("Confirmation code for the account %(name)s"),
            _("Your confirmation code is %(code)s."),
            self._minutes(language, minutes),
            _("Type it into the page on which you are creating your account."),
            _("If you are not creating an account, ignore this message: nothing happens without the code."),
            code=code,
        )

    def already_registered(self, language: str) -> MailText:
        """What the owner gets when somebody begins a registration with the address of an account."""
        return self._mail(
            language,
            _("You already have an account %(name)s"),
            _("Somebody, perhaps you, wanted to create an account with this e-mail address."),
            _("You already have an account with it. Sign in, or use “Forgot password?” on the login page."),
            _("If that was not you, there is nothing that you need to do."),
        )

    def registration_sms(self, language: str, code: str, minutes: int) -> str:
        """The one-time password that proves the mobile number."""
        return self._text(
            language,
            _(
                "%(name)s: %(code)s is the one-time password for your registration, valid for %(minutes)s min. "
                "Tell it to nobody."
            ),
            code=code,
            minutes=minutes,
        )

    def account_created(self, language: str) -> MailText:
        """The notice of a new account."""
        return self._mail(
            language,
            _("Your account %(name)s is ready"),
            _("The account with this e-mail address was created. You sign in with this address and your password."),
            _("Keep the PUK in a safe place: you need it if you forget your password."),
            _("If you did not create an account, write to %(support)s at once."),
        )

    def personal_data_pin(self, language: str, code: str, minutes: int) -> MailText:
        """The PIN that opens the form for personal data."""
        return self._mail(
            language,
            _("PIN for entering personal data"),
            _("Your PIN for entering personal data is %(code)s."),
            self._minutes(language, minutes),
            _("If you are not entering personal data, somebody is using your account: write to %(support)s at once."),
            code=code,
        )

    def personal_data_confirmed(self, language: str) -> MailText:
        """The notice that personal data were entered."""
        return self._mail(
            language,
            _("Personal data were added to your account"),
            _("Personal data were added to your account and agree with the register."),
            _("If that was not you, write to %(support)s at once."),
        )

    def level_raised(self, language: str, level: Level) -> MailText:
        """The notice that the level of assurance was raised."""
        return self._mail(
            language,
            _("Level of assurance of your account"),
            _("The level of assurance of your account is now: %(level)s."),
            _("If that was not you, write to %(support)s at once."),
            level=self._languages.text(language, _LEVELS[level]),
        )

    def certificates_issued(
        self, language: str, issued: Sequence[tuple[str, str, str]], count: int, page: str
    ) -> MailText:
        """The list of certificates that were issued: moment (UTC), kind (a word of the catalogues), serial number.

        `count` is how many there were where not all are listed; `page` shows them all.
        """
        kinds = [(moment, self._languages.text(language, kind), serial) for moment, kind, serial in issued]
        return self._mail(
            language,
            _("Certificates in your name"),
            _("These certificates were issued in your name (time in UTC, kind, serial number); in all %(count)s:"),
            _("%(lines)s"),
            _("You see all of them at %(page)s."),
            _("If you did not sign or order something yourself, write to %(support)s at once."),
            lines="\n".join("  ".join(one) for one in kinds),
            count=count,
            page=page,
        )

    def certificate_revoked(self, language: str, serial: str, moment: datetime, reason: str) -> MailText:
        """The notice that a certificate was revoked; `reason` in words of the catalogues."""
        return self._mail(
            language,
            _("Your certificate was revoked"),
            _("The certificate with the serial number %(serial)s was revoked on %(moment)s (UTC): %(reason)s."),
            _("It stays revoked. What was signed with it before remains as valid as it was."),
            _("If that was not you, write to %(support)s at once."),
            serial=serial,
            moment=f"{moment:%Y-%m-%d %H:%M:%S}",
            reason=self._languages.text(language, reason),
        )

    def revocation_code(self, language: str, code: str, minutes: int) -> MailText:
        """The code that stands beside the PUK when all certificates shall be revoked."""
        return self._mail(
            language,
            _("Code for revoking your certificates"),
            _("Your code for revoking your certificates is %(code)s."),
            self._minutes(language, minutes),
            _("If you do not want to revoke them, ignore this message: nothing happens without the code and the PUK."),
            code=code,
        )

    def _minutes(self, language: str, minutes: int) -> str:
        return self._languages.plural(
            language, "It is valid for %(num)s minute.", "It is valid for %(num)s minutes.", minutes
        )

    def _mail(self, language: str, subject: str, *paragraphs: str, **values: object) -> MailText:
        written = [self._text(language, paragraph, **values) for paragraph in paragraphs]
        return MailText(self._text(language, subject, **values), "\n\n".join([*written, self._name]) + "\n")

    def _text(self, language: str, msgid: str, **values: object) -> str:
        return self._languages.text(language, msgid, name=self._name, support=self._support, **values)
