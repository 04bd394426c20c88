"""What happens to an account that is being made and proven, step by step on our side.

A fault may strike after any of them. "Open" says that the transaction is not committed yet: all of
it is undone. What the person does next is `registering.Step`.
"""

from enum import StrEnum


class RegistrationStep(StrEnum):
    """From the first form to the account, in order."""

    COUNTED = "counted"  # the try at registering is durable, nothing else
    READ = "read"  # what was typed is judged, the password derived; all of it in memory
    EMAIL_CODE_WRITTEN = "email-code-written"  # code and e-mail in the outbox, open
    SUBMITTED = "submitted"  # the registration is parked, durable; the browser has no cookie yet
    EMAIL_TRY_COUNTED = "email-try-counted"  # durable, nobody has looked at the code
    EMAIL_PROVEN = "email-proven"  # the code is spent, open
    SMS_CODE_WRITTEN = "sms-code-written"  # code and SMS in the outbox, open
    EMAIL_CONFIRMED = "email-confirmed"  # durable
    SMS_TRY_COUNTED = "sms-try-counted"  # durable
    PHONE_PROVEN = "phone-proven"  # the one-time password is spent, open
    PHONE_CONFIRMED = "phone-confirmed"  # durable, with the PUK that the page will show
    TAKEN = "taken"  # this tick below the PUK is the one that counts, open
    ACCOUNT_WRITTEN = "account-written"  # account, address and number, open
    CREDENTIALS_WRITTEN = "credentials-written"  # password and PUK, open
    TOLD = "told"  # e-mail and log entry, open
    CREATED = "created"  # the account is durable; the browser does not know yet


class IdentityStep(StrEnum):
    """From the PIN for the form to the level that a branch's key gives, in order."""

    PIN_WRITTEN = "pin-written"  # PIN and e-mail in the outbox, open
    PIN_SENT = "pin-sent"  # durable
    PIN_TRY_COUNTED = "pin-try-counted"  # durable, nobody has looked at the PIN
    PIN_SPENT = "pin-spent"  # open
    FORM_OPENED = "form-opened"  # durable
    DATA_TRY_COUNTED = "data-try-counted"  # durable, the register is not asked yet
    REGISTER_AGREED = "register-agreed"  # the register has answered, nothing is written
    DATA_WRITTEN = "data-written"  # the personal data, open
    DATA_VERIFIED = "data-verified"  # with their verification and notice, open
    DATA_CONFIRMED = "data-confirmed"  # durable
    KEY_TRY_COUNTED = "key-try-counted"  # durable, nobody has looked at the identification key
    KEY_SPENT = "key-spent"  # open
    LEVEL_WRITTEN = "level-written"  # the verification and its notice, open
    LEVEL_RAISED = "level-raised"  # durable
